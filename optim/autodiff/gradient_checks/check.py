"""Derivatives of a scalar function checked against finite differences, in both modes and to second order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from optim.autodiff.failures import lacks_forward_mode
from optim.autodiff.gradient_checks.comparison import Along, Comparison, Reference, worst_row
from optim.autodiff.gradient_checks.flat_point import ComponentNames, FlatPoint
from optim.autodiff.gradient_checks.report import GradientReport, GradientRow, Kind
from optim.autodiff.gradient_checks.ways import ways_of_differentiating

# Up to this many components every entry is compared by itself.
EVERY_ENTRY = 64
DIRECTIONS = 16
# An entry counts as at least this part of the largest one of its kind: below it lies the rounding of the others.
LEAST_PART = 1e-4

# Rounding says nothing against a derivative as long as it is at most this part of the largest one of its kind.
TELLING_PART = 1e-3
_UNTOLD = (
    "NOT CHECKED: rounding may hide an error of more than a thousandth of the largest derivative; "
    "compute in the precision of the input, and without large constants"
)


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
      finite differences of the Jacobian-vector product;
    - second differences: the same derivatives by forward over reverse mode, with second differences of f. They are less
      exact, but need no first derivative, and so find a rule that is wrong, consistent with itself, and of slope 0 at
      the point. They are left out with a note where they would not be telling (see below).

    A derivative a passes against its reference b if |a − b| ≤ tolerance · (|b| + 1e-4 · the largest |b| of its kind)
    plus the rounding that the differences inherit from f. For this each component counts in units of its size,
    max(1, |component|). Finite differences of a smooth function agree to about 1e-10.

    Where the rounding may hide more than a thousandth of the largest |b| of its kind, agreement says nothing: the
    verdict is NOT CHECKED, and the report does not pass. That is so for a value in single precision, mostly, and for
    one that is a large constant and little else. Derivatives that are all 0 within rounding are an exception where the
    value is in double precision.

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
    for reference, ways in ways_of_differentiating(scalar, float(value), order):
        known = _runs(reference, x, directions)
        able = {kind: way for kind, way in ways.items() if known and _runs(way, x, directions)}
        missing = [kind for kind in ways if kind not in able]
        notes += [f"{kind}: not available, because a jax.custom_vjp rule has no forward mode" for kind in missing]
        if able:
            rows += _rows(reference, able, directions, point, tolerance, value.dtype == x.dtype)
    kept = [row for row in rows if (row.kind, row.verdict) != ("second differences", "NOT CHECKED")]
    if len(kept) < len(rows):
        notes.append("second differences: left out, because they are lost in the rounding of the function")
    if any(row.verdict == "NOT CHECKED" for row in kept):
        notes.append(_UNTOLD)
    return GradientReport(tuple(kept), scope, tuple(notes))


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


def _runs(along: Callable[[Array, Array], object], x: Array, directions: Float[np.ndarray, "m n"]) -> bool:
    """Whether JAX can take a derivative: not where it needs the forward mode of a custom VJP."""
    try:
        along(x, jnp.asarray(directions[0]))
    except TypeError as error:
        if not lacks_forward_mode(error):
            raise
        return False
    return True


def _rows(
    reference: Reference,
    ways: dict[Kind, Along],
    directions: np.ndarray,
    point: FlatPoint,
    tolerance: float,
    in_double_precision: bool,
) -> list[GradientRow]:
    """The worst entry of each way of differentiating, against one reference."""
    x = jnp.asarray(point.scaled)
    known = [reference(x, jnp.asarray(direction)) for direction in directions]
    largest = _largest([difference.derivative for difference in known])
    rounding = _largest([difference.rounding for difference in known])
    clear, zero = rounding <= TELLING_PART * largest, in_double_precision and largest <= rounding
    rows = []
    for kind, way in ways.items():
        comparison = Comparison(way, reference, x, tolerance, LEAST_PART * largest)
        # Second differences are of the same entries, twice along one direction, as forward over forward.
        of: Kind = "forward over forward" if kind == "second differences" else kind
        row = worst_row(of, comparison, directions, known, point)
        rows.append(replace(row, kind=kind, telling=clear or (zero and kind != "second differences")))
    return rows


def _largest(arrays: list[np.ndarray]) -> float:
    """Largest absolute value among the finite numbers."""
    sizes = np.abs(np.stack(arrays))
    return float(np.max(sizes, where=np.isfinite(sizes), initial=0.0))
