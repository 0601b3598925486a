"""What to say about a name that stands for nothing."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

FEW = 6


def unknown_name(name: object, valid: Iterable[object]) -> str:
    """A message about a wrong name: with the nearest valid one, or, where none is near, with the valid ones."""
    texts = [str(choice) for choice in valid]
    near = get_close_matches(str(name), texts, n=1)
    if near:
        return f"unknown name `{name}`; did you mean `{near[0]}`?"
    return f"unknown name `{name}`: expected {shortened(texts, '`{}`')}"


def shortened(names: Iterable[str], form: str = "{}") -> str:
    """The first names, separated by commas, and how many more there are."""
    texts = [form.format(name) for name in names]
    more = len(texts) - FEW
    return ", ".join(texts[:FEW]) + (f", … {more} more" if more > 0 else "")
