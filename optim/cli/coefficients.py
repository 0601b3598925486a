"""Coefficients as tables, those without a value marked in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from optim.analysis.verdicts import NOT_SETTLED
from optim.config.numbers import number

MOST_SHOWN = 20
"""Numbers of a module without names for its coefficients that the screen shows."""


def plain_table() -> Table:
    """A table without a frame."""
    return Table(show_edge=False, pad_edge=False)


def coefficient_tables(likelihood: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The coefficients with what is known of their uncertainty, then those of a group with some left out.

    Args:
        likelihood: that of result.json.
    """
    if "parameters" not in likelihood:
        return
    certificate = likelihood.get("certificate", {})
    is_settled = certificate.get("settled", True) or certificate.get("status") != NOT_SETTLED
    label = "estimate" if is_settled else str(NOT_SETTLED)
    if any("penalty" in text for text in certificate.get("modifications", ())):
        label += ", penalised"
    if not {"weights", "by_group"} & set(likelihood["parameters"]):
        yield from parameter_table(likelihood["parameters"], label=label)
        return
    groups = _groups(likelihood)
    if len(groups) == 1:
        yield _of_one(next(iter(groups.values())), label=label)
    else:
        yield _of_several(groups, label=label)
    for name, found in groups.items():
        if "reduced" in found:
            left_out = ", ".join(found["reduced"]["left_out"])
            where = f" of {name}" if len(groups) > 1 else ""
            yield Text(f"\nThe same utility{where} with {left_out} left out", style="bold")
            yield _of_one(found["reduced"], label=label)


def parameter_table(parameters: Mapping[str, Any], *, label: str) -> Iterator[RenderableType]:
    """The first numbers of a module whose parameters have no names but their paths in it.

    Args:
        parameters: numbers, or lists of lists of them, by path.
        label: over the numbers.
    """
    entries = [entry for path, values in parameters.items() for entry in _entries(path, values)]
    table = plain_table()
    table.add_column("parameter")
    table.add_column(label, justify="right")
    for path, value in entries[:MOST_SHOWN]:
        table.add_row(path, number(value))
    yield table
    if len(entries) > MOST_SHOWN:
        yield Text(f"and {len(entries) - MOST_SHOWN} more, which stand in result.json")


def _entries(path: str, values: Any) -> Iterator[tuple[str, float]]:
    """Single numbers of nested lists, with their indices."""
    if not isinstance(values, list):
        yield path, values
        return
    for at, inner in enumerate(values):
        yield from _entries(f"{path}[{at}]", inner)


def _groups(likelihood: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is known of each group's coefficients, by key."""
    keys = ("parameters", "standard_errors", "robust_standard_errors", "z", "intervals", "not_determined", "reduced")
    by_group = likelihood["parameters"].get("by_group")
    if by_group is None:
        return {"": {key: likelihood[key] for key in keys if key in likelihood}}
    of = lambda key, group: likelihood.get(key, {}).get("by_group", {})
    return {group: {key: of(key, group)[group] for key in keys if group in of(key, group)} for group in by_group}


def _flat(named: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers by coefficient, the constant last."""
    constant = {"constant": named["bias"]} if named.get("bias") else {}  # 0: a utility without one
    return {**named.get("weights", {}), **named.get("products", {}), **constant}


def _rows(found: Mapping[str, Any]) -> list[str]:
    """Coefficients of a group, those without a value among them."""
    known, hidden = _flat(found["parameters"]), found.get("not_determined", {})
    names = dict.fromkeys([*known, *hidden])
    products = [name for name in names if "*" in name]
    single = [name for name in names if name not in products and name != "constant"]
    return [*single, *products, *(["constant"] if "constant" in names else [])]


def _of_one(found: Mapping[str, Any], *, label: str) -> Table:
    """A coefficient a row, with its uncertainty."""
    table = plain_table()
    table.add_column("coefficient")
    table.add_column(label, justify="right")
    sure = "standard_errors" in found
    for name in ("std. error", "robust", "z", "95 % interval") if sure else ():
        table.add_column(name, justify="right")
    values = _flat(found["parameters"])
    columns = [_flat(found.get(key, {})) for key in ("standard_errors", "robust_standard_errors", "z")]
    intervals = _flat(found.get("intervals", {}))
    for name in _rows(found):
        if name not in values:
            table.add_row(name, _missing(found, name), *([""] * 4 if sure else []))
            continue
        cells = [number(values[name])]
        if sure:
            cells += [_number(column.get(name)) for column in columns]
            cells.append(" to ".join(map(number, intervals[name])) if name in intervals else "")
        table.add_row(name, *cells)
    return table


def _of_several(groups: Mapping[str, Mapping[str, Any]], *, label: str) -> Table:
    """A coefficient a row and a group a column."""
    table = plain_table()
    table.add_column("coefficient")
    for name in groups:
        table.add_column(name if label == "estimate" else f"{name} ({label})", justify="right")
    names = list(dict.fromkeys(row for found in groups.values() for row in _rows(found)))
    for row in names:
        table.add_row(row, *(_with_error(found, row) for found in groups.values()))
    if any("standard_errors" in found for found in groups.values()):
        table.caption = "± standard error (robust ones, z and intervals stand in result.json)"
        table.caption_justify = "left"
    return table


def _with_error(found: Mapping[str, Any], name: str) -> str:
    values, errors = _flat(found["parameters"]), _flat(found.get("standard_errors", {}))
    if name not in values:
        return _missing(found, name)
    return number(values[name]) + (f" ± {number(errors[name], 2)}" if name in errors else "")


def _missing(found: Mapping[str, Any], name: str) -> str:
    """What stands in the place of a coefficient without a value."""
    return "not known" if "nobody was asked" in found.get("not_determined", {}).get(name, "") else "not determined"


def _number(value: float | None) -> str:
    return "" if value is None else number(value, 3)
