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
SOLVED, ACCEPTED = 2, 16  # machine epsilons in a residual: up to which no more is tried, and what rounding may leave
BLOCK, BLOCKS = 100, 1000  # iterations between two looks at the residual, and how many such blocks at most


def solve_linear(apply: Callable[[PyTree], PyTree], target: PyTree) -> PyTree:
    """Solve apply(x) = target for a linear `apply` from a pytree of real arrays to one like it.

    The matrix A is built for up to 128 components; beyond, GMRES needs no more than products with it, and what GMRES
    leaves is solved again, once. Where more than 2 ε are left, x ← x − A x + target is iterated, which converges
    whenever I − A contracts. A solution is accepted if |A x − target| ≤ 16 ε (|x| + |target|) in the Euclidean norm,
    where ε is the machine epsilon. It can be differentiated, any number of times and in either mode. It is not finite
    where the system is singular, and NaN where neither way succeeds.
    """
    flat, unravel = ravel_pytree(target)

    def matvec(x: Array) -> Array:
        return ravel_pytree(apply(unravel(x)))[0]

    if flat.size == 1:
        return unravel(flat / matvec(jnp.ones_like(flat)))
    if flat.size <= LARGEST_DENSE:
        columns = jax.vmap(matvec)(jnp.eye(flat.size, dtype=flat.dtype))
        solved = jnp.promote_types(flat.dtype, jnp.float32)  # LAPACK knows no half precision
        return unravel(jnp.linalg.solve(columns.T.astype(solved), flat.astype(solved)).astype(flat.dtype))
    return unravel(lax.custom_linear_solve(matvec, flat, _solve_by_products, _solve_by_products))


def _solve_by_products(matvec: Callable[[Array], Array], target: Array) -> Array:
    epsilon = float(jnp.finfo(target.dtype).eps)
    largest = jnp.max(jnp.abs(target))
    scale = jnp.where(largest > 0, largest, 1)  # the squares in a norm would overflow, or vanish
    unit = target / scale
    length = jnp.linalg.norm(unit)

    def within(epsilons: int, x: Array, residual: Array) -> Array:
        return jnp.linalg.norm(residual) <= epsilons * epsilon * (jnp.linalg.norm(x) + length)

    # A loop, so that GMRES is compiled once for both.
    x, residual = lax.fori_loop(0, 2, lambda _, state: _refine(matvec, unit, *state), (jnp.zeros_like(unit), unit))
    poor = ~within(SOLVED, x, residual)
    iterated, left = _iterate(matvec, unit, jnp.where(jnp.all(jnp.isfinite(x)), x, 0), poor)
    better = poor & ~(jnp.linalg.norm(left) >= jnp.linalg.norm(residual))
    x, residual = jnp.where(better, iterated, x), jnp.where(better, left, residual)
    return jnp.where(within(ACCEPTED, x, residual), x * scale, jnp.nan)


def _refine(matvec: Callable[[Array], Array], target: Array, x: Array, residual: Array) -> tuple[Array, Array]:
    """Add to x what GMRES finds for its residual."""
    epsilon = float(jnp.finfo(target.dtype).eps)
    change, _ = gmres(matvec, residual, tol=epsilon**0.75, maxiter=200, solve_method="incremental")
    return x + change, target - matvec(x + change)


def _iterate(matvec: Callable[[Array], Array], target: Array, start: Array, wanted: Array) -> tuple[Array, Array]:
    """Add the residual to x as long as that makes it smaller: not at every step, but over every block of them."""

    def going_on(carry: tuple[Array, Array, Array, Array]) -> Array:
        blocks, previous, _, residual = carry
        return wanted & (blocks < BLOCKS) & (jnp.linalg.norm(residual) < previous)

    def advance(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        blocks, _, x, residual = carry
        step = lambda _, state: (state[0] + state[1], target - matvec(state[0] + state[1]))
        return blocks + 1, jnp.linalg.norm(residual), *lax.fori_loop(0, BLOCK, step, (x, residual))

    first = (jnp.int32(0), jnp.asarray(jnp.inf, target.dtype), start, target - matvec(start))
    _, _, x, residual = lax.while_loop(going_on, advance, first)
    return x, residual
