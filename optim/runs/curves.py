"""TensorBoard curves: one run, one curve a tag, however often it was interrupted, resumed or rolled back.

The only file that imports tensorboardX, and only when a run writes curves. Three habits of the usual writer are not
followed, because each costs points or doubles them:

- Its queue is not empty after a flush. Here records are written straight, in the calling thread.
- It names a file by the second and the host. TensorBoard reads the files of a folder in the order of their names, so
  here they are numbered in the order in which they were opened.
- It marks a restart (`purge_step`) for readers to hide what came later. TensorBoard's viewer does not heed the mark
  (2.21, both of its loaders), so here the later points are cut out of the older files, and the mark is left only for
  readers that have seen them already.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from optim.runs.files import placed, write_atomically

_FILE = re.compile(r"events\.out\.tfevents\.(\d{6})(\.final)?")
_SECONDS_BETWEEN_FLUSHES = 5.0  # how late a viewer may be; each flush waits for the disk
_HEADER = 12  # length of the data (8 bytes) and its checksum (4)
_FOOTER = 4  # checksum of the data

HParam = bool | int | float | str


@runtime_checkable
class Curves(Protocol):
    """Where the points of a run go. Steps must not decrease, except through `rewind`."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each of the named curves."""

    def text(self, step: int, tag: str, text: str) -> None:
        """Add a text (Markdown)."""

    def flush(self) -> None:
        """Return when everything written so far is on disk."""

    def rewind(self, step: int) -> None:
        """Remove all points later than `step`: the run goes on from there."""

    def final(self, step: int, hparams: Mapping[str, HParam], metrics: Mapping[str, float]) -> None:
        """Write what TensorBoard's table of hyperparameters shows, in place of what an earlier end of the run wrote."""

    def close(self) -> None:
        """Flush, and write no more."""


class NoCurves:
    """Curves of a run that has no directory: nothing happens."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing."""

    def text(self, step: int, tag: str, text: str) -> None:
        """Does nothing."""

    def flush(self) -> None:
        """Does nothing."""

    def rewind(self, step: int) -> None:
        """Does nothing."""

    def final(self, step: int, hparams: Mapping[str, HParam], metrics: Mapping[str, float]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def open_curves(directory: Path, *, resumed_at: int | None) -> Curves:
    """Curves in the event files of `directory`.

    Args:
        directory: made where it is missing. The caller holds the lock of the run.
        resumed_at: the step that was restored; points later than it are removed. None starts from nothing: what a run
            that was killed before its first checkpoint left there is removed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if resumed_at is None:
        for path in _event_files(directory):
            path.unlink()
    return TensorBoardCurves(directory, last_step=resumed_at)


class TensorBoardCurves:
    """Curves in TensorBoard's event files. Use `open_curves`."""

    def __init__(self, directory: Path, *, last_step: int | None) -> None:
        """Open a new event file; points of earlier files later than `last_step` are removed."""
        self._directory = directory
        if last_step is not None:
            _cut_after(directory, last_step)
        self._file = _EventFile(_next_path(directory), last_step=last_step)
        self._flushed = time.monotonic()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each of the named curves."""
        self._file.scalars(step, values)
        if time.monotonic() - self._flushed > _SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def text(self, step: int, tag: str, text: str) -> None:
        """Add a text (Markdown)."""
        from tensorboardX import summary

        self._file.write(step=step, summary=summary.text(tag, text))

    def flush(self) -> None:
        """Return when everything written so far is on disk."""
        self._file.flush()
        self._flushed = time.monotonic()

    def rewind(self, step: int) -> None:
        """Remove all points later than `step`: the run goes on from there."""
        self._file.close()
        _cut_after(self._directory, step)
        self._file = _EventFile(_next_path(self._directory), last_step=step)

    def final(self, step: int, hparams: Mapping[str, HParam], metrics: Mapping[str, float]) -> None:
        """Write what TensorBoard's table of hyperparameters shows, in place of what an earlier end of the run wrote.

        It has a file of its own, so that it can be replaced when the run is extended, or was killed just here.
        """
        from tensorboardX import summary

        self.flush()
        for path in _event_files(self._directory):
            if path.name.endswith(".final"):
                path.unlink()
        file = _EventFile(_next_path(self._directory, final=True), last_step=None)
        for part in summary.hparams(dict(hparams), dict(metrics)):
            file.write(step=step, summary=part)
        file.scalars(step, metrics)
        file.close()

    def close(self) -> None:
        """Flush, and write no more."""
        self._file.close()


class _EventFile:
    """One event file, written record by record."""

    def __init__(self, path: Path, *, last_step: int | None) -> None:
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        self._path = path
        self._records = RecordWriter(str(path))
        # Every file states its version: from version 2 on, readers hide points only where they are told to.
        self.write(step=0, file_version="brain.Event:2")
        if last_step is not None:
            self.write(step=last_step + 1, session_log=SessionLog(status=SessionLog.START))
        self.flush()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self.write(step=step, summary=Summary(value=points))

    def write(self, *, step: int, **content: Any) -> None:
        """Append one event; `content` is the one field of the protocol that says what it holds."""
        from tensorboardX.proto.event_pb2 import Event

        with placed(self._path):
            self._records.write(Event(wall_time=time.time(), step=step, **content).SerializeToString())

    def flush(self) -> None:
        with placed(self._path):
            self._records.flush()

    def close(self) -> None:
        with placed(self._path):
            self._records.flush()
            self._records.close()


def _event_files(directory: Path) -> list[Path]:
    """The event files of a folder, in the order in which TensorBoard reads them."""
    return sorted(path for path in directory.iterdir() if _FILE.fullmatch(path.name))


def _cut_after(directory: Path, step: int) -> None:
    """Remove all events later than `step`, and a last record that a kill cut off."""
    from tensorboardX.proto.event_pb2 import Event

    for path in _event_files(directory):
        content = path.read_bytes()
        kept = b"".join(record for record, data in _records(content) if Event.FromString(data).step <= step)
        if kept != content:
            write_atomically(path, kept)


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The complete records of an event file, each with the data inside it."""
    start = 0
    while start + _HEADER <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        end = start + _HEADER + length + _FOOTER
        if end > len(content):
            return
        yield content[start:end], content[start + _HEADER : end - _FOOTER]
        start = end


def _next_path(directory: Path, *, final: bool = False) -> Path:
    """A path that sorts behind all that are there: the clock, which others put here, may stand still or go back."""
    numbers = [int(path.name.split(".")[3]) for path in _event_files(directory)]
    number = max(numbers, default=0) + 1
    return directory / f"events.out.tfevents.{number:06d}{'.final' if final else ''}"
