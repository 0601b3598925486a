"""What a check of derivatives found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "value",
    "forward",
    "reverse",
    "reverse against forward",
    "forward over reverse",
    "reverse over reverse",
    "forward over forward",
    "second differences",
]


@dataclass(frozen=True)
class GradientRow:
    """The worst entry of one kind of derivative.

    Attributes:
        kind: how the derivative was taken, or with what it was compared; "value" where the function itself is not
            finite.
        entry: the component, or for a second derivative the two components.
        derivative: what automatic differentiation gives, in the units of the point.
        reference: what it is compared with: the finite difference (for "reverse against forward" the forward mode).
        allowed: how far the two may lie apart.
        telling: False where rounding alone may hide an error of a thousandth of the largest reference of its kind.
    """

    kind: Kind
    entry: str
    derivative: float
    reference: float
    allowed: float
    telling: bool = True

    @property
    def error(self) -> float:
        """Distance between the derivative and its reference."""
        return abs(self.derivative - self.reference)

    @property
    def excess(self) -> float:
        """The error as a multiple of what is allowed; infinite where a number is not finite."""
        if not math.isfinite(self.error):
            return math.inf
        if self.error == 0.0:
            return 0.0
        return self.error / self.allowed if self.allowed else math.inf

    @property
    def verdict(self) -> str:
        """ "ok", "WRONG", which number is not finite, or "NOT CHECKED" where agreement says nothing."""
        if self.kind == "value":
            return "VALUE NOT FINITE"
        if not math.isfinite(self.derivative):
            return "DERIVATIVE NOT FINITE"
        if not math.isfinite(self.reference):
            return "REFERENCE NOT FINITE"
        if not self.excess <= 1.0:
            return "WRONG"
        return "ok" if self.telling else "NOT CHECKED"


@dataclass(frozen=True)
class GradientReport:
    """Derivatives of a function at a point, checked; printing it gives a table.

    Attributes:
        rows: one a kind of derivative, each with its worst entry.
        scope: what was compared, in words.
        notes: what could not be checked, and why.
    """

    rows: tuple[GradientRow, ...]
    scope: str
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every row is right, and exact enough to say so."""
        return all(row.verdict == "ok" for row in self.rows)

    @property
    def worst(self) -> GradientRow:
        """The row that exceeds, or comes closest to, what is allowed; before it one that says nothing."""
        return max(self.rows, key=lambda row: (row.verdict != "ok", row.excess))

    def __str__(self) -> str:
        head = ("kind", "worst entry", "derivative", "reference", "error", "allowed", "")
        table = [head, *map(_cells, self.rows)]
        widths = [max(len(cells[column]) for cells in table) for column in range(len(head))]
        lines = [_line(cells, widths) for cells in table]
        outcome = "passed" if self.passed else "NOT CHECKED" if self.worst.excess <= 1.0 else "FAILED"
        worst = f"{outcome}; the worst entry is {self.worst.entry} ({self.worst.kind})"
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes), f"{self.scope}: {worst}"])


def _cells(row: GradientRow) -> tuple[str, ...]:
    numbers = (f"{row.derivative:.9g}", f"{row.reference:.9g}", f"{row.error:.1e}", f"{row.allowed:.1e}")
    return (row.kind, row.entry, *numbers, row.verdict)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    """Words to the left, numbers to the right."""
    aligned = [
        cell.rjust(width) if 2 <= column <= 5 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()
