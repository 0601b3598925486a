"""What the host makes of the records of chunks, while the device is at the next."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import jax

from optim.study.stage import Stage
from optim.train.endings import NonFiniteError
from optim.train.plan import Chunk, Pace
from optim.train.program import ChunkRecord
from optim.train.sinks import Sinks


@dataclass
class Lane:
    """A run within a stage, as far as the host knows.

    Attributes:
        stage: the stage.
        origin: step of the run at which the stage began.
        sinks: where its side effects go.
        stopped: the stage was stopped early.
        fault: what was not finite, and ended the run; None while all is well.
        last: the last record.
    """

    stage: Stage
    origin: int
    sinks: Sinks
    stopped: bool = False
    fault: NonFiniteError | None = None
    last: ChunkRecord | None = field(default=None, repr=False)

    @property
    def is_over(self) -> bool:
        """Nothing more will come of it in this stage."""
        return self.stopped or self.fault is not None

    def check(self) -> None:
        """Raises what ended the run."""
        if self.fault is not None:
            raise self.fault

    def settle(self, chunks: Sequence[Chunk], records: ChunkRecord, steps_per_second: float, since: int) -> None:
        """Hand out the records of a call.

        Args:
            chunks: the chunks of the call.
            records: their records, on the host.
            steps_per_second: how fast they were.
            since: where the chunks count their steps from: their step at which the stage began.
        """
        if self.is_over:
            return
        for chunk, record in zip(chunks, _each(records), strict=False):
            if record.fault:
                step, position = int(record.step), int(record.position) - 1
                self.fault = NonFiniteError(self.stage, int(record.fault), step, position)
                return
            if int(record.step) - self.origin != chunk.until - since:  # dispatched before an early stop was known
                return
            self.sinks.record(self.stage, self.origin, record, steps_per_second)
            self.last, self.stopped = record, bool(record.stopped)


class Settler:
    """Fetches what calls have measured, one call behind the device."""

    def __init__(self, lanes: Sequence[Lane], since: int, step: int, pace: Pace, *, side_by_side: bool) -> None:
        """Of a stage.

        Args:
            lanes: the runs.
            since: where chunks count their steps from: the step at which the stage began.
            step: step from which it goes on.
            pace: learns how fast it goes.
            side_by_side: records have a leading axis of runs.
        """
        self.lanes = lanes
        self._since, self._step, self._pace, self._side_by_side = since, step, pace, side_by_side
        self._pending: list[tuple[Sequence[Chunk], ChunkRecord]] = []
        self._clock = time.perf_counter()

    @property
    def is_over(self) -> bool:
        """Nothing more will come of any run."""
        return all(lane.is_over for lane in self.lanes)

    def running(self, call: Sequence[Chunk], records: ChunkRecord) -> None:
        """A call was dispatched; settle the one before it."""
        self._pending.append((call, records))
        if len(self._pending) > 1:
            self._settle()

    def all(self) -> None:
        """Settle whatever is left."""
        while self._pending:
            self._settle()

    def _settle(self) -> None:
        call, promised = self._pending.pop(0)
        records: ChunkRecord = jax.device_get(promised)  # waits for the call
        each = list(_each(records)) if self._side_by_side else [records]
        done = max(
            self._step,
            *(self._since + int(one.step.max()) - lane.origin for one, lane in zip(each, self.lanes, strict=True)),
        )
        now = time.perf_counter()
        steps, seconds = done - self._step, now - self._clock
        self._step, self._clock = done, now
        self._pace.observe(steps, seconds)
        for lane, own in zip(self.lanes, each, strict=True):
            lane.settle(call, own, steps / seconds, self._since)


def _each(records: ChunkRecord) -> Iterator[ChunkRecord]:
    """What lies along the leading axis, one by one: the chunks of a call, or the runs."""
    leaves, structure = jax.tree.flatten(records)
    return (jax.tree.unflatten(structure, row) for row in zip(*leaves, strict=True))
