"""Printed amounts can be weighed: they add up to the total exactly, within bounds and as fine as ranges deserve."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from optim.analysis.weighed import weighed
from optim.config.numbers import number
from optim.models.space import RecipeSpace
from optim.optimize.starts import build_starts


def space(lower: list[float], upper: list[float], total: float | None = None) -> RecipeSpace:
    names = tuple("abcdefgh"[: len(lower)])
    nothing = np.zeros(len(lower))
    return RecipeSpace(names, ("",) * len(lower), np.array(lower), np.array(upper), nothing, total)


DOUGH = space([13000.0, 8000.0, 50.0, 200.0], [16000.0, 11000.0, 300.0, 2000.0], 25000.0)


def test_the_case_that_once_missed_its_total_by_3_grams() -> None:
    found = weighed(DOUGH, np.array([14287.0, 9213.0, 123.4, 1376.5892]))
    assert list(found.values()) == ["14287", "9213", "123.4", "1376.6"]


@pytest.mark.parametrize(
    ("recipes", "seed"),
    [(DOUGH, 0), (space([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], 1.0), 1), (space([0.1, 0.2], [0.33333, 0.9], 0.77777), 2)],
)
def test_whatever_the_recipe_its_printed_amounts_add_up_within_bounds_near_the_true_ones(
    recipes: RecipeSpace, seed: int
) -> None:
    for amounts in np.asarray(build_starts(64, recipes, np.random.default_rng(seed))):
        shown = [Decimal(text) for text in weighed(recipes, amounts).values()]
        assert sum(shown) == Decimal(str(recipes.total))
        low, high = ([Decimal(repr(float(one))) for one in bound] for bound in (recipes.lower, recipes.upper))
        assert all(a <= b <= c for a, b, c in zip(low, shown, high, strict=True))
        missed = np.abs(np.array(shown, float) - amounts) / recipes.ranges
        assert missed.max() < 1e-3 * len(amounts)


def test_an_amount_at_its_bound_is_the_bound_and_takes_nothing_of_the_rest() -> None:
    held = space([0.0, 12.345678, 0.0, 0.0], [1000.0, 12.345678, 1000.0, 37.125], 1000.0)
    found = weighed(held, np.array([1e-5, 12.345678, 950.5293, 37.125], np.float32))
    assert found == {"a": "0", "b": "12.345678", "c": "950.529322", "d": "37.125"}


def test_decimals_follow_from_the_range_where_there_is_no_total() -> None:
    ranges = space([0.0] * 4, [5000.0, 999.0, 2.5, 0.03])
    found = weighed(ranges, np.array([1234.56, 123.456, 1.23456, 0.0123456]))
    assert list(found.values()) == ["1235", "123.5", "1.235", "0.01235"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (14287.04, "14287"), (9999.7, "10000"), (-20123.4, "-20123"), (123.456, "123.5"), (0.00012345, "0.0001234"),
        (999999999999999.0, "999999999999999"), (1e15, "1e+15"), (1e-5, "1e-05"), (2.5, "2.5"), (-0.0, "0"),
    ],
)  # fmt: skip
def test_a_number_has_no_exponent_where_people_do_not_write_one(value: float, text: str) -> None:
    assert number(value) == text
