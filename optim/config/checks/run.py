"""Checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from optim.config.naming import unknown
from optim.config.schema import Config, Fit
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
    if metric == "eval/loss" and not isinstance(config.stages[name], Fit):
        yield _PATH, f"`{name}` is a bake stage and has no held-out loss: use {name}/train/loss"
    elif metric == "eval/loss" and (config.data is None or config.data.evaluation is None):
        yield _PATH, f"nothing is held out: add `data.evaluation`, or use {name}/train/loss"


CHECKS = (best_metric,)
