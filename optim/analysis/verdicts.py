"""What a number of an answer is worth, in the four words that there are for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["computed and checked", "not settled", "not determined by the data", "not known"]
"""What a number is: checked; computed by something that had not come to its end; one of many that fit the data as well;
of somebody who was never asked, or of a setting that has no effect."""

CHECKED: Status = "computed and checked"
NOT_SETTLED: Status = "not settled"
NOT_DETERMINED: Status = "not determined by the data"
NOT_KNOWN: Status = "not known"


@dataclass(frozen=True)
class Caveat:
    """Something that is not as a reader of the answer would take it.

    Attributes:
        about: the key of result.json (or of the config) that it is about.
        status: what that is worth.
        text: what was found, and what to do about it.
    """

    about: str
    status: Status
    text: str

    def __str__(self) -> str:
        return f"{self.status}: {self.text}"

    def of_bake(self, name: str) -> Caveat:
        """The same, where there are several bakes: it says which."""
        about = self.about if self.about.startswith("stages.") else f"bakes.{name}.{self.about}"
        return Caveat(about, self.status, f"{name}: {self.text}")

    def as_json(self) -> dict[str, str]:
        """Ready for result.json."""
        return asdict(self)


def worst(statuses: Collection[Status]) -> Status:
    """The status of a number that rests on several: the one that says most against it."""
    order = (NOT_KNOWN, NOT_DETERMINED, NOT_SETTLED)
    return next((status for status in order if status in statuses), CHECKED)
