"""Overrides from the command line: `stages.bake.length=500`, `data.like={at_least: 6}`, `model.utility.hidden.0=32`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optim.config.errors import Problem, UserError
from optim.config.naming import given, nearest
from optim.config.source import Document, KeyPath, dotted, read_text

PLACE = "command line"


NAMED = (("ingredients",), ("settings",), ("stages",), ("data", "simulate", "segments"))
"""Mappings whose keys the user chooses."""


def apply_overrides(document: Document, overrides: Sequence[str]) -> list[KeyPath]:
    """Put the overrides into a document, the later over the earlier; what is wrong is noted in its problems.

    Args:
        document: changed in place.
        overrides: each `key.path=value`; the value is YAML.

    Returns:
        The paths of what now comes from the command line: the values, and the blocks that had to be made around them.
    """
    overridden = []
    for text in overrides:
        try:
            overridden.append(_put(document.value, *parse_override(text)))
        except UserError as error:
            document.problems.extend(error.problems)
    return overridden


def parse_override(text: str) -> tuple[KeyPath, Any]:
    """The path and the value of one override.

    Raises:
        UserError: it has no key, no `=`, or a value that is not YAML.
    """
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise UserError(Problem(PLACE, f"`{text}` is not an override: expected key.path=value, such as seed=1"))
    if not value.strip():
        return path, None
    try:
        document = read_text(value, PLACE)
    except UserError as error:
        message = f"the value `{value}` {error.problems[0].message}{_unquoted(key, value)}"
        raise UserError(Problem(PLACE, message, key)) from None
    if document.problems:
        raise UserError([Problem(PLACE, problem.message, key) for problem in document.problems])
    return path, document.value


def _unquoted(key: str, value: str) -> str:
    """What to do about a value that the shell has cut at a blank."""
    is_cut = any(value.count(opening) > value.count(closing) for opening, closing in ("{}", "[]"))
    return f"; quote the whole override for the shell, '{key}=…'" if is_cut else ""


def _put(holder: Any, path: KeyPath, value: Any) -> KeyPath:
    """Set the value. Returns its path with list indexes as numbers, or that of the outermost block made for it."""
    taken: KeyPath = ()
    made: KeyPath = ()
    for part in path[:-1]:
        taken = (*taken, _key(holder, part, taken))
        if isinstance(holder, dict) and holder.get(taken[-1]) is None:
            _refuse_misspelt(holder, taken)
            holder[taken[-1]] = {}
            made = made or taken
        holder = holder[taken[-1]]
    key = _key(holder, path[-1], taken)
    holder[key] = value
    return made or (*taken, key)


def _refuse_misspelt(holder: dict[Any, Any], path: KeyPath) -> None:
    """An override that reaches into a block whose name is new but near to another is a slip, not a new block."""
    meant = nearest(path[-1], [name for name in holder if isinstance(name, str)])
    if path[:-1] in NAMED and meant:
        message = f"there is no `{path[-1]}`; did you mean `{meant}`? To add it, give it whole: {dotted(path)}={{…}}"
        raise UserError(Problem(PLACE, message, dotted(path)))


def _key(holder: Any, part: str, path: KeyPath) -> str | int:
    if isinstance(holder, dict):
        # Boundaries of schedules are numbers: find `boundaries_and_scales.100` under 100.
        return int(part) if part.isdecimal() and int(part) in holder else part
    if not isinstance(holder, list):
        message = f"is {given(holder)}, so it has no `{part}`: override it as a whole, {dotted(path)}={{{part}: …}}"
        raise UserError(Problem(PLACE, message, dotted(path)))
    if part.isdecimal() and int(part) < len(holder):
        return int(part)
    message = f"is a list of {len(holder)} (indexes start at 0), so it has no `{part}`: override it as a whole"
    raise UserError(Problem(PLACE, message, dotted(path)))
