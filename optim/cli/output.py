"""Output that may lose its reader, while the work goes on."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@contextmanager
def lasting(name: Literal["stdout", "stderr"]) -> Iterator[None]:
    """Give up a standard stream where nobody reads it any more, instead of raising `BrokenPipeError`.

    Whoever prints is served: the command, a library's warnings, the user's own code. A stream that somebody has put
    in the place of the process's own (a test, a notebook) is left alone.
    """
    stream = getattr(sys, name)
    if stream is None or stream is not getattr(sys, f"__{name}__"):
        yield
        return
    raw = _Lasting(stream.fileno(), "w", closefd=False)
    replaced = io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),  # `python -u` buffers nothing
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    setattr(sys, name, replaced)
    try:
        yield
    finally:
        replaced.flush()
        setattr(sys, name, stream)


def give_up(descriptor: int) -> None:
    """What is written there from now on goes nowhere, whoever in this process writes it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


class _Lasting(io.FileIO):
    """A file whose writing does not fail: a pipe loses its reader, a terminal its window, a disk its room."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            give_up(self.fileno())
            return memoryview(data).nbytes
