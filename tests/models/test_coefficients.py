"""Coefficients in the user's units say what the module says of scaled features."""

from __future__ import annotations

from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest

from optim.models.coefficients import named_coefficients, polynomial
from optim.models.utilities import LinearUtility, QuadraticUtility

NAMES = ("butter", "flour", "sugar")
GROUPS = 3


def filled(utility: LinearUtility | QuadraticUtility, random: np.random.Generator) -> None:
    for name in ("weights", "products", "bias"):
        variable = getattr(utility, name, None)
        if variable is not None:
            variable[...] = jnp.asarray(random.normal(0.0, 1.0, variable[...].shape))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("quadratic", "intercept", "group"), list(product([False, True], [False, True], range(GROUPS)))
)
def test_the_polynomial_predicts_what_the_module_predicts(quadratic: bool, intercept: bool, group: int) -> None:
    random = np.random.default_rng(group)
    utility: LinearUtility | QuadraticUtility
    if quadratic:
        utility = QuadraticUtility(3, GROUPS, intercept, [True, False, True])
    else:
        utility = LinearUtility(3, GROUPS, intercept)
    filled(utility, random)
    scale = random.uniform(0.1, 50.0, 3)
    center = random.normal(0.0, 100.0, 3) if intercept else np.zeros(3)
    constant, linear, squares = polynomial(utility, group, center, scale)
    np.testing.assert_array_equal(squares, squares.T)
    for features in random.normal(0.0, 100.0, (10, 3)):
        by_module = float(utility(jnp.asarray((features - center) / scale), jnp.int32(group)))
        by_hand = constant + linear @ features + features @ squares @ features
        assert by_hand == pytest.approx(by_module, rel=1e-9, abs=1e-9)
    if not intercept:
        assert constant == 0.0


@pytest.mark.usefixtures("float64")
def test_names_of_the_coefficients() -> None:
    utility = QuadraticUtility(3, 1, True, [True, True, True])
    filled(utility, np.random.default_rng(0))
    center, scale = np.array([1.0, 200.0, 3.0]), np.array([0.5, 40.0, 1.0])
    found = named_coefficients(utility, 0, NAMES, center, scale)
    weights, products, bias = found["weights"], found["products"], found["bias"]
    assert isinstance(weights, dict)
    assert isinstance(products, dict)
    assert isinstance(bias, float)
    assert tuple(weights) == NAMES
    assert tuple(products) == (
        "butter*butter", "butter*flour", "butter*sugar", "flour*flour", "flour*sugar", "sugar*sugar",
    )  # fmt: skip
    recipe = {"butter": 1.2, "flour": 250.0, "sugar": 2.0}
    by_name = bias + sum(weights[name] * recipe[name] for name in NAMES)
    by_name += sum(value * np.prod([recipe[name] for name in pair.split("*")]) for pair, value in products.items())
    features = (np.array(list(recipe.values())) - center) / scale
    assert by_name == pytest.approx(float(utility(jnp.asarray(features), jnp.int32(0))), rel=1e-9)


def test_a_linear_utility_has_no_products_and_may_have_no_bias() -> None:
    utility = LinearUtility(3, 1, intercept=False)
    utility.weights[...] = jnp.array([[2.0, 4.0, 8.0]])
    found = named_coefficients(utility, 0, NAMES, np.zeros(3), np.array([2.0, 2.0, 4.0]))
    assert found == {"weights": {"butter": 1.0, "flour": 2.0, "sugar": 2.0}, "bias": 0.0}
