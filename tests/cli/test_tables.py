"""What the screen shows of an answer, whatever its numbers are worth."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from optim.cli.coefficients import coefficient_tables
from optim.cli.tables import answer_tables

BAKED: dict[str, Any] = {
    "recipe": {"butter": 1.0, "sugar": 2.5},
    "units": {"butter": "cup"},
    "score": 0.8723,
    "liking": {"mean": 0.8723, "scale": "probability", "status": "computed and checked", "customers": 100},
    "certificate": {
        "starts": 16, "agreeing": 15, "max_violation": 0.0, "stationarity": 0.0, "stationary": True,
        "active": ["sugar max"],
    },
    "status": dict.fromkeys(("recipe", "score", "liking"), "computed and checked"),
}  # fmt: skip
CERTIFICATE: dict[str, Any] = {
    "stage": "fit", "status": "computed and checked", "settled": True, "delta": 0.004, "gradient_norm": 1e-6,
    "parameters": 3, "rank": 3, "condition": 3.1, "text": "within 0.004 standard errors of the best coefficients",
}  # fmt: skip
SCORES = {
    "log_likelihood": -974.3173,
    "responses": 1600,
    "loss_per_response": 0.6089,
    "brier": 0.2104,
    "accuracy": 0.66,
}
NULL = {"log_likelihood": -1109.0242, "brier": 0.25, "accuracy": 0.502}
PARAMETERS = {"weights": {"butter": -0.0456, "sugar": 1.6203}, "bias": 0.7071}
LIKELIHOOD: dict[str, Any] = {
    **SCORES, "null": NULL, "recipe_means": {"log_likelihood": -959.2372}, "customers": 100, "parameters": PARAMETERS,
    "standard_errors": {"weights": {"butter": 0.1904, "sugar": 0.2531}, "bias": 0.1112},
    "robust_standard_errors": {"weights": {"butter": 0.2013, "sugar": 0.3014}, "bias": 0.1213},
    "z": {"weights": {"butter": -0.2395, "sugar": 6.402}, "bias": 6.359},
    "intervals": {"weights": {"butter": [-0.4188, 0.3276], "sugar": [1.1242, 2.1164]}, "bias": [0.4892, 0.925]},
    "certificate": CERTIFICATE,
}  # fmt: skip
WHY = "butter was always 50, so what it does there cannot be told from the constant"


def shown(result: Mapping[str, Any], width: int = 160) -> str:
    """All that is printed, as text."""
    console = Console(width=width, record=True, file=io.StringIO())
    for table in answer_tables(result):
        console.print(table)
    return console.export_text()


def coefficients(likelihood: Mapping[str, Any]) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    for table in coefficient_tables(likelihood):
        console.print(table)
    return console.export_text()


def line(text: str, start: str) -> str:
    """The only line that begins with some words, without the space that fills columns."""
    lines = [" ".join(one.replace("┃", "│").split()) for one in text.splitlines()]
    (found,) = [one for one in lines if one.startswith(start)]
    return found


def test_everything_that_is_known_is_shown() -> None:
    text = shown(BAKED | {"likelihood": LIKELIHOOD})
    assert line(text, "sugar │ 2.5") == "sugar │ 2.5 │ │ at its maximum"
    assert line(text, "P(like)") == "P(like) │ 0.872 │ │ mean over 100 customers"
    assert line(text, "score") == "score │ 0.8723 │ │ 15 of 16 starts agree"
    elsewhere = BAKED | {"certificate": BAKED["certificate"] | {"others": [0.41, 0.8234]}}
    assert line(shown(elsewhere), "score").endswith("15 of 16 starts agree, the others end at 0.41 to 0.8234")
    assert line(text, "fit") == "fit │ settled │ │ within 0.004 standard errors of the best coefficients"
    assert line(text, "What 100") == "What 100 customers like: log-likelihood -974.3173 over 1600 responses"
    assert "0.6089 a response, Brier 0.2104, accuracy 0.660; one rate for all: -1109.0242, 0.2500, 0.502" in text
    assert "one mean a recipe -959.2372" in text
    assert line(text, "coefficient") == "coefficient │ estimate │ std. error │ robust │ z │ 95 % interval"
    assert line(text, "butter │ -") == "butter │ -0.0456 │ 0.19 │ 0.201 │ -0.239 │ -0.4188 to 0.3276"
    assert line(text, "constant") == "constant │ 0.7071 │ 0.111 │ 0.121 │ 6.36 │ 0.4892 to 0.925"
    assert "slope" not in text
    assert "What to know" not in text


def test_amounts_are_printed_as_they_are_weighed_and_no_number_has_an_exponent() -> None:
    dough = {"recipe": {"flour": 14287.0, "salt": 1376.5892}, "shown": {"flour": "14287", "salt": "1376.6"}}
    text = shown(BAKED | dough | {"properties": {"dough": 15663.6}, "cost": 23456.7, "score": -123456.7})
    assert line(text, "flour") == "flour │ 14287 │ │"
    assert line(text, "salt") == "salt │ 1376.6 │ │"
    assert [line(text, name).split(" │ ")[1] for name in ("dough", "price", "score")] == ["15664", "23457", "-123457"]


def test_a_coefficient_that_is_not_determined_says_so_in_its_place() -> None:
    likelihood = {
        **SCORES, "customers": 100, "certificate": CERTIFICATE,
        "parameters": {"weights": {"sugar": 1.6203}},
        "standard_errors": {"weights": {"sugar": 0.2531}},
        "not_determined": {"constant": WHY, "butter": WHY},
    }  # fmt: skip
    text = coefficients(likelihood)
    assert line(text, "butter").startswith("butter │ not determined")
    assert line(text, "constant").startswith("constant │ not determined")
    assert line(text, "sugar").startswith("sugar │ 1.62 │ 0.253")


def test_what_is_left_out_is_shown_beside_it() -> None:
    reduced = {"left_out": ["constant"], "parameters": {"weights": {"orange": -2.4159, "banana": 0.7913}}}
    likelihood = {
        "parameters": {"weights": {}},
        "not_determined": dict.fromkeys(("constant", "orange", "banana"), "orange + banana is always 1"),
        "reduced": reduced,
        "certificate": CERTIFICATE,
    }
    text = coefficients(likelihood)
    above, below = text.split("The same utility with constant left out")
    assert above.count("not determined") == 3
    assert line(below, "orange") == "orange │ -2.416"
    assert line(below, "banana") == "banana │ 0.7913"


def test_an_answer_that_is_not_determined_shows_no_numbers() -> None:
    status = "not determined by the data"
    reason = "likes are separated, and it is on the side that was liked"
    without_score = {key: value for key, value in BAKED.items() if key != "score"}
    warned = {"about": "likelihood.parameters", "status": status, "text": "the likes are separated: [sugar] tells"}
    result = without_score | {
        "liking": {"scale": "probability", "status": status, "customers": 10, "reason": reason},
        "status": dict.fromkeys(("recipe", "score", "liking"), status),
        "warnings": [warned],
    }
    text = shown(result)
    assert line(text, "P(like)") == f"P(like) │ not determined │ │ mean over 10 customers: {reason}"
    assert line(text, "score") == "score │ not determined │ │ 15 of 16 starts agree"
    assert "What to know" in text
    assert "- not determined by the data: the likes are separated: [sugar] tells" in text  # and brackets are no markup


def test_a_fit_that_has_not_settled_says_so_beside_the_cake_and_over_its_coefficients() -> None:
    remedy = "off by up to 14.1 standard errors; use `optimizer: {name: newton}`"
    certificate = CERTIFICATE | {"status": "not settled", "settled": False, "text": remedy}
    slope = {"stationary": False, "stationarity": 0.0103}
    result = BAKED | {
        "likelihood": {**SCORES, "customers": 100, "parameters": PARAMETERS, "certificate": certificate},
        "certificate": BAKED["certificate"] | slope,
    }
    text = shown(result)
    assert line(text, "fit") == f"fit │ not settled │ │ {remedy}"
    assert line(text, "slope").startswith("slope │ 0.0103 │ │ of the score, per range of an ingredient")
    assert line(text, "coefficient") == "coefficient │ not settled"


GROUPS: dict[str, Any] = {
    "parameters": {
        "by_group": {"adults": PARAMETERS, "children": {"weights": {}}, "north": {"weights": {"sugar": 0.5}}}
    },
    "standard_errors": {"by_group": {"adults": LIKELIHOOD["standard_errors"]}},
    "not_determined": {
        "by_group": {
            "children": dict.fromkeys(("constant", "butter", "sugar"), "children: nobody was asked"),
            "north": dict.fromkeys(("constant", "butter"), WHY),
        }
    },
    "certificate": CERTIFICATE,
}


def test_several_groups_stand_side_by_side_with_what_is_not_known_of_each() -> None:
    text = coefficients(GROUPS)
    assert line(text, "coefficient") == "coefficient │ adults │ children │ north"
    assert line(text, "butter") == "butter │ -0.0456 ± 0.19 │ not known │ not determined"
    assert line(text, "sugar") == "sugar │ 1.62 ± 0.25 │ not known │ 0.5"
    assert line(text, "constant") == "constant │ 0.7071 ± 0.11 │ not known │ not determined"
    assert "± standard error (robust ones, z and intervals stand in result.json)" in " ".join(text.split())


def test_liking_by_group_counts_those_whom_nobody_asked() -> None:
    checked = {"status": "computed and checked", "customers": 40, "mean": 0.96698, "interval": [0.933, 0.984]}
    unknown = {"status": "not known", "customers": 20, "reason": "nobody was asked"}
    liking = checked | {"by_group": {"adults": checked, "children": unknown}, "not_known": {"children": 20}}
    text = shown(BAKED | {"liking": liking, "likelihood": GROUPS | SCORES | {"customers": 40}})
    assert line(text, "P(like)").startswith(
        "P(like) │ 0.967 │ │ 0.933 to 0.984 at 95 %, mean over 40 customers, without 20"
    )
    assert line(text, "adults") == "adults │ 0.967 │ │ 0.933 to 0.984 at 95 %, 40 customers"
    assert line(text, "children") == "children │ not known │ │ 20 customers: nobody was asked"


def test_the_best_inside_stands_in_a_column_of_its_own() -> None:
    inside = {
        "recipe": {"butter": 1.25, "sugar": 2.0},
        "gap": 0.0,
        "liking": {"mean": 0.81, "status": "computed and checked", "customers": 1},
    }
    tasted = {
        "in": "amounts", "inside": False, "distance": 0.4416, "beyond": {"sugar": 0.5}, "best_inside": inside,
        "best": {"recipe": "r9", "liked": 0.85, "responses": 20}, "recipes": 10,
    }  # fmt: skip
    text = shown(BAKED | {"tasted": tasted})
    assert line(text, "ingredient") == "ingredient │ amount │ best inside │ unit │"
    assert line(text, "butter") == "butter │ 1 │ 1.25 │ cup │"
    assert line(text, "sugar") == "sugar │ 2.5 │ 2 │ │ at its maximum"
    assert line(text, "P(like)").startswith("P(like) │ 0.872 │ 0.810 │")
    expected = "0.44 ranges outside what was tasted; best liked of those tasted: r9, by 85 % of 20"
    assert line(text, "tasted") == f"tasted │ outside │ inside │ │ {expected}"
    within = {key: value for key, value in tasted.items() if key not in ("best_inside", "distance", "beyond")}
    text = shown(BAKED | {"tasted": within | {"inside": True}})
    assert "best inside" not in text
    assert line(text, "tasted").startswith("tasted │ inside │ │ a mixture of what was tasted; best liked of those")


def test_held_out_responses_that_chose_where_to_stop_are_no_measure_of_quality() -> None:
    held_out = {**SCORES, "responses": 400, "null": NULL, "by": "recipe", "chose_where_to_stop": ["fit"]}
    text = shown({"likelihood": LIKELIHOOD | {"held_out": held_out}})
    assert "held out (recipes, and it chose where to stop: no measure of quality): 0.6089 a response" in text
    quiet = {key: value for key, value in held_out.items() if key != "chose_where_to_stop"}
    assert "held out (recipes): 0.6089 a response" in shown({"likelihood": LIKELIHOOD | {"held_out": quiet}})


def test_an_answer_of_the_version_before_is_still_shown() -> None:
    """As the reference gives it; that version wrote `stationarity` and `stationary` as well."""
    result = {
        "recipe": {"butter": 1.0, "sugar": 1.5},
        "units": {"butter": "cup"},
        "properties": {"sweetness": 9.9},
        "score": -0.1,
        "liking": {"mean": 0.87, "scale": "probability"},
        "likelihood": {
            "log_likelihood": -974.3173, "responses": 1600, "customers": 100,
            "parameters": {"weights": {"orange": -0.046}, "bias": 0.0},
        },
        "certificate": {
            "starts": 64, "agreeing": 61, "max_violation": 0.0, "active": ["sugar max"],
            "stationarity": 0.0, "stationary": True,
        },
    }  # fmt: skip
    text = shown(result)
    assert line(text, "P(like)") == "P(like) │ 0.870 │ │ mean over all customers"
    assert line(text, "orange") == "orange │ -0.046"
    assert line(text, "sweetness") == "sweetness │ 9.9 │ │"
    grouped = {
        "by_group": {
            "classic": {"weights": {"sugar": 1.5}, "bias": 0.2},
            "light": {"weights": {"sugar": 1.0}, "bias": 0.1},
        }
    }
    result["likelihood"] |= {"parameters": grouped}  # type: ignore[operator]
    assert line(shown(result), "sugar │ 1.5 │ 1") == "sugar │ 1.5 │ 1"


def test_a_narrow_screen_loses_no_number() -> None:
    text = shown(BAKED | {"likelihood": LIKELIHOOD}, width=72)
    for number in ("0.872", "-0.0456", "0.7071", "-974.3173"):
        assert number in text
