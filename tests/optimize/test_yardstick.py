"""A constant that is added to a score, and a factor, change no verdict of its certificate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from jaxtyping import Array

from optim.models.space import RecipeSpace
from optim.optimize.certificate import certify
from optim.optimize.yardstick import yardstick

Score = Callable[[Array], Array]
ENDS = [(2.0, 1.7), (2.0, 1.7), (2.003, 1.7), (2.1, 1.6)]
"""Where starts have ended: at the peak of `round_peak`, within 1e-5 of its score, and beyond that."""


def space() -> RecipeSpace:
    """Flour from 1 to 3, sugar from a half to 2.5."""
    return RecipeSpace(("flour", "sugar"), ("",) * 2, np.array([1.0, 0.5]), np.array([3.0, 2.5]), np.zeros(2), None)


def round_peak(x: Array) -> Array:
    return -((x[0] - 2) ** 2) - (x[1] - 1.7) ** 2


def verdicts(score: Score, *ends: tuple[float, float]) -> dict[str, Any]:
    """What a certificate judges."""
    found = certify(space(), np.array(ends), score)
    return {
        "agreeing": found.agreeing, "stationary": found.stationary, "spread": found.spread, "unread": found.unread,
        "higher": found.higher is not None, "coarse": found.is_too_coarse,
    }  # fmt: skip


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("factor", "level"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e5), (1e-6, -1e5), (1e6, -1e5)])
@pytest.mark.parametrize("ends", [ENDS, ENDS[3:]], ids=["a peak", "far from it"])
def test_neither_a_constant_nor_a_factor_changes_a_verdict(
    ends: list[tuple[float, float]], factor: float, level: float
) -> None:
    plain = verdicts(round_peak, *ends)
    assert plain["stationary"] is (ends == ENDS)
    assert plain["agreeing"] == (3 if ends == ENDS else 1)
    assert verdicts(lambda x: factor * (round_peak(x) + level), *ends) == plain


@pytest.mark.usefixtures("float64")
def test_a_score_that_is_the_same_everywhere_is_flat_and_all_starts_agree() -> None:
    for level in (0.0, 1.0, -1e6):
        found = verdicts(lambda x, level=level: 0 * x[0] + level, *ENDS)  # type: ignore[misc]
        assert found["agreeing"] == 4
        assert (found["stationary"], found["higher"], found["coarse"]) == (True, False, False)


def test_a_constant_that_single_precision_cannot_hold_beside_the_score_is_told() -> None:
    """At 10,000 single numbers are 1e-3 apart; of a score that differs by some units, 1e-4 is to be told."""
    single = np.array(ENDS, np.float32)
    judged = lambda level: certify(space(), single, lambda x: round_peak(x) + level)
    assert [judged(level).is_too_coarse for level in (0.0, 1.0, 1e4, 1e9)] == [False, False, True, True]
    assert judged(1e9).measure.unit == pytest.approx(4, rel=0.5)  # by slopes, as all its values are the same
    assert judged(1e4).agreeing == 3


def test_a_cliff_or_a_plateau_at_some_recipes_is_not_what_a_score_differs_by() -> None:
    slopes = np.zeros(9)
    behind_a_cliff = np.array([-1e6, -1e6, -1e6, -1.0, -2.0, -1.5, -1.0, -2.0, np.nan])
    assert yardstick(0.0, behind_a_cliff, slopes, 1e-7).unit == 4.0
    assert yardstick(0.0, np.array([0.0] * 6 + [-1.0, -2.0, -3.0]), slopes, 1e-7).unit == 4.0
    assert yardstick(0.0, np.zeros(9), slopes, 1e-7).unit == 0.0
    assert yardstick(-np.inf, np.full(9, np.nan), slopes, 1e-7).unit == 0.0
