"""The bakery with names: what the tests of the derivative operators share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from optim.autodiff.labels import Labelled
from optim.models.properties import Bakery

ORDER = ("butter", "eggs", "flour", "sugar")
PROPERTIES = ("sweetness", "fluffiness", "cost")
START = (1.0, 3.0, 2.0, 1.5)

bakery = Bakery(ORDER)


def start() -> Labelled:
    return Labelled.vector(ORDER, START)


def properties(recipe: Labelled) -> Labelled:
    return Labelled.vector(bakery.names, bakery(recipe.values))


def deliciousness(recipe: Labelled) -> Array:
    sweetness, fluffiness, cost = properties(recipe)
    return -((sweetness - 10) ** 2) - (fluffiness - 5) ** 2 - 0.5 * cost


def moved(point: PyTree, direction: PyTree, length: float) -> PyTree:
    return jax.tree.map(lambda x, v: x + length * v, point, direction)


def slope(f: Callable[[Any], PyTree], point: PyTree, direction: PyTree, step: float = 1e-5) -> PyTree:
    """Central finite difference along a direction; in float64 its error is near 1e-10 of the function's scale."""
    above, below = (f(moved(point, direction, length)) for length in (step, -step))
    return jax.tree.map(lambda a, b: (a - b) / (2 * step), above, below)


def assert_close(found: PyTree, wanted: PyTree, rtol: float, atol: float) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), found, wanted)


def assert_transforms(operate: Callable[[Labelled], PyTree]) -> None:
    """Compiled once, batched and inside a scan it gives the same, and its derivative is that of finite differences."""
    traces = []

    def counted(recipe: Labelled) -> PyTree:
        traces.append(recipe)
        return operate(recipe)

    compiled = jax.jit(counted)
    recipes = [moved(start(), start(), 0.1 * k) for k in range(3)]
    alone = [compiled(recipe) for recipe in recipes]
    assert len(traces) == 1

    batch, wanted = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (recipes, alone))
    assert_close(jax.jit(jax.vmap(operate))(batch), wanted, rtol=1e-12, atol=1e-12)
    _, scanned = jax.lax.scan(lambda carry, recipe: (carry, operate(recipe)), 0, batch)
    assert_close(scanned, wanted, rtol=1e-12, atol=1e-12)

    direction = Labelled.vector(ORDER, (0.3, -0.2, 0.5, 0.7))
    gradient = jax.jit(jax.grad(lambda recipe: total(operate(recipe))))(start())
    change = slope(lambda recipe: total(compiled(recipe)), start(), direction)
    np.testing.assert_allclose(gradient.values @ direction.values, change, rtol=1e-8, atol=1e-8)


def total(tree: PyTree) -> Array:
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(tree))
