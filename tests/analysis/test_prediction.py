"""Scores of predicted probabilities, against sums written out response by response and known figures of real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from optim.analysis.prediction import (
    Prediction,
    accuracy,
    brier,
    log_likelihood,
    null_model,
    one_mean_a_recipe,
    predicted,
)

LIKES, DISLIKES = np.array([3.0, 0.0, 1.0, 2.0]), np.array([1.0, 2.0, 0.0, 2.0])
UTILITY = np.array([1.2, -0.4, -0.1, 0.0])


def responses_of(likes: np.ndarray, dislikes: np.ndarray, utility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every single response as 1 or 0, and its probability of a like."""
    counts = np.stack([likes, dislikes], axis=1).astype(int)
    like = np.concatenate([[1.0] * liked + [0.0] * disliked for liked, disliked in counts])
    return like, np.repeat(special.expit(utility), counts.sum(axis=1))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(-40, 40)), min_size=1, max_size=8).filter(
        lambda cells: any(liked + disliked for liked, disliked, _ in cells)
    )
)
def test_cells_are_scored_as_their_single_responses(cells: list[tuple[int, int, int]]) -> None:
    likes, dislikes, utility = np.array(cells, float).T * np.array([[1.0], [1.0], [0.5]])
    like, chance = responses_of(likes, dislikes, utility)
    found = predicted(likes, dislikes, utility)
    assert found.responses == len(like)
    # The rare side of 1 - p has few digits left, so that is what the likelihood can be held to here.
    assert found.log_likelihood == pytest.approx(stats.bernoulli.logpmf(like, chance).sum(), rel=1e-7, abs=1e-12)
    assert found.loss_per_response == pytest.approx(-found.log_likelihood / len(like), rel=1e-15)
    assert found.brier == pytest.approx(np.mean((chance - like) ** 2), rel=1e-7, abs=1e-12)
    right = np.where(chance == 0.5, 0.5, (chance > 0.5) == (like == 1))
    assert found.accuracy == pytest.approx(right.mean(), rel=1e-15)


def test_a_small_table_by_hand() -> None:
    """3 of 4 likes are right, 2 of 2 dislikes, 0 of 1 like, and half of the 4 responses at 1/2."""
    assert accuracy(LIKES, DISLIKES, UTILITY) == (3 + 2 + 0 + 2) / 11
    log_odds_of_a_quarter = np.log(np.array([1 / 3]))
    one, three = np.array([1.0]), np.array([3.0])
    assert brier(one, three, log_odds_of_a_quarter) == pytest.approx((0.75**2 + 3 * 0.25**2) / 4, rel=1e-15)
    expected = np.log(0.25) + 3 * np.log(0.75)
    assert log_likelihood(one, three, log_odds_of_a_quarter) == pytest.approx(expected, rel=1e-15)


def test_a_perfect_prediction_and_its_opposite() -> None:
    likes, dislikes = np.array([2.0, 0.0]), np.array([0.0, 3.0])
    certain = np.array([np.inf, -np.inf])
    assert predicted(likes, dislikes, certain) == Prediction(5.0, 0.0, 0.0, 0.0, 1.0)
    assert predicted(likes, dislikes, -certain) == Prediction(5.0, -np.inf, np.inf, 1.0, 0.0)


@pytest.mark.parametrize("utility", [-1e4, 1e4])
def test_extreme_utilities_are_finite_and_right(utility: float) -> None:
    found = predicted(np.array([2.0]), np.array([3.0]), np.array([utility]))
    wrong = 2 if utility < 0 else 3
    assert found == Prediction(5.0, -1e4 * wrong, 2e3 * wrong, wrong / 5, 1 - wrong / 5)


def test_a_probability_next_to_one_keeps_its_digits() -> None:
    """log σ(40) = −log(1 + e⁻⁴⁰), which is 0 where it goes by way of the probability."""
    found = predicted(np.array([1.0]), np.array([0.0]), np.array([40.0]))
    assert found.log_likelihood == pytest.approx(-np.exp(-40.0), rel=1e-12, abs=0)
    assert found.brier == pytest.approx(np.exp(-80.0), rel=1e-12, abs=0)


