"""Checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from optim.config.naming import unknown
from optim.config.schema import Config, Fit, PropertyLoss
from optim.config.source import Finding

_PATH = ("checkpoint", "best")


def best_metric(config: Config) -> Iterator[Finding]:
    """The metric that chooses the best checkpoint is one that the run has."""
    best = config.checkpoint.best
    if best is None:
        return
    name, _, metric = best.partition("/")
    if metric not in ("train/loss", "eval/loss"):
        yield _PATH, f"expected STAGE/eval/loss or STAGE/train/loss, got `{best}`"
        return
    if name not in config.stages:
        yield _PATH, unknown("stage", name, config.stages)
        return
    if metric == "train/loss":
        return
    stage = config.stages[name]
    if not isinstance(stage, Fit) or isinstance(stage.loss, PropertyLoss):
        what = "fits properties" if isinstance(stage, Fit) else "is a bake stage"
        yield _PATH, f"`{name}` {what} and has no held-out loss: use {name}/train/loss"
    elif config.data is None or config.data.evaluation is None:
        yield _PATH, f"nothing is held out: add `data.evaluation`, or use {name}/train/loss"


CHECKS = (best_metric,)
