"""Places in the hull of the tasted recipes against linear and quadratic programs; leverages against statsmodels."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import linprog, minimize

from optim.analysis.tasted import INSIDE, leverage, place_in_hull

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
ONES = np.ones(2)


def is_mixture(point: np.ndarray, tasted: np.ndarray) -> bool:
    """Whether a linear program finds weights that mix the tasted recipes to the point."""
    system = np.vstack([tasted.T, np.ones(len(tasted))])
    return linprog(np.zeros(len(tasted)), A_eq=system, b_eq=np.append(point, 1.0)).status == 0


@pytest.mark.parametrize("dimensions", range(2, 9))
def test_inside_and_outside_agree_with_a_linear_program(dimensions: int) -> None:
    draw = np.random.default_rng(dimensions)
    verdicts = []
    for _ in range(20):
        tasted = draw.normal(size=(4 * dimensions, dimensions))
        point = 0.6 * draw.normal(size=dimensions)
        place = place_in_hull(point, tasted, np.ones(dimensions))
        assert place.inside == is_mixture(point, tasted)
        verdicts.append(place.inside)
    assert len(set(verdicts)) == 2


@pytest.mark.parametrize("dimensions", range(2, 9))
def test_the_distance_agrees_with_a_quadratic_program(dimensions: int) -> None:
    draw = np.random.default_rng(dimensions)
    tasted = draw.uniform(size=(3 * dimensions, dimensions))
    scale = draw.uniform(0.5, 2.0, size=dimensions)
    point = draw.uniform(1.0, 1.5, size=dimensions)

    def squared(weights: np.ndarray) -> float:
        return float(np.sum(((weights @ tasted - point) / scale) ** 2))

    mixing = {"type": "eq", "fun": lambda weights: weights.sum() - 1}
    start = np.full(len(tasted), 1 / len(tasted))
    found = minimize(squared, start, bounds=[(0, 1)] * len(start), constraints=mixing, options={"ftol": 1e-14})
    place = place_in_hull(point, tasted, scale)
    assert place.distance == pytest.approx(math.sqrt(found.fun), rel=1e-6)
    assert np.linalg.norm(place.beyond / scale) == pytest.approx(place.distance, rel=1e-12)
    assert is_mixture(place.nearest, tasted)


@pytest.mark.parametrize(
    ("point", "nearest"),
    [((0.3, 1.7), (0.3, 1.0)), ((4.0, 5.0), (1.0, 1.0)), ((-1e3, 0.5), (0.0, 0.5))],
    ids=["a side", "a corner", "far away"],
)
def test_the_nearest_mixture_lies_on_a_side_or_a_corner(
    point: tuple[float, float], nearest: tuple[float, float]
) -> None:
    place = place_in_hull(np.array(point), SQUARE, ONES)
    assert not place.inside
    np.testing.assert_allclose(place.nearest, nearest, atol=1e-9)
    np.testing.assert_allclose(place.beyond, np.subtract(point, nearest), rtol=1e-12, atol=1e-9)
    assert place.distance == pytest.approx(math.dist(point, nearest), rel=1e-12)


def test_the_point_itself_is_the_nearest_mixture_inside() -> None:
    for point in (*SQUARE, np.array([0.5, 0.5]), np.array([0.25, 0.0])):
        place = place_in_hull(point, SQUARE, ONES)
        assert place.inside
        assert place.distance == 0
        np.testing.assert_array_equal(place.nearest, point)
        np.testing.assert_array_equal(place.beyond, 0)


def test_distances_are_in_ranges() -> None:
    place = place_in_hull(np.array([300.0, 0.5]), SQUARE * [100.0, 1.0], np.array([50.0, 1.0]))
    assert place.distance == pytest.approx(4)
    np.testing.assert_allclose(place.beyond, [200, 0], atol=1e-9)


def test_units_change_nothing() -> None:
    draw = np.random.default_rng(0)
    tasted, point, units = draw.uniform(size=(30, 4)), np.array([1.2, 0.4, 0.9, -0.3]), np.array([1e-6, 1e6, 1.0, 1e3])
    plain = place_in_hull(point, tasted, np.ones(4))
    other = place_in_hull(point * units, tasted * units, units)
    assert other.distance == pytest.approx(plain.distance, rel=1e-9)
    np.testing.assert_allclose(other.nearest / units, plain.nearest, atol=1e-9)


def test_the_rounding_of_a_table_counts_as_inside() -> None:
    assert place_in_hull(np.array([0.5, 1 + 0.9 * INSIDE]), SQUARE, ONES).inside
    assert place_in_hull(np.array([0.5, 1 + 1.1 * INSIDE]), SQUARE, ONES).distance == pytest.approx(1.1 * INSIDE)


def test_a_single_recipe_is_its_own_hull() -> None:
    tasted = np.array([[1.0, 2.0]])
    assert place_in_hull(np.array([1.0, 2.0]), tasted, ONES).inside
    place = place_in_hull(np.array([4.0, 6.0]), tasted, ONES)
    assert place.distance == pytest.approx(5)
    np.testing.assert_allclose(place.nearest, [1, 2])


def test_a_flat_hull_is_left_by_leaving_its_plane() -> None:
    fractions = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])
    middle = fractions.mean(axis=0)
    assert place_in_hull(middle, fractions, np.ones(3)).inside
    place = place_in_hull(middle + 0.1, fractions, np.ones(3))
    assert place.distance == pytest.approx(0.1 * math.sqrt(3))
    np.testing.assert_allclose(place.nearest, middle, atol=1e-12)


def test_repeated_recipes_do_no_harm() -> None:
    place = place_in_hull(np.array([0.3, 1.7]), np.repeat(SQUARE, 50, axis=0), ONES)
    assert place.distance == pytest.approx(0.7)


@pytest.mark.parametrize("step", [0.0, 0.25], ids=["a cloud", "a grid"])
def test_thousands_of_recipes_are_no_burden(step: float) -> None:
    draw = np.random.default_rng(1)
    tasted = draw.dirichlet(np.ones(10), size=5000)
    if step:
        tasted = np.round(tasted / step) * step
    point = np.full(10, 0.1) + 0.2 * draw.normal(size=10)
    began = time.process_time()
    place = place_in_hull(point, tasted, np.ones(10))
    assert time.process_time() - began < 1
    assert not place.inside
    # The nearest point of a convex set is the one that sees all of it behind a plane across its line of sight.
    assert ((tasted - place.nearest) @ place.beyond).max() < 1e-9


def test_no_hull_without_recipes() -> None:
    with pytest.raises(ValueError, match="no recipe was tasted: there is no hull to be inside of"):
        place_in_hull(np.ones(2), np.empty((0, 2)), ONES)


def test_leverages_are_the_diagonal_of_the_hat_matrix() -> None:
    draw = np.random.default_rng(2)
    rows = np.hstack([np.ones((12, 1)), draw.uniform(1, 2, size=(12, 3)) * [1.0, 1e4, 1e-4]])
    counts = draw.integers(1, 9, size=12)
    every = np.repeat(rows, counts, axis=0)
    hat = sm.OLS(draw.normal(size=len(every)), every).fit().get_influence().hat_matrix_diag
    first = np.cumsum(counts) - counts
    for row, expected in zip(rows, hat[first], strict=True):
        assert leverage(row, rows, counts.astype(float)).value == pytest.approx(expected, rel=1e-8)
    assert leverage(rows[0], rows, counts.astype(float)).largest_tasted == pytest.approx(hat.max(), rel=1e-8)


def test_leverage_of_a_new_recipe_is_that_of_its_prediction() -> None:
    draw = np.random.default_rng(3)
    rows, new, counts = draw.normal(size=(15, 4)), draw.normal(size=4), draw.uniform(1, 5, size=15)
    prediction = sm.WLS(draw.normal(size=15), rows, weights=counts).fit()
    variance = (prediction.get_prediction(new[None]).se_mean ** 2 / prediction.scale).item()
    assert leverage(new, rows, counts).value == pytest.approx(variance, rel=1e-9)


def test_units_of_features_change_no_leverage() -> None:
    draw = np.random.default_rng(8)
    rows, new, units = draw.normal(size=(9, 3)), draw.normal(size=3), np.array([1e-9, 1.0, 1e9])
    plain, other = leverage(new, rows, np.ones(9)), leverage(new * units, rows * units, np.ones(9))
    assert other.value == pytest.approx(plain.value, rel=1e-10)
    assert other.largest_tasted == pytest.approx(plain.largest_tasted, rel=1e-10)


def test_a_direction_that_nobody_tasted_has_infinite_leverage() -> None:
    rows = np.array([[1.0, 2.0, 0.0], [1.0, 3.0, 0.0], [1.0, 5.0, 0.0]])
    assert leverage(np.array([1.0, 4.0, 1e-9]), rows, np.ones(3)).value == math.inf
    assert leverage(np.array([1.0, 4.0, 0.0]), rows, np.ones(3)).value < 1


def test_features_that_repeat_each_other_leave_what_follows_them_determined() -> None:
    draw = np.random.default_rng(4)
    rows = draw.uniform(size=(20, 2))
    doubled, counts, new = np.hstack([rows, rows.sum(axis=1, keepdims=True)]), np.ones(20), np.array([0.7, 0.9])
    alone = leverage(new, rows, counts)
    both = leverage(np.append(new, new.sum()), doubled, counts)
    assert both.value == pytest.approx(alone.value, rel=1e-10)
    assert both.largest_tasted == pytest.approx(alone.largest_tasted, rel=1e-10)
    assert leverage(np.append(new, new.sum() + 0.01), doubled, counts).value == math.inf


def test_recipes_without_responses_do_not_count() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 5.0]])
    found = leverage(np.array([0.0, 2.0]), rows, np.array([2.0, 4.0, 0.0]))
    assert found.value == pytest.approx(1.0)
    assert found.largest_tasted == pytest.approx(0.5)


def test_nothing_is_known_without_responses() -> None:
    found = leverage(np.ones(2), np.empty((0, 2)), np.empty(0))
    assert found.value == math.inf
    assert found.largest_tasted == 0
