"""How a number is told to a person."""

from __future__ import annotations

import math
from typing import SupportsFloat

EXPONENT_FROM = 1e15
"""Whole numbers below this are written out."""
DIGITS = 4
"""Significant digits of a number of which nothing else is known."""
RESOLUTION = 1e-3
"""Numbers are told at least as finely as this share of what they range over."""


def number(value: float, digits: int = DIGITS) -> str:
    """A number with that many significant digits, and never fewer than all those before the point: `14287`, `0.0312`.

    An exponent stands only below 1e-4 and from 1e15 on.
    """
    text = f"{value + 0.0:.{digits}g}"  # + 0.0: there is no −0
    return f"{value:.0f}" if "e" in text and 1 <= abs(value) < EXPONENT_FROM else text


def resolved(value: SupportsFloat, width: float, least: int = DIGITS) -> str:
    """A number without bounds of its own, with the significant digits that resolve what it differs by.

    No digit is printed that its precision does not have.

    Args:
        value: the number.
        width: by how much it differs between recipes; 0 where that is not known.
        least: digits that it has in any case.
    """
    if not (width > 0 and math.isfinite(width) and math.isfinite(value)):
        return number(float(str(value)), least)
    before = math.floor(math.log10(abs(float(value)))) if value else 0
    digits = before - math.floor(math.log10(RESOLUTION * width)) + 1
    return number(float(str(value)), max(least, digits))
