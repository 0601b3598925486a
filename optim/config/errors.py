"""What a user did wrong, said so that they can mend it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One mistake: where it stands, and what was expected there.

    `place` is `file:line` (the header of a table is line 1; Parquet gives the row), or the file alone, or the
    argument. `key` is the dotted path of a config key or the column of a table; empty where there is none.
    """

    place: str
    message: str
    key: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.key, self.message) if part)


class UserError(Exception):
    """The input is wrong: every problem that was found, each with its place. The command line exits with 2."""

    exit_code = 2

    def __init__(self, problems: str | Problem | list[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(place="", message=problems)
        self.problems: list[Problem] = [problems] if isinstance(problems, Problem) else list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
