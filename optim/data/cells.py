"""Columns of a table as checked arrays. Whole columns at a time; a message is made for the cells it is shown for."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from jaxtyping import Float64

from optim.config.errors import Problem
from optim.config.naming import did_you_mean
from optim.data.findings import Findings
from optim.data.reading import Table


def has(table: Table, names: Iterable[str], findings: Findings) -> bool:
    """Whether a table has all of some columns; each one that it lacks is a problem."""
    missing = [name for name in names if name not in table.frame.columns]
    for name in missing:
        hint = did_you_mean(name, table.frame.columns) or f"; the columns are {_listed(table.frame.columns)}"
        findings.add(table.label, Problem(place=table.header, key=name, message=f"there is no such column{hint}"))
    return not missing


def numbers(table: Table, column: str, findings: Findings) -> Float64[np.ndarray, " rows"]:
    """A column of finite numbers; every other cell is a problem, and NaN in the array."""
    values = as_numbers(table.frame[column])
    cells, array = table.frame[column], values.to_numpy()
    if not values.has_nulls() and np.isfinite(array).all():
        return array.copy()
    empty = cells.is_null().to_numpy()
    wrong = values.is_null().to_numpy() & ~empty
    unbounded = ~np.isfinite(array) & ~wrong & ~empty
    findings.add_rows(table, column, empty, lambda row: "the cell is empty; a number was expected")
    findings.add_rows(table, column, wrong, lambda row: f"{_quoted(cells[row])} is not a number{_point(cells[row])}")
    findings.add_rows(table, column, unbounded, lambda row: f"{_quoted(cells[row])} is not a finite number")
    return np.where(np.isfinite(array), array, np.nan)


def as_numbers(cells: pl.Series) -> pl.Series:
    """Cells as float64, null where they are empty or no number."""
    if not (cells.dtype.is_numeric() or cells.dtype in (pl.String, pl.Boolean, pl.Null)):
        return pl.Series([None] * len(cells), dtype=pl.Float64)
    return cells.cast(pl.Float64, strict=False)


def labels(table: Table, column: str, findings: Findings) -> pl.Series:
    """A column of text; an empty cell is a problem."""
    cells = as_text(table.frame[column])
    findings.add_rows(table, column, cells.is_null().to_numpy(), lambda row: "the cell is empty")
    return cells


def as_text(cells: pl.Series) -> pl.Series:
    """Cells as text. Whole numbers are written without a point, whatever type a table holds them in."""
    if cells.dtype.is_float():
        whole = cells.is_finite().all() and (cells == cells.round()).all()
        cells = cells.cast(pl.Int64) if whole else cells
    return cells.cast(pl.String)


def refuse_outside(
    table: Table,
    column: str,
    values: Float64[np.ndarray, " rows"],
    limits: tuple[float, float],
    rule: str,
    findings: Findings,
) -> None:
    """A number outside the limits is a problem; NaN, which was one before, is not another."""
    outside = (values < limits[0]) | (values > limits[1])
    findings.add_rows(table, column, outside, lambda row: f"{values[row]:g} is not allowed: {rule}")


def refuse_duplicates(table: Table, column: str, keys: list[pl.Series], what: str, findings: Findings) -> None:
    """A row whose keys all stand in an earlier row is a problem, which names that row.

    Args:
        table: the table.
        column: the column to point at.
        keys: the keys; rows in which one is null are not compared.
        what: a phrase for the row with a place for each key, such as `recipe {}`.
        findings: gets the problems.
    """
    names = [f"key {number}" for number in range(len(keys))]
    frame = pl.DataFrame([key.alias(name) for name, key in zip(names, keys, strict=True)])
    first = frame.with_row_index("row").select(pl.col("row").first().over(names)).to_series().to_numpy()
    complete = frame.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy()

    def message(row: int) -> str:
        return (
            f"{what.format(*(_quoted(key[row]) for key in keys))} stands on {_within(table, int(first[row]))} already"
        )

    findings.add_rows(table, column, complete & (first != np.arange(len(first))), message)


def _within(table: Table, row: int) -> str:
    """A place within the same file: `line 3` or `row 3`."""
    place = table.places([row])[0].removeprefix(f"{table.label}:")
    return f"line {place}" if table.is_csv else place


def _quoted(cell: object) -> str:
    """A cell as it stands in the table, shortened where it is long."""
    text = str(cell)
    return repr(text if len(text) <= 40 else text[:37] + "…")


def _point(cell: object) -> str:
    """What to do about a decimal comma."""
    head, comma, tail = str(cell).partition(",")
    is_decimal = comma and head.lstrip("+-").isdecimal() and tail.isdecimal()
    return f"; write a decimal point, {head}.{tail}" if is_decimal else ""


def _listed(names: list[str]) -> str:
    """Some names for a message."""
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
