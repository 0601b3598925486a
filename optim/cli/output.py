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
    with _written_by(_Lasting, name):
        yield


@contextmanager
def placed_output() -> Iterator[None]:
    """Standard output whose errors say where they were: on a full disk, say. For commands that do nothing but print."""
    with _written_by(_Placed, "stdout"):
        yield


def give_up(descriptor: int) -> None:
    """What is written there from now on goes nowhere, whoever in this process writes it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


@contextmanager
def _written_by(kind: type[io.FileIO], name: Literal["stdout", "stderr"]) -> Iterator[None]:
    """A standard stream of the process, its bytes written by another kind of file."""
    stream = getattr(sys, name)
    if stream is None or stream is not getattr(sys, f"__{name}__"):
        yield
        return
    raw = kind(stream.fileno(), "w", closefd=False)
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
        try:
            replaced.flush()
        finally:
            setattr(sys, name, stream)


class _Lasting(io.FileIO):
    """A file whose writing does not fail: a pipe loses its reader, a terminal its window, a disk its room."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            give_up(self.fileno())
            return memoryview(data).nbytes


class _Placed(io.FileIO):
    """A file whose errors name it: those of a stream that is open already do not."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            give_up(self.fileno())  # or what is left would fail once more when the process ends
            error.filename = "standard output"
            raise
