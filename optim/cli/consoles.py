"""Where the command line prints: texts as they are."""

from __future__ import annotations

from rich.console import Console


def plain_console(*, stderr: bool = False) -> Console:
    """A console that takes no bracket for markup and no colons for an emoji: names are the user's own."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
