"""Lengths of training: steps, epochs or a percentage, turned into steps by one function."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from optim.config.block import Expected

ACCEPTED = "steps (a positive integer), epochs (`20 epochs`) or a percentage of the stage (`10%`, at most `100%`)"
LENGTHS = "steps (a positive integer) or epochs (`20 epochs`)"

_EPOCHS = re.compile(r"([0-9]{1,12}) epochs?")
_PERCENT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)%")
_PATTERN = r"^([0-9]+ epochs?|[0-9]+(\.[0-9]+)?%)$"
_PATTERN_OF_EPOCHS = r"^[0-9]+ epochs?$"


def _duration(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if isinstance(value, str) and ((_epochs(value) or 0) >= 1 or 0 < (_percent(value) or 0) <= 100):
        return value
    raise ValueError(f"expected {ACCEPTED}")


def _length(value: Any) -> int | str:
    if isinstance(value, str) and _percent(value) is not None:  # of itself
        raise ValueError(f"expected {LENGTHS}")
    return _duration(value)


def _duration_or_zero(value: Any) -> int | str:
    return value if type(value) is int and value == 0 else _duration(value)


def _epochs(duration: str) -> int | None:
    match = _EPOCHS.fullmatch(duration)
    return int(match[1]) if match else None


def _percent(duration: str) -> Fraction | None:
    match = _PERCENT.fullmatch(duration)
    return Fraction(match[1]) if match else None


def _schema(least: int, pattern: str = _PATTERN) -> WithJsonSchema:
    examples = [1000, "20 epochs", *(["10%"] if pattern == _PATTERN else [])]
    number = {"type": "integer", "minimum": least}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": pattern}], "examples": examples})


Duration = Annotated[int | str, PlainValidator(_duration), _schema(1), Expected(ACCEPTED)]
"""A positive number of steps, `"20 epochs"`, or `"10%"` of a length that the context names."""

Length = Annotated[int | str, PlainValidator(_length), _schema(1, _PATTERN_OF_EPOCHS), Expected(LENGTHS)]
"""How long a stage lasts: a positive number of steps, or `"20 epochs"`."""

Offset = Annotated[int | str, PlainValidator(_duration_or_zero), _schema(0), Expected(f"0, {ACCEPTED}")]
"""A duration that may also be 0."""


def is_percent(duration: int | str) -> bool:
    """Whether the duration is a percentage, and so means nothing without a total."""
    return isinstance(duration, str) and _percent(duration) is not None


def steps(duration: int | str, *, steps_per_epoch: int, total: int | None) -> int:
    """The duration in steps.

    A percentage is rounded to the nearest step (halves up); whatever is not 0 lasts at least one step.

    Args:
        duration: a `Duration` or an `Offset`.
        steps_per_epoch: steps in which every customer is seen once.
        total: the length in steps that a percentage refers to; None where there is none.

    Raises:
        ValueError: the duration is a percentage and there is no total, or it is no duration at all.
    """
    duration = _duration_or_zero(duration)
    if isinstance(duration, int):
        return duration
    epochs = _epochs(duration)
    if epochs is not None:
        return epochs * steps_per_epoch
    if total is None:
        raise ValueError(f"{duration} of what? Here a length can only be given in steps (1000) or epochs (20 epochs)")
    percent = _percent(duration)
    assert percent is not None
    return max(1, int(percent * total / 100 + Fraction(1, 2)))
