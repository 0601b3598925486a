"""Coefficients in the user's units say what the module says of scaled features."""

from __future__ import annotations

from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest

from optim.models.coefficients import as_named, coefficient_names, in_user_units, scaled_coefficients, terms
from optim.models.utilities import LinearUtility, QuadraticUtility

NAMES = ("butter", "flour", "sugar")
GROUPS = 3


def filled(utility: LinearUtility | QuadraticUtility, random: np.random.Generator) -> None:
    for name in ("weights", "products", "bias"):
        variable = getattr(utility, name, None)
        if variable is not None:
            variable[...] = jnp.asarray(random.normal(0.0, 1.0, variable[...].shape))


def named(
    utility: LinearUtility | QuadraticUtility, center: np.ndarray, scale: np.ndarray
) -> dict[str, dict[str, float] | float]:
    values = in_user_units(utility, center, scale) @ scaled_coefficients(utility, 0)
    return as_named(utility, NAMES, dict(zip(coefficient_names(utility, NAMES), values.tolist(), strict=True)))


def test_coefficients_without_a_number_are_absent() -> None:
    utility = QuadraticUtility(3, 1, True, [False, False, False])
    found = as_named(utility, NAMES, {"flour": 1.0, "butter*sugar": 2.0})
    assert found == {"weights": {"flour": 1.0}, "products": {"butter*sugar": 2.0}}


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
    theta = scaled_coefficients(utility, group)
    found = dict(zip(coefficient_names(utility, NAMES), in_user_units(utility, center, scale) @ theta, strict=True))
    for features in random.normal(0.0, 100.0, (10, 3)):
        scaled = (features - center) / scale
        by_module = float(utility(jnp.asarray(scaled), jnp.int32(group)))
        recipe = dict(zip(NAMES, features, strict=True))
        by_hand = sum(
            value * np.prod([recipe[part] for part in name.split("*")]) if name != "constant" else value
            for name, value in found.items()
        )
        assert by_hand == pytest.approx(by_module, rel=1e-9, abs=1e-9)
        assert terms(utility, features[None], center, scale)[0] @ theta == pytest.approx(by_module, rel=1e-9, abs=1e-9)
    assert ("constant" in found) == intercept


@pytest.mark.usefixtures("float64")
def test_names_of_the_coefficients() -> None:
    utility = QuadraticUtility(3, 1, True, [True, True, True])
    filled(utility, np.random.default_rng(0))
    center, scale = np.array([1.0, 200.0, 3.0]), np.array([0.5, 40.0, 1.0])
    found = named(utility, center, scale)
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
    found = named(utility, np.zeros(3), np.array([2.0, 2.0, 4.0]))
    assert found == {"weights": {"butter": 1.0, "flour": 2.0, "sugar": 2.0}, "bias": 0.0}
