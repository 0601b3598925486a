"""Reading a table's file: CSV as text, so that wrong cells can be quoted with their line, or Parquet as it is."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int
from polars import selectors

from optim.config.errors import Problem
from optim.data.findings import SHOWN, Findings

MOST_ROWS = 2**31 - 1
"""Rows are counted in 32 bits with a sign."""


@dataclass(frozen=True)
class Table:
    """A table that could be read. Text is stripped of the blanks around it; rows without any value are left out."""

    label: str
    """The file, as the config names it."""
    frame: pl.DataFrame
    """The columns: text throughout for CSV. Empty cells are null."""
    record: Int[np.ndarray, " rows"]
    """Number of each row in the file, counted from 0 after the header, rows without a value included."""
    content: bytes
    """The bytes of the file."""
    is_csv: bool
    """Whether it is a CSV file, which has lines."""

    @property
    def header(self) -> str:
        """Where the names of the columns stand."""
        return f"{self.label}:{lines_of(self.content)[0]}" if self.is_csv else self.label

    @property
    def digest(self) -> str:
        """SHA-256 of the file's bytes."""
        return hashlib.sha256(self.content).hexdigest()

    def places(self, rows: Sequence[int]) -> list[str]:
        """Where rows stand: `file:line` for CSV (the header is line 1), `file:row 1` for the first row of Parquet."""
        records = self.record[np.asarray(rows)]
        if not self.is_csv:
            return [f"{self.label}:row {record + 1}" for record in records]
        return [f"{self.label}:{line}" for line in lines_of(self.content)[records + 1]]


def read(path: str, findings: Findings) -> Table | None:
    """Read a table, in the format that the suffix of its path names.

    Args:
        path: a CSV file in UTF-8 with commas and a header, or a Parquet file.
        findings: gets a problem for everything that keeps the table from being read.

    Returns:
        The table, or None where there was a problem.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        findings.add(path, Problem(place=path, message="a table is a .csv or a .parquet file"))
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        findings.add(path, Problem(place=path, message=f"cannot be read: {error.strerror}"))
        return None
    is_csv = suffix == ".csv"
    if not content.removeprefix(b"\xef\xbb\xbf").strip():
        findings.add(path, Problem(place=path, message="the file is empty"))
        return None
    frame = _csv(path, content, findings) if is_csv else _parquet(path, content, findings)
    if frame is None or _has_twins(path, frame, findings):
        return None
    frame, record = _tidied(frame)
    table = Table(path, frame, record, content, is_csv)
    if not frame.height:
        findings.add(path, Problem(place=path, message=f"the table has {'a header but ' if is_csv else ''}no rows"))
        return None
    if frame.height > MOST_ROWS:
        message = f"{frame.height:,} rows are more than the {MOST_ROWS:,} that there is room for; take a sample of them"
        findings.add(path, Problem(place=path, message=message))
        return None
    return table


def lines_of(content: bytes) -> Int[np.ndarray, " records"]:
    """The line on which each record of a CSV file begins: the header first, then all others, blank lines included.

    A record ends where a line ends outside quotation marks, as it does for polars, which skips what is blank before
    the header but no blank line after it. Scanning the file costs as much as reading it: only errors ask for it.
    """
    text = np.frombuffer(content, dtype=np.uint8)
    breaks = text == ord("\n")
    inside = np.logical_xor.accumulate(text == ord('"'))
    starts = np.concatenate([[0], np.flatnonzero(breaks & ~inside) + 1])
    lines = np.concatenate([[0], np.cumsum(breaks)])[starts] + 1
    header = next(number for number, line in enumerate(content.split(b"\n")) if line.strip())
    return lines[header:]


def _csv(path: str, content: bytes, findings: Findings) -> pl.DataFrame | None:
    """All columns of a CSV file as text."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{content[error.start]:02x} is not UTF-8 text; save the table as CSV in UTF-8"
        findings.add(path, Problem(place=f"{path}:{line}", message=message))
        return None
    header = next(line for line in content.split(b"\n") if line.strip())
    if b";" in header and b"," not in header:  # before it is read: decimal commas below would look like more columns
        message = "the values are separated by semicolons; separate them by commas"
        findings.add(path, Problem(place=f"{path}:{lines_of(content)[0]}", message=message))
        return None
    try:
        return pl.read_csv(content, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        _explain(path, content, str(error).splitlines()[0], findings)
        return None


def _explain(path: str, content: bytes, reason: str, findings: Findings) -> None:
    """Find the lines on which a CSV file breaks the rules of its format."""
    before, width, line = findings.count, 0, 1
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    try:
        for cells in reader:
            width = width or len(cells)
            if len(cells) > width and findings.count - before < SHOWN:
                message = f"{len(cells)} values in a table of {width} columns; quote a value that holds a comma"
                findings.add(path, Problem(place=f"{path}:{line}", message=message))
            line = reader.line_num + 1
    except csv.Error:
        message = "a quotation mark is not closed, or is not doubled inside a quoted value"
        findings.add(path, Problem(place=f"{path}:{line}", message=message))
    if findings.count == before:
        findings.add(path, Problem(place=path, message=f"cannot be read as CSV: {reason}"))


def _parquet(path: str, content: bytes, findings: Findings) -> pl.DataFrame | None:
    """The columns of a Parquet file, in their own types."""
    try:
        return pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError as error:
        message = f"cannot be read as Parquet: {str(error).splitlines()[0]}"
        findings.add(path, Problem(place=path, message=message))
        return None


def _has_twins(path: str, frame: pl.DataFrame, findings: Findings) -> bool:
    """Whether two columns have one name, which polars hides by renaming the second."""
    names = Counter(re.sub(r"_duplicated_\d+$", "", name).strip() for name in frame.columns)
    twins = [name for name, count in names.items() if name and count > 1]
    for name in twins:
        findings.add(path, Problem(place=path, key=name, message="there is more than one column of this name"))
    return bool(twins)


def _tidied(frame: pl.DataFrame) -> tuple[pl.DataFrame, Int[np.ndarray, " rows"]]:
    """Strip blanks around names and text; leave out rows without a value, and say which rows stay."""
    # Lists, structures and bytes, which Parquet can hold, are neither numbers nor names.
    plain = frame.select(~(selectors.nested() | selectors.binary() | selectors.object()))
    stripped = plain.rename(str.strip).with_columns(pl.col(pl.String).str.strip_chars().replace("", None))
    kept = stripped.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    return stripped.filter(kept), np.flatnonzero(kept.to_numpy())
