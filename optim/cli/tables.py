"""The answer of a run as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from optim.analysis.verdicts import CHECKED, NOT_SETTLED
from optim.cli.coefficients import coefficient_tables, parameter_table, plain_table
from optim.config.naming import parts
from optim.config.numbers import number, resolved


def answer_tables(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The best recipe of each bake, what was learned of the customers, and what to know, each under its heading.

    Args:
        result: contents of result.json.
    """
    likelihood = {key: result[key] for key in ("likelihood",) if key in result}
    for name, baked in result.get("bakes", {}).items():
        yield heading(f"The best recipe of {name}{_mark(baked)}")
        yield _cake(baked | likelihood)
    if "recipe" in result and "bakes" not in result:
        yield heading(f"The best recipe{_mark(result)}")
        yield _cake(result)
    if "likelihood" in result:
        yield heading(_fit(result["likelihood"]))
        if "recipe" not in result and "certificate" in result["likelihood"]:
            yield Text("\n".join(f"{name}: {note}" for _, name, note, _ in _certificate(result["likelihood"])))
        if "null" in result["likelihood"]:
            yield Text(_quality(result["likelihood"]))
        yield from coefficient_tables(result["likelihood"])
    if "property_parameters" in result:
        yield heading("The property model")
        yield from parameter_table(result["property_parameters"], label="value")
    if result.get("warnings"):
        yield heading("What to know")
        for one in result["warnings"]:
            yield Text(f"- {one['status']}: {one['text']}", style="yellow")


def _mark(baked: Mapping[str, Any]) -> str:
    return f" ({NOT_SETTLED})" if baked.get("status", {}).get("recipe") == NOT_SETTLED else ""


def heading(text: str) -> Text:
    """A heading."""
    return Text(f"\n{text}", style="bold")


def _cake(result: Mapping[str, Any]) -> Table:
    """The recipe and what it is worth; beside it the best recipe inside what was tasted, where it lies outside."""
    inside = result.get("tasted", {}).get("best_inside")
    table = plain_table()
    table.add_column("ingredient")
    table.add_column("amount", justify="right")
    if inside is not None:
        table.add_column("best inside", justify="right")
    table.add_column("unit")
    table.add_column("")

    def add(name: str, value: str, unit: str = "", note: str = "", within: str = "") -> None:
        table.add_row(name, value, *([] if inside is None else [within]), unit, note)

    active = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in result["certificate"]["active"]}
    for name in result["recipe"]:
        note = f"at its {active[name]}imum" if name in active else ""
        within = "" if inside is None else _amount(inside, name)
        add(name, _amount(result, name), result["units"].get(name, ""), note, within)
    for name, value in result.get("settings", {}).items():
        names = parts(name, not isinstance(value, float))
        note = ", ".join(f"{part} at its {active[part]}imum" for part in names if part in active)
        shown = result.get("shown_settings", {}).get(name) or _setting(value)
        add(name, shown, result["units"].get(name, ""), note.removeprefix(f"{name} "))
    table.add_section()
    for name, value in result.get("properties", {}).items():
        add(name, result.get("shown_properties", {}).get(name) or number(value))
    for name, value, note, within in _verdict(result):
        add(name, value, "", note, within)
    return table


def _amount(found: Mapping[str, Any], name: str) -> str:
    """An amount of a recipe as it is weighed; a run of before has no `shown`."""
    return found["shown"][name] if "shown" in found else number(found["recipe"][name])


def _setting(value: float | Mapping[str, float]) -> str:
    if isinstance(value, float):
        return number(value)
    visible = 1e-4 * math.hypot(*value.values())  # what four digits of the whole number show
    real, imag = (value[part] if abs(value[part]) > visible else 0.0 for part in ("real", "imag"))
    return f"{number(real)} {'-' if imag < 0 else '+'} {number(abs(imag))}i"


Row = tuple[str, str, str, str]
"""Name, value, note, and the value of the best recipe inside what was tasted."""


def _verdict(result: Mapping[str, Any]) -> Iterator[Row]:
    """What the recipe is worth, and what that rests on."""
    certificate = result["certificate"]
    if "liking" in result:
        yield from _liking(result)
    if "cost" in result:
        yield "price", number(result["cost"]), "sum of price × amount", ""
    told = lambda score: resolved(score, certificate.get("score_differs_by", 0.0), 5)
    score = told(result["score"]) if "score" in result else short(result["status"]["score"])
    agreeing = f"{certificate['agreeing']} of {certificate['starts']} starts agree"
    if "others" in certificate and "score" in result:
        low, high = (told(end) if told(end) != score else f"{end:.9g}" for end in certificate["others"])
        agreeing += f", the others end at {low if low == high else f'{low} to {high}'}"
    if "higher_elsewhere" in certificate:
        agreeing += f": not settled, as a recipe that nobody trained scores {told(certificate['higher_elsewhere'])}"
    yield "score", score, agreeing, ""
    if not certificate["stationary"]:
        # Of a saturated score, whose own slope is 0 to rounding everywhere, that of the logit decides.
        slope, of = certificate.get("logit_stationarity"), "the logit of P(like)"
        slope, of = (certificate["stationarity"], "the score") if slope is None else (slope, of)
        yield "slope", number(slope, 3), f"of {of}, per range of an ingredient: not a peak yet", ""
    yield from _certificate(result.get("likelihood", {}))
    if "tasted" in result:
        yield _tasted(result["tasted"])
    for text in certificate.get("modifications", ()):
        yield "", "", f"baked with: {text}", ""


