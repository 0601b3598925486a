"""The training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import jax

from optim.study.stage import Stage
from optim.study.state import State, place
from optim.train.endings import StopError
from optim.train.plan import Pace, calls
from optim.train.program import Program
from optim.train.settler import Lane, Settler
from optim.train.sinks import NoSinks, Sinks


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
        lane = Lane(stage, origin, self.sinks)
        settler = Settler([lane], origin, step, pace, side_by_side=False)
        for call in calls(stage, origin, step, pace, self.halts):
            state = self.skip(step, state)
            state, records = program(state, constants, call, origin)
            step, due = call[-1].until, call[-1].save
            settler.running(call, records)  # settles the call before, while this one runs
            if call[-1].compare:
                settler.all()
            best = call[-1].compare and lane.last is not None and self.sinks.is_best(stage, lane.last)
            reason = self.sinks.wanted_stop(step)
            if due or best or reason or lane.is_over:
                settler.all()
                lane.check()
                regular = due or lane.stopped
                self.sinks.save(stage, state, lane.last, due=regular or best, for_best=best and not regular)
            if lane.stopped:
                break
            if reason:
                raise StopError(step, reason)
        settler.all()
        lane.check()
        return state
