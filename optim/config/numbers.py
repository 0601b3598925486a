"""How a number is told to a person."""

from __future__ import annotations

EXPONENT_FROM = 1e15
"""Whole numbers below this are written out."""
DIGITS = 4
"""Significant digits of a number of which nothing else is known."""


def number(value: float, digits: int = DIGITS) -> str:
    """A number with that many significant digits, and never fewer than all those before the point: `14287`, `0.0312`.

    An exponent stands only below 1e-4 and from 1e15 on.
    """
    text = f"{value + 0.0:.{digits}g}"  # + 0.0: there is no −0
    return f"{value:.0f}" if "e" in text and 1 <= abs(value) < EXPONENT_FROM else text
