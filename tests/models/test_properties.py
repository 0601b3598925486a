"""Property models: the bakery's formulas to the printed figures, the fitted ones to formulas by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from optim.models.functional import Functional
from optim.models.properties import Bakery, PropertyModel, PropertyNetwork, ScheffeMixture

ORDER = ("butter", "eggs", "flour", "sugar")
START = np.array([1.0, 3.0, 2.0, 1.5])
PROPERTIES = (8.862908, 5.2, 3.714068)
JACOBIAN = ((0.1, 0, -0.2, 4.0), (0.2, 1.6666667, 0, 0), (0.6, 0.5, 0.41986483, 0.5727589))
SCORE_GRADIENT = (-0.1525816, -0.91666603, -0.66476905, 8.810353)
HESSIAN = (
    (-0.16000001, -0.6666667, 0.04, -0.8),
    (-0.6666667, -5.555556, 0, 0),
    (0.04, 0, 0.33049622, 1.6),
    (-0.8, 0, 1.6, -35.657787),
)

bakery = Bakery(ORDER)


def deliciousness(amounts: Array) -> Array:
    sweetness, fluffiness, cost = bakery(amounts)
    return -((sweetness - 10) ** 2) - (fluffiness - 5) ** 2 - 0.5 * cost


def test_properties_of_the_starting_recipe() -> None:
    assert bakery.names == ("sweetness", "fluffiness", "cost")
    np.testing.assert_allclose(jax.jit(bakery)(jnp.asarray(START)), PROPERTIES, rtol=2e-7)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_jacobian_in_both_modes(mode: type[jax.jacfwd]) -> None:
    np.testing.assert_allclose(jax.jit(mode(bakery))(jnp.asarray(START)), JACOBIAN, rtol=2e-7, atol=1e-7)


def test_jacobian_times_a_direction_and_the_transpose() -> None:
    start = jnp.asarray(START)
    _, change = jax.jit(lambda x, v: jax.jvp(bakery, (x,), (v,)))(start, jnp.array([0, 0, -0.05, 0.1]))
    np.testing.assert_allclose(change, [0.40999997, 0, 0.03628265], rtol=2e-6, atol=1e-8)
    (pulled,) = jax.jit(lambda x, w: jax.vjp(bakery, x)[1](w))(start, jnp.array([0.2, -0.1, 0]))
    np.testing.assert_allclose(pulled, [0, -0.16666667, -0.04, 0.8], rtol=2e-6, atol=1e-8)


def test_gradient_and_hessian_of_the_deliciousness() -> None:
    start = jnp.asarray(START)
    assert jax.jit(jax.grad(deliciousness))(start) == pytest.approx(SCORE_GRADIENT, rel=2e-6)
    hessian = jax.jit(jax.hessian(deliciousness))(start)
    np.testing.assert_allclose(hessian, HESSIAN, rtol=2e-5, atol=1e-6)
    direction = jnp.array([0.1, -0.2, 0.05, 0.1])
    np.testing.assert_allclose(
        hessian @ direction, [0.03933334, 1.0444444, 0.18052481, -3.5657785], rtol=1e-4, atol=1e-6
    )


@pytest.mark.usefixtures("float64")
def test_the_printed_figures_hold_in_double_precision() -> None:
    start = jnp.asarray(START)
    assert bakery(start).dtype == jnp.float64
    np.testing.assert_allclose(bakery(start), PROPERTIES, rtol=2e-7)
    np.testing.assert_allclose(jax.jit(jax.hessian(deliciousness))(start), HESSIAN, rtol=2e-6, atol=1e-7)


def test_ingredients_are_found_by_name_wherever_they_stand() -> None:
    shuffled = Bakery(("sugar", "yeast", "flour", "eggs", "butter"))
    np.testing.assert_array_equal(
        shuffled(jnp.array([1.5, 99.0, 2.0, 3.0, 1.0])), bakery(jnp.asarray(START, jnp.float32))
    )


@pytest.mark.parametrize("amounts", [(1.0, 3.0, 0.0, 1.5), (0.0, 0.0, 0.0, 0.0)])
def test_amounts_driven_to_zero_keep_every_derivative_finite(amounts: tuple[float, ...]) -> None:
    at = jnp.asarray(amounts)
    np.testing.assert_allclose(bakery(at)[2], 0.5 * (at[3] ** 1.1 + at[0] ** 1.2 + at[1]), rtol=1e-6)
    for derivative in (jax.grad(deliciousness), jax.hessian(deliciousness), jax.jacfwd(jax.value_and_grad(bakery_sum))):
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(jax.jit(derivative)(at)))


def bakery_sum(amounts: Array) -> Array:
    return jnp.sum(bakery(amounts))


def test_descending_the_cost_to_a_cake_without_flour_stays_finite() -> None:
    step = lambda _, x: jnp.maximum(x - 0.05 * jax.grad(lambda y: bakery(y)[2])(x), 0.0)
    end = jax.jit(lambda x: jax.lax.fori_loop(0, 200, step, x))(jnp.asarray(START))
    np.testing.assert_array_equal(end, np.zeros(4))


def scheffe(degree: int, weights: np.ndarray) -> ScheffeMixture:
    model = ScheffeMixture(("crunch", "aroma"), degree, 3, np.array([10.0, -1.0]), np.array([2.0, 0.5]))
    assert model.weights[...].shape == weights.shape
    model.weights[...] = jnp.asarray(weights)
    return model


def test_a_mixture_of_degree_one_is_linear_in_the_fractions() -> None:
    weights = np.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]])
    found = scheffe(1, weights)(jnp.array([1.0, 3.0, 4.0]))  # fractions 1/8, 3/8, 1/2
    np.testing.assert_allclose(found, [10 + 2 * (0.125 + 0.75 + 1.5), -1 + 0.5 * (-0.125 + 0.1875)], rtol=1e-6)


def test_a_mixture_of_degree_two_adds_the_products_of_two_fractions() -> None:
    weights = np.array([[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], [0.0, 0.0, 0.0, 1.0, 0.0, -1.0]])
    a, b, c = 1 / 8, 3 / 8, 1 / 2
    found = scheffe(2, weights)(jnp.array([1.0, 3.0, 4.0]))
    linear = a + 2 * b + 3 * c
    np.testing.assert_allclose(
        found,
        [10 + 2 * (linear + 10 * a * b + 20 * a * c + 30 * b * c), -1 + 0.5 * (a * b - b * c)],
        rtol=1e-6,
    )


def test_a_mixture_does_not_depend_on_the_size_of_the_recipe() -> None:
    model = scheffe(2, np.arange(12.0).reshape(2, 6))
    recipe = jnp.array([1.0, 3.0, 4.0])
    np.testing.assert_allclose(model(1000.0 * recipe), model(recipe), rtol=1e-6)


def test_an_untrained_mixture_predicts_the_means() -> None:
    model = ScheffeMixture(("crunch", "aroma"), 2, 3, np.array([10.0, -1.0]), np.array([2.0, 0.5]))
    np.testing.assert_array_equal(model(jnp.array([0.2, 0.3, 0.5])), [10.0, -1.0])


def test_an_empty_recipe_has_a_finite_mixture_and_gradient() -> None:
    model = scheffe(2, np.arange(12.0).reshape(2, 6))
    assert bool(jnp.all(jnp.isfinite(model(jnp.zeros(3)))))
    assert bool(jnp.all(jnp.isfinite(jax.jacrev(model)(jnp.zeros(3)))))


def test_a_network_has_the_configured_widths_and_scales_amounts_inside() -> None:
    amounts = np.random.default_rng(0).uniform(100.0, 900.0, (20, 3))
    amounts[:, 2] = 5.0  # one that never changes must not divide by zero
    model = PropertyNetwork(("crunch",), [7, 4], amounts, np.array([30.0]), np.array([2.0]), nnx.Rngs(params=1))
    assert [layer.kernel[...].shape for layer in model.network.layers] == [(3, 7), (7, 4), (4, 1)]
    found = jax.vmap(model)(jnp.asarray(amounts))
    assert found.shape == (20, 1)
    by_hand = np.append((amounts[0, :2] - amounts[:, :2].mean(0)) / amounts[:, :2].std(0), 0.0)
    for layer in model.network.layers:
        by_hand = by_hand @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])
        by_hand = by_hand if layer is model.network.layers[-1] else np.tanh(by_hand)
    np.testing.assert_allclose(found[0], 30.0 + 2.0 * by_hand, rtol=1e-5)


@pytest.mark.usefixtures("float64")
def test_a_network_is_drawn_in_the_precision_of_the_run() -> None:
    model = PropertyNetwork(("a",), [2], np.eye(3), np.zeros(1), np.ones(1), nnx.Rngs(params=1))
    _, parameters = Functional.split(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(parameters)} == {jnp.dtype("float64")}


def test_each_is_a_property_model() -> None:
    assert isinstance(bakery, PropertyModel)
    assert isinstance(scheffe(1, np.zeros((2, 3))), PropertyModel)
