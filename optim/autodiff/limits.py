"""A custom VJP that limits the gradient of chosen components, and counts what it limited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey, all_leaves, keystr, tree_map_with_path
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from optim.autodiff.labels import Labelled
from optim.autodiff.names import unknown_name
from optim.autodiff.trees import form, outline

Path = tuple[Any, ...]


@jax.custom_vjp
def _limit(x: Array, limit: Array, tally: Array) -> Array:
    return x


def _forward(x: Array, limit: Array, tally: Array) -> tuple[Array, tuple[Array, Array]]:
    return x, (limit, tally)


def _backward(residuals: tuple[ArrayLike, ArrayLike], cotangent: Array) -> tuple[Array, Array, Array]:
    limit, tally = (jnp.asarray(residual) for residual in residuals)  # JAX hands constants back as NumPy arrays
    over = jnp.abs(cotangent) > limit  # false for NaN: it passes through `clip` below and stays visible
    # `clip` to a negative limit would turn the sign round.
    clipped = jnp.where(limit >= 0, jnp.clip(cotangent, -limit, limit), jnp.nan)
    return clipped, jnp.zeros_like(limit), over.astype(tally.dtype)


_limit.defvjp(_forward, _backward)


def limit_gradient(
    x: PyTree[ArrayLike], limit: PyTree, tally: PyTree[Float[Array, "..."]] | None = None
) -> PyTree[Float[Array, "..."]]:
    """Return `x` unchanged, with its gradient clipped to ±`limit` in reverse mode.

    Works under jit, vmap and scan. A NaN in the cotangent is not hidden; an infinite one is clipped. Where a limit that
    is known only when the program runs is negative or NaN, the gradient is NaN.

    Args:
        x: array or pytree of real floating arrays.
        limit: greatest absolute gradient: a scalar, an array that broadcasts to `x`, or a pytree of such with the
            structure of `x`. For a mapping, or a Labelled vector, it may name some of the entries; the others are
            unlimited. Infinity means no limit as well.
        tally: zeros with the structure and shapes of `x`. The gradient *with respect to the tally* counts, component by
            component, how often the limit was exceeded (the rule has no other way to report what happened in the
            backward pass).

    Raises:
        TypeError: an array in `x` is not real and floating, or a limit is not a real number.
        ValueError: a limit is negative or NaN, or does not broadcast to what it limits; it names an entry that `x`
            doesn't have; or limits or tally are a tree of another structure than `x`.
    """
    x = jax.tree.map(_real, x)
    tallies = jax.tree.map(jnp.zeros_like, x) if tally is None else tally
    if form(tallies) != form(x):
        raise ValueError(f"the tally must have the structure and shapes of `x`, {outline(x)}: it is {outline(tallies)}")
    return jax.tree.map(_limit, x, _spread(limit, x, ()), tallies)


def _spread(limit: PyTree, x: PyTree, path: Path) -> PyTree[Array]:
    """A limit for every number of `x`, which stands at `path`: infinity for those that are not named."""
    if isinstance(limit, Mapping):
        return _spread_names(limit, x, path)
    if all_leaves([limit]):
        return jax.tree.map(lambda leaf: _bound(limit, leaf, path), x)
    if form(limit)[0] != form(x)[0]:
        raise ValueError(
            f"{_called(path)} is {limit!r}: it must be a number, an array, numbers by name, or a tree with the "
            f"structure of what it limits, {outline(x)}"
        )
    return tree_map_with_path(lambda more, leaf, bound: _bound(bound, leaf, path + more), x, limit)


def _spread_names(limits: Mapping[Any, PyTree], x: PyTree, path: Path) -> PyTree[Array]:
    if isinstance(x, Labelled) and len(x.labels) == 1 and x.labels[0] is not None:
        return _spread_labels(limits, x, x.labels[0], path)
    if not isinstance(x, Mapping):
        raise ValueError(f"{_called(path)} is given for {sorted(map(str, limits))}, but what they limit has no names")
    _require_known(limits, x, path)
    return tree_map_with_path(
        lambda more, entry: _spread(limits.get(more[0].key, np.inf), entry, path + more),
        x,
        is_leaf=lambda node: node is not x,
    )


def _spread_labels(limits: Mapping[str, PyTree], x: Labelled, names: tuple[str, ...], path: Path) -> Labelled:
    _require_known(limits, names, path)
    one = jnp.zeros((), x.values.dtype)
    numbers = [_spread(limit, one, (*path, DictKey(name))) for name, limit in limits.items()]
    places = np.array([names.index(name) for name in limits], int)
    last = jnp.full(len(names), jnp.inf, x.values.dtype).at[places].set(jnp.array(numbers, x.values.dtype))
    return Labelled(jnp.broadcast_to(last, x.values.shape), x.labels)


def _require_known(limits: Mapping[Any, PyTree], names: Any, path: Path) -> None:
    for name in limits:
        if name not in names:
            raise ValueError(f"{_called(path)}: {unknown_name(name, names)}")


def _bound(limit: Any, leaf: Array, path: Path) -> Array:
    """The limit as an array like the one it limits."""
    given = limit if isinstance(limit, jax.core.Tracer) else np.asarray(limit)
    if not (jnp.issubdtype(given.dtype, jnp.floating) or jnp.issubdtype(given.dtype, jnp.integer)):
        raise TypeError(f"{_called(path)} is {limit!r}: it must be a real number, or an array of them")
    if not _broadcasts(given.shape, leaf.shape):
        raise ValueError(
            f"{_called(path)} has shape {given.shape}, which does not broadcast to the shape {leaf.shape} of what it "
            "limits"
        )
    if not isinstance(given, jax.core.Tracer) and not np.all(np.asarray(given) >= 0):
        raise ValueError(f"{_called(path)} is {limit}: it must be 0 or greater")
    return jnp.broadcast_to(jnp.asarray(given, leaf.dtype), leaf.shape)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def _called(path: Path) -> str:
    return "the gradient limit" + (f" for `{keystr(path, simple=True, separator='.')}`" if path else "")


def _real(leaf: ArrayLike) -> Array:
    array = jnp.asarray(leaf)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"a gradient is limited for real floating numbers only, not for {array.dtype}")
    return array
