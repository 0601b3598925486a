"""The certificate says what holds the best cake, how many starts agree and on what, and what is flat or unread."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.typing import ArrayLike

from optim.models.space import RecipeSpace, SettingSpace
from optim.optimize.certificate import Certificate, certify

PEAK = np.array([1.0, 2.0, 1.5, 0.5])


def space(total: float | None = None) -> RecipeSpace:
    lower, upper = np.array([0.0, 1.0, 1.5, 0.0]), np.array([2.0, 2.0, 1.5, 4.0])
    return RecipeSpace(("butter", "eggs", "flour", "sugar"), ("",) * 4, lower, upper, np.zeros(4), total)


def one(recipe: np.ndarray, gradient: np.ndarray, total: float | None = None) -> Certificate:
    slope = jnp.asarray(gradient, jnp.float32)
    return certify(space(total), recipe.astype(np.float32)[None], lambda x: jnp.sum(slope * x))


def scored(scores: list[float]) -> Certificate:
    """Recipes that differ in their sugar, one for each score."""
    recipes = np.tile(PEAK.astype(np.float32), (len(scores), 1))
    recipes[:, 3] = np.arange(len(scores)) / 2
    return certify(space(), recipes, lambda x: jnp.asarray(scores, x.dtype)[jnp.round(2 * x[3]).astype(int)])


def test_active_bounds_are_named_and_fixed_ingredients_are_not() -> None:
    assert one(PEAK, np.zeros(4)).active == ("eggs max",)
    assert one(np.array([0.0, 1.0, 1.5, 4.0]), np.zeros(4)).active == ("butter min", "eggs min", "sugar max")


def test_starts_agree_within_a_ten_thousandth_of_what_the_score_differs_by() -> None:
    """Which is 1 here, twice the last of these scores: most recipes that nobody trained have that."""
    certificate = scored([-9.0, 0.0, -9e-5, -1.1e-4, 0.0, -0.5])
    assert (certificate.starts, certificate.agreeing, certificate.measure.unit) == (6, 3, 1.0)
    assert certificate.others == pytest.approx((-9.0, -1.1e-4))
    assert scored([0.0, -1900.0, -2100.0, -1e7]).agreeing == 2
    assert one(PEAK, np.zeros(4)).others is None


def test_the_best_recipe_is_the_one_that_is_examined() -> None:
    recipes = np.stack([PEAK, [0.0, 1.0, 1.5, 4.0]]).astype(np.float32)
    sweet, plain = certify(space(), recipes, lambda x: x[3]), certify(space(), recipes, lambda x: -x[3])
    assert (sweet.active[0], sweet.best, sweet.score) == ("butter min", 1, 4.0)
    assert (plain.active, plain.best, plain.score) == (("eggs max",), 0, -0.5)


def test_a_recipe_without_a_finite_score_is_never_the_best() -> None:
    recipes = np.stack([PEAK, [0.0, 1.0, 1.5, 4.0]]).astype(np.float32)
    assert certify(space(), recipes, lambda x: jnp.where(x[3] > 1, jnp.nan, x[0])).best == 0
    assert certify(space(), recipes, lambda x: x[0] * jnp.nan).score == -np.inf


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


# What the agreeing starts do not agree on


def test_starts_that_agree_in_score_but_not_in_recipe_are_told_by_coordinate() -> None:
    salt = np.array([4.43, 0.3, 9.8, 5.0, 1.2, 7.7, 8.8, 2.5])
    found = from_recipes(np.column_stack([np.full(8, 2.0), salt]))
    assert (found.agreeing, found.spread) == (8, {"salt": (0.3, 9.8)})


def test_a_start_with_a_lower_score_does_not_spread_the_recipe() -> None:
    found = from_recipes([[2.0, 4.4], [2.0, 4.4], [3.0, 9.0]])
    assert (found.agreeing, found.spread) == (2, {})


def test_a_spread_is_measured_by_the_range() -> None:
    """A hundredth of the range of sugar is 0.03, of salt 0.1."""
    found = from_recipes([[2.0, 4.40], [2.04, 4.49]])
    assert found.spread == {"sugar": (2.0, 2.04)}


def two(**settings: SettingSpace) -> RecipeSpace:
    """Sugar from 1 to 4, salt from 0 to 10, a fixed flour, and settings."""
    lower, upper = np.array([1.0, 0.0, 2.0]), np.array([4.0, 10.0, 2.0])
    return RecipeSpace(("sugar", "salt", "flour"), ("",) * 3, lower, upper, np.zeros(3), None, settings)


def from_recipes(sugar_and_salt: ArrayLike) -> Certificate:
    """Of a score that falls where there is much sugar."""
    return certify(two(), with_flour(sugar_and_salt), lambda x: -jnp.maximum(x[0] - 2.5, 0.0))


def with_flour(sugar_and_salt: ArrayLike) -> np.ndarray:
    rows = np.asarray(sugar_and_salt, np.float32)
    return np.column_stack([rows, np.full(len(rows), 2.0, np.float32)])


# What nothing reads


def judged(recipes: np.ndarray, score: Any, space: RecipeSpace | None = None, **more: Any) -> Certificate:
    return certify(space or two(), recipes, score, **more)


def test_a_setting_that_no_score_reads_is_told() -> None:
    space = two(temperature=SettingSpace("C", np.array([20.0]), np.array([38.0])))
    recipes = np.array([[2.0, 3.0, 2.0, 25.0], [2.0, 3.0, 2.0, 37.0]], np.float32)
    found = judged(recipes, lambda x: -((x[0] - 2) ** 2) - (x[1] - 3) ** 2, space)
    assert found.unread == ("temperature",)
    assert found.spread == {"temperature": (25.0, 37.0)}


def test_a_slope_of_0_at_every_end_does_not_make_a_coordinate_unread() -> None:
    peak = with_flour([[2.0, 3.0], [2.0, 3.0]])
    assert judged(peak, lambda x: -((x[0] - 2) ** 2)).unread == ("salt",)
    assert judged(peak, lambda x: -((x[0] - 2) ** 2) - jnp.maximum(x[1] - 3, 0)).unread == ()


def test_what_alone_fills_up_a_total_is_not_called_unread() -> None:
    """Its amount is what the others leave; two that nothing reads may be exchanged for each other."""
    recipe = np.array([[1.0, 2.0, 1.5, 0.5]], np.float32)
    reads_two, reads_one = (lambda x: -((x[0] - 1) ** 2) - x[1], lambda x: -((x[0] - 1) ** 2))
    assert judged(recipe, reads_two, space()).unread == ("sugar",)
    assert judged(recipe, reads_two, space(total=5.0)).unread == ()
    assert judged(recipe, reads_one, space(total=5.0)).unread == ("eggs", "sugar")


def test_with_the_gradient_alone_nothing_is_called_unread() -> None:
    assert one(PEAK, np.zeros(4)).unread == ()


# Scores that are P(like), saturated or not


def like(slope: float) -> dict[str, Any]:
    """P(like), its logit and the utility: of sugar alone, 0 where there is none of it."""
    utility = lambda x: slope * x[0]
    return {"score": lambda x: jax.nn.sigmoid(utility(x)), "log_odds": utility, "reads": lambda x: utility(x)[None]}


SUGARS = with_flour([[1.5, 1.0], [3.9, 1.0], [2.0, 1.0]])


def test_what_a_saturated_score_reads_is_not_called_unread() -> None:
    """At slope 500 P(like) is 1 everywhere, and its slope 0 to the last bit."""
    assert judged(SUGARS, **like(500.0)).unread == ("salt",)


def test_of_a_score_that_is_flat_everywhere_nothing_is_said_without_what_it_reads() -> None:
    functions = like(500.0)
    assert judged(SUGARS, functions["score"]).unread == ()
    assert judged(SUGARS, functions["score"], log_odds=functions["log_odds"]).unread == ("salt",)


def test_groups_that_are_certain_of_opposite_opinions_read_the_recipe_all_the_same() -> None:
    """The mean P(like) and its logit are flat: half the customers like the cake, and half do not."""
    utilities = lambda x: jnp.array([300.0, -300.0]) * x[0]
    score = lambda x: jax.nn.sigmoid(utilities(x)).mean()
    found = judged(SUGARS, score, log_odds=lambda x: jnp.log(score(x)) - jnp.log(1 - score(x)), reads=utilities)
    assert found.unread == ("salt",)


def test_a_score_that_reads_nothing_is_told_where_what_it_reads_is_known() -> None:
    assert judged(SUGARS, **like(0.0)).unread == ("sugar", "salt")


def test_among_saturated_scores_the_highest_log_odds_are_the_best() -> None:
    found = judged(SUGARS, **like(50.0))
    assert (found.agreeing, found.best) == (3, 1)
    assert found.saturation is not None
    assert found.saturation.starts == 3
    assert found.saturation.log_odds == pytest.approx(50 * 3.9, rel=1e-6)
    assert found.saturation.stationarity == pytest.approx(50 * 3, rel=1e-6)  # per range of sugar, which is 3
    assert found.stationarity < 1e-12
    assert not found.stationary


def test_among_scores_that_are_0_to_the_last_bit_as_well() -> None:
    found = judged(SUGARS, **like(-100.0))
    assert (found.best, found.stationary) == (0, False)
    assert found.saturation is not None
    assert found.saturation.starts == 3


def test_a_saturated_score_at_its_bound_is_stationary() -> None:
    found = judged(with_flour([[1.5, 1.0], [4.0, 1.0]]), **like(50.0))
    assert (found.best, found.stationary, found.active) == (1, True, ("sugar max",))


def test_saturation_is_counted_by_start_and_by_precision() -> None:
    """σ(18) = 1 − 1.5e-8 is 1 in single precision."""
    recipes = with_flour([[4.0, 1.0], [1.0, 1.0]])  # utilities 18 and 4.5
    single = judged(recipes, **like(4.5))
    assert single.saturation is not None
    assert single.saturation.starts == 1


@pytest.mark.usefixtures("float64")
def test_a_probability_short_of_1_is_not_saturated_in_double_precision() -> None:
    found = judged(with_flour([[4.0, 1.0], [1.0, 1.0]]).astype(float), **like(4.5))
    assert (found.best, found.saturation) == (0, None)


def test_a_small_probability_is_not_saturated() -> None:
    found = judged(SUGARS, **like(-20.0))  # 1e-13 at best
    assert found.saturation is None


# Whether the slope is small


@pytest.mark.parametrize(("slope", "small"), [(0.99e-3, True), (1.01e-3, False)])
def test_a_slope_is_small_up_to_a_thousandth(slope: float, small: bool) -> None:
    """Of 1, by which the score differs over the range of butter, which is 2; per range of sugar, which is 4."""
    recipe = PEAK.astype(np.float32)[None]
    butter = lambda x: 0.25 * jnp.maximum(jnp.abs(x[0] - 1) - 0.01, 0)
    found = certify(space(), recipe, lambda x: slope / 4 * (x[3] - recipe[0, 3]) - butter(x) - 9)
    assert found.measure.unit == pytest.approx(1, rel=1e-3)
    assert found.stationary is small


def test_the_slope_is_that_of_the_score() -> None:
    found = judged(with_flour([[2.0, 3.0]]), lambda x: 0.5 * x[0] - (x[1] - 3) ** 2)
    assert found.stationarity == pytest.approx(1.5)
    assert found.saturation is None
