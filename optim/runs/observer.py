"""What a run tells the person who waits for it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Observer(Protocol):
    """Where a run reports; the command line shows it, a notebook may not."""

    def say(self, text: str) -> None:
        """Something that the user should know."""

    def warn(self, text: str) -> None:
        """Something that the user should know before relying on the answer."""

    def stage(self, name: str, steps: int, done: int) -> None:
        """A stage begins, or goes on after `done` of its steps."""

    def progress(self, done: int, loss: float) -> None:
        """Steps of the stage completed, and its loss."""


class Silent:
    """Tells nobody."""

    def say(self, text: str) -> None:
        """Does nothing."""

    def warn(self, text: str) -> None:
        """Does nothing."""

    def stage(self, name: str, steps: int, done: int) -> None:
        """Does nothing."""

    def progress(self, done: int, loss: float) -> None:
        """Does nothing."""
