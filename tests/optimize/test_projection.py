"""The projection finds the nearest allowed recipe, and the directions that stay allowed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds as BoxBounds
from scipy.optimize import LinearConstraint, minimize

from optim.models.space import RecipeSpace
from optim.optimize.projection import (
    Bounds,
    active_bounds,
    bounds_of,
    feasible_gradient,
    project,
    significant_gradient,
    violation,
)

Vector = NDArray[np.float64]
ULP = 2.0**-23

projected = jax.jit(project)
allowed_gradient = jax.jit(feasible_gradient)
trained_gradient = jax.jit(significant_gradient)


def box(lower: ArrayLike, upper: ArrayLike, total: float | None = None, ranges: ArrayLike | None = None) -> Bounds:
    low, high = np.asarray(lower, float), np.asarray(upper, float)
    width = np.where(high > low, high - low, 1.0) if ranges is None else np.asarray(ranges, float)
    as_array = lambda values: jnp.asarray(values, jnp.zeros(()).dtype)
    return Bounds(as_array(low), as_array(high), as_array(width), None if total is None else as_array(total))


def by_bisection(point: ArrayLike, bounds: Bounds) -> Vector:
    """The projection in double precision by halving an interval of multipliers, written from the optimality
    conditions."""
    low, high, width, p = (np.asarray(x, float) for x in (bounds.lower, bounds.upper, bounds.ranges, point))
    assert bounds.total is not None
    weight, total = width**2, float(bounds.total)
    left, right = ((p - high) / weight).min() - 1, ((p - low) / weight).max() + 1
    for _ in range(200):
        middle = (left + right) / 2
        if np.clip(p - middle * weight, low, high).sum() > total:
            left = middle
        else:
            right = middle
    return np.clip(p - left * weight, low, high)


@st.composite
def problems(draw: st.DrawFn, n: int = 4) -> tuple[Vector, Bounds]:
    """A point and bounds of four ingredients, some of them fixed; the total at the edges of its reach or inside."""
    vector = lambda numbers: np.array(draw(st.lists(numbers, min_size=n, max_size=n)), np.float32)
    lower = vector(st.floats(0, 5, width=32))
    width = vector(st.one_of(st.just(0.0), st.floats(0.125, 100, width=32)))
    point = vector(st.floats(-50, 50, width=32))
    upper = (lower + width).astype(np.float32)
    share = draw(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)))
    total = float(np.float32(lower.sum(dtype=float) + share * (upper.astype(float) - lower).sum()))
    return point, box(lower, upper, total)


@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_it_is_the_nearest_allowed_recipe(problem: tuple[Vector, Bounds]) -> None:
    point, bounds = problem
    x = projected(jnp.asarray(point, jnp.float32), bounds)
    assert bounds.total is not None
    assert bool(jnp.all((x >= bounds.lower) & (x <= bounds.upper)))
    assert abs(np.asarray(x, float).sum() - float(bounds.total)) <= 16 * ULP * max(float(bounds.total), 1e-30)
    scale = np.abs(point).max() + float(bounds.total) + 1e-30
    np.testing.assert_allclose(x, by_bisection(point, bounds), atol=16 * ULP * scale)


@settings(max_examples=40, deadline=None)
@given(problem=problems())
def test_in_double_precision_too(problem: tuple[Vector, Bounds]) -> None:
    with jax.enable_x64(True):
        point, single = problem
        bounds = Bounds(*(jnp.asarray(np.asarray(values), jnp.float64) for values in single))
        x = projected(jnp.asarray(point, jnp.float64), bounds)
        assert x.dtype == jnp.float64
        reference = by_bisection(point, bounds)
        # The sums of rounded bounds at the edges of the reach may miss the total by a rounding of single precision.
        np.testing.assert_allclose(x, reference, atol=1e-9, rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_an_allowed_recipe_stays_to_the_bit(problem: tuple[Vector, Bounds]) -> None:
    point, bounds = problem
    once = projected(jnp.asarray(point, jnp.float32), bounds)
    np.testing.assert_array_equal(projected(once, bounds), once)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_scipy_solves_the_same_quadratic_program(seed: int) -> None:
    random = np.random.default_rng(seed)
    lower, width, point = random.uniform(0, 2, 6), random.uniform(0.5, 3, 6), random.normal(0, 4, 6)
    total = float((lower + 0.6 * width).sum())
    found = minimize(
        lambda x: np.sum(((x - point) / width) ** 2),
        lower + 0.6 * width,
        jac=lambda x: 2 * (x - point) / width**2,
        method="SLSQP",
        bounds=BoxBounds(lower, lower + width),
        constraints=LinearConstraint(np.ones(6), total, total),
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert found.success
    np.testing.assert_allclose(projected(jnp.asarray(point), box(lower, lower + width, total)), found.x, atol=2e-5)


def test_without_a_total_amounts_are_clipped() -> None:
    x = projected(jnp.array([-1.0, 0.5, 9.0]), box([0, 0, 0], [1, 1, 1]))
    np.testing.assert_array_equal(x, [0.0, 0.5, 1.0])


def test_infinite_bounds_without_an_active_one_share_the_excess_by_squared_range() -> None:
    bounds = box([-np.inf, -np.inf], [np.inf, np.inf], 10.0, ranges=[1.0, 2.0])
    np.testing.assert_allclose(projected(jnp.array([2.0, 3.0]), bounds), [3.0, 7.0], rtol=1e-6)


def test_an_infinite_upper_bound_takes_what_the_others_cannot() -> None:
    bounds = box([0, 0], [1, np.inf], 100.0, ranges=[1.0, 1.0])
    np.testing.assert_allclose(projected(jnp.array([5.0, 0.0]), bounds), [1.0, 99.0], rtol=1e-6)


def test_fixed_ingredients_keep_their_amount() -> None:
    x = projected(jnp.array([7.0, 0.3, 0.3]), box([2, 0, 0], [2, 1, 1], 3.0))
    assert x[0] == 2.0
    np.testing.assert_allclose(x, [2.0, 0.5, 0.5], rtol=2 * ULP)


def test_one_ingredient_has_nothing_to_choose() -> None:
    np.testing.assert_array_equal(projected(jnp.array([-3.0]), box([0], [5], 2.0)), [2.0])


@pytest.mark.parametrize(("total", "expected"), [(0.3, [0.1, 0.2]), (3.3, [1.1, 2.2])])
def test_at_the_edge_of_the_reach_every_bound_is_met_exactly(total: float, expected: list[float]) -> None:
    x = projected(jnp.array([0.7, 1.9]), box([0.1, 0.2], [1.1, 2.2], total))
    np.testing.assert_array_equal(x, np.array(expected, np.float32))


def test_a_thousand_ingredients() -> None:
    random = np.random.default_rng(0)
    lower, width = random.uniform(0, 1, 1000), random.choice([0.0, 0.5, 100.0], 1000)
    bounds = box(lower, lower + width, float((lower + 0.3 * width).sum()))
    point = random.normal(0, 60, 1000)
    x = projected(jnp.asarray(point), bounds)
    assert bounds.total is not None
    assert abs(np.asarray(x, float).sum() - float(bounds.total)) <= 32 * ULP * float(bounds.total)
    np.testing.assert_allclose(x, by_bisection(np.float32(point), bounds), atol=1e-2)


@pytest.mark.parametrize("distance", [1e4, 1e8])
def test_the_total_holds_for_a_point_far_away(distance: float) -> None:
    """A step of an optimizer that overshoots: rounding at the point must not turn up in the total."""
    x = projected(distance * jnp.array([1.0, 0.9999999, -2.0]), box([0, 0, 0], [10, 10, 10], 12.0))
    assert abs(float(jnp.sum(x)) - 12.0) <= 16 * ULP * 12.0


def test_a_large_total_with_narrow_ranges_is_met_to_rounding() -> None:
    lower = np.array([4999.5, 2500.25, 2499.5], np.float32)
    bounds = box(lower, lower + np.array([1e-3, 1.0, 1e-3], np.float32), 9999.75)
    x = np.asarray(projected(jnp.asarray(lower + 0.3), bounds), float)
    assert abs(x.sum() - 9999.75) <= 8 * ULP * 9999.75


def test_nan_is_not_hidden_by_a_bound() -> None:
    for bounds in (box([0, 0], [1, 1], 1.0), box([0, 0], [1, 1])):
        assert bool(jnp.isnan(projected(jnp.array([jnp.nan, 0.5]), bounds))[0])


def test_under_vmap_each_recipe_is_projected_by_itself() -> None:
    bounds = box([0, 0, 1], [1, 5, 2], 4.0)
    points = jnp.asarray(np.random.default_rng(1).normal(1, 4, (7, 3)), jnp.float32)
    batched = jax.jit(jax.vmap(project, in_axes=(0, None)))(points, bounds)
    np.testing.assert_allclose(batched, [projected(point, bounds) for point in points], atol=1e-6)


def test_units_do_not_matter() -> None:
    """Flour in grams instead of kilograms: the same recipe, where no total ties the units together."""
    kilograms = projected(jnp.array([3.0, 0.2]), box([0, 0], [2, 1]))
    grams = projected(jnp.array([3000.0, 0.2]), box([0, 0], [2000, 1]))
    np.testing.assert_allclose(grams, kilograms * jnp.array([1000.0, 1.0]), rtol=1e-6)


def test_bounds_of_a_space() -> None:
    space = RecipeSpace(("a", "b"), ("", ""), np.array([0.5, 1.0]), np.array([2.5, 1.0]), np.zeros(2), 3.0)
    bounds = bounds_of(space)
    np.testing.assert_array_equal(bounds.ranges, [2.0, 1.0])
    assert bounds.total == 3.0


def test_violation_is_the_largest_excess() -> None:
    assert violation(jnp.array([0.5, 0.5]), box([0, 0], [1, 1], 1.0)) == 0.0
    assert violation(jnp.array([-0.25, 0.5]), box([0, 0], [1, 1])) == 0.25
    assert violation(jnp.array([1.5, 0.5]), box([0, 0], [1, 1])) == 0.5
    assert violation(jnp.array([0.5, 1.0]), box([0, 0], [1, 1], 1.0)) == 0.5


def test_active_bounds_of_a_fixed_ingredient_are_both() -> None:
    at_lower, at_upper = active_bounds(jnp.array([0.0, 0.5, 2.0]), box([0, 0, 2], [1, 1, 2]))
    np.testing.assert_array_equal(at_lower, [True, False, True])
    np.testing.assert_array_equal(at_upper, [False, False, True])


# The gradient along allowed directions


def test_inside_the_bounds_the_gradient_is_untouched() -> None:
    gradient = jnp.array([0.1, -7.3, 1e-20])
    np.testing.assert_array_equal(
        allowed_gradient(gradient, jnp.array([0.3, 0.6, 0.9]), box([0, 0, 0], [1, 3, 7])), gradient
    )


def test_at_a_bound_only_the_part_that_leads_inside_is_left() -> None:
    point, bounds = jnp.array([0.0, 0.0, 1.0, 1.0, 5.0]), box([0, 0, 0, 0, 5], [1, 1, 1, 1, 5])
    left = allowed_gradient(jnp.array([2.0, -2.0, 2.0, -2.0, 2.0]), point, bounds)
    np.testing.assert_array_equal(left, [0.0, -2.0, 2.0, 0.0, 0.0])


@st.composite
def stationary(draw: st.DrawFn, n: int = 5) -> tuple[Array, Array, Bounds]:
    """A recipe that is optimal: free slopes equal the multiplier, those at a bound push against it."""
    # Not so near 0 that a product with a range is below the normal numbers, where programs compute 0.
    multiplier = draw(st.floats(-100, 100, width=32).filter(lambda slope: slope == 0 or abs(slope) > 1e-30))
    places = draw(st.lists(st.sampled_from(["lower", "inside", "upper", "fixed"]), min_size=n, max_size=n))
    push = np.array(draw(st.lists(st.floats(0, 10, width=32), min_size=n, max_size=n)))
    width = np.array(draw(st.lists(st.floats(0.125, 50, width=32), min_size=n, max_size=n)))
    width = np.where(np.array(places) == "fixed", 0.0, width)
    lower = np.arange(n, dtype=float)
    point = lower + width * np.array([{"lower": 0.0, "inside": 0.5, "upper": 1.0, "fixed": 0.0}[p] for p in places])
    sign = np.array([{"lower": 1.0, "inside": 0.0, "upper": -1.0, "fixed": 3.0}[p] for p in places])
    recipe = jnp.asarray(point, jnp.float32)
    return jnp.asarray(multiplier + sign * push, jnp.float32), recipe, box(lower, lower + width, float(jnp.sum(recipe)))


@settings(max_examples=60, deadline=None)
@given(case=stationary())
def test_at_an_optimum_it_is_exactly_zero(case: tuple[Array, Array, Bounds]) -> None:
    gradient, point, bounds = case
    np.testing.assert_array_equal(trained_gradient(gradient, point, bounds), np.zeros(5))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_scipy_projects_onto_the_same_directions(seed: int) -> None:
    """Minus the result, in ranges, is the nearest allowed direction to minus the gradient."""
    random = np.random.default_rng(seed)
    width, gradient = random.uniform(0.5, 3, 5), random.normal(0, 2, 5)
    point = width * np.array([0.0, 0.0, 0.5, 1.0, 1.0])
    low, high = np.where(point > 0, -np.inf, 0.0), np.where(point < width, np.inf, 0.0)
    found = minimize(
        lambda d: np.sum((d / width + gradient * width) ** 2),
        np.zeros(5),
        jac=lambda d: 2 * (d / width + gradient * width) / width,
        method="SLSQP",
        bounds=BoxBounds(low, high),
        constraints=LinearConstraint(np.ones(5), 0.0, 0.0),
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert found.success
    bounds = box(np.zeros(5), np.float32(width), float(np.float32(point).sum()))
    left = allowed_gradient(jnp.asarray(gradient), jnp.asarray(point), bounds)
    np.testing.assert_allclose(-left * width**2, found.x, atol=5e-5)


def test_a_gradient_that_is_not_finite_is_not_hidden() -> None:
    bounds = box([0, 0], [1, 1], 1.0)
    for bad in (jnp.nan, jnp.inf):
        assert not bool(jnp.all(jnp.isfinite(allowed_gradient(jnp.array([bad, 1.0]), jnp.array([0.5, 0.5]), bounds))))


@pytest.mark.parametrize(
    "slopes", [(1.0, 5.0), pytest.param((5.0, 1.0), marks=pytest.mark.long), (-1.0, -5.0), (1.0, 1.0001)]
)
def test_adam_reaches_the_vertex_of_a_linear_score_with_a_total(slopes: tuple[float, float]) -> None:
    """Both slopes have one sign: adam alone would move both amounts alike, and the total would take it all back."""
    bounds, optimizer = box([0, 0], [1, 2], 1.5), optax.adam(0.05)
    gradient = jnp.asarray(slopes)

    def step(_: Array, carry: tuple[Array, optax.OptState]) -> tuple[Array, optax.OptState]:
        x, state = carry
        direction = feasible_gradient(gradient, x, bounds) * bounds.ranges
        updates, state = optimizer.update(direction, state, x)
        return project(x + updates * bounds.ranges, bounds), state

    start = jnp.array([0.5, 1.0])
    x, _ = jax.jit(lambda: jax.lax.fori_loop(0, 100, step, (start, optimizer.init(start))))()
    dear, cheap = (0, 1) if slopes[0] > slopes[1] else (1, 0)
    assert x[0] == (0.0 if dear == 0 else 1.0)
    np.testing.assert_allclose(x, [0.0, 1.5] if cheap == 1 else [1.0, 0.5], rtol=2 * ULP)


def test_an_ingredient_of_a_narrow_range_hides_no_other() -> None:
    """Acid of 0 to 0.01 g in 100 kg, so steep by the gram that the slopes of the others look like its rounding."""
    upper = jnp.array([80e3, 60e3, 0.01], jnp.float32)
    bounds = Bounds(
        jnp.array([40e3, 20e3, 0.0], jnp.float32), upper, upper - jnp.array([40e3, 20e3, 0.0]), jnp.float32(1e5)
    )
    point = jnp.array([61745.0, 38255.0 - 0.004, 0.004], jnp.float32)
    gradient = jnp.array([1e-3, -1e-3, 3e4], jnp.float32)
    found = trained_gradient(gradient, point, bounds)
    np.testing.assert_allclose(found[:2], [1e-3, -1e-3], rtol=1e-3)
    assert found[2] > 0


def test_equal_slopes_leave_no_rounding_to_an_optimizer() -> None:
    rows = np.random.default_rng(1).uniform(-1e6, 1e6, 50).astype(np.float32)
    bounds = Bounds(jnp.zeros(3), jnp.array([1.0, 3.0, 1e3]), jnp.array([1.0, 3.0, 1e3]), jnp.float32(500.0))
    point = jnp.array([0.4, 1.2, 498.4], jnp.float32)
    found = jax.jit(jax.vmap(lambda slope: significant_gradient(jnp.full(3, slope), point, bounds)))(rows)
    np.testing.assert_array_equal(found, 0.0)
