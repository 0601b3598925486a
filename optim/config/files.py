"""Paths in a config: relative to its file, or to the working directory where an override gives them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optim.config.source import KeyPath

_TABLES = (("data", "recipes"), ("data", "ratings"), ("data", "customers"))
_IMPORTS = (
    ("model", "properties", "path"),
    ("model", "utility", "path"),
    ("stages", "*", "loss", "path"),
    ("stages", "*", "score", "path"),
)


def resolve_files(value: dict[Any, Any], folder: Path, overridden: Sequence[KeyPath]) -> None:
    """Make every path absolute, in place.

    Args:
        value: the config, not yet validated: what is not a path is left for validation to refuse.
        folder: what paths of the file are relative to.
        overridden: key paths that were given on the command line.
    """
    for pattern in (*_TABLES, *_IMPORTS):
        for path, holder in _holders(value, pattern):
            text = holder.get(pattern[-1])
            if not isinstance(text, str) or not text:
                continue
            base = Path.cwd() if any(path[: len(given)] == given for given in overridden) else folder
            holder[pattern[-1]] = _absolute(text, base) if pattern in _TABLES else _absolute_import(text, base)


def _holders(value: Any, pattern: KeyPath) -> list[tuple[KeyPath, dict[Any, Any]]]:
    """Every mapping that may hold the last key of the pattern, with the path of that key."""
    found: list[tuple[KeyPath, Any]] = [((), value)]
    for part in pattern[:-1]:
        found = [
            ((*path, key), item[key])
            for path, item in found
            if isinstance(item, dict)
            for key in (item if part == "*" else [part])
            if key in item
        ]
    return [((*path, pattern[-1]), item) for path, item in found if isinstance(item, dict)]


def _absolute(text: str, base: Path) -> str:
    return os.path.abspath(base / Path(text).expanduser())  # noqa: PTH100 - keeps symbolic links as they are named


def _absolute_import(text: str, base: Path) -> str:
    file, colon, name = text.rpartition(":")
    return f"{_absolute(file, base)}:{name}" if colon and file.endswith(".py") else text
