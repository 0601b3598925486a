"""Jacobians and Hessians: the printed figures, names, both modes and the choice between them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array

from optim.autodiff.labels import Labelled
from optim.autodiff.limits import limit_gradient
from optim.autodiff.matrices import chosen_mode, hessian, jacobian
from optim.models.functional import Functional
from optim.models.properties import Perceptron
from tests.autodiff.bakery import (
    ORDER,
    PROPERTIES,
    START,
    assert_transforms,
    bakery,
    deliciousness,
    properties,
    slope,
    start,
)

JACOBIAN = ((0.1, 0, -0.2, 4.0), (0.2, 1.6666667, 0, 0), (0.6, 0.5, 0.41986483, 0.5727589))
HESSIAN = (
    (-0.16000001, -0.6666667, 0.04, -0.8),
    (-0.6666667, -5.555556, 0, 0),
    (0.04, 0, 0.33049622, 1.6),
    (-0.8, 0, 1.6, -35.657787),
)
Choice = Literal["auto", "forward", "reverse"]


@pytest.mark.parametrize("mode", [pytest.param("auto", marks=pytest.mark.long), "forward", "reverse"])
def test_the_jacobian_of_the_bakery(mode: Choice) -> None:
    matrix = jax.jit(jacobian(properties, mode))(start())
    np.testing.assert_allclose(matrix.values, JACOBIAN, rtol=2e-7, atol=1e-7)
    assert matrix.labels == (PROPERTIES, ORDER)
    np.testing.assert_allclose(matrix["sweetness", "sugar"], 4.0, rtol=2e-7)


def test_the_hessian_of_the_score() -> None:
    matrix = jax.jit(hessian(deliciousness))(start())
    np.testing.assert_allclose(matrix.values, HESSIAN, rtol=2e-5, atol=1e-6)  # the source rounds otherwise, in float32
    assert matrix.labels == (ORDER, ORDER)
    assert matrix["flour", "sugar"] == matrix.values[2, 3]


@pytest.mark.usefixtures("float64")
def test_the_figures_hold_in_double_precision() -> None:
    matrix = jax.jit(hessian(deliciousness))(start()).values
    assert matrix.dtype == jnp.float64
    np.testing.assert_allclose(matrix, HESSIAN, rtol=2e-6, atol=1e-7)
    gradient = jax.jit(jax.grad(deliciousness))
    columns = [slope(gradient, start(), Labelled.vector(ORDER, unit)).values for unit in np.eye(4)]
    np.testing.assert_allclose(matrix, np.stack(columns, axis=1), rtol=1e-8, atol=1e-8)
    in_single = jax.eval_shape(hessian(deliciousness), Labelled.vector(ORDER, np.array(START, np.float32)))
    assert in_single.values.dtype == jnp.float32


def test_plain_vectors_are_numbered_and_numbers_give_an_axis_of_one() -> None:
    matrix = jax.jit(jacobian(bakery))(jnp.array(START))
    assert matrix.labels == (None, None)
    np.testing.assert_allclose(matrix[2, 3], 0.5727589, rtol=2e-7)
    assert jacobian(lambda x: x**2)(3.0).values == jnp.array([[6.0]])
    assert hessian(lambda x: x**2)(3.0).values == jnp.array([[2.0]])


def test_the_numbers_of_a_tree_are_named_by_their_places() -> None:
    point = {"butter": 1.0, "cake": {"recipe": start(), "layers": [jnp.ones((1, 2))]}, "salt": jnp.ones(1)}
    matrix = jacobian(lambda tree: (tree["butter"], tree["cake"]["recipe"], tree["cake"]["layers"][0]))(point)
    recipe = tuple(f"cake.recipe.{name}" for name in ORDER)
    assert matrix.labels[1] == ("butter", "cake.layers[0][0,0]", "cake.layers[0][0,1]", *recipe, "salt[0]")
    assert matrix.labels[0] == ("[0]", *(f"[1].{name}" for name in ORDER), "[2][0,0]", "[2][0,1]")
    assert matrix["[1].sugar", "cake.recipe.sugar"] == 1.0
    assert matrix["[2][0,1]", "cake.layers[0][0,1]"] == 1.0
    np.testing.assert_array_equal(jnp.sum(matrix.values), 7.0)


def test_a_labelled_matrix_is_named_by_rows_and_columns() -> None:
    table = Labelled(jnp.ones((2, 4)), (None, ORDER))
    names = hessian(lambda table: jnp.sum(table.values))(table).labels[0]
    assert names is not None
    assert names[:2] == ("[0,butter]", "[0,eggs]")
    assert names[-1] == "[1,sugar]"


@pytest.mark.usefixtures("float64")
def test_the_parameters_of_a_network_are_a_point() -> None:
    network, parameters = Functional.split(Perceptron(2, [3], 2, rngs=nnx.Rngs(0)))
    predict = lambda parameters: network(parameters)(jnp.array([0.3, -0.7]))
    forward, reverse = (jax.jit(jacobian(predict, mode))(parameters) for mode in ("forward", "reverse"))
    np.testing.assert_allclose(forward.values, reverse.values, rtol=1e-13, atol=1e-15)
    one = jax.tree.map(jnp.zeros_like, parameters)
    one["layers"][0]["kernel"] = one["layers"][0]["kernel"].at[1, 2].set(1.0)
    change = slope(jax.jit(predict), parameters, one)
    np.testing.assert_allclose(forward[:, "layers.0.kernel[1,2]"].values, change, rtol=1e-8, atol=1e-10)


@jax.jit
def matrices(a: Array, x: Array) -> dict[str, Array]:
    f = lambda x: jnp.sin(a @ x)
    return {
        "forward": jacobian(f, "forward")(x).values,
        "reverse": jacobian(f, "reverse")(x).values,
        "auto": jacobian(f)(x).values,
        "hessian": hessian(lambda x: jnp.sum(f(x)))(x).values,
    }


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from([((1, 1), jnp.float64), ((3, 2), jnp.float32), ((2, 5), jnp.float64)]),
    seed=st.integers(0, 2**16),
)
def test_matrices_are_those_of_finite_differences_in_every_mode(kind: tuple[tuple[int, int], Any], seed: int) -> None:
    shape, dtype = kind
    draw = np.random.default_rng(seed)
    a, x = draw.normal(size=shape), draw.normal(size=shape[1])
    with jax.enable_x64(True):
        found = matrices(jnp.asarray(a, dtype), jnp.asarray(x, dtype))
    gradient = lambda x: a.T @ np.cos(a @ x)
    wanted = np.stack([slope(lambda x: np.sin(a @ x), x, unit) for unit in np.eye(shape[1])], axis=1)
    bends = np.stack([slope(gradient, x, unit) for unit in np.eye(shape[1])], axis=1)
    tolerance = 1e-8 if dtype == jnp.float64 else 2e-5
    for name, matrix in found.items():
        figures = bends if name == "hessian" else wanted
        assert matrix.dtype == dtype
        np.testing.assert_allclose(matrix, figures, rtol=tolerance, atol=tolerance * (1 + np.abs(figures).max()))


def test_the_mode_is_chosen_by_the_shape() -> None:
    assert chosen_mode(1, 1000) == "forward"
    assert chosen_mode(100, 100) == "forward"
    assert chosen_mode(8, 4) == "forward"
    assert chosen_mode(9, 4) == "reverse"
    assert chosen_mode(1000, 1) == "reverse"


def test_auto_differentiates_in_the_chosen_mode() -> None:
    """A rule whose two modes differ tells which mode was taken."""
    square = jax.custom_vjp(lambda x: x**2)
    square.defvjp(lambda x: (x**2, x), lambda x, weight: (7.0 * weight,))
    slopes = jacobian(lambda x: jnp.sum(square(x)))(jnp.array([1.0, 3.0, 2.0])).values
    np.testing.assert_array_equal(slopes, [[7.0, 7.0, 7.0]])
    passes = []
    counted = jax.custom_jvp(lambda x: x**2)
    counted.defjvps(lambda tangent, _, x: passes.append(jnp.shape(tangent)) or 2.0 * x * tangent)
    jacobian(lambda x: jnp.ones(2) * counted(x))(3.0)
    assert passes == [()]


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_where_a_rule_has_no_forward_mode_auto_takes_reverse(transform: Callable[..., Callable[..., Any]]) -> None:
    """An active gradient limit: forward mode would be chosen from the shapes."""
    limited = lambda x: jnp.array([1.0, 5.0]) * limit_gradient(x, 2.0) ** 2
    for mode in ("auto", "reverse"):
        np.testing.assert_array_equal(transform(jacobian(limited, mode))(3.0).values, [[2.0], [2.0]])
    with pytest.raises(TypeError, match=r'has a jax\.custom_vjp rule, which has no forward mode: say "reverse"'):
        transform(jacobian(limited, "forward"))(3.0)


def test_other_type_errors_of_a_function_are_not_hidden() -> None:
    def broken(x: Array) -> Array:
        return jnp.stack([x, jnp.sin("salt")])

    with pytest.raises(TypeError, match=r"str|salt"):
        jacobian(broken)(3.0)


@pytest.mark.long
@pytest.mark.usefixtures("float64")
def test_they_work_under_transformations() -> None:
    functions = (jacobian(properties, "forward"), jacobian(properties, "reverse"), hessian(deliciousness))
    assert_transforms(lambda recipe: [function(recipe) for function in functions])


REFUSED = [
    (lambda: jacobian(jnp.sin)(1), TypeError, "point must hold floating numbers, and is int32: convert it, or write"),
    (lambda: jacobian(jnp.sin)({"z": 1j}), TypeError, "point must be real, and is complex64 at `z`: `real_jacobian`"),
    (lambda: jacobian(lambda x: 1j * x)(1.0), TypeError, "value must be real, and is complex64: `real_jacobian`"),
    (lambda: jacobian(jnp.argmax)(jnp.ones(2)), TypeError, "value must hold floating numbers, and is int32"),
    (lambda: hessian(jnp.sin)(jnp.ones(3)), ValueError, r"one number, of shape \(\): it gave float32\[3\]"),
    (lambda: hessian(lambda x: 1j * x)(1.0), TypeError, "value must be real, and is complex64: `real_jacobian`"),
    (lambda: hessian(jnp.sin)(True), TypeError, "point must hold floating numbers, and is bool"),
    (lambda: inspect.unwrap(jacobian)(jnp.sin, "foward"), ValueError, "mode: unknown name `foward`; did .*`forward`"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_what_makes_no_sense_is_refused(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
