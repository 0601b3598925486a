"""Amounts, settings and properties as they are printed: with the decimals that their ranges deserve.

Amounts add up to the total exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from jaxtyping import Float

from optim.config.naming import parts
from optim.config.numbers import DIGITS, number
from optim.models.space import RecipeSpace

RESOLUTION = 1e-3
"""Amounts are told at least as finely as this share of the range."""
MORE_DECIMALS = 8
"""How many may be added where amounts could else not add up within their bounds."""


@dataclass(frozen=True)
class _Interval:
    """Where an ingredient may go, as the config writes it."""

    lower: Decimal
    upper: Decimal

    @property
    def decimals(self) -> int:
        """Decimals that resolve a thousandth of the range; none where the range is wide."""
        width = float(self.upper - self.lower)
        return max(0, -math.floor(math.log10(RESOLUTION * width))) if width > 0 else 0

    def rounded(self, amount: Decimal, more: int) -> Decimal:
        """An amount with the decimals of the range and some more; the bound, where it is as near as that."""
        unit = Decimal(1).scaleb(-self.decimals - more)
        for bound in (self.lower, self.upper):
            if abs(amount - bound) <= unit / 2:
                return bound
        return min(max(amount.quantize(unit), self.lower), self.upper)

    def holds(self, amount: Decimal) -> bool:
        """Whether an amount is allowed."""
        return self.lower <= amount <= self.upper


def weighed(space: RecipeSpace, amounts: Float[np.ndarray, " n"]) -> dict[str, str]:
    """Amounts as they are to be printed and weighed, by ingredient.

    An amount at a bound is the bound. With a total they add up to it exactly: what rounding has left over goes to the
    ingredient that this brings nearest to its own amount, by its range.
    """
    intervals = _intervals(space.lower, space.upper)
    exact = [Decimal(str(amount)) for amount in np.asarray(amounts)]
    found = [one.rounded(amount, 0) for one, amount in zip(intervals, exact, strict=True)]
    if space.total is not None:
        total = Decimal(repr(float(space.total)))
        tried = (_adding_up(intervals, exact, total, more) for more in range(MORE_DECIMALS))
        found = next((one for one in tried if one is not None), found)
    return {name: _text(amount) for name, amount in zip(space.names, found, strict=True)}


def resolved_coordinate(space: RecipeSpace, name: str, value: np.floating[Any] | float) -> str:
    """An amount, a setting or a part of a complex one, by its name as a coordinate, with the decimals of its range."""
    at = space.coordinates.index(name)
    (interval,) = _intervals(*(side[at : at + 1] for side in space.bounds))
    return _text(interval.rounded(Decimal(str(value)), 0))


def set_settings(space: RecipeSpace, vector: Float[np.ndarray, " d"]) -> dict[str, str]:
    """Settings as they are to be printed and set, by name."""
    values = dict(zip(space.coordinates, np.asarray(vector), strict=True))
    told = lambda name: resolved_coordinate(space, name, values[name])
    return {name: _whole([told(part) for part in parts(name, one.is_complex)]) for name, one in space.settings.items()}


def _whole(told: Sequence[str]) -> str:
    """A number from the text of its parts."""
    if len(told) == 1:
        return told[0]
    real, imaginary = told
    return f"{real} {'-' if imaginary.startswith('-') else '+'} {imaginary.removeprefix('-')}i"


def resolved(value: np.floating[Any] | float, width: float, least: int = DIGITS) -> str:
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


def _intervals(lower: Float[np.ndarray, " n"], upper: Float[np.ndarray, " n"]) -> list[_Interval]:
    """Where numbers may go."""
    bounds = zip(lower.tolist(), upper.tolist(), strict=True)
    return [_Interval(Decimal(repr(low)), Decimal(repr(high))) for low, high in bounds]


def _text(value: Decimal) -> str:
    """A number without needless zeros, and without a sign of 0."""
    return format(value.normalize() + 0, "f")


def _adding_up(
    intervals: Sequence[_Interval], exact: Sequence[Decimal], total: Decimal, more: int
) -> list[Decimal] | None:
    """Rounded amounts that add up to the total; None where no single ingredient can take what rounding leaves over."""
    found = [one.rounded(amount, more) for one, amount in zip(intervals, exact, strict=True)]
    rest = total - sum(found)
    if not rest:
        return found
    inside = [at for at, one in enumerate(intervals) if found[at] not in (one.lower, one.upper)]
    able = [at for at in inside if intervals[at].holds(found[at] + rest)]
    if not able:
        return None

    def missed(at: int) -> tuple[Decimal, Decimal]:
        width = intervals[at].upper - intervals[at].lower
        return abs(found[at] + rest - exact[at]) / width, -width

    taker = min(able, key=missed)
    found[taker] += rest
    return found
