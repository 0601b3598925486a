"""SIGTERM and Ctrl-C: save and stop; a second one leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 75
"""Exit code of a run that was interrupted and can be resumed (EX_TEMPFAIL)."""


class StopRequest(Exception):  # noqa: N818 - nothing went wrong
    """The process was asked to stop before there was anything to save; the text says by whom."""


class StopSignal:
    """Whether the process was asked to stop.

    Attributes:
        name: the signal that asked, or None.
    """

    def __init__(self) -> None:
        self.name: str | None = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.name is not None:
            os._exit(INTERRUPTED)
        self.name = signal.Signals(number).name


@contextmanager
def watch_signals() -> Iterator[StopSignal]:
    """Turn the first SIGTERM or SIGINT into a request. Outside the main thread Python allows no handlers."""
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop._handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
