"""Derivatives of functions of complex numbers: the direction of ascent, the complex derivative, the real Jacobian.

JAX's gradient of a real function f of z = x + iy is ∂f/∂x − i ∂f/∂y, the conjugate of the direction in which f rises
fastest: stepping along it moves the imaginary parts the wrong way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, Inexact, PyTree

from optim.autodiff.failures import raise_unless
from optim.autodiff.trees import real_scalar, require_real

# Rounding, in units in the last place of an output's largest derivative, that counts as no derivative at all.
ROUNDING = 64


class NotHolomorphicError(ValueError):
    """The function has no complex derivative at the point.

    It violates the Cauchy–Riemann equations there, or its derivatives are not finite (the residual is NaN then).
    """

    def __init__(self, residual: ArrayLike, tolerance: ArrayLike) -> None:
        if not np.isfinite(residual):
            super().__init__("the function has no complex derivative at this point: its derivative is not finite there")
            return
        super().__init__(
            f"the function is not holomorphic at this point: it violates the Cauchy–Riemann equations by a relative "
            f"{residual:.3g} (at most {tolerance:.1g} is rounding), so it has no complex derivative; "
            "real_jacobian gives its derivatives with respect to the real and the imaginary part"
        )


def ascent_direction(f: Callable[[PyTree], ArrayLike], z: PyTree[ArrayLike]) -> PyTree[Inexact[Array, "..."]]:
    """Direction in which a real scalar function rises fastest, with respect to real and complex arrays alike.

    It is ∂f/∂x + i ∂f/∂y for a complex leaf z = x + iy, the conjugate of JAX's gradient, and ∂f/∂x for a real one.
    To first order df = Re Σ conj(direction) dz, summed over all components; gradient ascent is z + rate · direction.

    Args:
        f: gives a real scalar.
        z: array or pytree of arrays, real or complex.

    Returns:
        The direction: arrays of the structure, shapes and dtypes of `z`.

    Raises:
        TypeError: the value of f is not a real floating number, or a leaf of `z` is neither real nor complex (an
            integer, say).
        ValueError: the value of f is not one number.
    """
    z = jax.tree.map(jnp.asarray, z)
    require_real(jax.tree.map(jnp.real, z), "the point")  # of a complex number the parts are what must be real
    return jax.tree.map(jnp.conj, jax.grad(real_scalar(f))(z))


def holomorphic_derivative(
    f: Callable[[PyTree], PyTree[ArrayLike]], z: PyTree[ArrayLike]
) -> PyTree[Complex[Array, "..."]]:
    """Complex derivative df/dz, where it exists.

    It exists where the derivative along the imaginary axis is i times that along the real axis (the Cauchy–Riemann
    equations). Both are taken by forward mode and compared at `z`: component by component they have to agree to two
    thirds of the digits (2e-5 in single precision, 4e-11 in double), relative to the larger of both; what is within
    rounding of the largest derivative of the same output counts as zero. Passing at one point doesn't make a
    function holomorphic elsewhere.

    Args:
        f: gives a complex array or a pytree of them.
        z: complex array or pytree of complex arrays.

    Returns:
        For arrays the Jacobian, of shape f(z).shape + z.shape. For pytrees, in each leaf of f(z) a tree like `z`.

    Raises:
        NotHolomorphicError: the derivatives differ or are not finite. Inside compiled code JAX raises an error of its
            own that holds this one's text.
        TypeError: `z` or the value of f is not complex.
    """
    along_real, along_imaginary = _along_axes(f, z)
    for leaf in jax.tree.leaves(along_real):
        if not jnp.iscomplexobj(leaf):
            raise TypeError(
                f"a complex derivative needs a function with complex values, got {leaf.dtype}: use ascent_direction "
                "for the slope of a real scalar, real_jacobian for the derivatives of any function"
            )
    pairs = zip(jax.tree.leaves(along_real), jax.tree.leaves(along_imaginary), strict=True)
    residual = jnp.stack([_cauchy_riemann_residual(real, imaginary) for real, imaginary in pairs])
    tolerance = jnp.stack([_tolerance(leaf) for leaf in jax.tree.leaves(along_real)])
    derivative = _as_jacobian(along_real, z)
    return raise_unless(residual <= tolerance, NotHolomorphicError, derivative, residual, tolerance)


def real_jacobian(f: Callable[[PyTree], PyTree[ArrayLike]], z: PyTree[ArrayLike]) -> PyTree[Float[Array, "... 2 2"]]:
    """Jacobian of any function of z = x + iy, holomorphic or not, in real terms.

    With f = u + iv the last two axes hold [[∂u/∂x, ∂u/∂y], [∂v/∂x, ∂v/∂y]]; v is zero where f is real. A complex
    derivative a + ib appears as [[a, −b], [b, a]], the conjugate as [[1, 0], [0, −1]].

    Args:
        f: gives a real or complex array or a pytree of them.
        z: complex array or pytree of complex arrays.

    Returns:
        For arrays, shape f(z).shape + z.shape + (2, 2). For pytrees, in each leaf of f(z) a tree like `z`.

    Raises:
        TypeError: `z` is not complex, or the value of f is neither real nor complex (an integer, say).
    """

    def two_by_two(along_real: Array, along_imaginary: Array) -> Array:
        both = jnp.stack([along_real, along_imaginary], axis=-1)
        return jnp.stack([jnp.real(both), jnp.imag(both)], axis=-2)

    along_real, along_imaginary = (_as_jacobian(along, z) for along in _along_axes(f, z))
    return jax.tree.map(two_by_two, along_real, along_imaginary)


def _along_axes(f: Callable[[PyTree], PyTree[ArrayLike]], z: PyTree[ArrayLike]) -> tuple[PyTree[Array], PyTree[Array]]:
    """Derivatives along the real and the imaginary axis of each component of z, components on the first axis."""
    z = jax.tree.map(jnp.asarray, z)
    for leaf in jax.tree.leaves(z):
        if not jnp.iscomplexobj(leaf):
            raise TypeError(
                f"the point has to be complex, got {leaf.dtype}: give a complex array, or use jax.jacobian for the "
                "derivative with respect to a real one"
            )
    value, push_forward = jax.linearize(f, z)
    for leaf in jax.tree.leaves(value):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise TypeError(f"the function has to give real or complex arrays, got {jnp.result_type(leaf)}")
    flat, unravel = ravel_pytree(z)
    directions = jnp.eye(flat.size, dtype=flat.dtype)
    along = jax.vmap(lambda direction: push_forward(unravel(direction)))
    return along(directions), along(1j * directions)


def _as_jacobian(derivatives: PyTree[Array], z: PyTree[ArrayLike]) -> PyTree[Array]:
    """Arrays (components of z, *output) as trees like z, whose arrays are (*output, *leaf of z)."""
    leaves, structure = jax.tree.flatten(z)
    shapes = [jnp.shape(leaf) for leaf in leaves]
    ends = list(accumulate(math.prod(shape) for shape in shapes))

    def one(rows: Array) -> PyTree[Array]:
        columns = jnp.split(jnp.moveaxis(rows, 0, -1), ends[:-1], axis=-1)
        blocks = [block.reshape(rows.shape[1:] + shape) for block, shape in zip(columns, shapes, strict=True)]
        return jax.tree.unflatten(structure, blocks)

    return jax.tree.map(one, derivatives)


def _cauchy_riemann_residual(along_real: Array, along_imaginary: Array) -> Float[Array, ""]:
    """Largest of |∂f/∂y − i ∂f/∂x|, each relative to the larger of both."""
    larger = jnp.maximum(jnp.abs(along_real), jnp.abs(along_imaginary))
    rounding = ROUNDING * jnp.finfo(larger.dtype).eps * jnp.max(larger, axis=0, initial=0.0)
    excess = jnp.maximum(jnp.abs(along_imaginary - 1j * along_real) - rounding, 0.0)
    return jnp.max(jnp.where(excess == 0.0, 0.0, excess / larger), initial=0.0)


def _tolerance(derivative: Array) -> Float[Array, ""]:
    # Multiplying a tangent by i is exact, so both mostly agree to the bit. But products of matrices may round them
    # differently, and a network near the poles of its activation magnifies that several thousand times.
    real = jnp.real(derivative).dtype
    return jnp.asarray(float(jnp.finfo(real).eps) ** (2 / 3), real)
