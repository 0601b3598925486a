"""The answer of a run as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from optim.config.naming import parts


def answer_tables(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The best cake, then what was learned of the customers, each under its heading.

    Args:
        result: contents of result.json.
    """
    if "recipe" in result:
        yield _heading("The best cake")
        yield _cake(result)
    if "likelihood" in result:
        yield _heading(_fit(result["likelihood"]))
        if "parameters" in result["likelihood"]:
            yield _coefficients(result["likelihood"]["parameters"])


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _table() -> Table:
    return Table(show_edge=False, pad_edge=False)


def _cake(result: Mapping[str, Any]) -> Table:
    table = _table()
    table.add_column("ingredient")
    table.add_column("amount", justify="right")
    table.add_column("unit")
    table.add_column("")
    active = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in result["certificate"]["active"]}
    for name, amount in result["recipe"].items():
        note = f"at its {active[name]}imum" if name in active else ""
        table.add_row(name, f"{amount:.4g}", result["units"].get(name, ""), note)
    for name, value in result.get("settings", {}).items():
        names = parts(name, not isinstance(value, float))
        note = ", ".join(f"{part} at its {active[part]}imum" for part in names if part in active)
        table.add_row(name, _setting(value), result["units"].get(name, ""), note.removeprefix(f"{name} "))
    table.add_section()
    for name, value in result.get("properties", {}).items():
        table.add_row(name, f"{value:.4g}", "", "")
    for name, value, note in _verdict(result):
        table.add_row(name, value, "", note)
    return table


def _setting(value: float | Mapping[str, float]) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    visible = 1e-4 * math.hypot(*value.values())  # what four digits of the whole number show
    real, imag = (value[part] if abs(value[part]) > visible else 0.0 for part in ("real", "imag"))
    return f"{real:.4g} {'-' if imag < 0 else '+'} {abs(imag):.4g}i"


def _verdict(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    certificate = result["certificate"]
    if "liking" in result:
        yield "P(like)", f"{result['liking']['mean']:.3f}", "mean over all customers"
    if "cost" in result:
        yield "price", f"{result['cost']:.4g}", "sum of price × amount"
    yield "score", f"{result['score']:.5g}", f"{certificate['agreeing']} of {certificate['starts']} starts agree"
    if 2 * certificate["agreeing"] <= certificate["starts"] > 1:
        yield "", "", "few agree: train longer, or look at the curves"
    for text in certificate.get("modifications", ()):
        yield "", "", f"trained with the {text}"


def _fit(likelihood: Mapping[str, Any]) -> str:
    """How well the customers are understood, in a line."""
    words = [f"What {likelihood['customers']} customers like"]
    if "log_likelihood" in likelihood:
        words.append(f"log-likelihood {likelihood['log_likelihood']:.4f} over {likelihood['responses']} responses")
    if "log_likelihood" in likelihood.get("held_out", {}):
        held_out = likelihood["held_out"]
        words.append(f"{held_out['log_likelihood']:.4f} over {held_out['responses']} held out")
    return ", ".join([": ".join(words[:2]), *words[2:]])


def _coefficients(parameters: Mapping[str, Any]) -> Table:
    table = _table()
    groups = _groups(parameters)
    table.add_column("coefficient")
    for name in groups:
        table.add_column(name, justify="right")
    for row in next(iter(groups.values()), {}):
        table.add_row(row, *(f"{values[row]:.4g}" for values in groups.values()))
    return table


def _groups(parameters: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Coefficients by group, flat: one column of the table each."""
    by_group = parameters.get("by_group", {"everyone": parameters})
    return {
        group: {**found["weights"], **found.get("products", {}), "constant": found["bias"]}
        for group, found in by_group.items()
    }
