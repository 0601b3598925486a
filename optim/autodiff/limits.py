"""A custom VJP that limits the gradient of chosen components, and counts what it limited."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree


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
    x: PyTree[Float[Array, "..."]], limit: PyTree, tally: PyTree[Float[Array, "..."]] | None = None
) -> PyTree[Float[Array, "..."]]:
    """Return `x` unchanged, with its gradient clipped to ±`limit` in reverse mode.

    Works under jit, vmap and scan. A NaN in the cotangent is not hidden; an infinite one is clipped.

    Args:
        x: array or pytree of real arrays.
        limit: greatest absolute gradient: a scalar, an array that broadcasts to `x`, or a pytree of such with the
            structure of `x`. Infinity means no limit.
        tally: zeros shaped like `x`. The gradient *with respect to the tally* counts, component by component, how
            often the limit was exceeded (the rule has no other way to report what happened in the backward pass).

    Raises:
        ValueError: the limits are a tree of another structure than `x`.
    """
    one_for_all = jax.tree_util.treedef_is_leaf(jax.tree.structure(limit))
    limits = jax.tree.map(lambda _: limit, x) if one_for_all else limit
    tallies = jax.tree.map(jnp.zeros_like, x) if tally is None else tally

    def one(leaf: Array, bound: ArrayLike, count: Array) -> Array:
        return _limit(leaf, jnp.broadcast_to(jnp.asarray(bound, leaf.dtype), leaf.shape), count)

    return jax.tree.map(one, x, limits, tallies)
