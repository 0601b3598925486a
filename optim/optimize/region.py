"""The region of allowed cakes: amounts inside their bounds with their total, then settings inside bounds of their own.

A cake is one real vector here, in the order of `RecipeSpace.coordinates`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from optim.models.arrays import on_device
from optim.models.space import RecipeSpace, widths
from optim.optimize import projection
from optim.optimize.projection import Bounds, bounds_of


class Region(NamedTuple):
    """What a cake must keep to. `settings` is None where there are none."""

    amounts: Bounds
    settings: Bounds | None

    @property
    def ranges(self) -> Float[Array, " d"]:
        """Width of every coordinate's bounds; 1 where it is fixed, so that it can divide."""
        return _joined(self, lambda bounds: bounds.ranges)

    @property
    def widths(self) -> Float[Array, " d"]:
        """Width of every coordinate's bounds; 0 where it is fixed."""
        return _joined(self, lambda bounds: bounds.upper - bounds.lower)


def region_of(space: RecipeSpace) -> Region:
    """The region of a recipe space, in the run's precision."""
    if not space.settings:
        return Region(bounds_of(space), None)
    lower, upper = (side[len(space.names) :] for side in space.bounds)
    bounds = Bounds(on_device(lower), on_device(upper), on_device(widths(lower, upper)), None)
    return Region(bounds_of(space), bounds)


def project(point: Float[Array, " d"], region: Region) -> Float[Array, " d"]:
    """The allowed cake nearest to `point` (`optim.optimize.projection.project`)."""
    return _joined(region, projection.project, point)


def feasible_gradient(gradient: Float[Array, " d"], point: Float[Array, " d"], region: Region) -> Float[Array, " d"]:
    """The gradient without what the constraints forbid (`optim.optimize.projection.feasible_gradient`)."""
    return _joined(region, projection.feasible_gradient, gradient, point)


def significant_gradient(gradient: Float[Array, " d"], point: Float[Array, " d"], region: Region) -> Float[Array, " d"]:
    """The same with rounding taken for zero (`optim.optimize.projection.significant_gradient`)."""
    return _joined(region, projection.significant_gradient, gradient, point)


def active_bounds(point: Float[Array, " d"], region: Region) -> tuple[Bool[Array, " d"], Bool[Array, " d"]]:
    """Which free coordinates stand at their lower and which at their upper bound."""
    at_lower = _joined(region, lambda point, bounds: (point <= bounds.lower) & (bounds.lower < bounds.upper), point)
    at_upper = _joined(region, lambda point, bounds: (point >= bounds.upper) & (bounds.lower < bounds.upper), point)
    return at_lower, at_upper


def violation(point: Float[Array, " d"], region: Region) -> Float[Array, ""]:
    """How far a cake is from being allowed: the largest excess over a bound or the total, in the user's units."""
    return jnp.max(_joined(region, lambda point, bounds: projection.violation(point, bounds)[None], point))


def _joined(region: Region, function: Callable[..., Array], *vectors: Float[Array, " d"]) -> Array:
    """What a function of a part of some vectors and of that part's bounds gives, part after part."""
    if region.settings is None:
        return function(*vectors, region.amounts)
    count = region.amounts.lower.shape[0]
    amounts = function(*(vector[:count] for vector in vectors), region.amounts)
    settings = function(*(vector[count:] for vector in vectors), region.settings)
    return jnp.concatenate([amounts, settings])
