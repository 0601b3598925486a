"""How far an iterate is from the fixed point it approaches, and the correction by Newton's method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from optim.autodiff.linear_systems import LARGEST_DENSE, solve_linear

PRODUCTS = 16  # with the Jacobian of a large state, half of which show the rate


def correct(
    step: Callable[[Any], Any],
    x: PyTree[Float[Array, "..."]],
    wanted: Bool[Array, ""],
    allowed: float,
) -> tuple[PyTree[Float[Array, "..."]], Float[Array, ""], Float[Array, ""]]:
    """One correction x + (I − J)⁻¹ (step(x) − x) towards x = step(x), where J is the Jacobian of `step` at x.

    The iterate stays as it was if the correction is not finite or makes the residual larger. With more than 128
    components, for which the solution takes longer than many steps, it also stays if that is `wanted` no more or if
    a quick estimate of its error is at most `allowed`.

    Returns:
        The better iterate, its residual, and an estimate of the error |x − x*| left in it, relative to 1 + the largest
        |x| of the same leaf: the correction, as far as it did not reduce the residual, and (I − J)⁻¹ ε s for the
        rounding of `step`, where s is the largest |x| of the leaf with the signs of x. The quick one is the residual
        and ε, times the sum of the |Jᵏ t| for k ≥ 0, where t is 1 + |x| with the signs of x: 16 of them computed, and
        a geometric series from there. It is not finite where I − J is singular.
    """
    after, derivative = jax.linearize(step, x)
    residual, difference = relative_change(x, after), jax.tree.map(jnp.subtract, after, x)

    def solve() -> tuple[PyTree, Array, Array]:
        invert = lambda target: solve_linear(lambda v: jax.tree.map(jnp.subtract, v, derivative(v)), target)
        largest = lambda x: jnp.max(jnp.abs(x), initial=0)
        rounding = jax.tree.map(lambda x: jnp.finfo(x.dtype).eps * jnp.copysign(largest(x), x), x)
        changes, amplified = _pair(invert, difference, rounding)
        corrected = jax.tree.map(jnp.add, x, changes)
        remaining = relative_change(corrected, step(corrected))
        better = remaining <= residual
        kept = jnp.where(better, remaining / jnp.where(residual > 0, residual, 1), 1)
        error = kept * relative_size(changes, x) + relative_size(amplified, x)
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), corrected, x)
        return best, jnp.where(better, remaining, residual), error

    if sum(leaf.size for leaf in jax.tree.leaves(x)) <= LARGEST_DENSE:
        return solve()
    epsilon = max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(x))
    quick = (relative_size(difference, x) + epsilon) * _amplification(derivative, x)
    return lax.cond(wanted & ~(quick <= allowed), solve, lambda: (x, residual, quick))


def relative_change(before: PyTree[Float[Array, "..."]], after: PyTree[Float[Array, "..."]]) -> Float[Array, ""]:
    """Largest |after − before| / (1 + |before|) of a component; NaN if any is NaN."""
    return _largest(jax.tree.map(lambda x, y: (y - x) / (1 + jnp.abs(x)), before, after))


def relative_size(changes: PyTree[Float[Array, "..."]], x: PyTree[Float[Array, "..."]]) -> Float[Array, ""]:
    """Largest change, relative to 1 + the largest |x| of the same leaf; NaN if any is NaN."""
    return _largest(jax.tree.map(lambda change, x: change / (1 + jnp.max(jnp.abs(x), initial=0)), changes, x))


def _amplification(derivative: Callable[[Any], Any], x: PyTree) -> Array:
    start = jax.tree.map(_signed, x)
    sizes = lax.scan(lambda v, _: (derivative(v), relative_size(v, x)), start, length=PRODUCTS + 1)[1]
    half, last = sizes[PRODUCTS // 2], sizes[PRODUCTS]
    rate = (last / jnp.where(half > 0, half, 1)) ** (2 / PRODUCTS)
    return jnp.sum(sizes[:-1]) + jnp.where(rate < 1, last / (1 - rate), jnp.inf)


def _signed(x: Array) -> Array:
    return jnp.copysign(1 + jnp.abs(x), x)


def _largest(state: PyTree) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf), initial=0) for leaf in jax.tree.leaves(state)]))


def _pair(function: Callable[[Any], Any], first: PyTree, second: PyTree) -> tuple[PyTree, PyTree]:
    """A function of both, side by side."""
    both = jax.vmap(function)(jax.tree.map(lambda *leaves: jnp.stack(leaves), first, second))
    return jax.tree.map(lambda leaf: leaf[0], both), jax.tree.map(lambda leaf: leaf[1], both)
