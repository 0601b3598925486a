"""Complex arrays as pairs of real ones: what is not holomorphic has derivatives only in those."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree


def as_pairs(tree: PyTree[Inexact[Array, "..."]]) -> PyTree[Float[Array, "..."]]:
    """The tree with its complex arrays as real ones, whose last axis holds real and imaginary part."""
    return jax.tree.map(lambda x: jnp.stack([x.real, x.imag], axis=-1) if jnp.iscomplexobj(x) else x, tree)


def joiner(like: PyTree[Inexact[Array | jax.ShapeDtypeStruct, "..."]]) -> Callable[[PyTree[Array]], PyTree[Array]]:
    """The inverse of `as_pairs` for trees of this one's shapes and types."""
    complexes = jax.tree.map(jnp.iscomplexobj, like)
    join = lambda is_complex, x: jax.lax.complex(x[..., 0], x[..., 1]) if is_complex else x
    return lambda pairs: jax.tree.map(join, complexes, pairs)
