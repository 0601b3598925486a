"""Fixed points x = f(params, x) of any contraction, differentiated implicitly."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, SupportsIndex, SupportsInt

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

from optim.autodiff.corrections import correct, relative_change
from optim.autodiff.failures import raise_unless
from optim.autodiff.linear_systems import solve_linear
from optim.autodiff.pairs import as_pairs, joiner


class NotConvergedError(ArithmeticError):
    """An iteration ended before it met its tolerance."""


class Convergence(NamedTuple):
    """How an iteration ended.

    converged: whether the residual meets the tolerance, and the error is small enough (see `fixed_point`).
    iterations: steps taken.
    residual: largest |f(x) − x| / (1 + |x|) over the components of the value returned, or at the last step where that
        went too far to be corrected.
    error: estimate of the largest |x − x*| in the value returned, relative to 1 + the largest |x| of the same leaf;
        not finite where the update does not contract. It means nothing where the residual misses the tolerance.
    """

    converged: Bool[Array, ""]
    iterations: Int[Array, ""]
    residual: Float[Array, ""]
    error: Float[Array, ""]


def fixed_point(
    update: Callable[[Any, Any], Any],
    params: Any,
    init: Any,
    *,
    tol: float | Array | None = None,
    max_iterations: SupportsInt = 1000,
    on_failure: Literal["flag", "raise"] = "flag",
) -> tuple[PyTree[Inexact[Array, "..."]], Convergence]:
    """Iterate x ← update(params, x) from `init` until x = update(params, x), for an update that is a contraction.

    The criterion is |update(x) − x| ≤ tol (1 + |x|) for every component: relative for large components, absolute for
    small ones. If the update contracts by a factor q, the error left in x is at most about q / (1 − q) times that.

    One correction by Newton's method, x + (I − ∂f/∂x)⁻¹ (update(x) − x), takes most of that away; with more than 128
    components it is made where it is needed only. Short steps also come from an update that hardly contracts, or not
    at all: hence the error left is estimated, with about ε / (1 − q) for the rounding of `update`, and must be at most
    2 √ε, or 1000 tol if that is more (but not more than 0.1), where ε is the machine epsilon. So q may come as near to
    1 as about 0.9998 in single precision and 1 − 1e-8 in double.

    Derivatives of any order, forward and reverse, come from the implicit function theorem,
    dx = (I − ∂f/∂x)⁻¹ ∂f/∂params dparams, so memory does not grow with the iterations. They are taken also through
    traced values that `update` closes over; `init` gets no gradient. The linear system is solved by a dense
    factorisation for up to 128 components and by products beyond, see `solve_linear`; derivatives are NaN where
    that fails. Where the iteration did not converge, they mean nothing.

    Args:
        update: `update(params, x)` with the structure, shapes and dtypes of x.
        params: pytree of whatever `update` takes.
        init: pytree of floating (real or complex) arrays or numbers. A Python number takes the dtype that `update`
            returns.
        tol: greater than 0, finite, and known when the function is traced. By default 64 machine epsilons of the least
            precise leaf, because rounding can make x swing by 1 / (1 − q) epsilons for ever; once that is met, the
            iteration goes on as long as every step is shorter than the last, so x comes as near as the arithmetic of
            `update` allows. An update that adds up many hundreds of terms may need a larger one.
        max_iterations: a whole number, at least 1.
        on_failure: `flag` returns the last iterate with `converged=False`; `raise` raises, inside jit as well.

    Returns:
        The corrected iterate (the last one if it missed the tolerance), with the structure of `init`, and how the
        iteration ended.

    Raises:
        TypeError: `init` is not floating, `tol` is traced, or `max_iterations` is not a whole number.
        ValueError: a setting is out of range, or `update` returns another structure, shape or dtype than `init` has.
        NotConvergedError: with `raise`, if it did not converge. JAX wraps it inside compiled code.
    """
    given, most = _check_settings(tol, max_iterations, on_failure)
    init = _state(lambda x: update(params, x), init)
    epsilon = _epsilon(init)
    largest = float(jnp.finfo(jnp.result_type(*jax.tree.leaves(init))).max)
    tolerance = 64.0 * epsilon if given is None else min(given, largest)
    # Rounding can keep x swinging about its fixed point, too far for 64 epsilons and near enough for the correction.
    closeness = 2.0 * epsilon**0.5 if given is None else tolerance
    allowed = max(2.0 * epsilon**0.5, 0.0 if given is None else min(0.1, 1000.0 * given))
    # Complex components as pairs of reals: the derivative of an update that isn't holomorphic is linear only in those.
    join = joiner(init)

    def step(parts: PyTree) -> PyTree:
        return as_pairs(update(params, join(parts)))

    def solve(_: object, start: PyTree) -> tuple[PyTree, tuple[Array, Array, Array]]:
        last, iterations, residual = _iterate(step, start, tolerance, given is None, most)
        near = residual <= closeness
        corrected, left, error = correct(step, last, near, allowed)
        value = jax.tree.map(lambda new, old: jnp.where(near, new, old), corrected, last)
        residual = jnp.where(near, jnp.minimum(left.astype(residual.dtype), residual), residual)
        # A float, since JAX gives what is returned beside a root a tangent of its own dtype.
        return value, (iterations.astype(jnp.float32), residual, error.astype(residual.dtype))

    parts, (iterations, residual, error) = lax.custom_root(
        lambda parts: jax.tree.map(jnp.subtract, parts, step(parts)),
        as_pairs(init),
        solve,
        solve_linear,
        has_aux=True,
    )
    value = join(parts)
    converged = (residual <= tolerance) & (error <= allowed)
    convergence = Convergence(converged, iterations.astype(jnp.int32), residual, error)
    if on_failure == "raise":
        message = lambda iterations, residual, error: _not_converged(
            int(iterations), float(residual), float(error), tolerance, allowed
        )
        value = raise_unless(converged, message, value, convergence.iterations, residual, error)
    return value, convergence


def _iterate(
    step: Callable[[PyTree], PyTree], start: PyTree, tolerance: float, to_the_floor: bool, max_iterations: int
) -> tuple[PyTree, Array, Array]:
    dtype = jnp.result_type(*jax.tree.leaves(start))
    unknown = jnp.asarray(jnp.finfo(dtype).max, dtype)

    def going_on(carry: tuple[Array, Array, Array, PyTree]) -> Array:
        iterations, previous, residual, _ = carry
        wanted = (residual > tolerance) | (residual < previous) if to_the_floor else residual > tolerance
        # An update that ran off has a residual of NaN, for which the comparisons are false, or of infinity.
        return (iterations == 0) | ((iterations < max_iterations) & (residual < jnp.inf) & wanted)

    def advance(carry: tuple[Array, Array, Array, PyTree]) -> tuple[Array, Array, Array, PyTree]:
        iterations, _, residual, before = carry
        after = step(before)
        return iterations + 1, residual, relative_change(before, after).astype(dtype), after

    first = (jnp.int32(0), jnp.full_like(unknown, jnp.inf), unknown, start)
    iterations, _, residual, last = lax.while_loop(going_on, advance, first)
    return last, iterations, residual


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


def _check_settings(
    tol: float | Array | None, max_iterations: SupportsInt, on_failure: str
) -> tuple[float | None, int]:
    if isinstance(tol, jax.core.Tracer):
        raise TypeError(f"tol is traced ({tol}): it must be a number that is known before the function is compiled")
    if tol is not None and not 0 < float(tol) < math.inf:
        raise ValueError(f"tol is {tol}: it must be greater than 0 and finite")
    if isinstance(max_iterations, bool) or not isinstance(max_iterations, SupportsIndex):
        raise TypeError(f"max_iterations is {max_iterations!r}: it must be a whole number")
    most = operator.index(max_iterations)
    if most < 1:
        raise ValueError(f"max_iterations is {most}: it must be at least 1")
    if on_failure not in ("flag", "raise"):
        raise ValueError(f"on_failure is {on_failure!r}: it must be 'flag' or 'raise'")
    return None if tol is None else float(tol), most


def _not_converged(
    iterations: int, residual: float, error: float, tolerance: float, allowed: float
) -> NotConvergedError:
    if residual <= tolerance:
        return NotConvergedError(
            f"no fixed point after {iterations} iterations: the steps met the tolerance {tolerance:.3g}, but the "
            f"error is estimated as {error:.3g} and may be {allowed:.3g}. The update may be no contraction; if it is a "
            "weak one, use double precision or a smaller tolerance."
        )
    return NotConvergedError(
        f"no fixed point after {iterations} iterations: the residual is {residual:.3g}, the tolerance "
        f"{tolerance:.3g}. The update may be no contraction; if it is one, allow more iterations or a larger tolerance."
    )
