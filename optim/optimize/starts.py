"""Initial recipes of a bake: from several starts a failure to find the best cake shows."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optim.models.space import RecipeSpace
from optim.optimize.projection import bounds_of, project


def build_starts(
    starts: int | Sequence[dict[str, float]], space: RecipeSpace, random: np.random.Generator
) -> Float[Array, "starts n"]:
    """The centre of the bounds and then random recipes, or the recipes that are given, projected onto the allowed ones.

    Args:
        starts: how many, or the recipes themselves (fixed ingredients may be left out).
        space: the recipes that are allowed.
        random: for the random ones. The first k starts are the same however many there are.
    """
    if isinstance(starts, int):
        unit = np.vstack([np.full(len(space.names), 0.5), random.random((starts - 1, len(space.names)))])
        points = space.lower + (space.upper - space.lower) * unit
    else:
        fixed = dict(zip(space.names, space.lower, strict=True))
        points = np.array([[{**fixed, **recipe}[name] for name in space.names] for recipe in starts])
    bounds = bounds_of(space)
    allowed: Array = jax.jit(jax.vmap(project, in_axes=(0, None)))(jnp.asarray(points), bounds)
    return allowed
