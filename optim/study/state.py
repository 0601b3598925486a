"""The state of a run: everything that a checkpoint holds, as one tree of arrays."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from optim.losses.objective import Parameters
from optim.models.arrays import on_device, zeros

LOSS_FAULT, GRADIENT_FAULT, PARAMETER_FAULT, HELD_OUT_FAULT = 1, 2, 4, 8
"""Bits of `State.fault`: what was not finite."""


class Stopping(NamedTuple):
    """What early stopping remembers of a stage.

    Attributes:
        held_out_loss: loss on the held-out responses at the last evaluation; infinite before the first.
        best: the lowest of them.
        stale: evaluations since it improved.
        best_parameters: the trained parameters at the best one, flat; of width 0 without a patience.
        stopped: the patience has run out.
    """

    held_out_loss: Float[Array, ""]
    best: Float[Array, ""]
    stale: Int[Array, ""]
    best_parameters: Float[Array, "members _"]
    stopped: Bool[Array, ""]


class Ended(NamedTuple):
    """What is left of a stage that has ended, beside the model that it may have trained.

    Attributes:
        cake: the recipes that it baked, along a member axis; None for a fit.
        clipped: shares of its updates in which gradients were clipped, by kind, with a leading member axis.
        steps: how many updates it made.
        kept: after how many of them its parameters were kept: early stopping goes back to the best it has seen.
    """

    cake: Parameters | None
    clipped: dict[str, Float[Array, "members ..."]]
    steps: Int[Array, ""]
    kept: Int[Array, ""]


class State(NamedTuple):
    """State of a run after `step` updates.

    Attributes:
        step: updates completed, counted across the whole run.
        position: index into the data order; it equals the step unless windows of data were skipped.
        stage: index of the running stage.
        origin: step at which it began.
        skipped: windows of data skipped so far.
        fault: 0, or bits that say what was not finite at the last update; a state with a fault is not saved.
        parameters: `model` (and `cake`, once a stage bakes): nested dicts of arrays with a leading member axis.
        optimizer: optax state of the stage, with a leading member axis.
        clipped: how often gradients were clipped in this stage, by kind, with a leading member axis.
        stopping: early stopping.
        ended: what is left of the stages before, by name.
    """

    step: Int[Array, ""]
    position: Int[Array, ""]
    stage: Int[Array, ""]
    origin: Int[Array, ""]
    skipped: Int[Array, ""]
    fault: Int[Array, ""]
    parameters: Parameters
    optimizer: PyTree
    clipped: dict[str, Int[Array, "members ..."]]
    stopping: Stopping
    ended: dict[str, Ended]


def place(tree: PyTree) -> PyTree:
    """Put arrays on the device, with definite types: a weakly typed leaf would compile a stage twice."""
    return jax.tree.map(on_device, tree)


def no_stopping(members: int, width: int) -> Stopping:
    """Nothing evaluated yet."""
    infinity = on_device(np.inf)
    return Stopping(
        held_out_loss=infinity,
        best=infinity,
        stale=on_device(np.int32(0)),
        best_parameters=zeros(members, width),
        stopped=on_device(False),
    )
