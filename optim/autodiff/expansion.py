"""A function at one point, for the many derivatives that are taken of it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Inexact, PyTree

from optim.autodiff.failures import lacks_forward_mode
from optim.autodiff.matrices import chosen_mode
from optim.autodiff.pairs import as_pairs, joiner


@jax.custom_jvp
def _expanded(vector: Array, value: Array, slopes: Array) -> Array:
    return value


@_expanded.defjvp
def _tangent(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    _, value, slopes = primals
    return value, jnp.matmul(slopes, tangents[0], precision="highest").astype(value.dtype)


def first_order(
    f: Callable[[Any], PyTree[Float[Array, "..."]]], point: PyTree[Inexact[Array, "..."]]
) -> Callable[[Any], PyTree[Float[Array, "..."]]]:
    """The function, whose value and slopes are worked out once: each of many gradients then costs a product with them.

    Under `jax.vmap` of `jax.grad`, JAX goes back through `f` again for every cotangent, though the point is the same.

    Args:
        f: gives a tree of real arrays.
        point: array or pytree of arrays, real or complex.

    Returns:
        A function right in its value and its first derivatives at the point, and nowhere else; `f` itself where it has
        a `jax.custom_vjp` rule, whose backward pass need not be linear (that of `limit_gradient` is not).
    """
    join, (vector, unravel) = joiner(point), ravel_pytree(as_pairs(point))
    value, restore = ravel_pytree(f(point))
    of_vector = lambda vector: ravel_pytree(f(join(unravel(vector))))[0]
    try:
        jax.eval_shape(jax.jacfwd(of_vector), vector)
    except TypeError as error:
        if not lacks_forward_mode(error):
            raise
        return f
    jacobian = jax.jacrev if chosen_mode(vector.size, value.size) == "reverse" else jax.jacfwd
    known = value, jacobian(of_vector)(vector)
    return lambda tree: restore(_expanded(ravel_pytree(as_pairs(tree))[0], *known))
