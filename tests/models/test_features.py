"""Features: their names, their order and their values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.models.features import FeatureMap, fractions

INGREDIENTS, PROPERTIES = ("butter", "flour", "sugar"), ("sweetness", "cost")
AMOUNTS, VALUES = jnp.array([1.0, 3.0, 4.0]), jnp.array([9.0, 2.5])


@pytest.mark.parametrize(
    ("chosen", "names", "values"),
    [
        (("amounts",), ("butter", "flour", "sugar"), [1.0, 3.0, 4.0]),
        (("fractions",), ("butter", "flour", "sugar"), [0.125, 0.375, 0.5]),
        (("properties",), ("sweetness", "cost"), [9.0, 2.5]),
        (("cost", "sweetness"), ("cost", "sweetness"), [2.5, 9.0]),
        (("cost", "amounts"), ("cost", "butter", "flour", "sugar"), [2.5, 1.0, 3.0, 4.0]),
    ],
)
def test_names_and_values_in_the_written_order(
    chosen: tuple[str, ...], names: tuple[str, ...], values: list[float]
) -> None:
    feature_map = FeatureMap(INGREDIENTS, PROPERTIES, chosen)
    assert feature_map.names == names
    np.testing.assert_array_equal(feature_map(AMOUNTS, VALUES), values)


def test_it_knows_which_features_are_fractions() -> None:
    assert FeatureMap(INGREDIENTS, PROPERTIES, ("cost", "fractions")).are_fractions == (False, True, True, True)


def test_fractions_of_an_empty_recipe_are_zero_with_a_finite_slope() -> None:
    np.testing.assert_array_equal(fractions(jnp.zeros(3)), np.zeros(3))
    assert bool(jnp.all(jnp.isfinite(jax.jacrev(fractions)(jnp.zeros(3)))))


def test_the_slope_of_a_fraction() -> None:
    """d(x/S)/dy = (δ S − x)/S²."""
    expected = (np.eye(3) * 8.0 - np.array([1.0, 3.0, 4.0])[:, None]) / 64.0
    np.testing.assert_allclose(jax.jacrev(fractions)(AMOUNTS), expected, rtol=1e-6)
