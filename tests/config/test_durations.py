"""Durations in steps, epochs and percent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from optim.config.durations import Duration, Offset, is_percent, steps


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (7, 7),
        ("1 epoch", 16),
        ("20 epochs", 320),
        ("10%", 100),
        ("0.05%", 1),
        ("0.15%", 2),
        ("0.0001%", 1),
        ("100%", 1000),
    ],
)
def test_a_duration_is_turned_into_steps(duration: int | str, expected: int) -> None:
    assert steps(duration, steps_per_epoch=16, total=1000) == expected


def test_halves_of_a_step_are_rounded_up() -> None:
    assert steps("50%", steps_per_epoch=1, total=3) == 2


@given(st.integers(1, 10**9), st.decimals("0.01", "100", places=2))
def test_a_percentage_lies_between_one_step_and_the_total(total: int, percent: object) -> None:
    assert 1 <= steps(f"{percent}%", steps_per_epoch=1, total=total) <= total


def test_a_percentage_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10% of what\? Here a length can only be given in steps \(1000\) or epochs"):
        steps("10%", steps_per_epoch=1, total=None)


@pytest.mark.parametrize(
    "wrong", [0, -1, True, 1.5, None, "", "10", "0%", "101%", "-5%", "0 epochs", "1.5 epochs", "ten epochs", "1e3", [1]]
)
def test_nonsense_is_refused_with_what_is_accepted(wrong: object) -> None:
    with pytest.raises(ValidationError, match=r"steps \(a positive integer\), epochs \(`20 epochs`\) or a percentage"):
        TypeAdapter(Duration).validate_python(wrong)


def test_only_an_offset_may_be_zero() -> None:
    assert TypeAdapter(Offset).validate_python(0) == 0
    assert steps(0, steps_per_epoch=1, total=None) == 0
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(0)


def test_percentages_are_told_from_the_rest() -> None:
    assert [is_percent(duration) for duration in (10, "10 epochs", "10%")] == [False, False, True]


def test_the_json_schema_gives_examples() -> None:
    assert TypeAdapter(Duration).json_schema()["examples"] == [1000, "20 epochs", "10%"]
