"""What the benchmarks have in common: contenders that take turns, ratios within a round, and what they ran on."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

import jax
from rich.console import Console

Figures = dict[str, list[float]]
"""Of each contender one figure a round."""


def take_turns(contenders: dict[str, Callable[[], float]], rounds: int) -> Figures:
    """Take each contender's figure once a round; every other round goes from the last one to the first."""
    figures: Figures = {name: [] for name in contenders}
    for number in range(rounds):
        for name in contenders if number % 2 == 0 else reversed(contenders):
            figures[name].append(contenders[name]())
    return figures


@dataclass(frozen=True)
class Ratios:
    """One contender's figures over another's, round by round."""

    values: list[float]

    @classmethod
    def within_rounds(cls, ones: list[float], others: list[float]) -> Ratios:
        """The ratios of two contenders' figures."""
        return cls([one / other for one, other in zip(ones, others, strict=True)])

    @property
    def median(self) -> float:
        """Their median."""
        return statistics.median(self.values)

    def cells(self, form: str) -> list[str]:
        """Median and range for a table, each number formatted like this."""
        return [f"{self.median:{form}}", f"{min(self.values):{form}} to {max(self.values):{form}}"]

    def verdict(self, wanted: float) -> list[str]:
        """What the median is wanted to be at least, and whether it is, for a table."""
        return [f"at least {wanted:g}", "holds" if self.median >= wanted else "MISSED"]


def installed(package: str) -> bool:
    """Whether a package of this name is installed."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def machine(*packages: str) -> str:
    """What the figures are measured on, with the versions of the packages that are compared."""
    load = f"; load before the start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    versions = [f"{package} {metadata.version(package)}" for package in packages if installed(package)]
    missing = [f"; {package} is not installed: its rows are left out" for package in packages if not installed(package)]
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {jax.devices()[0].device_kind}{load}; "
        f"Python {platform.python_version()}, {', '.join(versions)}{''.join(missing)}"
    )


def console(width: int) -> Console:
    """Where the tables are printed: as wide as the terminal, or of this width where there is none."""
    found = Console()
    if not found.is_terminal:
        found.width = width
    return found
