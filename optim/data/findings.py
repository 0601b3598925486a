"""Everything that is wrong with the tables, collected so that the user hears of it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool

from optim.config.errors import Problem, UserError

# More than this is not read, and one cause often makes thousands of wrong cells.
SHOWN = 20


@runtime_checkable
class Rows(Protocol):
    """A table, as far as its mistakes are concerned."""

    @property
    def label(self) -> str:
        """The file, as the user wrote it."""

    def places(self, rows: Sequence[int]) -> list[str]:
        """Where rows of the table stand in its file."""


class Findings:
    """Problems in the order in which their tables were looked at; within a table, from top to bottom."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[int, Problem]]] = {}
        self._count = 0

    @property
    def count(self) -> int:
        """How many problems were found, shown or not."""
        return self._count

    def add(self, label: str, problem: Problem) -> None:
        """Add a problem of a whole file, which stands before those of its rows."""
        self._found.setdefault(label, []).append((-1, problem))
        self._count += 1

    def add_rows(self, table: Rows, column: str, bad: Bool[np.ndarray, " rows"], message: Callable[[int], str]) -> None:
        """Add a problem for each row of a table that is marked as bad.

        Args:
            table: the table.
            column: the column that is wrong.
            bad: which rows are.
            message: says what is wrong with a row, given its index; called for rows that may be shown only.
        """
        rows = np.flatnonzero(bad)
        shown = rows[:SHOWN].tolist()
        self._count += len(rows)
        if shown:
            self._found.setdefault(table.label, []).extend(
                (row, Problem(place=place, key=column, message=message(row)))
                for row, place in zip(shown, table.places(shown), strict=True)
            )

    def raise_if_any(self) -> None:
        """Raise the first problems, and say how many more there are.

        Raises:
            UserError: there is a problem.
        """
        if not self._count:
            return
        ordered = [problem for found in self._found.values() for _, problem in sorted(found, key=lambda pair: pair[0])]
        more = self._count - min(SHOWN, len(ordered))
        rest = [Problem(place="", message=f"… and {more} more")] if more else []
        raise UserError(ordered[:SHOWN] + rest)
