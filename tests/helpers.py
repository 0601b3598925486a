"""Runs and comparisons for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from optim.config.schema import Config
from optim.runs.checkpoints import Checkpoints
from optim.runs.observer import Silent
from optim.runs.run import train
from optim.runs.session import Outcome
from optim.study.stage import Stage, initial_state
from optim.study.state import State
from optim.study.study import Study, build_study
from optim.train.loop import Loop
from optim.train.program import ChunkRecord
from optim.train.sinks import NoSinks


class Recording(NoSinks):
    """Keeps the records of the chunks."""

    def __init__(self) -> None:
        self.records: list[ChunkRecord] = []

    def record(self, stage: Stage, origin: int, record: ChunkRecord, steps_per_second: float) -> None:
        self.records.append(record)


def in_memory(config: Config, chunk: int | str | None = None) -> tuple[Study, State, Loop, Recording]:
    """Train without a run directory."""
    study = build_study(config)
    sinks = Recording()
    loop = Loop(study.stages, config.chunk if chunk is None else chunk, sinks)
    state = loop.run(loop.begin(study.stages[0], initial_state(study.parameters)))
    return study, state, loop, sinks


def run(config: Config, runs: Path, name: str) -> Outcome:
    """Train in a run directory."""
    return train(config, runs_dir=runs, name=name, stem=name, observer=Silent())


def assert_same_bits(a: Any, b: Any) -> None:
    """Two trees have the same structure, types and bits."""
    left, right = jax.tree_util.tree_flatten_with_path(a)[0], jax.tree_util.tree_flatten_with_path(b)[0]
    assert [path for path, _ in left] == [path for path, _ in right]
    for (path, x), (_, y) in zip(left, right, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert x.dtype == y.dtype, path
        assert x.shape == y.shape, path
        assert x.tobytes() == y.tobytes(), f"{jax.tree_util.keystr(path)}: {x} != {y}"


def last_checkpoint(run_directory: Path, config: Config, stage: int) -> Any:
    """The state in the newest checkpoint."""
    from optim.runs.restore import expected_state

    study = build_study(config)
    with Checkpoints(run_directory / "checkpoints", keep=100, keep_every=None, best=None) as checkpoints:
        restored = checkpoints.restore(lambda _: expected_state(study, stage))
    assert restored is not None
    return restored.tree
