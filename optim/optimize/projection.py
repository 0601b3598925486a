"""The exact projection onto the recipes that are allowed, and onto the directions that stay allowed.

Distances are measured in each ingredient's range, so that nothing depends on whether flour is in cups or in grams.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from optim.models.arrays import on_device
from optim.models.space import RecipeSpace

ROUNDING = 4.0
"""What passes for rounding, in units of the last place."""
NARROW = 1e-4
"""What passes for a small part of an ingredient's range."""
PASSES = 3
"""How often a projection is repeated at most: the second time for points so far away that rounding shows."""


class Bounds(NamedTuple):
    """The allowed recipes as arrays: lower ≤ x ≤ upper and, where `total` is given, Σ x = total."""

    lower: Float[Array, " n"]
    upper: Float[Array, " n"]
    ranges: Float[Array, " n"]
    total: Float[Array, ""] | None


def bounds_of(space: RecipeSpace) -> Bounds:
    """The bounds of the amounts of a recipe space, in the run's precision."""
    total = None if space.total is None else on_device(space.total)
    return Bounds(on_device(space.lower), on_device(space.upper), on_device(space.ranges), total)


def project(point: Float[Array, " n"], bounds: Bounds) -> Float[Array, " n"]:
    """The allowed recipe nearest to `point`: the least Σ ((x − point) / range)².

    Bounds that are active are met exactly; the total to rounding, which no amount leaves its bound for. A recipe that
    is allowed already stays as it is, to the bit. Bounds may be infinite. NaN stays NaN.
    """
    if bounds.total is None:
        return jnp.clip(point, bounds.lower, bounds.upper)
    weight = bounds.ranges**2

    def unsettled(carry: tuple[Array, Array]) -> Bool[Array, ""]:
        x, passes = carry
        return ~_is_allowed(x, bounds) & (passes < PASSES)

    def nearest(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        x, passes = carry
        tau, at_lower, at_upper = _multiplier(x, weight, bounds)
        inside = jnp.clip(x - tau * weight, bounds.lower, bounds.upper)
        x = jnp.where(at_lower, bounds.lower, jnp.where(at_upper, bounds.upper, inside))
        return _snapped(x, bounds), passes + 1

    return jax.lax.while_loop(unsettled, nearest, (point, jnp.int32(0)))[0]


def _is_allowed(point: Float[Array, " n"], bounds: Bounds) -> Bool[Array, ""]:
    """Whether a recipe is inside its bounds and has its total to rounding."""
    assert bounds.total is not None
    inside = jnp.all((point >= bounds.lower) & (point <= bounds.upper))
    return inside & (jnp.abs(jnp.sum(point) - bounds.total) <= _rounding(point, bounds))


def _rounding(point: Float[Array, " n"], bounds: Bounds) -> Float[Array, ""]:
    """By how much the sum of a recipe may miss its total."""
    assert bounds.total is not None
    return ROUNDING * float(np.finfo(point.dtype).eps) * (jnp.sum(jnp.abs(point)) + jnp.abs(bounds.total))


def _snapped(point: Float[Array, " n"], bounds: Bounds) -> Float[Array, " n"]:
    """The recipe with amounts that miss a bound by rounding put on it, unless the total is missed then."""
    near = jnp.minimum(_rounding(point, bounds), NARROW * bounds.ranges)
    low, high = point - bounds.lower <= near, bounds.upper - point <= near
    moved = jnp.where(low, bounds.lower, jnp.where(high, bounds.upper, point))
    return jnp.where(_is_allowed(moved, bounds), moved, point)


def _multiplier(
    point: Float[Array, " n"], weight: Float[Array, " n"], bounds: Bounds
) -> tuple[Float[Array, ""], Bool[Array, " n"], Bool[Array, " n"]]:
    """The multiplier τ of the total, and which amounts end at their lower and which at their upper bound.

    By the optimality conditions x = clip(point − τ weight, lower, upper) for the one τ at which the amounts sum to
    the total. That sum falls in τ and is linear between the breakpoints where an amount leaves its upper bound or
    meets its lower one: a binary search over the sorted breakpoints finds the piece; on it τ follows in closed form.
    """
    total = bounds.total
    assert total is not None
    leaves_upper, meets_lower = (point - bounds.upper) / weight, (point - bounds.lower) / weight

    def too_much(tau: Float[Array, ""]) -> Bool[Array, ""]:
        return jnp.sum(jnp.clip(point - tau * weight, bounds.lower, bounds.upper)) > total

    below, above = _piece(jnp.sort(jnp.concatenate([leaves_upper, meets_lower])), too_much)
    at_lower, at_upper = meets_lower <= below, leaves_upper >= above
    free = ~(at_lower | at_upper)
    held = jnp.sum(jnp.where(free, point, jnp.where(at_lower, bounds.lower, bounds.upper))) - total
    slope = jnp.sum(jnp.where(free, weight, 0.0))
    # Where no amount is free the sum does not move on this piece, and either end of it serves.
    end = jnp.where(jnp.isfinite(below), below, jnp.where(jnp.isfinite(above), above, 0.0))
    return jnp.where(slope > 0, held / jnp.where(slope > 0, slope, 1.0), end), at_lower, at_upper


def _piece(
    breaks: Float[Array, " breaks"], too_much: Callable[[Float[Array, ""]], Bool[Array, ""]]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The two neighbouring breakpoints between which the sum passes the total; ±infinity beyond the last ones."""
    count = breaks.shape[0]

    def halve(_: Int[Array, ""], ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) // 2
        # `middle` is `low` once they are neighbours; its −1 must not be looked up.
        right = (middle >= 0) & too_much(breaks[jnp.maximum(middle, 0)])
        apart = high - low > 1
        return jnp.where(apart & right, middle, low), jnp.where(apart & ~right, middle, high)

    # Invariant: the sum is above the total at breakpoint `low` (−1: always) and not above it at `high` (count: never).
    ends = (jnp.int32(-1), jnp.int32(count))
    low, high = jax.lax.fori_loop(0, math.ceil(math.log2(count + 1)), halve, ends)
    below = jnp.where(low < 0, -jnp.inf, breaks[jnp.maximum(low, 0)])
    above = jnp.where(high >= count, jnp.inf, breaks[jnp.minimum(high, count - 1)])
    return below, above


def feasible_gradient(gradient: Float[Array, " n"], point: Float[Array, " n"], bounds: Bounds) -> Float[Array, " n"]:
    """The gradient without what the constraints forbid: zero, to rounding, where `point` is a stationary point.

    Minus the result, in units of the ranges, is the projection of minus the gradient onto the directions in which an
    allowed recipe can move (its tangent cone).
    """
    at_lower, at_upper = active_bounds(point, bounds)
    least, most = jnp.where(at_upper, 0.0, -jnp.inf), jnp.where(at_lower, 0.0, jnp.inf)
    if bounds.total is None:
        return jnp.clip(gradient, least, most)
    weight = bounds.ranges**2
    cone = Bounds(-most, -least, bounds.ranges, jnp.zeros_like(bounds.total))
    tau, _, _ = _multiplier(-gradient * weight, weight, cone)
    return jnp.clip(gradient + tau, least, most)


def significant_gradient(gradient: Float[Array, " n"], point: Float[Array, " n"], bounds: Bounds) -> Float[Array, " n"]:
    """`feasible_gradient` for an optimizer that rescales each component, as adam does: rounding is taken for zero.

    Where the components of a gradient are equal the total lets no amount move, and what is left of them is the
    rounding of a difference: of the component itself, and of the mean, weighted by the squared ranges, that is taken
    off it. Both are measured by coordinate, so that an ingredient of a narrow range, however steep, hides no other.
    """
    allowed = feasible_gradient(gradient, point, bounds)
    if bounds.total is None:
        return allowed
    weight = jnp.where((allowed != 0) & (bounds.lower < bounds.upper), bounds.ranges**2, 0.0)
    heaviest = jnp.maximum(jnp.max(weight), float(np.finfo(weight.dtype).tiny))
    share = weight / heaviest
    mean = jnp.sum(share * jnp.abs(gradient)) / jnp.maximum(jnp.sum(share), 1.0)
    rounding = ROUNDING * float(np.finfo(gradient.dtype).eps) * (jnp.abs(gradient) + mean)
    return jnp.where(jnp.abs(allowed) < rounding, 0.0, allowed)


def active_bounds(point: Float[Array, " n"], bounds: Bounds) -> tuple[Bool[Array, " n"], Bool[Array, " n"]]:
    """Which amounts stand at their lower and which at their upper bound (fixed ones at both)."""
    return point <= bounds.lower, point >= bounds.upper


def violation(point: Float[Array, " n"], bounds: Bounds) -> Float[Array, ""]:
    """How far a recipe is from being allowed: the largest excess over a bound or the total, in the user's units."""
    beyond = jnp.maximum(jnp.max(bounds.lower - point), jnp.max(point - bounds.upper))
    if bounds.total is not None:
        beyond = jnp.maximum(beyond, jnp.abs(jnp.sum(point) - bounds.total))
    return jnp.maximum(beyond, 0.0)
