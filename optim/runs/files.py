"""Files that are whole or absent, and the digests by which their contents are known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` so that a reader, or a run killed at any moment, sees the old file or the new one.

    The name of the half-written file is fixed: a killed write leaves one file at most, which the next overwrites.
    Whoever writes into a run directory holds its lock, so two writers never share it. The name does not show what the
    file will be: TensorBoard, for one, takes every file for curves whose name holds "tfevents".
    """
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{digest_of_text(path.name)[:16]}.partial")
    with placed(path):
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # or the rename could reach the disk before the data does
        beside.replace(path)


@contextmanager
def placed(path: Path) -> Iterator[None]:
    """What goes wrong inside with a file goes wrong with this one: a full disk alone does not say where it is."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def reason_of(error: OSError) -> str:
    """What the system says is wrong, without the place."""
    return error.strerror or str(error)


def digest_of_text(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
