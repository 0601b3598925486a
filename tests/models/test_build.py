"""From a config's block and the tasted recipes to modules, scaled by what was tasted."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.config import schema
from optim.config.errors import UserError
from optim.models.build import Tasted, has_intercept
from optim.models.likelihood import LikelihoodModel
from optim.models.properties import Bakery, PropertyNetwork, ScheffeMixture
from optim.models.utilities import LinearUtility, NetworkUtility, QuadraticUtility

from .conftest import INGREDIENTS, Build


def scaled(model: LikelihoodModel, tasted: Tasted) -> np.ndarray:
    return np.asarray(jax.vmap(model.features)(jnp.asarray(tasted.amounts)), float)


def test_with_a_constant_features_have_mean_zero_and_spread_one_over_the_responses(
    build: Build, tasted: Tasted
) -> None:
    model = build(properties={"kind": "bakery"}, utility={"kind": "quadratic", "features": ["amounts", "cost"]})
    features, weights = scaled(model, tasted), tasted.counts / tasted.counts.sum()
    np.testing.assert_allclose(weights @ features, np.zeros(5), atol=1e-5)
    np.testing.assert_allclose(weights @ features**2, np.ones(5), rtol=1e-5)


def test_without_a_constant_nothing_is_subtracted(build: Build, tasted: Tasted) -> None:
    model = build(utility={"kind": "linear", "features": ["fractions"]})
    np.testing.assert_array_equal(model.center[...], np.zeros(4))
    features, weights = scaled(model, tasted), tasted.counts / tasted.counts.sum()
    np.testing.assert_allclose(weights @ features**2, np.ones(4), rtol=1e-5)
    fractions = tasted.amounts / tasted.amounts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(features * np.asarray(model.scale[...]), fractions, rtol=1e-5)


def test_recipes_that_nobody_tasted_do_not_count(build: Build, tasted: Tasted) -> None:
    one = replace(tasted, counts=np.array([0.0, 3.0, 5.0, *np.zeros(9)]))
    model = build(one)
    mean = (3 * tasted.amounts[1] + 5 * tasted.amounts[2]) / 8
    np.testing.assert_allclose(model.center[...], mean, rtol=1e-6)


def test_an_ingredient_that_never_changes_is_refused(build: Build, tasted: Tasted) -> None:
    amounts = tasted.amounts.copy()
    amounts[:, 2] = 2.1
    with pytest.raises(UserError) as caught:
        build(replace(tasted, amounts=amounts))
    assert str(caught.value) == (
        "model.utility.features: flour is the same in every tasted recipe, so what it does to the liking cannot be "
        "learned; hold it with `fixed`"
    )


def test_an_ingredient_that_never_changes_is_welcome_if_it_is_fixed(build: Build, tasted: Tasted) -> None:
    amounts = tasted.amounts.copy()
    amounts[:, 2] = 2.1
    recipes = replace(tasted, amounts=amounts)
    features = scaled(build(recipes, ("flour",)), recipes)
    np.testing.assert_allclose(features[:, 2], np.zeros(12), atol=1e-6)
    assert np.isfinite(features).all()


def test_a_fraction_that_is_always_zero_is_refused(build: Build, tasted: Tasted) -> None:
    amounts = tasted.amounts.copy()
    amounts[:, 1] = 0.0
    with pytest.raises(UserError, match="eggs is the same in every tasted recipe"):
        build(replace(tasted, amounts=amounts), utility={"kind": "linear", "features": ["fractions"]})


def test_a_property_that_never_changes_is_refused(build: Build, tasted: Tasted) -> None:
    properties = {"crunch": np.full(12, 7.0), "aroma": tasted.properties["aroma"]}
    with pytest.raises(UserError, match=r"crunch is the same in every tasted recipe.*; leave it out of the features"):
        build(
            replace(tasted, properties=properties),
            properties={"kind": "scheffe", "columns": ["crunch", "aroma"]},
            utility={"kind": "linear", "features": ["properties"]},
        )


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"kind": "linear", "features": ["amounts"]}, True),
        ({"kind": "linear", "features": ["fractions"]}, False),
        ({"kind": "quadratic", "features": ["cost", "fractions"]}, False),
        ({"kind": "linear", "features": ["amounts"], "intercept": False}, False),
        ({"kind": "mlp", "features": ["fractions"]}, True),
    ],
)
def test_whether_there_is_a_constant(block: dict[str, object], expected: bool) -> None:
    utility = schema.Model.model_validate({"utility": block}).utility
    assert utility is not None
    assert has_intercept(utility) is expected


def test_kinds_of_utilities_and_property_models(build: Build) -> None:
    assert isinstance(build().utility, LinearUtility)
    quadratic = build(utility={"kind": "quadratic", "features": ["fractions"]}).utility
    assert isinstance(quadratic, QuadraticUtility)
    assert quadratic.weights[...].shape == (3, 4)  # three groups
    assert quadratic.products[...].shape == (3, 6)  # no squares
    assert quadratic.bias is None
    assert isinstance(build(utility={"kind": "mlp", "hidden": [5]}).utility, NetworkUtility)
    assert isinstance(build(properties={"kind": "bakery"}).properties, Bakery)
    fitted = build(properties={"kind": "scheffe", "degree": 2, "columns": ["aroma", "crunch"]}).properties
    assert isinstance(fitted, ScheffeMixture)
    assert fitted.names == ("aroma", "crunch")
    assert isinstance(build(properties={"kind": "mlp", "columns": ["aroma"]}).properties, PropertyNetwork)


def test_untrained_properties_are_the_measured_means(build: Build, tasted: Tasted) -> None:
    model = build(properties={"kind": "scheffe", "columns": ["crunch", "aroma"]})
    found = model.properties_of(jnp.asarray(tasted.amounts[0]))
    np.testing.assert_allclose(found, [tasted.properties[name].mean() for name in ("crunch", "aroma")], rtol=1e-5)


def test_features_of_fitted_properties_are_scaled_by_the_measured_ones(build: Build, tasted: Tasted) -> None:
    model = build(
        properties={"kind": "scheffe", "columns": ["crunch", "aroma"]},
        utility={"kind": "linear", "features": ["aroma"]},
    )
    assert model.center[0] == pytest.approx(np.average(tasted.properties["aroma"], weights=tasted.counts), rel=1e-5)


def test_without_a_panel_there_is_no_utility(build: Build) -> None:
    model = build(None, properties={"kind": "bakery"}, utility=None)
    assert model.utility is None
    assert model.properties_of(jnp.array([1.0, 3.0, 2.0, 1.5])).shape == (3,)


def test_without_a_property_model_there_are_no_properties(build: Build) -> None:
    assert build().properties_of(jnp.ones(len(INGREDIENTS))).shape == (0,)


@pytest.mark.usefixtures("float64")
def test_the_model_has_the_precision_of_the_run(build: Build) -> None:
    model = build(utility={"kind": "mlp", "features": ["amounts"]})
    liking = model.expected_response(model.features(jnp.ones(4)), jnp.int32(0))
    assert liking.dtype == jnp.float64
