"""From a run's checkpoints to the state to go on from."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
from jaxtyping import PyTree

from optim.config.schema import Config
from optim.runs.checkpoints import Checkpoints, Restored
from optim.runs.directory import RunDirectory
from optim.runs.info import RunInfo
from optim.study.stage import initial_state
from optim.study.study import Study


def open_checkpoints(directory: RunDirectory, config: Config) -> Checkpoints:
    """The checkpoints of a run, kept as its config says."""
    block = config.checkpoint
    return Checkpoints(directory.checkpoints, keep=block.keep, keep_every=block.keep_every, best=block.best)


def expected_state(study: Study, stage: int) -> PyTree:
    """Structure of a state in a stage: `jax.ShapeDtypeStruct` for every array."""
    state = jax.eval_shape(initial_state, study.parameters)
    for each in study.stages[:stage]:
        state = jax.eval_shape(each.finish, jax.eval_shape(each.begin, state))
    return jax.eval_shape(study.stages[stage].begin, state)


def restore_newest(study: Study, info: RunInfo, checkpoints: Checkpoints) -> Restored | None:
    """The newest checkpoint that can be read and does not lie beyond a window that was to be skipped before it."""
    notes: list[str] = []
    at_most = None
    while True:
        restored = checkpoints.restore(partial(expected, study), at_most=at_most)
        if restored is None:
            return None
        notes += restored.set_aside
        overlooked = [skip.at for skip in info.skips[int(restored.tree.skipped) :] if skip.at < restored.step]
        if not overlooked:
            return replace(restored, set_aside=notes)
        at_most = min(overlooked)  # the run was killed just after it had decided to go back there


def restore_due(study: Study, checkpoints: Checkpoints, before: int) -> Restored | None:
    """The newest checkpoint before a step that every run of the study has, however it was interrupted."""
    return checkpoints.restore(partial(expected, study), at_most=before - 1, due_only=True)


def expected(study: Study, description: dict[str, Any]) -> PyTree:
    """Structure of the state that a checkpoint of this description should hold."""
    return expected_state(study, int(description["stage"]))
