"""The compiled part of a stage: chunks of steps as one call, their number and lengths given at run time.

One program a stage, whatever the cadences: what is due at which step is traced. So is whatever is a number of the run
alone: one program serves all runs that differ in nothing else, one after the other or side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, Bool, Float, Int, PyTree

from optim.models.flat import Flat
from optim.study.stage import Stage, StageConstants
from optim.study.state import HELD_OUT_FAULT, PARAMETER_FAULT, State
from optim.train.compiling import compiler_options
from optim.train.lanes import ALONE, SIDE_BY_SIDE
from optim.train.measure import Measured, evaluated, measured
from optim.train.plan import MOST, Chunk
from optim.train.step import COUNTS, Carry, by_member, goes_on, step_function


class ChunkRecord(NamedTuple):
    """What the host learns of a chunk; of those of a call, along a leading axis."""

    step: Int[Array, ""]
    position: Int[Array, ""]
    fault: Int[Array, ""]
    stopped: Bool[Array, ""]
    evaluated: Bool[Array, ""]
    held_out_loss: Float[Array, ""]
    loss: Float[Array, " members"]
    logged: Bool[Array, ""]
    measured: Measured


class _Due(NamedTuple):
    """Last step of each chunk of a call, counted from the start of the stage, and what is due at it."""

    until: Int[np.ndarray | Array, " chunks"]
    log: Bool[np.ndarray | Array, " chunks"]
    evaluate: Bool[np.ndarray | Array, " chunks"]
    check: Bool[np.ndarray | Array, " chunks"]


class Program:
    """A stage's chunks, compiled once.

    Attributes:
        traces: how often it was traced, which is how often it was compiled.
    """

    def __init__(self, stage: Stage, varying: PyTree[int | None] | None = None) -> None:
        """The program of a stage, and of the same stage of every run that differs from it in numbers alone.

        Args:
            stage: the stage of one of them.
            varying: where runs are trained side by side, like `StageConstants`: 0 for each array with a leading axis of
                runs, None for those that they share. None for a run alone.
        """
        self.stage = stage
        self.traces = 0
        self._lanes = ALONE
        call = self._call
        if varying is not None:
            self._lanes = SIDE_BY_SIDE
            call = jax.vmap(call, in_axes=(0, varying, None, None), axis_name=SIDE_BY_SIDE.axis)
        self._run = jax.jit(call, compiler_options=compiler_options())

    def __call__(
        self, state: State, constants: StageConstants, call: Sequence[Chunk], origin: int
    ) -> tuple[State, ChunkRecord]:
        """Train for some chunks; for fewer after a fault or an early stop.

        Args:
            state: the state so far; of runs side by side, with a leading axis.
            constants: the stage's constants.
            call: the chunks, at most `MOST`. Where a checkpoint is due, or may be, parameters that are not
                finite are a fault.
            origin: where the chunks count their steps from: the step at which the stage began.

        Returns:
            The new state, and `MOST` records; those of chunks that were not run are zero. Of runs side by side each has
            a leading axis of runs.
        """
        due = _Due(np.zeros(MOST, np.int32), *np.zeros((3, MOST), bool))
        for number, chunk in enumerate(call):
            for column, value in zip(due, (chunk.until - origin, chunk.log, chunk.evaluate, chunk.acts), strict=True):
                column[number] = value
        return self._run(state, constants, due, np.int32(len(call)))

    def jaxpr(self, state: State, constants: StageConstants) -> ClosedJaxpr:
        """What is computed, traced anew. Takes arrays, or their shapes and types."""
        nothing = _Due(np.zeros(MOST, np.int32), *np.zeros((3, MOST), bool))
        return jax.make_jaxpr(self._call)(state, constants, nothing, np.int32(0))

    def _call(
        self, state: State, constants: StageConstants, due: _Due, count: Int[Array, ""]
    ) -> tuple[State, ChunkRecord]:
        self.traces += 1

        def unfinished(carry: tuple[Int[Array, ""], State, ChunkRecord]) -> Bool[Array, ""]:
            number, state, _ = carry
            return (number < count) & (state.fault == 0) & ~state.stopping.stopped

        def chunk(carry: tuple[Int[Array, ""], State, ChunkRecord]) -> tuple[Int[Array, ""], State, ChunkRecord]:
            number, state, records = carry
            state, record = one(state, constants, *(column[number] for column in due))
            return number + 1, state, jax.tree.map(lambda rows, row: rows.at[number].set(row), records, record)

        one = jax.jit(self._chunk, inline=True)  # traced once for its shapes and its program
        record = jax.eval_shape(one, state, constants, *(column[0] for column in due))[1]
        records = jax.tree.map(lambda row: jnp.zeros((MOST, *row.shape), row.dtype), record)
        _, state, records = jax.lax.while_loop(unfinished, chunk, (jnp.int32(0), state, records))
        return state, records

    def _chunk(
        self,
        state: State,
        constants: StageConstants,
        until: Int[Array, ""],
        log: Bool[Array, ""],
        evaluate: Bool[Array, ""],
        check: Bool[Array, ""],
    ) -> tuple[State, ChunkRecord]:
        stage, lanes = self.stage, self._lanes
        until = state.origin + until
        flat = Flat.of(stage.trained(state.parameters))

        over = state.stopping.stopped

        def unfinished(carry: Carry) -> Bool[Array, ""]:
            return lanes.any((carry.step < until) & (carry.fault == 0) & ~over)

        vector = flat.ravel(stage.trained(state.parameters))
        nothing = jnp.zeros(vector.shape[0], vector.dtype)
        first = Carry(
            state.step,
            state.position,
            state.fault,
            vector,
            state.optimizer,
            state.clipped,
            nothing,
            jnp.zeros_like(vector),
        )
        # A single member goes without its axis: `vmap` would make its matrix products batches of one, with transposes
        # around them that cost more than the products.
        alone = vector.shape[0] == 1
        step = step_function(stage, flat, constants, state.origin, (lambda one: one) if alone else jax.vmap)
        if lanes is SIDE_BY_SIDE:
            step = _waiting(step)
        if alone:
            last = by_member(first, lambda leaf: leaf[0])
            last = by_member(jax.lax.while_loop(unfinished, step, last), lambda leaf: leaf[None])
        else:
            last = jax.lax.while_loop(unfinished, step, first)
        broken = check & ~goes_on(stage, jnp.all(jnp.isfinite(last.flat), axis=1))
        fault = last.fault | jnp.where(broken, PARAMETER_FAULT, 0)
        reached = (last.step == until) & (fault == 0)
        stopping = lanes.cond(
            evaluate & reached,
            lambda: evaluated(stage, flat, constants, last.flat, state.stopping),
            lambda: state.stopping,
        )
        fault |= jnp.where(evaluate & reached & ~jnp.isfinite(stopping.held_out_loss), HELD_OUT_FAULT, 0)
        logged = reached & (log | stopping.stopped)
        measure = jax.jit(partial(measured, stage, flat), inline=True)
        shapes = jax.eval_shape(measure, constants, last, state.origin)
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        found = lanes.cond(logged, lambda: measure(constants, last, state.origin), lambda: blank)
        new = state._replace(
            step=last.step,
            position=last.position,
            fault=fault,
            parameters=stage.with_trained(state.parameters, flat.tree(last.flat)),
            optimizer=last.optimizer,
            clipped=last.clipped,
            stopping=stopping,
        )
        record = ChunkRecord(
            step=last.step,
            position=last.position,
            fault=fault,
            stopped=stopping.stopped,
            evaluated=evaluate & reached,
            held_out_loss=stopping.held_out_loss,
            loss=last.loss,
            logged=logged,
            measured=found,
        )
        return new, record


def _waiting(step: Callable[[Carry], Carry]) -> Callable[[Carry], Carry]:
    """A step of runs side by side: one with a fault stays where it came to it, while the others go on.

    Its parameters are of no use any more, and to hold them as they are would cost the others the time of a copy.
    """

    def waiting(carry: Carry) -> Carry:
        new, goes_on = step(carry), carry.fault == 0
        kept: dict[str, Any] = {name: jnp.where(goes_on, getattr(new, name), getattr(carry, name)) for name in COUNTS}
        return new._replace(**kept)

    return waiting
