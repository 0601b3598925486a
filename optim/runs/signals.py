"""SIGTERM and Ctrl-C: save and stop; a second one leaves at once, and so does the first before a run has begun."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

FAILED = 1
"""Exit code of a process that was stopped before there was anything to save."""
INTERRUPTED = 75
"""Exit code of a run that was interrupted and can be resumed (EX_TEMPFAIL)."""


_WATCHED = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 2.0
"""Seconds in which a process that has not begun ends by itself."""


class StopRequest(Exception):  # noqa: N818 - nothing went wrong
    """The process was asked to stop before there was anything to save; the text says by whom."""


class StopSignal:
    """Whether the process was asked to stop.

    Attributes:
        name: the signal that asked, or None.
        resumable: there is a run to go on with, though nothing is to be saved yet.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self.resumable = False
        self._begun = threading.Event()

    def begin(self) -> None:
        """From now on there is something to save.

        Raises:
            StopRequest: the process has been asked to stop.
        """
        if self.name is not None:
            raise StopRequest(self.name)
        self._begun.set()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.name is not None:
            os._exit(self._exit_code)
        self.name = signal.Signals(number).name

    @property
    def _exit_code(self) -> int:
        return INTERRUPTED if self.resumable or self._begun.is_set() else FAILED

    def _leave_unless_begun(self, asked: int) -> None:
        """In a thread: end the process some seconds after a signal, if it does not end by itself and has not begun.

        Args:
            asked: a file descriptor that gives the number of each signal as a byte, and 0 when the watch ends.
        """
        number = os.read(asked, 1)[0]
        while number and number not in _WATCHED:
            number = os.read(asked, 1)[0]
        if number and not self._begun.wait(_PATIENCE):
            cursor = "\033[?25h" if os.isatty(2) else ""  # which a progress bar hides
            text = f"{cursor}stopped ({signal.Signals(number).name}) before there was anything to save\n"
            os.write(2, text.encode())
            os._exit(self._exit_code)


@contextmanager
def watch_signals() -> Iterator[StopSignal]:
    """Turn the first SIGTERM or SIGINT into a request. Outside the main thread Python allows no handlers.

    Python's handlers wait for the main thread, which may be busy outside Python for minutes with what was asked for: to
    draw a hundred million starts, or compile for them. While nothing is to be saved, another thread waits with them.
    """
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    asked, awake = os.pipe()
    os.set_blocking(awake, False)
    before = {number: signal.signal(number, stop._handle) for number in _WATCHED}
    woken_before = signal.set_wakeup_fd(awake, warn_on_full_buffer=False)
    waiting = threading.Thread(target=stop._leave_unless_begun, args=(asked,), name="signals", daemon=True)
    waiting.start()
    try:
        yield stop
    finally:
        stop._begun.set()
        signal.set_wakeup_fd(woken_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.write(awake, b"\0")
        waiting.join()
        os.close(awake)
        os.close(asked)
