"""Linear systems whose matrix is known by its products only."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import gmres
from jaxtyping import Array, PyTree

LARGEST_DENSE = 128  # components up to which building the matrix is the quicker way


def solve_linear(apply: Callable[[PyTree], PyTree], target: PyTree) -> PyTree:
    """Solve apply(x) = target for a linear `apply` from a pytree of real arrays to one like it.

    The matrix is built for up to 128 components; beyond, GMRES needs no more than products with it. The solution can
    be differentiated, any number of times and in either mode. It is not finite where the system is singular, and NaN
    where GMRES fails.
    """
    flat, unravel = ravel_pytree(target)

    def matvec(x: Array) -> Array:
        return ravel_pytree(apply(unravel(x)))[0]

    if flat.size == 1:
        return unravel(flat / matvec(jnp.ones_like(flat)))
    if flat.size <= LARGEST_DENSE:
        columns = jax.vmap(matvec)(jnp.eye(flat.size, dtype=flat.dtype))
        return unravel(jnp.linalg.solve(columns.T, flat))
    return unravel(lax.custom_linear_solve(matvec, flat, _solve_by_gmres, _solve_by_gmres))


def _solve_by_gmres(matvec: Callable[[Array], Array], target: Array) -> Array:
    """The solution, or NaN if the residual stays above √ε of the target."""
    epsilon = float(jnp.finfo(target.dtype).eps)
    largest = jnp.max(jnp.abs(target))
    scale = jnp.where(largest > 0, largest, 1)  # the squares in a norm would overflow, or vanish
    unit = target / scale
    solution, _ = gmres(matvec, unit, tol=epsilon**0.75, maxiter=200, solve_method="incremental")
    error = jnp.linalg.norm(matvec(solution) - unit)
    return jnp.where(error <= epsilon**0.5 * jnp.linalg.norm(unit), solution * scale, jnp.nan)
