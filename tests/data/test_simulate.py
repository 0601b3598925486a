"""Simulated customers answer as the truth that is returned with them says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from optim.config.errors import UserError
from optim.data.simulate import largest_remainder, simulate, tastings
from optim.data.streams import stream

MILD, SWEET = {"butter": 1.0, "sugar": 2.0}, {"butter": 2.0, "sugar": 3.0}
TWO = {"mild": {"share": 3, "ideal": MILD}, "sweet": {"share": 1, "ideal": SWEET}}


def errors_of(config) -> list[str]:
    with pytest.raises(UserError) as caught:
        simulate(config)
    return str(caught.value).splitlines()


def test_the_panel_has_the_customers_recipes_and_tastings_that_were_asked_for(make_config):
    spec = {"segments": TWO, "customers": 30, "recipes": 20, "tastings": 7}
    panel, _ = simulate(make_config(data={"simulate": spec}))
    assert (panel.number_of_customers, len(panel.recipes), panel.number_of_responses) == (30, 20, 210)
    assert (np.diff(panel.offsets) == 7).all()
    assert all(len(set(panel.recipe[first : first + 7])) == 7 for first in panel.offsets[:-1])
    assert (panel.customers[0], panel.customers[-1], panel.recipes[0]) == (
        "customer-0001",
        "customer-0030",
        "recipe-01",
    )
    assert (panel.columns["segment"] == "mild").sum() == 23
    assert set(panel.digests) == {"simulated"}


def test_the_same_seed_gives_the_same_panel_and_another_seed_another(make_config):
    panels = [simulate(make_config(seed=seed, data={"simulate": {"segments": TWO}}))[0] for seed in (5, 5, 6)]
    assert (panels[0].amounts == panels[1].amounts).all()
    assert (panels[0].like == panels[1].like).all()
    assert panels[0].digests == panels[1].digests != panels[2].digests


def test_the_tolerance_changes_neither_recipes_nor_tastings(make_config):
    one, other = (
        simulate(make_config(data={"simulate": {"segments": TWO, "tolerance": tolerance}}))[0]
        for tolerance in (0.3, 0.6)
    )
    assert (one.amounts == other.amounts).all()
    assert (one.recipe == other.recipe).all()
    assert one.like.sum() < other.like.sum()


def test_a_tolerance_beyond_all_measure_leaves_the_appeal(make_config):
    _, truth = simulate(make_config(data={"simulate": {"segments": TWO, "tolerance": 1e300, "appeal": 1.5}}))
    assert truth["segments"]["mild"]["coefficients"]["intercept"] == 1.5


def test_the_truth_is_json_and_its_coefficients_are_the_utility_of_the_segment(make_config):
    _, truth = simulate(make_config(data={"simulate": {"segments": TWO, "tolerance": 0.5, "appeal": 1.5}}))
    assert json.loads(json.dumps(truth)) == truth
    assert truth["ranges"] == {"butter": 2.0, "sugar": 3.0}
    assert truth["segments"]["mild"]["share"] == 0.75
    coefficients = truth["segments"]["sweet"]["coefficients"]
    butter, sugar = 1.2, 3.9
    expanded = (
        coefficients["intercept"]
        + coefficients["butter"] * butter
        + coefficients["sugar"] * sugar
        + coefficients["butter*butter"] * butter**2
        + coefficients["sugar*sugar"] * sugar**2
    )
    assert expanded == pytest.approx(1.5 - ((1.2 - 2) / (0.5 * 2)) ** 2 - ((3.9 - 3) / (0.5 * 3)) ** 2)


def test_ideals_spread_around_the_segment_s_as_configured(make_config):
    spec = {"segments": TWO, "customers": 4000, "spread": 0.2}
    _, truth = simulate(make_config(data={"simulate": spec}))
    ideals = np.array([list(c["ideal"].values()) for c in truth["customers"] if c["segment"] == "mild"])
    assert ideals.mean(axis=0) == pytest.approx([1.0, 2.0], abs=0.05)
    assert ideals.std(axis=0) == pytest.approx([0.4, 0.6], rel=0.05)


def test_without_spread_a_logistic_regression_recovers_every_coefficient(make_config):
    """By Newton's method, written out here: the estimates lie within 3 of their own standard errors."""
    spec = {"segments": {"all": {"ideal": MILD}}, "customers": 2000, "spread": 0.0}
    panel, truth = simulate(make_config(data={"simulate": spec}))
    amounts = panel.amounts[panel.recipe]
    features = np.column_stack([np.ones(len(amounts)), amounts, amounts**2])
    weights = np.zeros(5)
    for _ in range(30):
        chance = 1 / (1 + np.exp(-features @ weights))
        information = features.T @ (features * (chance * (1 - chance))[:, None])
        weights += np.linalg.solve(information, features.T @ (panel.like - chance))
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    names = ["intercept", "butter", "sugar", "butter*butter", "sugar*sugar"]
    true = np.array([truth["segments"]["all"]["coefficients"][name] for name in names])
    assert (abs(weights - true) < 3 * errors).all()
    assert (errors < 0.2 * abs(true)).all()


def test_recipes_respect_the_total_and_fixed_ingredients_are_not_tasted_for(make_config):
    ingredients = {"butter": {"min": 0.5, "max": 2.5}, "sugar": {"min": 1, "max": 4}, "salt": {"fixed": 0.1}}
    panel, truth = simulate(make_config(ingredients=ingredients, total=4.0, data={"simulate": {"segments": TWO}}))
    assert panel.amounts.sum(axis=1) == pytest.approx(np.full(60, 4.0), abs=1e-12)
    assert (panel.amounts[:, 2] == 0.1).all()
    assert set(truth["ranges"]) == {"butter", "sugar"}


def test_segments_get_whole_customers_by_the_largest_remainder():
    assert largest_remainder(np.array([1.0, 1.0, 1.0]), 100).tolist() == [34, 33, 33]
    assert largest_remainder(np.array([47.0, 16.0, 15.8, 12.0, 6.1, 3.1]), 10).tolist() == [5, 2, 1, 1, 1, 0]


def test_each_recipe_is_tasted_as_often_as_any_other():
    chosen = tastings(9000, 10, 3, stream(0, "tastings"))
    assert (np.diff(chosen, axis=1) > 0).all()
    assert np.bincount(chosen.ravel()) == pytest.approx(np.full(10, 2700), abs=5 * np.sqrt(2700 * 0.7))


@pytest.mark.parametrize(
    ("appeal", "message"),
    [
        (50.0, "everyone likes every recipe in all 40 simulated tastings: lower appeal (50) or tolerance (0.3)"),
        (-50.0, "nobody likes any recipe in all 40 simulated tastings: raise appeal (-50) or tolerance (0.3)"),
    ],
)
def test_customers_who_all_agree_are_refused(make_config, appeal, message):
    spec = {"segments": TWO, "customers": 10, "tastings": 4, "appeal": appeal}
    assert errors_of(make_config(data={"simulate": spec})) == [
        f"data.simulate: {message}, or simulate more customers",
    ]


def test_a_recipe_in_which_nothing_varies_is_refused(make_config):
    config = make_config(ingredients={"salt": {"fixed": 0.1}}, data={"simulate": {"segments": {"all": {"ideal": {}}}}})
    assert errors_of(config) == ["ingredients: no amount can vary, so every recipe is the same"]
