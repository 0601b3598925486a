"""What can be said for an answer: how many starts agree, what is violated, what is active."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optim.models.space import RecipeSpace
from optim.optimize.region import Region, active_bounds, feasible_gradient, region_of, violation

AGREEMENT = 1e-4


@dataclass(frozen=True)
class Certificate:
    """Evidence for the best cake.

    Attributes:
        starts: how many starts were trained.
        agreeing: how many ended within 1e-4 of the best score, relative to 1 + |score|.
        max_violation: largest excess over a bound or the total, in the user's units.
        stationarity: largest slope of the score along an allowed direction, per range of an ingredient; 0 at a peak.
        active: bounds that hold the recipe back, such as `sugar max`.
    """

    starts: int
    agreeing: int
    max_violation: float
    stationarity: float
    active: tuple[str, ...]


def certify(
    space: RecipeSpace,
    recipes: Float[np.ndarray, "starts d"],
    scores: Float[np.ndarray, " starts"],
    gradient: Float[np.ndarray, " d"],
) -> Certificate:
    """Certificate of the recipe with the highest score.

    Args:
        space: the recipes that are allowed.
        recipes: the trained recipes, with their settings, in the order of `space.coordinates`.
        scores: their scores. High is good.
        gradient: gradient of the score at the best recipe, free of limits.
    """
    best = int(np.argmax(scores))
    region, point = region_of(space), recipes[best]
    slope, excess = jax.jit(_examine)(jnp.asarray(gradient), jnp.asarray(point), region)
    sides = zip(space.coordinates, *active_bounds(jnp.asarray(point), region), strict=True)
    active = [
        f"{name} {side}"
        for name, at_lower, at_upper in sides
        for side, is_at in (("min", at_lower), ("max", at_upper))
        if is_at
    ]
    return Certificate(
        starts=len(scores),
        agreeing=int(np.sum(scores >= scores[best] - AGREEMENT * (1 + abs(scores[best])))),
        max_violation=float(excess),
        stationarity=float(slope),
        active=tuple(active),
    )


def _examine(
    gradient: Float[Array, " d"], point: Float[Array, " d"], region: Region
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Largest slope of the score along an allowed direction, per range; and the violation."""
    slope = feasible_gradient(-gradient, point, region) * region.ranges
    return jnp.max(jnp.abs(slope)), violation(point, region)
