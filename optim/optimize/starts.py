"""Initial recipes of a bake: from several starts a failure to find the best cake shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Array, Float

from optim.data.streams import stream
from optim.models.arrays import on_device
from optim.models.space import RecipeSpace, as_parts
from optim.optimize.region import project, region_of

Start = Mapping[str, float | tuple[float, float]]
"""Amounts and settings by name; a complex setting by its two parts."""


def build_starts(
    starts: int | Sequence[Start], space: RecipeSpace, random: np.random.Generator
) -> Float[Array, "starts d"]:
    """The centre of the bounds and then random recipes, or the recipes that are given, projected onto the allowed ones.

    Args:
        starts: how many, or the recipes themselves (what is fixed may be left out).
        space: the recipes that are allowed.
        random: for the random ones. The first k starts are the same however many there are.

    Returns:
        One row a start, in the order of `space.coordinates`.
    """
    lower, upper = space.bounds
    if isinstance(starts, int):
        unit = np.vstack([np.full(len(lower), 0.5), random.random((starts - 1, len(lower)))])
        points = lower + (upper - lower) * unit
    else:
        points = np.stack([_given(space, start) for start in starts])
    return _allowed(points, space)


def build_others(count: int, space: RecipeSpace) -> Float[Array, "count d"]:
    """The centre of the bounds and then random recipes, to look at beside trained ones.

    Each coordinate has random numbers of its own, by its name: neither the order of the ingredients nor another
    ingredient beside them changes what is looked at.
    """
    lower, upper = space.bounds
    random = np.column_stack([stream(0, f"looked at/{name}").random(count - 1) for name in space.coordinates])
    return _allowed(lower + (upper - lower) * np.vstack([np.full(len(lower), 0.5), random]), space)


def _allowed(points: Float[np.ndarray, "points d"], space: RecipeSpace) -> Float[Array, "points d"]:
    """The allowed recipes nearest to some points."""
    allowed: Array = _nearest(on_device(points), region_of(space))
    return allowed


_nearest = jax.jit(jax.vmap(project, in_axes=(0, None)))


def _given(space: RecipeSpace, start: Start) -> Float[np.ndarray, " d"]:
    """The coordinates of a recipe; what it leaves out is fixed, and has equal bounds."""
    amounts = [start.get(name, low) for name, low in zip(space.names, space.lower, strict=True)]
    settings = [
        as_parts(start[name], len(one.lower)) if name in start else one.lower for name, one in space.settings.items()
    ]
    return np.concatenate([np.asarray(amounts, float), *settings])
