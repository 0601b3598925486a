"""The certificate says what holds the best cake, and how many starts agree."""

from __future__ import annotations

import numpy as np
import pytest

from optim.models.space import RecipeSpace
from optim.optimize.certificate import Certificate, certify

PEAK = np.array([1.0, 2.0, 1.5, 0.5])


def space(total: float | None = None) -> RecipeSpace:
    lower, upper = np.array([0.0, 1.0, 1.5, 0.0]), np.array([2.0, 2.0, 1.5, 4.0])
    return RecipeSpace(("butter", "eggs", "flour", "sugar"), ("",) * 4, lower, upper, np.zeros(4), total)


def one(recipe: np.ndarray, gradient: np.ndarray, total: float | None = None) -> Certificate:
    return certify(space(total), recipe.astype(np.float32)[None], np.zeros(1), gradient.astype(np.float32))


def test_active_bounds_are_named_and_fixed_ingredients_are_not() -> None:
    assert one(PEAK, np.zeros(4)).active == ("eggs max",)
    assert one(np.array([0.0, 1.0, 1.5, 4.0]), np.zeros(4)).active == ("butter min", "eggs min", "sugar max")


def test_starts_agree_within_a_ten_thousandth_of_the_best_score() -> None:
    recipes = np.tile(PEAK.astype(np.float32), (6, 1))
    scores = np.array([-9.0, 0.0, -9e-5, -1.1e-4, -1.0, 0.0])
    certificate = certify(space(), recipes, scores, np.zeros(4, np.float32))
    assert (certificate.starts, certificate.agreeing) == (6, 3)


def test_agreement_is_relative_to_the_score() -> None:
    recipes = np.tile(PEAK.astype(np.float32), (3, 1))
    certificate = certify(space(), recipes, np.array([-1000.0, -1000.09, -1000.2]), np.zeros(4, np.float32))
    assert certificate.agreeing == 2


def test_the_best_recipe_is_the_one_that_is_examined() -> None:
    recipes = np.stack([PEAK, [0.0, 1.0, 1.5, 4.0]]).astype(np.float32)
    assert certify(space(), recipes, np.array([1.0, 2.0]), np.zeros(4, np.float32)).active[0] == "butter min"
    assert certify(space(), recipes, np.array([2.0, 1.0]), np.zeros(4, np.float32)).active == ("eggs max",)


def test_a_slope_that_pushes_against_a_bound_is_no_slope() -> None:
    assert one(PEAK, np.array([0.0, 7.0, 3.0, 0.0])).stationarity == 0.0


def test_a_slope_that_leads_inside_is_measured_per_range() -> None:
    """One more range of sugar (4) at a slope of 0.5 is a gain of 2."""
    assert one(PEAK, np.array([0.0, 0.0, 0.0, 0.5])).stationarity == pytest.approx(2.0)
    assert one(PEAK, np.array([0.0, -3.0, 0.0, 0.0])).stationarity == pytest.approx(3.0)


def test_with_a_total_equal_slopes_cancel() -> None:
    assert one(PEAK, np.array([0.4, 0.9, 0.0, 0.4]), total=5.0).stationarity == 0.0


def test_violation_is_in_the_units_of_the_user() -> None:
    assert one(PEAK, np.zeros(4), total=5.0).max_violation == 0.0
    assert one(PEAK, np.zeros(4), total=5.25).max_violation == pytest.approx(0.25)
    assert one(PEAK + np.array([0.0, 0.5, 0.0, 0.0]), np.zeros(4)).max_violation == pytest.approx(0.5)
