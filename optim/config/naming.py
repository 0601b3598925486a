"""Nearest valid names, and how values and choices are written in messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

FEW = 6


def nearest(name: object, valid: Iterable[object]) -> str | None:
    """The valid name that the given one was probably meant to be, if any. What is no text is near to nothing."""
    if not isinstance(name, str):
        return None
    lowered = {choice.lower(): choice for choice in valid if isinstance(choice, str)}
    matches = get_close_matches(name.lower(), lowered, n=3, cutoff=0.65)
    # Letters that changed places are the likeliest slip: adma is adam, not adamax.
    swapped = [match for match in matches if sorted(match) == sorted(name.lower())]
    return lowered[(swapped or matches)[0]] if matches else None


def did_you_mean(name: object, valid: Iterable[object]) -> str:
    """The end of a message about a wrong name; empty where no valid name is near."""
    match = nearest(name, valid)
    return f"; did you mean `{match}`?" if match else ""


def choices(valid: Iterable[object], joined: str = "or") -> str:
    """The names as a message lists them: `a`, `b` or `c`."""
    *rest, last = [f"`{name}`" for name in valid] or ["nothing"]
    return f"{', '.join(rest)} {joined} {last}" if rest else last


def some(valid: Iterable[object]) -> str:
    """The valid names where a message has room for them, else nothing."""
    valid = list(valid)
    return choices(valid) if len(valid) <= FEW else ""


def unknown(what: str, name: object, valid: Iterable[object]) -> str:
    """A whole message about a name that stands for nothing."""
    valid = list(valid)
    return f"unknown {what} `{name}`" + (did_you_mean(name, valid) or f": expected {choices(valid)}")


def parts(name: str, is_complex: bool) -> tuple[str, ...]:
    """What a number is called where the parts of a complex one are told apart."""
    return (f"{name}_real", f"{name}_imag") if is_complex else (name,)


def given(value: Any) -> str:
    """The value as a message shows it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        return _short(repr(value))
    return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"
