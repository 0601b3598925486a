"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import jax

from optim.study.stage import Stage
from optim.study.state import GRADIENT_FAULT, HELD_OUT_FAULT, LOSS_FAULT, State, place
from optim.train.plan import Chunk, Pace, calls
from optim.train.program import ChunkRecord, Program


class NonFiniteError(Exception):
    """A loss, a gradient or the parameters are no longer finite.

    Attributes:
        stage: the stage.
        metric: what is not finite.
        step: the update at which it was seen.
        position: index of its batch in the data order.
        held_out: it is the loss on held-out data, which no other training data can mend.
    """

    def __init__(self, stage: Stage, fault: int, step: int, position: int) -> None:
        self.stage, self.metric, self.step, self.position = stage, _metric(fault), step, position
        self.held_out = bool(fault & HELD_OUT_FAULT)
        super().__init__(f"stage {stage.name}: the {self.metric} is not finite at step {step}")


class StopError(Exception):
    """The run was asked to stop; its state is saved.

    Attributes:
        step: updates completed.
        reason: who asked.
    """

    def __init__(self, step: int, reason: str) -> None:
        self.step, self.reason = step, reason
        super().__init__(f"stopped at step {step}: {reason}")


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


@dataclass
class Loop:
    """Runs stages, a chunk at a time.

    Attributes:
        stages: the stages.
        chunk: most steps in a chunk, or `auto`.
        sinks: where the side effects go.
        skip: applied between chunks: the state with windows of data left out that are due at its step.
        halts: steps at which a chunk must end: those at which `skip` or a stop is due.
        programs: compiled stages, kept over rollbacks.
    """

    stages: tuple[Stage, ...]
    chunk: int | str = "auto"
    sinks: Sinks = field(default_factory=NoSinks)
    skip: Callable[[int, State], State] = lambda step, state: state
    halts: frozenset[int] = frozenset()
    programs: dict[int, Program] = field(default_factory=dict)

    def run(self, state: State) -> State:
        """Train all stages from `state` to the end.

        Raises:
            NonFiniteError: a loss, gradient or parameter is not finite.
            StopError: the sinks asked to stop.
        """
        for stage in self.stages[int(state.stage) :]:
            state = place(jax.jit(stage.finish)(self._stage(stage, state)))
            if stage.index + 1 < len(self.stages):
                state = self.begin(self.stages[stage.index + 1], state)
        return state

    @staticmethod
    def begin(stage: Stage, state: State) -> State:
        """The state with which a stage starts."""
        return place(jax.jit(stage.begin)(state))

    def _stage(self, stage: Stage, state: State) -> State:
        origin, step = int(state.origin), int(state.step)
        if step == origin + stage.length or bool(state.stopping.stopped):
            return state
        self.sinks.begin(stage, origin, step)
        program = self.programs.setdefault(stage.index, Program(stage))
        constants = stage.constants(state.parameters)
        pace = Pace(self.chunk)
        settle = _Settler(stage, origin, step, pace, self.sinks)
        for call in calls(stage, origin, step, pace, self.halts):
            state = self.skip(step, state)
            state, records = program(state, constants, call, origin)
            step, due = call[-1].until, call[-1].save
            settle.running(call, records)  # settles the call before, while this one runs
            if call[-1].compare:
                settle.all()
            best = call[-1].compare and settle.last is not None and self.sinks.is_best(stage, settle.last)
            reason = self.sinks.wanted_stop(step)
            if due or best or reason or settle.stopped:
                settle.all()
                regular = due or settle.stopped
                self.sinks.save(stage, state, settle.last, due=regular or best, for_best=best and not regular)
            if settle.stopped:
                break
            if reason:
                raise StopError(step, reason)
        settle.all()
        return state


class _Settler:
    """Fetches what chunks have measured, one call behind the device."""

    def __init__(self, stage: Stage, origin: int, step: int, pace: Pace, sinks: Sinks) -> None:
        self._stage, self._origin, self._pace, self._sinks = stage, origin, pace, sinks
        self._pending: list[tuple[tuple[Chunk, ...], ChunkRecord]] = []
        self._step = step
        self._clock = time.perf_counter()
        self.stopped = False
        self.last: ChunkRecord | None = None

    def running(self, call: tuple[Chunk, ...], records: ChunkRecord) -> None:
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
        done = max(self._step, int(records.step.max()))
        now = time.perf_counter()
        steps, seconds = done - self._step, now - self._clock
        self._step, self._clock = done, now
        self._pace.observe(steps, seconds)
        for chunk, record in zip(call, _each(records), strict=False):
            if record.fault:
                raise NonFiniteError(self._stage, int(record.fault), int(record.step), int(record.position) - 1)
            if int(record.step) != chunk.until:  # dispatched before an early stop was known: it was not run
                return
            self._sinks.record(self._stage, self._origin, record, steps / seconds)
            self.last, self.stopped = record, bool(record.stopped)


def _each(records: ChunkRecord) -> Iterator[ChunkRecord]:
    """The records of a call, one by one."""
    leaves, structure = jax.tree.flatten(records)
    return (jax.tree.unflatten(structure, row) for row in zip(*leaves, strict=True))


def _metric(fault: int) -> str:
    if fault & LOSS_FAULT:
        return "loss"
    if fault & GRADIENT_FAULT:
        return "gradient"
    return "held-out loss" if fault & HELD_OUT_FAULT else "parameters"
