"""A custom VJP that limits the gradient of chosen components, and counts what it limited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from optim.autodiff.names import unknown_name


@jax.custom_vjp
def _limit(x: Array, limit: Array, tally: Array) -> Array:
    return x


def _forward(x: Array, limit: Array, tally: Array) -> tuple[Array, tuple[Array, Array]]:
    return x, (limit, tally)


def _backward(residuals: tuple[ArrayLike, ArrayLike], cotangent: Array) -> tuple[Array, Array, Array]:
    limit, tally = (jnp.asarray(residual) for residual in residuals)  # JAX hands constants back as NumPy arrays
    over = jnp.abs(cotangent) > limit  # false for NaN: it passes through `clip` below and stays visible
    return jnp.clip(cotangent, -limit, limit), jnp.zeros_like(limit), over.astype(tally.dtype)


_limit.defvjp(_forward, _backward)


def limit_gradient(
    x: PyTree[ArrayLike], limit: PyTree, tally: PyTree[Float[Array, "..."]] | None = None
) -> PyTree[Float[Array, "..."]]:
    """Return `x` unchanged, with its gradient clipped to ±`limit` in reverse mode.

    Works under jit, vmap and scan. A NaN in the cotangent is not hidden; an infinite one is clipped.

    Args:
        x: array or pytree of real floating arrays.
        limit: greatest absolute gradient: a scalar, an array that broadcasts to `x`, or a pytree of such with the
            structure of `x`. For a mapping it may name some of the entries; the others are unlimited. Infinity means
            no limit as well.
        tally: zeros shaped like `x`. The gradient *with respect to the tally* counts, component by component, how
            often the limit was exceeded (the rule has no other way to report what happened in the backward pass).

    Raises:
        TypeError: an array in `x` is not real and floating.
        ValueError: a limit is negative or NaN (limits that are traced can't be checked); it names an entry that `x`
            doesn't have; or the limits are a tree of another structure than `x`.
    """
    x = jax.tree.map(_real, x)
    tallies = jax.tree.map(jnp.zeros_like, x) if tally is None else tally

    def one(leaf: Array, bound: ArrayLike, count: Array) -> Array:
        _check(bound)
        return _limit(leaf, jnp.broadcast_to(jnp.asarray(bound, leaf.dtype), leaf.shape), count)

    return jax.tree.map(one, x, _spread(limit, x), tallies)


def _spread(limit: PyTree, x: PyTree) -> PyTree:
    """A limit for every array of `x`: infinity for entries that are not named."""
    if isinstance(limit, Mapping):
        return _spread_names(limit, x)
    one_for_all = jax.tree_util.treedef_is_leaf(jax.tree.structure(limit))
    return jax.tree.map(lambda _: limit, x) if one_for_all else limit


def _spread_names(limits: Mapping[Any, PyTree], x: PyTree) -> PyTree:
    if not isinstance(x, Mapping):
        raise ValueError(f"limits are given for {sorted(map(str, limits))}, but what they limit has no names")
    for name in limits:
        if name not in x:
            raise ValueError(f"gradient limit: {unknown_name(name, x)}")
    return jax.tree_util.tree_map_with_path(
        lambda path, entry: _spread(limits.get(path[0].key, np.inf), entry), x, is_leaf=lambda node: node is not x
    )


def _real(leaf: ArrayLike) -> Array:
    array = jnp.asarray(leaf)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"a gradient is limited for real floating numbers only, not for {array.dtype}")
    return array


def _check(limit: ArrayLike) -> None:
    if not isinstance(limit, jax.core.Tracer) and not np.all(np.asarray(limit) >= 0):
        raise ValueError(f"a gradient limit is {limit}: it must be 0 or greater")
