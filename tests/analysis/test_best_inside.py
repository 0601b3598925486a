"""The best recipe inside the tasted ones, against solvers over all mixing weights and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, linprog, minimize

from optim.analysis.best_inside import Allowed, Inside, ScoreAndGradient, best_inside

ANYTHING = Allowed(np.full(2, -np.inf), np.full(2, np.inf), None)
UNIT = Allowed(np.zeros(2), np.ones(2), None)
NOWHERE = np.empty((0, 2))
TRIANGLE = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])


def quadratic(peak: np.ndarray, curvature: np.ndarray) -> ScoreAndGradient:
    """−½ (x − peak)ᵀ C (x − peak)."""

    def score_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
        slope = -curvature @ (point - peak)
        return float(0.5 * (point - peak) @ slope), slope

    return score_and_gradient


def linear(slope: list[float]) -> ScoreAndGradient:
    return lambda point: (float(point @ slope), np.array(slope))


def round_peak(*peak: float) -> ScoreAndGradient:
    return quadratic(np.array(peak), np.eye(len(peak)))


def found(score: ScoreAndGradient, tasted: np.ndarray, allowed: Allowed, *starts: list[float]) -> Inside:
    """What there is to find, every range being 1."""
    dimensions = tasted.shape[1]
    best = best_inside(score, tasted, allowed, np.reshape(starts, (-1, dimensions)).astype(float), np.ones(dimensions))
    assert best is not None
    return best


@pytest.mark.parametrize("total", [None, 1.0], ids=["no total", "a total"])
@pytest.mark.parametrize("dimensions", [2, 4, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_concave_score_agrees_with_a_solver_over_all_mixing_weights(
    dimensions: int, total: float | None, seed: int
) -> None:
    draw = np.random.default_rng([dimensions, seed])
    tasted = draw.dirichlet(np.ones(dimensions), size=25) * draw.uniform(0.8, 1.2, size=(25, 1))
    half = draw.normal(size=(dimensions, dimensions))
    score = quadratic(draw.uniform(0.0, 3.0 / dimensions, size=dimensions), half @ half.T + 0.1 * np.eye(dimensions))
    lower, upper = np.full(dimensions, 0.1 / dimensions), np.full(dimensions, 1.6 / dimensions)

    constraints = [LinearConstraint(np.ones(25), 1, 1), LinearConstraint(tasted.T, lower, upper)]
    if total is not None:
        constraints.append(LinearConstraint(tasted.sum(axis=1), total, total))
    reference = minimize(
        lambda weights: -score(weights @ tasted)[0],
        np.full(25, 1 / 25),
        jac=lambda weights: -tasted @ score(weights @ tasted)[1],
        method="SLSQP",
        bounds=Bounds(np.zeros(25), np.ones(25)),
        constraints=constraints,
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert reference.success
    best = found(score, tasted, Allowed(lower, upper, total), [0.5] * dimensions)
    assert best.score == pytest.approx(-reference.fun, abs=1e-7)
    np.testing.assert_allclose(best.point, reference.x @ tasted, atol=1e-3)
    assert best.gap <= 1e-7 * (1 + abs(best.score))
    assert best.agreeing == best.starts
    assert (best.point >= lower - 1e-9).all()
    assert (best.point <= upper + 1e-9).all()
    mixing = np.vstack([tasted.T, np.ones(25)])
    assert linprog(np.zeros(25), A_eq=mixing, b_eq=np.append(best.point, 1.0)).status == 0
    if total is not None:
        assert best.point.sum() == pytest.approx(total, abs=1e-9)


def test_the_peak_is_found_where_it_lies_inside() -> None:
    best = found(round_peak(1.0, 1.5), TRIANGLE, ANYTHING)
    np.testing.assert_allclose(best.point, [1, 1.5], atol=1e-6)
    assert best.score == pytest.approx(0, abs=1e-12)


def test_the_nearest_mixture_is_found_where_the_peak_lies_outside() -> None:
    best = found(round_peak(3.0, 4.0), TRIANGLE, ANYTHING)
    np.testing.assert_allclose(best.point, [1.5, 2.5], atol=1e-6)


def test_a_bound_cuts_the_hull() -> None:
    best = found(linear([2.0, 1.0]), TRIANGLE, Allowed(np.zeros(2), np.array([3.0, 4.0]), None))
    np.testing.assert_allclose(best.point, [3, 1], atol=1e-9)


def test_a_total_cuts_the_hull() -> None:
    best = found(linear([2.0, 1.0]), TRIANGLE, Allowed(np.zeros(2), np.array([1.5, 4.0]), 2.0))
    np.testing.assert_allclose(best.point, [1.5, 0.5], atol=1e-9)


DOUBLE_WELL = np.roots([-4, 0, 4, 0.3]).real  # where the slope of −(x² − 1)² + 0.3 x is 0


def double_well(point: np.ndarray) -> tuple[float, np.ndarray]:
    """Two peaks along x, the right one the higher; one along y."""
    x, y = point
    return -((x**2 - 1) ** 2) + 0.3 * x - (y - 0.2) ** 2, np.array([-4 * x * (x**2 - 1) + 0.3, -2 * (y - 0.2)])


def test_the_higher_of_two_peaks_is_kept() -> None:
    tasted = np.array([[-2.0, -1.0], [-2.0, 1.0], [2.0, -1.0], [2.0, 1.0], [1.2, 0.5]])
    best = found(double_well, tasted, ANYTHING, [-0.9, 0.2])
    np.testing.assert_allclose(best.point, [DOUBLE_WELL.max(), 0.2], atol=1e-5)
    assert best.starts == 4
    assert best.agreeing < best.starts  # the start given stands under the lower peak


def test_a_start_outside_leads_to_the_peak_that_no_tasted_recipe_is_near_to() -> None:
    tasted = np.array([[-2.5, -1.0], [-2.5, 1.0], [2.5, -1.0], [2.5, 1.0], [-1.1, 0.2], [-1.0, 0.3], [-0.9, 0.1]])
    best = found(double_well, tasted, ANYTHING, [1.0, 7.0])
    np.testing.assert_allclose(best.point, [DOUBLE_WELL.max(), 0.2], atol=1e-5)
    assert best.agreeing == 1


def test_the_best_tasted_recipe_is_the_best_where_the_score_is_convex() -> None:
    tasted = np.random.default_rng(5).normal(size=(40, 2))
    best = found(lambda point: (float(point @ point), 2 * point), tasted, ANYTHING)
    np.testing.assert_array_equal(best.point, tasted[np.argmax((tasted**2).sum(axis=1))])


def test_recipes_on_a_line() -> None:
    tasted = np.outer([0.0, 0.2, 0.5, 1.0], [3.0, 3.0])
    best = found(round_peak(0.0, 2.0), tasted, ANYTHING)
    np.testing.assert_allclose(best.point, [1, 1], atol=1e-6)
    cut = found(round_peak(0.0, 2.0), tasted, Allowed(np.zeros(2), np.array([0.5, 3.0]), None))
    np.testing.assert_allclose(cut.point, [0.5, 0.5], atol=1e-9)


def test_a_single_recipe_is_the_answer() -> None:
    best = found(round_peak(0.0, 0.0), np.array([[0.25, 0.5]]), UNIT, [1.0, 1.0])
    np.testing.assert_array_equal(best.point, [0.25, 0.5])
    assert best.gap == 0
    assert best.agreeing == best.starts == 2


def test_mixtures_are_allowed_though_no_tasted_recipe_is() -> None:
    tasted = np.array([[-1.0, 0.5], [2.0, 0.5]])
    best = found(round_peak(0.75, 2.0), tasted, UNIT)
    np.testing.assert_allclose(best.point, [0.75, 0.5], atol=1e-6)
    assert best.starts == 2
    edge = found(round_peak(5.0, 2.0), tasted, UNIT)
    np.testing.assert_allclose(edge.point, [1, 0.5], atol=1e-9)


@pytest.mark.parametrize(
    "allowed", [UNIT, Allowed(np.full(2, -9.0), np.full(2, 9.0), 3.0)], ids=["the bounds", "the total"]
)
def test_nothing_is_found_where_no_mixture_is_allowed(allowed: Allowed) -> None:
    tasted = np.array([[2.0, 2.0], [3.0, 1.5], [2.5, 4.0]])
    assert best_inside(round_peak(0.0, 0.0), tasted, allowed, NOWHERE, np.ones(2)) is None
    assert best_inside(round_peak(0.0, 0.0), tasted[:0], allowed, NOWHERE, np.ones(2)) is None


def test_a_table_that_is_rounded_keeps_its_hull() -> None:
    printed = np.array([[0.333, 0.333, 0.333], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]])  # the first misses the total
    best = found(round_peak(1 / 3, 1 / 3, 1 / 3), printed, Allowed(np.zeros(3), np.ones(3), 1.0))
    np.testing.assert_allclose(best.point, 1 / 3, rtol=1e-6)


def test_a_rounded_recipe_stands_for_the_allowed_one_nearest_in_ranges() -> None:
    printed, scale = np.array([[100.0, 2.0, 0.5004]]), np.array([100.0, 1.0, 0.5])
    allowed = Allowed(np.zeros(3), np.array([200.0, 4.0, 0.5]), 102.51)
    best = best_inside(linear([1.0, 0.0, 0.0]), printed, allowed, np.empty((0, 3)), scale)
    assert best is not None
    share = 0.01 * scale**2 / (100.0**2 + 1.0)  # the third stands at its bound
    np.testing.assert_allclose(best.point, [100 + share[0], 2 + share[1], 0.5], rtol=1e-12)


def test_units_and_the_order_of_recipes_change_nothing() -> None:
    draw = np.random.default_rng(6)
    tasted, units, order = draw.uniform(size=(30, 3)), np.array([1e3, 1e-3, 1.0]), draw.permutation(30)
    peak, allowed = np.array([0.2, 1.2, 0.6]), Allowed(np.full(3, 0.1), np.full(3, 0.7), None)
    plain = found(round_peak(*peak), tasted, allowed, [1.0, 1.0, 1.0])
    other = best_inside(
        quadratic(peak * units, np.diag(units**-2)),
        tasted[order] * units,
        Allowed(allowed.lower * units, allowed.upper * units, None),
        units[None],
        units,
    )
    assert other is not None
    assert other.score == pytest.approx(plain.score, abs=1e-7)
    np.testing.assert_allclose(other.point / units, plain.point, atol=1e-3)


def test_the_answer_is_the_same_to_the_bit_every_time() -> None:
    tasted = np.random.default_rng(7).uniform(size=(50, 2))
    allowed = Allowed(np.full(2, 0.2), np.full(2, 0.8), 1.1)
    one, two = (found(round_peak(0.9, 0.1), tasted, allowed, [1.0, 1.0]) for _ in range(2))
    np.testing.assert_array_equal(one.point, two.point)
    assert (one.score, one.gap) == (two.score, two.gap)


def test_a_score_of_single_precision_ends_in_its_rounding() -> None:
    def score_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
        away = point.astype(np.float32) - np.float32([1.0, 1.5])
        return float(np.float32(3) - away @ away), (-2 * away).astype(float)

    best = found(score_and_gradient, TRIANGLE, ANYTHING)
    np.testing.assert_allclose(best.point, [1, 1.5], atol=1e-3)
    assert best.score == pytest.approx(3, abs=1e-6)


def test_recipes_whose_score_is_not_finite_are_passed_over() -> None:
    def logarithmic(point: np.ndarray) -> tuple[float, np.ndarray]:
        if (point <= 0).any():
            return math.nan, np.full(2, math.nan)
        return float(np.log(point).sum()), 1 / point

    best = found(logarithmic, np.vstack([TRIANGLE, [[0.5, 0.1]]]), ANYTHING)
    np.testing.assert_allclose(best.point, [2, 2], atol=1e-3)
    assert best.score == pytest.approx(2 * math.log(2), abs=1e-7)
    with pytest.raises(ValueError, match="the score is not finite at any mixture of tasted recipes that was tried"):
        best_inside(logarithmic, TRIANGLE, ANYTHING, NOWHERE, np.ones(2))
