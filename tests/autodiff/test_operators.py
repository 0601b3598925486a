"""Products with a direction: the printed figures, finite differences, names, and no Hessian in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.extend.core import jaxprs_in_params
from jaxtyping import Array, PyTree

from optim.autodiff.labels import Labelled
from optim.autodiff.operators import hvp, jvp, vjp
from optim.models.functional import Functional
from optim.models.properties import Perceptron
from tests.autodiff.bakery import (
    ORDER,
    START,
    assert_close,
    assert_transforms,
    bakery,
    deliciousness,
    properties,
    slope,
    start,
)

HVP_DIRECTION = (0.1, -0.2, 0.05, 0.1)


def test_what_if_there_is_less_flour_and_more_sugar() -> None:
    value, change = jax.jit(lambda recipe: jvp(properties, recipe, {"flour": -0.05, "sugar": 0.1}))(start())
    np.testing.assert_allclose(value.values, [8.862908, 5.2, 3.714068], rtol=2e-7)
    np.testing.assert_allclose(change.values, [0.40999997, 0.0, 0.03628265], rtol=2e-7, atol=1e-8)
    assert change["sweetness"] == change.values[0]


def test_what_would_make_it_sweeter_and_flatter() -> None:
    weights = {"sweetness": 0.2, "fluffiness": -0.1}
    value, gradient = jax.jit(lambda recipe: vjp(properties, recipe, weights))(start())
    np.testing.assert_allclose(value.values, [8.862908, 5.2, 3.714068], rtol=2e-7)
    np.testing.assert_allclose(gradient.values, [0.0, -0.16666667, -0.04, 0.8], rtol=2e-7, atol=1e-8)
    assert gradient.labels == (ORDER,)


def test_the_hessian_along_a_direction() -> None:
    product = jax.jit(lambda recipe: hvp(deliciousness, recipe, dict(zip(ORDER, HVP_DIRECTION, strict=True))))(start())
    np.testing.assert_allclose(product.values, [0.03933334, 1.0444444, 0.18052481, -3.5657785], rtol=2e-6)
    assert product["sugar"] == product.values[3]


def test_plain_arrays_and_labelled_directions_give_the_same() -> None:
    _, change = jax.jit(partial(jvp, bakery))(np.array(START), np.array([0.0, 0.0, -0.05, 0.1]))
    np.testing.assert_allclose(change, [0.40999997, 0.0, 0.03628265], rtol=2e-7, atol=1e-8)
    _, gradient = jax.jit(partial(vjp, bakery))(np.array(START), np.array([0.2, -0.1, 0.0]))
    np.testing.assert_allclose(gradient, [0.0, -0.16666667, -0.04, 0.8], rtol=2e-7, atol=1e-8)
    product = jax.jit(partial(hvp, deliciousness))(start(), Labelled.vector(ORDER, HVP_DIRECTION))
    np.testing.assert_allclose(product.values, [0.03933334, 1.0444444, 0.18052481, -3.5657785], rtol=2e-6)


def test_a_dict_is_moved_by_name_at_every_depth() -> None:
    point = {"recipe": start(), "oven": {"hours": 2.0, "degrees": jnp.array([1.0, 3.0])}}

    def heat(point: dict[str, Any]) -> dict[str, Array]:
        hours = point["oven"]["hours"]
        return {"crust": hours**2 * point["recipe"]["sugar"], "core": jnp.sum(point["oven"]["degrees"]) * hours}

    value, change = jvp(heat, point, {"recipe": {"sugar": 1.0}, "oven": {"hours": 0.5}})
    assert value == {"crust": 6.0, "core": 8.0}
    assert change == {"crust": 4.0 + 0.5 * 6.0, "core": 2.0}
    _, gradient = vjp(heat, point, {"core": 2.0})
    assert gradient["recipe"]["sugar"] == 0.0
    assert gradient["oven"]["hours"] == 8.0
    np.testing.assert_array_equal(gradient["oven"]["degrees"], [4.0, 4.0])


def network_loss(network: Functional[Perceptron]) -> Callable[[PyTree], Array]:
    inputs = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
    return lambda parameters: jnp.sum(jax.vmap(network(parameters))(inputs) ** 2)


@pytest.mark.usefixtures("float64")
def test_the_parameters_of_a_network_are_a_point() -> None:
    network, parameters = Functional.split(Perceptron(3, [5], 2, rngs=nnx.Rngs(0)))
    loss = jax.jit(network_loss(network))
    leaves, structure = jax.tree.flatten(parameters)
    draw = np.random.default_rng(1)
    direction = structure.unflatten([draw.normal(size=leaf.shape) for leaf in leaves])
    value, change = jax.jit(partial(jvp, loss))(parameters, direction)
    np.testing.assert_allclose(change, slope(loss, parameters, direction), rtol=1e-8)
    again, gradient = jax.jit(partial(vjp, loss))(parameters, 1.0)
    np.testing.assert_allclose(value, again, rtol=1e-14)
    inner = sum(np.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    np.testing.assert_allclose(inner, change, rtol=1e-12)
    product = jax.jit(partial(hvp, loss))(parameters, direction)
    assert_close(product, slope(jax.jit(jax.grad(loss)), parameters, direction), rtol=1e-7, atol=1e-8)


@jax.jit
def products(matrix: Array, x: Array, v: Array, w: Array) -> tuple[Array, ...]:
    f = lambda x: jnp.sin(matrix @ x)
    return *jvp(f, x, v), vjp(f, x, w)[1], hvp(lambda x: jnp.sum(f(x)), x, v)


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from([((1, 1), jnp.float64), ((3, 2), jnp.float32), ((2, 5), jnp.float64)]),
    seed=st.integers(0, 2**16),
)
def test_products_are_those_of_finite_differences(kind: tuple[tuple[int, int], Any], seed: int) -> None:
    shape, dtype = kind
    draw = np.random.default_rng(seed)
    outputs, inputs = shape
    matrix, x, v, w = (draw.normal(size=size) for size in (shape, inputs, inputs, outputs))
    with jax.enable_x64(True):
        found = products(*(jnp.asarray(array, dtype) for array in (matrix, x, v, w)))
    # The reference is NumPy's in double precision, whatever the type under test.
    f, slopes = lambda x: np.sin(matrix @ x), lambda x: matrix.T @ np.cos(matrix @ x)
    gradient = np.array([slope(f, x, unit) for unit in np.eye(inputs)]) @ w
    tolerance = 1e-8 if dtype == jnp.float64 else 2e-5
    for array, wanted in zip(found, (f(x), slope(f, x, v), gradient, slope(slopes, x, v)), strict=True):
        assert array.dtype == dtype
        np.testing.assert_allclose(array, wanted, rtol=tolerance, atol=tolerance * (1 + np.abs(wanted).max()))


@pytest.mark.usefixtures("float64")
def test_a_direction_takes_the_precision_of_the_point() -> None:
    point = Labelled.vector(ORDER, np.array(START, np.float32))
    results = jax.eval_shape(
        lambda recipe: (
            jvp(properties, recipe, {"sugar": 0.1}),
            vjp(properties, recipe, {"cost": 1}),
            hvp(deliciousness, recipe, {"sugar": np.float64(0.1)}),
        ),
        point,
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype("float32")}


@pytest.mark.long
@pytest.mark.usefixtures("float64")
def test_they_work_under_transformations() -> None:
    assert_transforms(
        lambda recipe: (
            jvp(properties, recipe, {"flour": -0.05, "sugar": 0.1}),
            vjp(properties, recipe, {"sweetness": 0.2, "fluffiness": -0.1}),
            hvp(deliciousness, recipe, {"eggs": -0.2, "sugar": 0.1}),
        )
    )


@pytest.mark.usefixtures("float64")
def test_a_product_of_products_is_differentiable_in_the_direction() -> None:
    """A direction that is itself computed: the derivative of the change by the direction is the Jacobian."""
    strength = lambda sugar: jvp(properties, start(), {"sugar": sugar})[1]["sweetness"]
    np.testing.assert_allclose(jax.jit(jax.grad(strength))(0.1), 10 / 2.5, rtol=1e-12)


def shapes(jaxpr: Any) -> Iterator[tuple[int, ...]]:
    for equation in jaxpr.eqns:
        yield from (variable.aval.shape for variable in equation.outvars)
        for inner in jaxprs_in_params(equation.params):
            yield from shapes(inner)


def test_no_hessian_is_formed_for_a_hundred_thousand_variables() -> None:
    n = 100_000
    mixed = jnp.linspace(0.5, 1.5, n) / jnp.sqrt(n)
    score = lambda x: jnp.sum(x**4) / 12 + (mixed @ x) ** 2 / 2
    point, direction = jnp.linspace(-1.0, 2.0, n), jnp.cos(jnp.arange(n, dtype=jnp.float32))
    program = jax.jit(lambda x, v: hvp(score, x, v))
    found = program(point, direction)
    wanted = np.float64(point) ** 2 * direction + mixed * np.dot(np.float64(mixed), np.float64(direction))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    formed = list(shapes(jax.make_jaxpr(program)(point, direction).jaxpr))
    assert (n,) in formed
    assert max(np.prod(shape, dtype=np.int64) for shape in formed) == n
    memory = program.lower(point, direction).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 10 * n * 4


REFUSED = [
    (lambda: jvp(properties, start(), {"suger": 0.1}), ValueError, "unknown name `suger`; did you mean `sugar`"),
    (lambda: vjp(properties, start(), {"sweet": 0.1}), ValueError, "unknown name `sweet`; did you mean `sweetness`"),
    (lambda: hvp(deliciousness, start(), {"7up": 0.1}), ValueError, "unknown name `7up`: expected `butter`"),
    (lambda: jvp(jnp.sum, {"a": 1.0}, {"A b": 1.0}), ValueError, "unknown name `A b`: expected `a`"),
    (
        lambda: jvp(properties, start(), jnp.ones(4)),
        ValueError,
        r"the direction must have the structure and shapes of the point, Labelled\(float32\[4\]: butter, eggs, flour, "
        r"sugar\): it is float32\[4\]",
    ),
    (
        lambda: jvp(properties, start(), Labelled.vector(("eggs", "butter", "flour", "sugar"), START)),
        ValueError,
        r"Labelled\(float32\[4\]: butter, eggs, flour, sugar\): it is Labelled\(float32\[4\]: eggs, butter",
    ),
    (
        lambda: vjp(lambda x: {"low": x[0], "all": [x]}, jnp.ones(3), {"all": [jnp.ones(2)]}),
        ValueError,
        r"weights must .* the value, \{all: \[float32\[3\]\], low: float32\[\]\}: it is \{all: \[float32\[2\]\], low",
    ),
    (lambda: hvp(jnp.sum, jnp.ones(3), {"a": 1.0}), ValueError, r"float32\[3\]: it is \{a: float32\[\]\}"),
    (lambda: jvp(jnp.sin, jnp.ones(2), jnp.ones(2) * 1j), TypeError, r"direction must be real: it is complex64\[2\]"),
    (lambda: jvp(jnp.sin, {"n": 3}, {"n": 1.0}), TypeError, "point must hold floating numbers, and is int32 at `n`"),
    (lambda: vjp(jnp.sin, [True], [1.0]), TypeError, r"is bool at `\[0\]`: convert it, or write 1.0 for 1"),
    (lambda: hvp(jnp.sum, {"r": Labelled.vector("ab", jnp.arange(2))}, {}), TypeError, "is int32 at `r`"),
    (lambda: jvp(jnp.sin, 1j, 1.0), TypeError, "point must be real, and is complex64: `real_jacobian`"),
    (lambda: vjp(lambda x: x * 1j, 1.0, 1.0), TypeError, "value must be real, and is complex64: `real_jacobian`"),
    (lambda: jvp(jnp.argmax, jnp.ones(2), jnp.ones(2)), TypeError, "value must hold floating numbers, and is int32"),
    (
        lambda: hvp(lambda x: Labelled.vector("abc", x), jnp.ones(3), jnp.ones(3)),
        ValueError,
        r"of shape \(\): it gave Labelled\(float32\[3\]",
    ),
    (lambda: hvp(lambda x: (x, x), 1.0, 1.0), ValueError, r"one number, .* it gave \(float32\[\], float32\[\]\)"),
    (lambda: hvp(lambda x: x * 1j, 1.0, 1.0), TypeError, "value must be real, and is complex64: `real_jacobian`"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_what_makes_no_sense_is_refused(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
