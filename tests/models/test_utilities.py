"""Utilities are the formulas that they say they are, each group with its own weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optim.models.functional import Functional
from optim.models.links import Logit
from optim.models.utilities import LinearUtility, NetworkUtility, QuadraticUtility

FEATURES = jnp.array([0.5, -2.0, 3.0])


def test_linear() -> None:
    utility = LinearUtility(3, 2, intercept=True)
    utility.weights[...] = jnp.array([[1.0, 2.0, 3.0], [0.0, 1.0, -1.0]])
    assert utility.bias is not None
    utility.bias[...] = jnp.array([10.0, -10.0])
    assert utility(FEATURES, jnp.int32(0)) == 0.5 - 4.0 + 9.0 + 10.0
    assert utility(FEATURES, jnp.int32(1)) == -2.0 - 3.0 - 10.0


def test_one_group_is_everyones() -> None:
    utility = LinearUtility(3, 1, intercept=False)
    utility.weights[...] = jnp.array([[1.0, 2.0, 3.0]])
    assert utility.bias is None
    assert utility(FEATURES, jnp.int32(0)) == 5.5


def test_quadratic_has_every_pair_once() -> None:
    utility = QuadraticUtility(3, 1, intercept=True, squares=[True, True, True])
    assert list(zip(utility.left, utility.right, strict=True)) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    utility.products[...] = jnp.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    a, b, c = (float(value) for value in FEATURES)
    expected = a * a + 2 * a * b + 3 * a * c + 4 * b * b + 5 * b * c + 6 * c * c
    assert utility(FEATURES, jnp.int32(0)) == pytest.approx(expected)


def test_squares_of_fractions_are_left_out() -> None:
    utility = QuadraticUtility(3, 2, intercept=False, squares=[False, False, True])
    assert list(zip(utility.left, utility.right, strict=True)) == [(0, 1), (0, 2), (1, 2), (2, 2)]
    utility.weights[...] = jnp.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    utility.products[...] = jnp.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 2.0]])
    assert utility(FEATURES, jnp.int32(0)) == 1.5
    assert utility(FEATURES, jnp.int32(1)) == -1.0 + 18.0


def test_a_quadratic_utility_of_one_fraction_has_no_products() -> None:
    utility = QuadraticUtility(1, 1, intercept=False, squares=[False])
    assert utility(jnp.ones(1), jnp.int32(0)) == 0.0


def test_only_the_rows_of_a_group_have_a_gradient() -> None:
    function, parameters = Functional.split(QuadraticUtility(3, 3, intercept=True, squares=[True] * 3))
    gradient = jax.grad(lambda p: function(p)(FEATURES, jnp.int32(1)))(parameters)
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(leaf[0], 0.0 * leaf[0])
        np.testing.assert_array_equal(leaf[2], 0.0 * leaf[2])
    np.testing.assert_array_equal(gradient["weights"][1], FEATURES)


@pytest.mark.parametrize(("groups", "inputs"), [(1, 3), (4, 7)])
def test_a_network_sees_the_group_where_there_are_several(groups: int, inputs: int) -> None:
    utility = NetworkUtility(3, groups, [5], nnx.Rngs(params=0))
    assert [layer.kernel[...].shape for layer in utility.network.layers] == [(inputs, 5), (5, 1)]
    utilities = [float(utility(FEATURES, jnp.int32(group))) for group in range(groups)]
    assert len(set(utilities)) == groups


def test_the_link_is_the_logistic_function() -> None:
    link = Logit()
    utility = np.array([-3.0, 0.0, 0.7, 4.0])
    probability = 1 / (1 + np.exp(-utility))
    np.testing.assert_allclose(jax.vmap(link.mean)(jnp.asarray(utility)), probability, rtol=1e-6)
    for like, p in ((1.0, probability), (0.0, 1 - probability)):
        found = jax.vmap(link.log_probability, in_axes=(0, None))(jnp.asarray(utility), jnp.asarray(like))
        np.testing.assert_allclose(found, np.log(p), rtol=1e-5)


@pytest.mark.parametrize("utility", [-1e4, 1e4])
@pytest.mark.parametrize("like", [0.0, 1.0])
def test_extreme_logits_are_finite_and_right(utility: float, like: float) -> None:
    """−log σ(±u): 0 where the response was certain, the logit itself where it was impossible."""
    expected = (like > 0) == (utility > 0)
    value, slope = jax.value_and_grad(Logit().log_probability)(jnp.float32(utility), jnp.float32(like))
    assert value == (0.0 if expected else -1e4)
    assert slope == (0.0 if expected else (1.0 if like else -1.0))


@pytest.mark.parametrize("like", [0.0, 1.0])
@pytest.mark.parametrize("certainty", [10.0, 20.0, 40.0])
def test_an_almost_certain_response_keeps_its_small_gradient(like: float, certainty: float) -> None:
    """The gradient is ∓e^−u, which 1 − σ(u) would round away."""
    utility = jnp.float32(certainty if like else -certainty)
    value, slope = jax.value_and_grad(Logit().log_probability)(utility, jnp.float32(like))
    np.testing.assert_allclose(value, -np.log1p(np.exp(-certainty)), rtol=1e-5)
    np.testing.assert_allclose(abs(slope), np.exp(-certainty) / (1 + np.exp(-certainty)), rtol=1e-5)
