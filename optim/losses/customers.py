"""The customers' own gradients: each one's norm, and their clipped aggregate, for as many customers as there are."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PyTree, Shaped

from optim.config.schema import Aggregate
from optim.losses.objective import Objective, Parameters, divisor, unit_gradients
from optim.models.flat import Flat

RESPONSES = 2**16
"""About how many responses are gone through at once: enough for all cores to share, few enough for their caches."""

NUMBERS = 2**20
"""Most numbers that the gradients of a block may take."""


class CustomerGradients(NamedTuple):
    """The gradients of the units (customers, mostly), each over all the unit's responses, before any clipping.

    Attributes:
        gradients: of each unit's term of the aggregate, before the division by the number of units or responses; the
            trained parameters lie in the order of `optim.models.flat.Flat`. None where they are not kept.
        norms: their Euclidean norms.
        mean: the aggregate of the clipped gradients, like the trained parameters. Without a limit it is the gradient
            of the loss.
        clipped_share: share of the units above the limit; NaN without one.
        loss: the units' loss.
    """

    gradients: Float[Array, "units p"] | None
    norms: Float[Array, " units"]
    mean: Parameters
    clipped_share: Float[Array, ""]
    loss: Float[Array, ""]


class _Totals(NamedTuple):
    """What is summed over the units."""

    gradient: Float[Array, " p"]
    loss: Float[Array, ""]
    counted: Float[Array, ""]
    """What the sums are divided by: responses or units with a response."""
    clipped: Int[Array, ""]
    units: Int[Array, ""]


class _Rows(NamedTuple):
    """What is known of each unit of a block, or of all."""

    gradients: Float[Array, "units p"] | None
    norms: Float[Array, " units"]


def customer_gradients(
    objective: Objective,
    trained: Parameters,
    constants: PyTree,
    *,
    clip_norm: ArrayLike | None = None,
    scale: Float[Array, " p"] | None = None,
    index: Int[Array, " units"] | None = None,
    mask: Bool[Array, " units"] | None = None,
    keep_gradients: bool = True,
    out: Float[Array, "units p"] | None = None,
) -> CustomerGradients:
    """Gradients of the units one by one, their norms, and the aggregate of the gradients clipped by unit.

    A unit's gradient is scaled down as a whole, over all its responses, to the norm that is allowed: what one customer
    can change is bounded however much they respond (Abadi et al. 2016, "Deep learning with differential privacy",
    algorithm 1, without the noise). The units are gone through in blocks, so that beyond the result memory does not
    grow with their number. To be called within `jax.jit`.

    A gradient that is not finite shows in its unit's norm and in the mean; it is never left out. So does one whose norm
    is too large for its type, where there is a limit to clip it to.

    Args:
        objective: whose units they are.
        trained: the parameters that the gradients are for.
        constants: the objective's constants.
        clip_norm: greatest norm of a unit's gradient; None for no limit.
        scale: by what each coordinate of a gradient is multiplied first, such as the width of its bounds (0: it plays
            no part): norms and the limit are then per width, whatever the unit. The gradients and their mean are
            scaled, too. None for gradients as they are.
        index: the units in question, from 0; None for all. One that is known only when the program runs is not
            checked.
        mask: False for units that do not count: their gradients and norms are 0.
        keep_gradients: whether the gradients are in the result.
        out: where the gradients are written, such as those of the last call; an argument of the compiled function that
            is donated. It saves the time to lay out an array of that size and to fill it with zeros.

    Returns:
        Gradients, norms, mean, share of the units that were clipped, and loss.

    Raises:
        ValueError: a negative limit (the mean is NaN if it is known only when the program runs) or more than one, no
            units, an index out of range, or a mask or `out` of another shape.
    """
    _check_limit(clip_norm)
    _check_index(index, objective.units)
    units = objective.units if index is None else len(index)
    if not units:
        raise ValueError("there is no unit to take a gradient of")
    if mask is not None and len(mask) != units:
        raise ValueError(f"the mask has {len(mask)} entries for {units} units: give one for each")
    flat = Flat.of_one(trained)
    vector = flat.ravel_one(trained)
    limit = None if clip_norm is None else jnp.asarray(clip_norm, vector.dtype)
    room = _room(out, units, vector) if keep_gradients else None
    rows = _Rows(room, jax.lax.empty((units,), vector.dtype))
    totals, rows = _through_blocks(objective, trained, constants, index, mask, limit, scale, rows)
    weight = 1.0 if objective.aggregate == "sum" else divisor(totals.counted)
    share = jnp.nan if limit is None else jnp.asarray(totals.clipped, vector.dtype) / totals.units
    return CustomerGradients(
        gradients=rows.gradients,
        norms=rows.norms,
        mean=flat.unravel(totals.gradient / weight),
        clipped_share=jnp.asarray(share, vector.dtype),
        loss=totals.loss / weight,
    )


def _room(out: Float[Array, "_ _"] | None, units: int, vector: Float[Array, " p"]) -> Float[Array, "{units} p"]:
    """An array to be filled with the gradients."""
    shape = (units, len(vector))
    if out is None:
        return jax.lax.empty(shape, vector.dtype)
    if out.shape != shape or out.dtype != vector.dtype:
        raise ValueError(f"out is {out.dtype}{list(out.shape)}: the gradients are {vector.dtype}{list(shape)}")
    return out


def _through_blocks(
    objective: Objective,
    trained: Parameters,
    constants: PyTree,
    index: Int[Array, " units"] | None,
    mask: Bool[Array, " units"] | None,
    limit: Float[Array, ""] | None,
    scale: Float[Array, " p"] | None,
    room: _Rows,
) -> tuple[_Totals, _Rows]:
    """Totals over all units, and what is known of each, which fills the room there is."""
    vector, units = Flat.of_one(trained).ravel_one(trained), len(room.norms)
    size = _block(objective, units, len(vector))

    def add(number: Array, carry: tuple[_Totals, _Rows]) -> tuple[_Totals, _Rows]:
        totals, rows = carry
        first = number * size
        # The last block begins early enough to be full: its first units were there before, and count no more.
        start = jnp.minimum(first, units - size)
        part = lambda values: jax.lax.dynamic_slice_in_dim(values, start, size)
        places = start + jnp.arange(size, dtype=jnp.int32)
        these = places if index is None else part(index)
        valid = None if mask is None else part(mask)
        fresh = valid if units % size == 0 else _both(valid, places >= first)
        found, more = _of_block(objective, trained, constants, these, valid, fresh, limit, scale)
        put = lambda whole, block: jax.lax.dynamic_update_slice_in_dim(whole, block, start, axis=0)
        kept = found._replace(gradients=None) if rows.gradients is None else found
        return jax.tree.map(jnp.add, totals, more), jax.tree.map(put, rows, kept)

    zero, none = jnp.zeros((), vector.dtype), jnp.int32(0)
    nothing = _Totals(jnp.zeros_like(vector), zero, zero, none, none)
    return jax.lax.fori_loop(0, -(-units // size), add, (nothing, room))


def _of_block(
    objective: Objective,
    trained: Parameters,
    constants: PyTree,
    index: Int[Array, " b"],
    valid: Bool[Array, " b"] | None,
    fresh: Bool[Array, " b"] | None,
    limit: Float[Array, ""] | None,
    scale: Float[Array, " p"] | None,
) -> tuple[_Rows, _Totals]:
    """Gradients and norms of some units, and what the fresh ones among them add to the totals; None for all."""
    everyone = jnp.ones(len(index), bool)
    batch = objective.batch(constants, index, everyone if valid is None else valid)
    own, sums, counts = unit_gradients(objective, trained, batch, constants)
    gradients = _only(valid, own if scale is None else own * scale)
    norms = jnp.sqrt(jnp.sum(gradients * gradients, axis=1))
    scaled = gradients if limit is None else gradients * _scale(norms, limit)[:, None]
    total = lambda values: jnp.sum(_only(fresh, values), axis=0).astype(norms.dtype)
    number = lambda holds: jnp.sum(_both(fresh, holds), dtype=jnp.int32)
    return _Rows(gradients, norms), _Totals(
        gradient=total(scaled),
        loss=total(_terms(sums, counts, objective.aggregate)),
        counted=total(counts if objective.aggregate == "mean_responses" else counts > 0),
        clipped=jnp.int32(0) if limit is None else number(norms > limit),
        units=number(everyone),
    )


def _terms(sums: Float[Array, " b"], counts: Float[Array, " b"], aggregate: Aggregate) -> Float[Array, " b"]:
    """What each unit adds to the aggregate, before its division."""
    return sums / divisor(counts) if aggregate == "mean_customers" else sums


def _scale(norms: Float[Array, " b"], limit: Float[Array, ""]) -> Float[Array, " b"]:
    """By what each gradient is multiplied: 1 within the limit; NaN where the norm, or the limit, makes no sense."""
    longer = jnp.where(jnp.isfinite(norms), limit / norms, jnp.nan)
    return jnp.where(limit >= 0, jnp.where(norms <= limit, 1.0, longer), jnp.nan)


def _only(chosen: Bool[Array, " b"] | None, values: Shaped[Array, "b ..."]) -> Shaped[Array, "b ..."]:
    """The rows of the chosen units, and zeros for the others."""
    if chosen is None:
        return values
    return jnp.where(chosen.reshape(-1, *[1] * (values.ndim - 1)), values, jnp.zeros_like(values))


def _both(chosen: Bool[Array, " b"] | None, holds: Bool[Array, " b"]) -> Bool[Array, " b"]:
    return holds if chosen is None else chosen & holds


def _block(objective: Objective, units: int, parameters: int) -> int:
    """Units at once; so many that the blocks are as even as can be."""
    most = max(1, min(RESPONSES // max(1, objective.width), NUMBERS // max(1, parameters)))
    blocks = -(-units // most)
    return -(-units // blocks)


def _check_limit(clip_norm: ArrayLike | None) -> None:
    """One number; what is known while the program is built is checked then."""
    if clip_norm is None:
        return
    if np.shape(clip_norm) != ():
        raise ValueError(f"clip_norm has shape {np.shape(clip_norm)}: it is one number, the same for every unit")
    if not isinstance(clip_norm, jax.core.Tracer) and not float(np.asarray(clip_norm)) >= 0:
        raise ValueError(f"clip_norm is {clip_norm}: a norm is at least 0; give None for no limit")


def _check_index(index: Int[Array, " units"] | None, units: int) -> None:
    """Within range, where it is known while the program is built."""
    if index is None or isinstance(index, jax.core.Tracer):
        return
    numbers = np.asarray(index)
    outside = numbers[(numbers < 0) | (numbers >= units)]
    if outside.size:
        raise ValueError(f"there is no unit {outside[0]}: the {units} units are numbered from 0 to {units - 1}")
