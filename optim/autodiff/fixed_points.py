"""Fixed points x = f(params, x) of any contraction, differentiated implicitly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

from optim.autodiff.failures import raise_unless
from optim.autodiff.linear_systems import solve_linear


class NotConvergedError(ArithmeticError):
    """An iteration ended before it met its tolerance."""


class Convergence(NamedTuple):
    """How an iteration ended.

    converged: whether the last step met the tolerance.
    iterations: steps taken.
    residual: largest |f(x) − x| / (1 + |x|) over the components at the last step.
    """

    converged: Bool[Array, ""]
    iterations: Int[Array, ""]
    residual: Float[Array, ""]


def fixed_point(
    update: Callable[[Any, Any], Any],
    params: Any,
    init: Any,
    *,
    tol: float | None = None,
    max_iterations: int = 1000,
    on_failure: Literal["flag", "raise"] = "flag",
) -> tuple[PyTree[Inexact[Array, "..."]], Convergence]:
    """Iterate x ← update(params, x) from `init` until x = update(params, x), for an update that is a contraction.

    The criterion is |update(x) − x| ≤ tol (1 + |x|) for every component: relative for large components, absolute for
    small ones. If the update contracts by a factor q, the error left in x is at most about q / (1 − q) times that.

    Derivatives of any order, forward and reverse, come from the implicit function theorem,
    dx = (I − ∂f/∂x)⁻¹ ∂f/∂params dparams, so memory does not grow with the iterations. They are taken also through
    traced values that `update` closes over; `init` gets no gradient. The linear system is solved by a dense
    factorisation for up to 128 components and by GMRES beyond; derivatives are NaN where GMRES fails. Where the
    iteration did not converge, they mean nothing.

    Args:
        update: `update(params, x)` with the structure, shapes and dtypes of x.
        params: pytree of whatever `update` takes.
        init: pytree of floating (real or complex) arrays or numbers. A Python number takes the dtype that `update`
            returns.
        tol: greater than 0. By default 64 machine epsilons of the least precise leaf, because rounding can make x
            swing by 1 / (1 − q) epsilons for ever; once that is met, the iteration goes on as long as every step is
            shorter than the last, so x comes as near as the arithmetic of `update` allows. An update that adds up
            many hundreds of terms may need a larger one.
        max_iterations: at least 1.
        on_failure: `flag` returns the last iterate with `converged=False`; `raise` raises, inside jit as well.

    Returns:
        The last iterate, with the structure of `init`, and how the iteration ended.

    Raises:
        TypeError: `init` is not floating.
        ValueError: a setting is out of range, or `update` returns another structure, shape or dtype than `init` has.
        NotConvergedError: with `raise`, if the tolerance was not met. JAX wraps it inside compiled code.
    """
    _check_settings(tol, max_iterations, on_failure)
    init = _state(lambda x: update(params, x), init)
    tolerance = 64.0 * _epsilon(init) if tol is None else tol
    # Complex components as pairs of reals: the derivative of an update that isn't holomorphic is linear only in those.
    join = _joiner(init)

    def step(parts: PyTree) -> PyTree:
        return _split(update(params, join(parts)))

    parts, (iterations, residual) = lax.custom_root(
        lambda parts: jax.tree.map(jnp.subtract, parts, step(parts)),
        _split(init),
        lambda _, start: _iterate(step, start, tolerance, tol is None, max_iterations),
        solve_linear,
        has_aux=True,
    )
    value = join(parts)
    convergence = Convergence(residual <= tolerance, iterations.astype(jnp.int32), residual)
    if on_failure == "raise":
        error = lambda iterations, residual: _not_converged(int(iterations), float(residual), tolerance)
        value = raise_unless(convergence.converged, error, value, convergence.iterations, residual)
    return value, convergence


def _iterate(
    step: Callable[[PyTree], PyTree], start: PyTree, tolerance: float, to_the_floor: bool, max_iterations: int
) -> tuple[PyTree, tuple[Array, Array]]:
    dtype = jnp.result_type(*jax.tree.leaves(start))
    unknown = jnp.asarray(jnp.finfo(dtype).max, dtype)

    def going_on(carry: tuple[Array, Array, Array, PyTree]) -> Array:
        iterations, previous, residual, _ = carry
        wanted = (residual > tolerance) | (residual < previous) if to_the_floor else residual > tolerance
        # An update that ran off has a residual of NaN, for which the comparisons are false, or of infinity.
        return (iterations < max_iterations) & (residual < jnp.inf) & wanted

    def advance(carry: tuple[Array, Array, Array, PyTree]) -> tuple[Array, Array, Array, PyTree]:
        iterations, _, residual, before = carry
        after = step(before)
        return iterations + 1, residual, _residual(before, after).astype(dtype), after

    first = (jnp.int32(0), jnp.full_like(unknown, jnp.inf), unknown, start)
    iterations, _, residual, last = lax.while_loop(going_on, advance, first)
    # As a float, since JAX gives what is returned beside a root a tangent of its own dtype.
    return last, (iterations.astype(jnp.float32), residual)


def _residual(before: PyTree, after: PyTree) -> Array:
    """Largest relative-and-absolute change of a component; NaN if any is NaN."""
    changes = jax.tree.map(lambda x, y: jnp.max(jnp.abs(y - x) / (1 + jnp.abs(x)), initial=0), before, after)
    return jnp.max(jnp.stack(jax.tree.leaves(changes)))


def _split(state: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.stack([x.real, x.imag]) if jnp.iscomplexobj(x) else x, state)


def _joiner(like: PyTree) -> Callable[[PyTree], PyTree]:
    """The inverse of `_split` for states like the one given."""
    complexes = jax.tree.map(jnp.iscomplexobj, like)
    return lambda parts: jax.tree.map(lambda z, x: lax.complex(x[0], x[1]) if z else x, complexes, parts)


def _epsilon(state: PyTree) -> float:
    return max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(state))


def _state(step: Callable[[PyTree], PyTree], init: PyTree) -> PyTree:
    """`init` as arrays, of which a Python number takes the dtype that a step returns."""
    init = jax.tree.map(jnp.asarray, init)
    for path, leaf in jax.tree_util.tree_leaves_with_path(init):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            place = jax.tree_util.keystr(path)
            raise TypeError(f"init{place} has dtype {leaf.dtype}: a fixed point needs a floating one")
    result = jax.eval_shape(step, init)
    returned, given = str(jax.tree.structure(result)), str(jax.tree.structure(init))
    if returned != given or not jax.tree.leaves(init):
        raise ValueError(f"update returns the structure {returned}, init has {given}: they must be the same, not empty")
    return jax.tree_util.tree_map_with_path(_match, init, result)


def _match(path: Any, start: Array, result: jax.ShapeDtypeStruct) -> Array:
    numeric = start.weak_type and jnp.issubdtype(result.dtype, jnp.inexact)
    dtype = result.dtype if numeric else start.dtype
    if (start.shape, dtype) != (result.shape, result.dtype):
        place = jax.tree_util.keystr(path)
        raise ValueError(
            f"update returns {result.dtype}{list(result.shape)}{place and ' at ' + place}, "
            f"init has {start.dtype}{list(start.shape)}: they must be the same"
        )
    return lax.stop_gradient(lax.convert_element_type(start, np.dtype(dtype)))


def _check_settings(tol: float | None, max_iterations: int, on_failure: str) -> None:
    if tol is not None and not tol > 0:
        raise ValueError(f"tol is {tol}: it must be greater than 0")
    if max_iterations < 1:
        raise ValueError(f"max_iterations is {max_iterations}: it must be at least 1")
    if on_failure not in ("flag", "raise"):
        raise ValueError(f"on_failure is {on_failure!r}: it must be 'flag' or 'raise'")


def _not_converged(iterations: int, residual: float, tolerance: float) -> NotConvergedError:
    return NotConvergedError(
        f"no fixed point after {iterations} iterations: the residual is {residual:.3g}, the tolerance {tolerance:.3g}. "
        "The update may be no contraction; if it is one, allow more iterations or a larger tolerance."
    )
