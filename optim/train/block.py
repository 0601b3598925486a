"""Runs side by side: one compiled program for all, in which each comes to what it would have come to alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import jax
import numpy as np
from jaxtyping import Array, PyTree

from optim.models.arrays import on_device
from optim.study.stage import Stage, StageConstants
from optim.study.state import State, place
from optim.train.endings import NonFiniteError, StopError
from optim.train.plan import Pace, calls
from optim.train.program import Program
from optim.train.settler import Lane, Settler
from optim.train.sinks import Sinks

T = TypeVar("T")

SHARED_FROM = 2**12
"""Arrays of so many numbers are shared where they are the same for all runs: tables, which must not be copied. Smaller
ones each run has for itself even so, or another neighbour might change the program, and with it the bits."""


@dataclass
class Block:
    """Trains runs side by side that differ in numbers alone (`optim.train.alike`), a chunk at a time.

    A run whose numbers are no longer finite, or which early stopping has ended, waits unchanged for the others, and
    changes no bit of them.

    Attributes:
        runs: the stages of each run.
        sinks: where the side effects of each run go; none of them saves anything.
        chunk: most steps in a chunk, or `auto`.
        save: called with the joint state where a checkpoint is due, after what was recorded has been handed out.
        wanted_stop: why to stop now, or None.
        faults: what has ended each run, or None.
        programs: compiled stages, by their index.
    """

    runs: Sequence[tuple[Stage, ...]]
    sinks: Sequence[Sinks]
    chunk: int | str = "auto"
    save: Callable[[State], None] = lambda joint: None
    wanted_stop: Callable[[], str | None] = lambda: None
    faults: list[NonFiniteError | None] = field(default_factory=list)
    programs: dict[int, Program] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.faults = self.faults or [None] * len(self.runs)

    def begin(self, index: int, joint: State) -> State:
        """The joint state with which a stage starts."""
        beginnings = stacked([stages[index].beginning for stages in self.runs])
        return place(jax.jit(jax.vmap(self.runs[0][index].begin))(joint, beginnings))

    def run(self, joint: State) -> State:
        """Train all stages from a joint state to the end.

        Raises:
            StopError: asked to stop; the state is saved.
        """
        stages = self.runs[0]
        for index in range(int(np.asarray(joint.stage)[0]), len(stages)):
            joint = place(jax.jit(jax.vmap(stages[index].finish))(self._stage(index, joint)))
            if index + 1 < len(stages):
                joint = self.begin(index + 1, joint)
        return joint

    def _stage(self, index: int, joint: State) -> State:
        lanes = self._lanes(index, joint)
        steps = [int(step) - lane.origin for step, lane in zip(np.asarray(joint.step), lanes, strict=True)]
        going = {step for step, lane in zip(steps, lanes, strict=True) if not lane.is_over}
        stage = self.runs[0][index]
        if not going or going == {stage.length}:
            return joint
        (step,) = going  # they go in step
        for lane in lanes:
            lane.sinks.begin(lane.stage, lane.origin, lane.origin + step)
        constants, varying = self.constants(index, joint)
        program = self.programs.setdefault(index, Program(stage, varying))
        pace = Pace(self.chunk)
        settler = Settler(lanes, 0, step, pace, side_by_side=True)
        for call in calls(stage, 0, step, pace, frozenset()):
            joint, records = program(joint, constants, call, 0)
            settler.running(call, records)
            reason = self.wanted_stop()
            if call[-1].save or reason or settler.is_over:
                settler.all()
                self.faults = [lane.fault for lane in lanes]
                self.save(joint)
            if settler.is_over:
                break
            if reason:
                raise StopError(call[-1].until, reason)
        return joint

    def _lanes(self, index: int, joint: State) -> list[Lane]:
        """The runs as a stage finds them."""
        each = zip(
            [stages[index] for stages in self.runs],
            np.asarray(joint.origin).tolist(),
            self.sinks,
            np.asarray(joint.stopping.stopped).tolist(),
            self.faults,
            strict=True,
        )
        return [Lane(*one) for one in each]

    def constants(self, index: int, joint: State) -> tuple[StageConstants, PyTree[int | None]]:
        """The constants of all runs: what they share once, the rest along an axis of runs; and which is which."""
        parameters = jax.device_get(joint.parameters)  # once for all the runs
        each = [stages[index].constants(taken(parameters, number)) for number, stages in enumerate(self.runs)]
        varying = jax.tree.map(_axis, *each)
        one = lambda axis, *leaves: leaves[0] if axis is None else _stacked(*leaves)
        return jax.tree.map(one, varying, *each, is_leaf=lambda axis: axis is None), varying


def stacked(trees: Sequence[T]) -> T:
    """Trees of several runs as one, with a leading axis of runs."""
    found: T = jax.tree.map(_stacked, *trees)
    return found


def taken(tree: T, number: int) -> T:
    """The tree of one run, by its place along the leading axis."""
    found: T = jax.tree.map(lambda leaf: on_device(np.asarray(leaf)[number]), tree)
    return found


def _stacked(*leaves: Array | np.ndarray) -> Array:
    return on_device(np.stack([np.asarray(leaf) for leaf in leaves]))


def _axis(first: Array | np.ndarray, *others: Array | np.ndarray) -> int | None:
    """Where the runs lie: 0 where each has an array of its own; None for a large one that is the same for all."""
    is_same = lambda other: other is first or np.array_equal(first, other, equal_nan=True)
    return None if first.size >= SHARED_FROM and all(map(is_same, others)) else 0
