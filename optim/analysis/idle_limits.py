"""Limits of gradients that never acted: a setting without effect is not passed over in silence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from optim.analysis.verdicts import NOT_KNOWN, Caveat
from optim.study.stage import Stage
from optim.study.state import State
from optim.study.study import Study


def idle_limits(study: Study, state: State) -> tuple[Caveat, ...]:
    """What limits or clips gradients in a stage, and did so at none of its updates, at any of its starts.

    Args:
        study: the study.
        state: its state after the last stage.
    """
    return tuple(
        Caveat(
            f"{place}.{key}", NOT_KNOWN, f"{place}.{key} never acted: no gradient was that large; lower or remove it"
        )
        for stage in study.stages
        for place in [f"stages.{stage.name}.optimizer"]
        for key in _idle(study, stage, state)
    )


def _idle(study: Study, stage: Stage, state: State) -> Iterator[str]:
    """Keys of the optimizer that changed nothing."""
    clipped = {kind: np.asarray(share) for kind, share in state.ended[stage.name].clipped.items()}
    for kind, key in (("global", "clip_global_norm"), ("customers", "clip_customer_norm")):
        if kind in clipped and not clipped[kind].any():
            yield key
    if "limits" in clipped:
        acted = dict.fromkeys(study.space.owners, False)
        for owner, share in zip(study.space.owners, clipped["limits"].T, strict=True):
            acted[owner] |= bool(share.any())
        limits = study.config.stages[stage.name].optimizer.limits
        yield from (f"limits.{name}" for name in limits if not acted[name])
