"""Derivatives of a scalar function checked against finite differences, in both modes and to second order."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from optim.autodiff.checks.comparison import Along, Comparison, Reference, worst_row
from optim.autodiff.checks.finite_differences import Difference, difference_of, samples_along
from optim.autodiff.checks.flat_point import ComponentNames, FlatPoint
from optim.autodiff.checks.report import GradientReport, GradientRow, Kind

# Up to this many components every entry is compared by itself.
EVERY_ENTRY = 64
DIRECTIONS = 16
# An entry counts as at least this part of the largest one of its kind: below it lies the rounding of the others.
LEAST_PART = 1e-4

Scalar = Callable[[Array], Array]
Group = tuple[Reference, dict[Kind, Along]]


def check_gradients(
    f: Callable[[PyTree], ArrayLike],
    point: PyTree[ArrayLike],
    *,
    order: int = 2,
    tolerance: float = 1e-6,
    names: ComponentNames | None = None,
) -> GradientReport:
    """Check the derivatives of a real scalar function at a point.

    The check runs in double precision whatever the global setting, which is left as found; what f closes over keeps its
    own precision. Compared are

    - forward: the Jacobian-vector product, with finite differences of f;
    - reverse: the gradient, with finite differences of f; and reverse against forward, with each other;
    - forward over reverse, reverse over reverse: Hessian-vector products, with finite differences of the gradient;
    - forward over forward: second derivatives along a direction (of up to 64 components the Hessian's diagonal), with
      finite differences of the Jacobian-vector product.

    A derivative a passes against its reference b if |a − b| ≤ tolerance · (|b| + 1e-4 · the largest |b| of its kind)
    plus the rounding that the differences inherit from f. For this each component counts in units of its size,
    max(1, |component|). Finite differences of a smooth function agree to about 1e-10.

    Up to 64 components every entry of the gradient and the Hessian is compared. Beyond, all components are varied
    together along 16 fixed directions of random signs; one that fails is halved until the component is found, so the
    cost is bounded and a wrong component is still named. What is wrong in one entry alone is then seen if it exceeds
    tolerance · √n times a typical entry.

    A `jax.custom_vjp` rule has no forward mode: what needs it is left out with a note, and the report passes if the
    rest does. A derivative or value that is NaN or infinite fails, and so does a kink or a bound of the domain at the
    point, where central differences do not exist. f must trace under `jax.jit`, and must bear being called at points
    0.004 away, in units of the components' sizes.

    Args:
        f: gives a real scalar. For several outputs check a weighted sum, such as `lambda x: weights @ outputs(x)`.
        point: array or pytree of arrays, real or complex; of a complex number both parts are varied.
        order: 1 for the gradient alone, 2 for the Hessian as well.
        tolerance: relative tolerance.
        names: what to call the components: one name each, in the order of the flattened point, or a mapping from
            places in the pytree (`"cake.amounts[2]"`; `"[2]"` for a vector, `"point"` for a
            number) to names.

    Raises:
        TypeError: f does not give a real number, or a leaf of the point is not real or complex.
        ValueError: f does not give a scalar, the point is empty or not finite, or order, tolerance or names do not fit.
            JAX raises one where f has no reverse mode (a `lax.while_loop`, say).
    """
    if order not in (1, 2):
        raise ValueError(f"order is {order}: derivatives are checked to order 1 or 2")
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"tolerance is {tolerance}: it has to lie between 0 and 1, relative to the derivative")
    with jax.enable_x64(True):
        return _check(f, FlatPoint.of(point, names), order, tolerance)


def _check(f: Callable[[PyTree], ArrayLike], point: FlatPoint, order: int, tolerance: float) -> GradientReport:
    def scalar(x: Float[Array, " n"]) -> Array:
        return _real_scalar(f(point.restore(x)))

    x, directions = jnp.asarray(point.scaled), _directions(len(point.names))
    scope = f"{len(x)} component{'s' * (len(x) > 1)}" + f" along {DIRECTIONS} directions" * (len(x) > EVERY_ENTRY)
    value = jax.jit(scalar)(x)
    if not jnp.isfinite(value):
        return GradientReport((GradientRow("value", "the value", float(value), math.nan, 0.0),), scope)
    rows, notes = [], []
    if value.dtype != x.dtype:
        notes.append(f"the value is {value.dtype}: finite differences are only as exact as that, and so is the check")
    for reference, ways in [*_first_order(scalar), *(_second_order(scalar) if order == 2 else [])]:
        known = _runs(reference, x, directions)
        able = {kind: way for kind, way in ways.items() if known and _runs(way, x, directions)}
        missing = [kind for kind in ways if kind not in able]
        notes += [f"{kind}: not available, because a jax.custom_vjp rule has no forward mode" for kind in missing]
        if able:
            rows += _rows(reference, able, directions, point, tolerance)
    return GradientReport(tuple(rows), scope, tuple(notes))


def _real_scalar(value: ArrayLike) -> Array:
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"the function gives {array.dtype}: derivatives are checked of a real number")
    if array.shape != ():
        raise ValueError(f"the function gives an array of shape {array.shape}: check a weighted sum of its entries")
    return array


def _directions(n: int) -> Float[np.ndarray, "m n"]:
    """Every axis, or a fixed set of directions of length 1 in which each component takes part."""
    if n <= EVERY_ENTRY:
        return np.eye(n)
    return np.random.default_rng(0).choice([-1.0, 1.0], (DIRECTIONS, n)) / math.sqrt(n)


def _gradient(f: Scalar, x: Array) -> Array:
    """The gradient in the precision of the value, which tells how exact it is."""
    value, pull_back = jax.vjp(f, x)
    return pull_back(jnp.ones_like(value))[0].astype(value.dtype)


def _forward(f: Scalar, x: Array, v: Array) -> Array:
    return jax.jvp(f, (x,), (v,))[1]


def _reverse(f: Scalar, x: Array, v: Array) -> Array:
    """Derivative along v; what is not finite elsewhere does not spoil it."""
    return jnp.sum(jnp.where(v == 0.0, 0.0, _gradient(f, x) * v))


def _by_differences(f: Callable[[Array, Array], Array]) -> Reference:
    """Finite differences of f(y, v) with respect to y, along v."""
    samples = jax.jit(lambda x, v: samples_along(lambda y: f(y, v), x, v))
    return lambda x, v: difference_of(np.asarray(samples(x, v)))


def _first_order(f: Scalar) -> list[Group]:
    """What is compared: a reference, with the ways of differentiating that are held against it."""
    forward, reverse = (jax.jit(partial(mode, f)) for mode in (_forward, _reverse))
    return [
        (_by_differences(lambda y, v: f(y)), {"forward": forward, "reverse": reverse}),
        (lambda x, v: Difference(np.asarray(forward(x, v)), np.zeros(())), {"reverse against forward": reverse}),
    ]


def _second_order(f: Scalar) -> list[Group]:
    return [
        (
            _by_differences(lambda y, v: _gradient(f, y)),
            {
                "forward over reverse": jax.jit(lambda x, v: jax.jvp(partial(_gradient, f), (x,), (v,))[1]),
                "reverse over reverse": jax.jit(lambda x, v: _gradient(lambda y: _reverse(f, y, v), x)),
            },
        ),
        (
            _by_differences(partial(_forward, f)),
            {"forward over forward": jax.jit(lambda x, v: _forward(lambda y: _forward(f, y, v), x, v))},
        ),
    ]


def _runs(along: Callable[[Array, Array], object], x: Array, directions: Float[np.ndarray, "m n"]) -> bool:
    """Whether JAX can take a derivative: not where it needs the forward mode of a custom VJP."""
    try:
        along(x, jnp.asarray(directions[0]))
    except TypeError as error:
        if "custom_vjp" in str(error):
            return False
        raise
    return True


def _rows(
    reference: Reference, ways: dict[Kind, Along], directions: np.ndarray, point: FlatPoint, tolerance: float
) -> list[GradientRow]:
    """The worst entry of each way of differentiating, against one reference."""
    x = jnp.asarray(point.scaled)
    known = [reference(x, jnp.asarray(direction)) for direction in directions]
    sizes = np.abs(np.stack([difference.derivative for difference in known]))
    least = LEAST_PART * float(np.max(sizes, where=np.isfinite(sizes), initial=0.0))
    return [
        worst_row(kind, Comparison(way, reference, x, tolerance, least), directions, known, point)
        for kind, way in ways.items()
    ]
