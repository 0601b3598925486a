"""The axes of a sweep: what varies from run to run, as it is written on the command line.

`seed=0..9`, `rate=0.01,0.03`, `rate=log(1e-3,1e-1,5)`: values stand between commas at the top level; brackets, braces
and quotes keep theirs together, as in any other override. What is taken apart here is text; what the values mean is for
the overrides of each run to say (`optim.config.overrides`).
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from optim.config.errors import Problem, UserError
from optim.config.overrides import PLACE

MOST_VALUES = 100_000
"""Most values of an axis: what `0..1000000000` would ask for is a slip."""

DIGITS = 6
"""Significant digits of a value that is computed: the name of a run and its config show the number itself."""

_RANGE = re.compile(r"([+-]?\d+)\.\.([+-]?\d+)")
_FUNCTION = re.compile(r"(log|uniform|loguniform)\s*\((.*)\)", re.DOTALL)
_PAIRS = {"[": "]", "{": "}", "(": ")"}


@dataclass(frozen=True)
class Axis:
    """A key of the config, and the values that it takes.

    Attributes:
        key: dotted path.
        values: texts in YAML, each another; at least one.
    """

    key: str
    values: tuple[str, ...]

    def overrides(self) -> tuple[str, ...]:
        """One override for each value."""
        return tuple(f"{self.key}={value}" for value in self.values)


def axes_and_overrides(arguments: Sequence[str], seed: int) -> tuple[tuple[Axis, ...], tuple[str, ...]]:
    """What of a command line varies, and what holds for all runs.

    Args:
        arguments: each `key=value`, or `key=v1,v2` and the other forms of an axis.
        seed: of the values that are drawn.

    Returns:
        The axes and the overrides, in the order in which they were written.

    Raises:
        UserError: every axis that is wrong, with what it should be.
    """
    axes: list[Axis] = []
    overrides: list[str] = []
    problems: list[Problem] = []
    for argument in arguments:
        key, equals, text = argument.partition("=")
        try:
            if equals and is_axis(text):
                axes.append(Axis(key.strip(), _values(key.strip(), text, seed)))
            else:
                overrides.append(argument)
        except UserError as error:
            problems.extend(error.problems)
    problems.extend(_clashes(axes, overrides))
    if problems:
        raise UserError(problems)
    return tuple(axes), tuple(overrides)


def is_axis(text: str) -> bool:
    """Whether the value of an override is several."""
    items = [item.strip() for item in split(text)]
    return len(items) > 1 or bool(_RANGE.fullmatch(items[0]) or _FUNCTION.fullmatch(items[0]))


def split(text: str) -> list[str]:
    """The parts of a text between the commas at its top level: not those in brackets, braces or quotes."""
    parts, closing, quote = [""], [], ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and not parts[-1].strip(" [{(,:"):
            quote = character  # one inside a word is an apostrophe
        elif character in _PAIRS:
            closing.append(_PAIRS[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character == "," and not closing:
            parts.append("")
            continue
        parts[-1] += character
    return parts


def _values(key: str, text: str, seed: int) -> tuple[str, ...]:
    """The values of an axis, as texts."""
    found: list[str] = []
    for item in map(str.strip, split(text)):
        if not item:
            raise _wrong(key, f"`{text}` has an empty value: write values between commas, and `null` for none")
        found.extend(_expanded(key, item, seed))
        if len(found) > MOST_VALUES:
            raise _wrong(key, f"`{text}` is more than {MOST_VALUES:,} values")
    seen: set[str] = set()
    for value in found:
        if value in seen:
            raise _wrong(key, f"`{value}` stands there twice: every run of a sweep is another")
        seen.add(value)
    return tuple(found)


def _expanded(key: str, item: str, seed: int) -> Iterator[str]:
    """The values that one item of an axis stands for."""
    if match := _RANGE.fullmatch(item):
        yield from _range(key, item, int(match[1]), int(match[2]))
    elif match := _FUNCTION.fullmatch(item):
        yield from _computed(key, item, match[1], match[2], seed)
    else:
        yield item


def _range(key: str, item: str, first: int, last: int) -> Iterator[str]:
    if last < first:
        raise _wrong(key, f"`{item}` is empty: write the smaller number first, {last}..{first}")
    if last - first >= MOST_VALUES:
        raise _wrong(key, f"`{item}` is more than {MOST_VALUES:,} values")
    return map(str, range(first, last + 1))


def _computed(key: str, item: str, name: str, arguments: str, seed: int) -> Iterator[str]:
    """Values between two numbers."""
    try:
        low, high, given = (float(argument) for argument in arguments.split(","))
        count = int(given)
    except (ValueError, OverflowError):
        raise _wrong(key, f"`{item}` needs two numbers and how many: {name}(0.001,0.1,5)") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise _wrong(key, f"`{item}`: the first number must be below the second, and both finite")
    if name != "uniform" and low <= 0:
        raise _wrong(key, f"`{item}`: both numbers must be above 0, or there is no logarithm of them")
    least = 2 if name == "log" else 1
    if count != given or not least <= count <= MOST_VALUES:
        raise _wrong(key, f"`{item}`: how many must be a whole number from {least} to {MOST_VALUES:,}")
    return map(_written, _BETWEEN[name](low, high, count, random.Random(f"{seed}/{key}/{item}")))


def _geometric(low: float, high: float, count: int, drawn: random.Random) -> list[float]:
    return [low * (high / low) ** (number / (count - 1)) for number in range(count)]


def _uniform(low: float, high: float, count: int, drawn: random.Random) -> list[float]:
    return [drawn.uniform(low, high) for _ in range(count)]


def _loguniform(low: float, high: float, count: int, drawn: random.Random) -> list[float]:
    return [math.exp(drawn.uniform(math.log(low), math.log(high))) for _ in range(count)]


_BETWEEN: dict[str, Callable[[float, float, int, random.Random], list[float]]] = {
    "log": _geometric,
    "uniform": _uniform,
    "loguniform": _loguniform,
}


def _written(value: float) -> str:
    """A number as a config writes it: `0.001`, `1.5e-07`."""
    text = f"{value:.{DIGITS}g}"
    mantissa, e, exponent = text.partition("e")
    return text if not e or "." in mantissa else f"{mantissa}.0e{exponent}"  # YAML takes 1e-07 for text


def _clashes(axes: Sequence[Axis], overrides: Sequence[str]) -> Iterator[Problem]:
    """Keys that are given twice, or inside one another."""
    given = [(override.partition("=")[0].strip(), "an override") for override in overrides]
    for place, axis in enumerate(axes):
        for other, what in (*given, *((one.key, "another axis") for one in axes[:place])):
            if _holds(axis.key, other) or _holds(other, axis.key):
                where = f"`{other}`" if other != axis.key else "the same key"
                yield Problem(PLACE, f"is an axis, and {where} is {what}: give one of the two", axis.key)


def _holds(block: str, key: str) -> bool:
    return key == block or key.startswith(f"{block}.")


def _wrong(key: str, message: str) -> UserError:
    return UserError(Problem(PLACE, message, key))