def test_utilities_in_single_precision_are_summed_in_double() -> None:
    utility = np.full(100_000, 0.1, np.float32)
    likes = np.ones(100_000, np.float32)
    expected = -100_000 * np.log1p(np.exp(-float(np.float32(0.1))))
    assert log_likelihood(likes, 0 * likes, utility) == pytest.approx(expected, rel=1e-13)


def test_weights_need_not_be_whole() -> None:
    """Half of everything: the sums are half, the means the same."""
    whole, half = predicted(LIKES, DISLIKES, UTILITY), predicted(LIKES / 2, DISLIKES / 2, UTILITY)
    assert half.responses == 5.5
    assert half.log_likelihood == pytest.approx(whole.log_likelihood / 2, rel=1e-15)
    for name in ("loss_per_response", "brier", "accuracy"):
        assert getattr(half, name) == pytest.approx(getattr(whole, name), rel=1e-15)
    recipe = np.array([0, 0, 1, 2])
    halved = one_mean_a_recipe(LIKES / 2, DISLIKES / 2, recipe)
    assert halved == pytest.approx(one_mean_a_recipe(LIKES, DISLIKES, recipe) / 2, rel=1e-15)


def test_a_utility_that_is_no_number_shows() -> None:
    found = predicted(LIKES, DISLIKES, np.where(UTILITY == 0, np.nan, UTILITY))
    assert np.isnan([found.log_likelihood, found.brier, found.accuracy]).all()


def test_the_null_model_is_the_binomial_s_and_its_rate_is_given() -> None:
    """At the share of likes of the responses themselves, and at another, learnt elsewhere."""
    for rate in (6 / 11, 0.2):
        found = null_model(LIKES, DISLIKES, rate)
        assert found.log_likelihood == pytest.approx(6 * np.log(rate) + 5 * np.log(1 - rate), rel=1e-14)
        assert found.brier == pytest.approx((6 * (1 - rate) ** 2 + 5 * rate**2) / 11, rel=1e-14)
        assert found.accuracy == (6 if rate > 0.5 else 5) / 11
    assert null_model(LIKES, DISLIKES, 0.5).accuracy == 0.5


def test_a_null_model_that_is_certain() -> None:
    likes, none = np.array([2.0, 1.0]), np.zeros(2)
    assert null_model(likes, none, 1.0) == null_model(none, likes, 0.0) == Prediction(3.0, 0.0, 0.0, 0.0, 1.0)
    assert null_model(likes, none, 0.0).log_likelihood == -np.inf


def test_one_mean_a_recipe_is_a_sum_of_entropies() -> None:
    """Recipes in any order, one in two cells, one that all like, and one (of index 1) without a response."""
    recipe = np.array([3, 0, 2, 3])
    likes, dislikes = np.array([3.0, 1.0, 4.0, 1.0]), np.array([1.0, 2.0, 0.0, 3.0])
    expected = -8 * stats.entropy([4, 4]) - 3 * stats.entropy([1, 2])
    assert one_mean_a_recipe(likes, dislikes, recipe) == pytest.approx(expected, rel=1e-14)


def test_the_known_figures_of_the_cocktail_data(cocktail: Path) -> None:
    ratings = np.loadtxt(cocktail / "ratings.csv", delimiter=",", skiprows=1)
    recipe, like = ratings[:, 1].astype(int) - 1, (ratings[:, 2] >= 6).astype(float)
    rate = float(like.mean())
    null = null_model(like, 1 - like, rate)
    assert (null.responses, null.accuracy) == (1600, 803 / 1600)
    assert null.log_likelihood == pytest.approx(-1109.0242, abs=5e-5)
    assert null.brier == pytest.approx(rate * (1 - rate), rel=1e-13)
    assert one_mean_a_recipe(like, 1 - like, recipe) == pytest.approx(-959.2372, abs=5e-5)
    cells = np.bincount(recipe, like), np.bincount(recipe, 1 - like)
    assert null_model(*cells, rate).log_likelihood == pytest.approx(null.log_likelihood, rel=1e-13)


def test_mistakes_are_refused() -> None:
    nothing = np.zeros(3)
    with pytest.raises(ValueError, match="there is no response to compare the probabilities with"):
        predicted(nothing, nothing, nothing)
    for rate in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=f"a rate lies between 0 and 1, got {rate}"):
            null_model(LIKES, DISLIKES, rate)