def _liking(result: Mapping[str, Any]) -> Iterator[Row]:
    liking = result["liking"]
    inside = result.get("tasted", {}).get("best_inside", {}).get("liking", {})
    unknown = sum(liking.get("not_known", {}).values())
    everyone = _customers(liking["customers"]) if "customers" in liking else "all customers"
    who = f"mean over {everyone}" + (f", without {unknown} who were not asked" if unknown else "")
    yield "P(like)", _probability(liking), _sure(liking, who), _within(inside) if inside else ""
    for group, one in liking.get("by_group", {}).items():
        within = inside.get("by_group", {}).get(group)
        note = _sure(one, _customers(one["customers"]))
        yield f"  {group}", _probability(one), note, "" if within is None else _within(within)


def _certificate(likelihood: Mapping[str, Any]) -> Iterator[Row]:
    """Whether the fit has settled, and what bends it."""
    fit = likelihood.get("certificate")
    if fit is None:
        return
    yield "fit", _settled(fit), fit["text"], ""
    for text in fit.get("modifications", ()):
        yield "", "", f"fitted with: {text}", ""


def _customers(count: int) -> str:
    return f"{count} customer{'' if count == 1 else 's'}"


def _probability(liking: Mapping[str, Any]) -> str:
    return f"{liking['mean']:.3f}" if "mean" in liking else short(liking["status"])


def _within(liking: Mapping[str, Any]) -> str:
    """P(like) of the best recipe inside what was tasted, which has no note of its own."""
    worth = liking["status"]
    return _probability(liking) + (f" ({short(worth)})" if "mean" in liking and worth != CHECKED else "")


def short(status: str) -> str:
    """A status as it fits into a cell."""
    return status.removesuffix(" by the data")


def _sure(liking: Mapping[str, Any], who: str) -> str:
    """`0.85 to 0.89 at 95 %, mean over 100 customers`."""
    if "interval" in liking:
        low, high = liking["interval"]
        who = f"{low:.3f} to {high:.3f} at 95 %, {who}"
    reason = liking.get("reason")
    return f"{who}: {reason}" if reason else who


def _settled(certificate: Mapping[str, Any]) -> str:
    return "settled" if certificate["status"] == CHECKED else short(certificate["status"])


def _tasted(tasted: Mapping[str, Any]) -> Row:
    best = tasted["best"]
    liked = f"best liked of those tasted: {best['recipe']}, by {100 * best['liked']:.0f} % of {best['responses']}"
    if tasted["inside"]:
        return "tasted", "inside", f"a mixture of what was tasted; {liked}", "inside"
    return "tasted", "outside", f"{number(tasted['distance'], 2)} ranges outside what was tasted; {liked}", "inside"


def _fit(likelihood: Mapping[str, Any]) -> str:
    """How well the customers are understood, in a line."""
    words = [f"What {likelihood['customers']} customers like"]
    settled = "" if likelihood.get("certificate", {}).get("settled", True) else f" ({NOT_SETTLED})"
    if "log_likelihood" in likelihood:
        told = f"log-likelihood {_fixed(likelihood['log_likelihood'])}{settled}"
        words.append(f"{told} over {likelihood['responses']} responses")
    if "log_likelihood" in likelihood.get("held_out", {}):
        held_out = likelihood["held_out"]
        words.append(f"{_fixed(held_out['log_likelihood'])} over {held_out['responses']} held out")
    return ", ".join([": ".join(words[:2]), *words[2:]])


def _fixed(value: float) -> str:
    """With four decimals; a number of astronomical size with an exponent."""
    return f"{value:.4f}" if abs(value) < 1e9 else number(value)


def _quality(likelihood: Mapping[str, Any]) -> str:
    """The fit beside what one rate for all, and one mean a recipe, would predict."""
    means = likelihood.get("recipe_means", {}).get("log_likelihood")
    lines = [_scores(likelihood) + ("" if means is None else f"; one mean a recipe {means:.4f}")]
    held_out = likelihood.get("held_out")
    if held_out is not None:
        by = {"response": "responses", "recipe": "recipes", "customer": "customers"}[held_out["by"]]
        chosen = ", and it chose where to stop: no measure of quality" if "chose_where_to_stop" in held_out else ""
        lines.append(f"held out ({by}{chosen}): {_scores(held_out)}")
    return "\n".join(lines)


def _scores(scores: Mapping[str, Any]) -> str:
    if "log_likelihood" not in scores:
        return "not finite"
    null = scores["null"]
    return (
        f"{_fixed(scores['loss_per_response'])} a response, Brier {scores['brier']:.4f}, "
        f"accuracy {scores['accuracy']:.3f}"
        f"; one rate for all: {_fixed(null['log_likelihood'])}, {null['brier']:.4f}, {null['accuracy']:.3f}"
    )
