"""The runs of a sweep: one for each combination of the values of its axes, with a name made of what differs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from optim.config.axes import Axis

LONGEST_VALUE = 24
"""Longest text of a value in a name; of a longer one, or one that a name cannot hold, stands its number on the axis."""

LONGEST_NAME = 200
"""Longest name of a run: a folder's may have 255 bytes, and something is written beside it."""

_VALUE = re.compile(r"[A-Za-z0-9._+-]+")


@dataclass(frozen=True)
class Point:
    """A run of a sweep.

    Attributes:
        name: of the run, unique in the sweep.
        overrides: `key=value` of each axis.
    """

    name: str
    overrides: tuple[str, ...]


def points_of(axes: Sequence[Axis]) -> list[Point]:
    """The runs of a sweep, the last axis varying fastest.

    Args:
        axes: at least one.
    """
    keys = short_keys([axis.key for axis in axes])
    labels = [[f"{key}={label}" for label in _labels(axis)] for key, axis in zip(keys, axes, strict=True)]
    overrides = itertools.product(*(axis.overrides() for axis in axes))
    names = [",".join(parts) for parts in itertools.product(*labels)]
    if max(map(len, names)) > LONGEST_NAME:  # names that say less, and can be made
        names = [f"run-{number}" for number in range(1, len(names) + 1)]
    return [Point(name, each) for name, each in zip(names, overrides, strict=True)]


def short_keys(keys: Sequence[str]) -> list[str]:
    """The last parts of dotted keys, as few as tell them apart: `learning_rate`, or `fit.length` and `bake.length`.

    Args:
        keys: each another, and none inside another.
    """
    return [_short(key, [other for other in keys if other != key]) for key in keys]


def _short(key: str, others: Sequence[str]) -> str:
    parts = key.split(".")
    for count in range(1, len(parts)):
        tail = parts[-count:]
        if not any(other.split(".")[-count:] == tail for other in others):
            return ".".join(tail)
    return key


def _labels(axis: Axis) -> list[str]:
    """What the values of an axis are called in names."""
    plain = [value.strip("'\"[]{} ") for value in axis.values]
    told = all(_VALUE.fullmatch(text) and len(text) <= LONGEST_VALUE for text in plain)
    if told and len({text.lower() for text in plain}) == len(plain):  # there are file systems without capitals
        return plain
    return [str(number) for number in range(1, len(plain) + 1)]


def in_human_order(name: str) -> tuple[tuple[int, float, str], ...]:
    """A key to sort names by as people do: `seed=9` before `seed=10`, `rate=0.003` before `rate=0.03`."""
    parts = re.split(r"((?<![\w.])[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]))", name)
    return tuple((0, float(part), "") if number % 2 else (1, 0.0, part) for number, part in enumerate(parts))
