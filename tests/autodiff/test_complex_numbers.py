"""Derivatives with respect to complex numbers: which way is up, where a complex derivative exists, the real view."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jaxtyping import Array

from optim.autodiff.complex_numbers import NotHolomorphicError, ascent_direction, holomorphic_derivative, real_jacobian

Z = 2.0 + 1.0j
UNIT = st.complex_numbers(max_magnitude=2.0, allow_nan=False, allow_infinity=False)
COEFFICIENTS = st.lists(UNIT, min_size=5, max_size=5)


def vibration(z: Array) -> Array:
    return 3.0 * jnp.real(z) - jnp.abs(z) ** 2


def smooth_process(z: Array) -> Array:
    return z**2 + z


def polynomial(coefficients: Array, z: Array, conjugate_part: Array | float = 0.0) -> Array:
    return jnp.polyval(coefficients, z) + conjugate_part * jnp.conj(z)


def ascend(direction: Callable[[Array], Array], starts: Array) -> Array:
    ends, _ = jax.lax.scan(lambda z, _: (z + 0.1 * jax.vmap(direction)(z), None), starts, length=100)
    return ends


def test_jax_gives_the_conjugate_and_ours_is_the_direction_of_ascent() -> None:
    assert jax.grad(vibration)(Z) == -1.0 + 2.0j
    assert ascent_direction(vibration, Z) == -1.0 - 2.0j


def test_ascent_along_ours_reaches_the_peak_from_any_start_and_along_the_raw_gradient_none() -> None:
    starts = jnp.array([2.0 + 1.0j, -1.0 + 0.5j, 0.001j, 40.0 - 30.0j])
    ours = jax.jit(lambda z: ascend(lambda z: ascent_direction(vibration, z), z))(starts)
    raw = jax.jit(lambda z: ascend(jax.grad(vibration), z))(starts)
    np.testing.assert_allclose(ours, np.full(4, 1.5 + 0.0j), atol=1e-6)
    assert bool(jnp.all(jnp.abs(raw - 1.5) > 1e4))


@pytest.mark.usefixtures("float64")
def test_the_change_of_a_function_is_the_real_product_with_the_direction() -> None:
    point = {"z": jnp.array([1.0 + 2.0j, -0.5j]), "x": jnp.array(0.7)}
    change = {"z": jnp.array([0.3 - 1.0j, 0.2 + 0.4j]), "x": jnp.array(-0.6)}

    def f(point: dict[str, Array]) -> Array:
        return jnp.sum(jnp.abs(jnp.exp(point["x"] * point["z"])) ** 2) + jnp.real(point["z"][0] * point["z"][1])

    direction = jax.jit(lambda point: ascent_direction(f, point))(point)
    assert {name: leaf.dtype for name, leaf in direction.items()} == {"z": jnp.complex128, "x": jnp.float64}
    product = sum(np.sum(np.real(np.conj(direction[name]) * change[name])) for name in point)
    along = jax.jit(lambda h: f(jax.tree.map(lambda p, d: p + h * d, point, change)))
    after, before = along(1e-5), along(-1e-5)
    np.testing.assert_allclose(product, (after - before) / 2e-5, rtol=1e-8)


def test_only_a_real_scalar_of_real_or_complex_numbers_has_a_direction() -> None:
    with pytest.raises(TypeError, match="the function's value must be real, and is complex64"):
        ascent_direction(smooth_process, Z)
    with pytest.raises(ValueError, match=r"must give one number, of shape \(\): it gave float32\[2\]"):
        ascent_direction(vibration, jnp.array([Z, Z]))
    with pytest.raises(ValueError, match=r"must give one number, .* it gave \(float32\[\], float32\[\]\)"):
        ascent_direction(lambda z: (vibration(z), 1.0), Z)
    with pytest.raises(TypeError, match="the point must hold floating numbers, and is int32 at `x`: convert it, or"):
        ascent_direction(lambda point: 1.0 * point["x"], {"x": jnp.array(2), "z": Z})
    with pytest.raises(TypeError, match="the function's value must hold floating numbers, and is int32"):
        ascent_direction(lambda z: jnp.argmax(jnp.abs(z)), jnp.array([Z, Z]))
    assert ascent_direction(lambda z: (vibration(z),), Z) == -1.0 - 2.0j  # a tree of one number is one number


def test_the_smooth_process_has_the_printed_value_and_derivative() -> None:
    assert smooth_process(Z) == 5.0 + 5.0j
    assert holomorphic_derivative(smooth_process, Z) == 5.0 + 2.0j


@jax.jit
def polynomial_derivative(coefficients: Array, z: Array) -> Array:
    return holomorphic_derivative(lambda z: polynomial(coefficients, z), z)


@settings(max_examples=25, deadline=None)
@given(coefficients=COEFFICIENTS, z=UNIT)
def test_the_derivative_of_a_polynomial_is_that_of_finite_differences(coefficients: list[complex], z: complex) -> None:
    with jax.enable_x64(True):
        derivative = polynomial_derivative(jnp.array(coefficients), jnp.array(z))
    h = 1e-4 * np.exp(0.7j)
    values = [np.polyval(coefficients, z + k * h) for k in (-2, -1, 1, 2)]
    np.testing.assert_allclose(derivative, np.array([1, -8, 8, -1]) @ values / (12 * h), rtol=1e-9, atol=1e-9)


@settings(max_examples=8, deadline=None)
@given(coefficients=COEFFICIENTS, z=UNIT, part=UNIT)
def test_a_polynomial_with_a_conjugate_is_refused_and_has_a_real_jacobian(
    coefficients: list[complex], z: complex, part: complex
) -> None:
    assume(abs(part) > 1e-3)
    with jax.enable_x64(True):
        point, *constants = jnp.array(z), jnp.array(coefficients), jnp.array(part)
        jacobian = conjugate_jacobian(point, *constants)
        with pytest.raises(NotHolomorphicError, match="violates the Cauchy–Riemann equations by a relative"):
            holomorphic_derivative(lambda z: polynomial(constants[0], z, constants[1]), point)
    h, columns = 1e-4, []
    for axis in (1.0, 1.0j):
        values = [np.polyval(coefficients, y) + part * np.conj(y) for y in (z + k * h * axis for k in (-2, -1, 1, 2))]
        slope = np.array([1, -8, 8, -1]) @ values / (12 * h)
        columns.append([slope.real, slope.imag])
    np.testing.assert_allclose(jacobian, np.transpose(columns), rtol=1e-9, atol=1e-9)


@jax.jit
def conjugate_jacobian(z: Array, coefficients: Array, part: Array) -> Array:
    return real_jacobian(lambda z: polynomial(coefficients, z, part), z)


def test_the_conjugate_gets_a_misleading_one_from_jax_and_an_error_from_us() -> None:
    assert jax.jacfwd(jnp.conj, holomorphic=True)(Z) == 1.0
    with pytest.raises(NotHolomorphicError, match=r"by a relative 2 .* real_jacobian gives"):
        holomorphic_derivative(jnp.conj, Z)


@pytest.mark.parametrize(
    "transform",
    [
        jax.jit,
        jax.vmap,
        lambda f: lambda z: jax.lax.scan(lambda _, z: (None, f(z)), None, z)[1],
        lambda f: jax.jit(jax.grad(lambda z: jnp.real(jnp.sum(f(z) * z)))),
    ],
    ids=["jit", "vmap", "scan", "grad"],
)
def test_the_conjugate_is_refused_inside_every_transform(transform: Callable[..., Callable[[Array], Array]]) -> None:
    with pytest.raises((NotHolomorphicError, jax.errors.JaxRuntimeError), match="is not holomorphic at this point"):
        transform(lambda z: holomorphic_derivative(jnp.conj, z))(jnp.array([Z, 1.0j])).block_until_ready()


def test_one_conjugate_among_many_outputs_or_inputs_is_refused_however_large_the_others() -> None:
    def outputs(z: Array) -> Array:
        return jnp.stack([1e6 * z[0], z[0] * z[1], jnp.conj(z[1])])

    for f in (outputs, lambda z: 1e3 * z[0] + jnp.conj(z[1])):
        with pytest.raises(jax.errors.JaxRuntimeError, match="is not holomorphic"):
            jax.jit(lambda z, f=f: holomorphic_derivative(f, z))(jnp.array([Z, 1.0j])).block_until_ready()


def test_no_derivative_that_is_not_finite_passes() -> None:
    with pytest.raises(NotHolomorphicError, match="no complex derivative at this point: its derivative is not finite"):
        holomorphic_derivative(jnp.sqrt, 0.0j)


PRECISIONS = [jnp.complex64, jnp.complex128]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_conjugate_below_the_square_root_of_the_precision_is_found(precision: type) -> None:
    part = {jnp.complex64: 1e-4, jnp.complex128: 1e-9}[precision]  # over |2 z| = 4.5, the derivative of the rest
    with pytest.raises(NotHolomorphicError, match="violates"):
        holomorphic_derivative(lambda z: z**2 + part * jnp.conj(z), jnp.array(Z, precision))


@pytest.mark.long
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("precision", [jnp.complex64, pytest.param(jnp.complex128, marks=pytest.mark.long)])
def test_what_is_holomorphic_passes_within_rounding(precision: type) -> None:
    """Elementwise functions, products of matrices, transforms and solutions, compiled as one program."""
    draw = np.random.default_rng(5)
    matrix = jnp.asarray(draw.normal(size=(6, 6)) + 1j * draw.normal(size=(6, 6)), precision)

    def everything(z: Array) -> list[Array]:
        elementwise = [jnp.exp(z), jnp.sin(z), jnp.sqrt(z), jnp.log(z), 1.0 / z, jnp.exp(jnp.sin(z) / z) * jnp.log(z)]
        power, _ = jax.lax.scan(lambda w, _: (jnp.tanh(w) * z + 0.1 * w, None), z, length=20)
        whole = [matrix @ jnp.tanh(matrix @ z), jnp.fft.ifft(jnp.fft.fft(z) ** 2), jnp.linalg.solve(matrix, z * z)]
        return [*elementwise, *whole, jnp.cumprod(z), jnp.linalg.inv(matrix + jnp.diag(z)), power]

    derivative = jax.jit(lambda z: holomorphic_derivative(everything, z))
    for scale in (0.1, 1.0, 3.0):
        z = jnp.asarray(scale * (draw.normal(size=6) + 1j * draw.normal(size=6)), precision)
        slopes = derivative(z)
        assert slopes[0].dtype == precision
        np.testing.assert_allclose(jnp.diagonal(slopes[0]), jnp.exp(z), rtol=1e-5)


def test_zero_derivatives_and_rounding_are_not_mistaken_for_a_violation() -> None:
    assert holomorphic_derivative(lambda z: 0.0 * z + Z, Z) == 0.0
    there_and_back = jax.jit(lambda z: holomorphic_derivative(lambda z: jnp.fft.ifft(jnp.fft.fft(z)), z))
    np.testing.assert_allclose(there_and_back(Z * np.arange(16)), np.eye(16), atol=1e-6)


def test_several_outputs_of_several_inputs_make_a_jacobian() -> None:
    z = jnp.array([Z, 1.0 - 1.0j])
    f = lambda z: jnp.stack([z[0] * z[1], z[0] ** 2, jnp.exp(z[1])])
    jacobian = jax.jit(partial(holomorphic_derivative, f))(z)
    expected = [[1.0 - 1.0j, Z], [2.0 * Z, 0.0], [0.0, np.exp(1.0 - 1.0j)]]
    np.testing.assert_allclose(jacobian, expected, rtol=1e-6)


def test_trees_come_as_jax_gives_them() -> None:
    tree = {"a": jnp.array([[Z, 1.0j]]), "b": jnp.array(0.5 + 0.0j)}

    def f(tree: dict[str, Array]) -> dict[str, Array]:
        return {"product": tree["a"] * tree["b"], "square": tree["b"] ** 2}

    ours = jax.jit(lambda tree: holomorphic_derivative(f, tree))(tree)
    jax_own = jax.jit(jax.jacfwd(f, holomorphic=True))(tree)
    jax.tree.map(np.testing.assert_array_equal, ours, jax_own)
    real = jax.jit(lambda tree: real_jacobian(f, tree))(tree)
    assert real["product"]["a"].shape == (1, 2, 1, 2, 2, 2)
    jax.tree.map(lambda pair, whole: np.testing.assert_array_equal(pair[..., 0, 0], np.real(whole)), real, jax_own)


def test_the_true_jacobian_of_the_conjugate_is_the_printed_one() -> None:
    np.testing.assert_array_equal(real_jacobian(jnp.conj, Z), [[1.0, 0.0], [0.0, -1.0]])


def test_a_real_function_has_no_second_row_and_a_holomorphic_one_rotates_and_scales() -> None:
    np.testing.assert_array_equal(real_jacobian(vibration, Z), [[-1.0, -2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(real_jacobian(smooth_process, Z), [[5.0, -2.0], [2.0, 5.0]])


@pytest.mark.parametrize("derivative", [holomorphic_derivative, real_jacobian])
def test_a_real_point_is_refused(derivative: Callable[..., Array]) -> None:
    with pytest.raises(TypeError, match="the point has to be complex, got float32"):
        derivative(smooth_process, 2.0)


def test_functions_of_the_wrong_type_are_refused() -> None:
    with pytest.raises(TypeError, match="a complex derivative needs a function with complex values, got float32"):
        holomorphic_derivative(vibration, Z)
    with pytest.raises(TypeError, match="real or complex arrays, got int32"):
        real_jacobian(lambda z: jnp.arange(2), Z)


def test_real_to_real_through_complex_numbers() -> None:
    def stability(x: Array | float) -> Array:
        return jnp.real((1.0 + 1.0j * x) * jnp.conj(1.0 + 1.0j * x))

    assert stability(3.0) == 10.0
    assert jax.grad(stability)(3.0) == 6.0
    assert ascent_direction(stability, 3.0) == 6.0


def test_the_derivative_can_be_differentiated() -> None:
    """|d(z³)/dz|² = 9 |z|⁴, whose direction of ascent is 36 |z|² z."""
    steepness = jax.jit(
        lambda z: ascent_direction(lambda z: jnp.abs(holomorphic_derivative(lambda z: z**3, z)) ** 2, z)
    )
    np.testing.assert_allclose(steepness(Z), 36.0 * 5.0 * Z, rtol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(
    ("derivative", "f"),
    [(ascent_direction, vibration), (holomorphic_derivative, smooth_process), (real_jacobian, jnp.conj)],
    ids=["ascent", "holomorphic", "real"],
)
def test_each_compiles_once_and_gives_the_same_in_batches_and_scans(
    derivative: Callable[..., Array], f: Callable[[Array], Array]
) -> None:
    traces = []

    def one(z: Array) -> Array:
        traces.append(z)
        return derivative(f, z)

    compiled, points = jax.jit(one), jnp.array([Z, -1.0j, 0.3 + 0.2j])
    alone = jnp.stack([compiled(z) for z in points])
    assert len(traces) == 1
    np.testing.assert_allclose(jax.vmap(one)(points), alone, rtol=1e-6)
    np.testing.assert_allclose(jax.lax.scan(lambda _, z: (None, one(z)), None, points)[1], alone, rtol=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("given", "real"), [(jnp.complex64, jnp.float32), (jnp.complex128, jnp.float64)])
def test_the_precision_is_that_of_the_point(given: type, real: type) -> None:
    z = jnp.array([Z, 1.0j], given)
    for operate, f, expected in (
        (ascent_direction, lambda z: jnp.sum(vibration(z)), given),
        (holomorphic_derivative, smooth_process, given),
        (real_jacobian, smooth_process, real),
    ):
        assert jax.eval_shape(partial(operate, f), z).dtype == expected


@pytest.mark.usefixtures("float64")
def test_in_double_precision_a_millionth_of_a_conjugate_is_found() -> None:
    assert holomorphic_derivative(lambda z: jnp.sin(z) / z, Z).dtype == jnp.complex128
    with pytest.raises(NotHolomorphicError):
        holomorphic_derivative(lambda z: jnp.sin(z) / z + 1e-6 * jnp.conj(z), Z)
