"""Starts are allowed, and the same ones come back."""

from __future__ import annotations

import numpy as np
import pytest

from optim.models.space import RecipeSpace
from optim.optimize.projection import bounds_of, violation
from optim.optimize.starts import build_starts


def space(total: float | None = 6.0) -> RecipeSpace:
    lower, upper = np.array([0.0, 1.0, 2.0, 0.5]), np.array([2.0, 4.0, 2.0, 1.0])
    return RecipeSpace(("butter", "eggs", "flour", "sugar"), ("",) * 4, lower, upper, np.zeros(4), total)


def generator() -> np.random.Generator:
    return np.random.default_rng(5)


def test_the_same_seed_gives_the_same_starts() -> None:
    np.testing.assert_array_equal(build_starts(6, space(), generator()), build_starts(6, space(), generator()))


def test_more_starts_keep_the_first_ones() -> None:
    few, many = build_starts(3, space(), generator()), build_starts(40, space(), generator())
    np.testing.assert_array_equal(many[:3], few)


def test_the_first_start_is_the_centre_of_the_bounds() -> None:
    np.testing.assert_array_equal(build_starts(1, space(None), generator()), [[1.0, 2.5, 2.0, 0.75]])


def test_the_centre_is_moved_onto_the_total() -> None:
    (centre,) = build_starts(1, space(), generator())
    assert float(centre.sum()) == pytest.approx(6.0, rel=1e-6)
    # The excess of 0.25 is shared by squared range: 4, 9 and 0.25 of 13.25.
    np.testing.assert_allclose(centre, [1 - 1 / 13.25, 2.5 - 2.25 / 13.25, 2.0, 0.75 - 0.0625 / 13.25], rtol=1e-6)


@pytest.mark.parametrize("total", [None, 3.5, 6.0, 9.0])
def test_every_start_is_allowed(total: float | None) -> None:
    allowed = space(total)
    for start in build_starts(50, allowed, generator()):
        assert violation(start, bounds_of(allowed)) <= 1e-6


def test_starts_differ() -> None:
    assert len(np.unique(np.asarray(build_starts(30, space(), generator())), axis=0)) == 30


def test_given_recipes_are_taken_in_the_order_of_the_ingredients() -> None:
    recipes = [{"sugar": 0.6, "butter": 1.0, "eggs": 2.0}, {"butter": 0.1, "eggs": 1.0, "sugar": 1.0}]
    starts = build_starts(recipes, space(None), generator())
    np.testing.assert_allclose(starts, [[1.0, 2.0, 2.0, 0.6], [0.1, 1.0, 2.0, 1.0]], rtol=1e-6)


def test_given_recipes_are_moved_onto_the_total() -> None:
    (start,) = build_starts([{"butter": 0.0, "eggs": 1.0, "sugar": 0.5}], space(), generator())
    assert violation(start, bounds_of(space())) <= 1e-6


@pytest.mark.usefixtures("float64")
def test_starts_have_the_precision_of_the_run() -> None:
    assert build_starts(2, space(), generator()).dtype == np.float64
