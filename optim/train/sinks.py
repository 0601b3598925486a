"""Where the side effects of training go."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from optim.study.stage import Stage
from optim.study.state import State
from optim.train.program import ChunkRecord


@runtime_checkable
class Sinks(Protocol):
    """Where the side effects of a run go. Inert where there is no run directory."""

    def begin(self, stage: Stage, origin: int, step: int) -> None:
        """A stage that began at `origin` starts, or goes on from `step`."""

    def record(self, stage: Stage, origin: int, record: ChunkRecord, steps_per_second: float) -> None:
        """Write what a chunk has measured."""

    def is_best(self, stage: Stage, record: ChunkRecord) -> bool:
        """Whether the state of an evaluation is to be kept: its held-out loss is the lowest so far."""

    def save(
        self, stage: Stage, state: State, record: ChunkRecord | None, *, due: bool, for_best: bool = False
    ) -> None:
        """Save a checkpoint, with the record of its last chunk; what was recorded must be on disk before it.

        `due`: every run of the study saves it. One that a stop asks for is not. `for_best`: it is due only because it
        is the best so far.
        """

    def wanted_stop(self, step: int) -> str | None:
        """Why the run should stop now, or None."""


class NoSinks:
    """Nothing is written, and nobody asks to stop: for notebooks and tests."""

    def begin(self, stage: Stage, origin: int, step: int) -> None:
        """Does nothing."""

    def record(self, stage: Stage, origin: int, record: ChunkRecord, steps_per_second: float) -> None:
        """Does nothing."""

    def is_best(self, stage: Stage, record: ChunkRecord) -> bool:
        """Never: nothing is kept."""
        return False

    def save(
        self, stage: Stage, state: State, record: ChunkRecord | None, *, due: bool, for_best: bool = False
    ) -> None:
        """Does nothing."""

    def wanted_stop(self, step: int) -> str | None:
        """Never."""
        return None
