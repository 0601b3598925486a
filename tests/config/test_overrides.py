"""Overrides from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.config.overrides import apply_overrides, parse_override
from optim.config.source import read_text


def put(text: str, *overrides: str) -> object:
    document = read_text(text, "a.yaml")
    apply_overrides(document, overrides)
    assert not document.problems
    return document.value


def refused(text: str, *overrides: str) -> list[str]:
    document = read_text(text, "a.yaml")
    apply_overrides(document, overrides)
    return [str(problem) for problem in document.problems]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a.b=1e-3", {"a": {"b": 1e-3, "c": [1, 2]}}),
        ("a.b=text", {"a": {"b": "text", "c": [1, 2]}}),
        ("a.b=x=y", {"a": {"b": "x=y", "c": [1, 2]}}),
        ("a.b=[1, two]", {"a": {"b": [1, "two"], "c": [1, 2]}}),
        ("a.b={d: 20 epochs}", {"a": {"b": {"d": "20 epochs"}, "c": [1, 2]}}),
        ("a.b=", {"a": {"b": None, "c": [1, 2]}}),
        ("a.c.0=9", {"a": {"b": 0, "c": [9, 2]}}),
        ("a.new=1", {"a": {"b": 0, "c": [1, 2], "new": 1}}),
        ("x.y.z=1", {"a": {"b": 0, "c": [1, 2]}, "x": {"y": {"z": 1}}}),
    ],
)
def test_a_value_is_put_at_its_path(override: str, expected: object) -> None:
    assert put("a: {b: 0, c: [1, 2]}", override) == expected


def test_a_value_that_the_shell_has_cut_is_to_be_quoted() -> None:
    for cut in ("a.b={kind:", "a.b=[1,"):
        (problem,) = refused("a: {b: 0}", cut)
        assert problem.endswith("; quote the whole override for the shell, 'a.b=…'")
    (problem,) = refused("a: {b: 0}", "a.b={c: 1, c: 2}")
    assert "quote" not in problem


def test_the_later_override_wins() -> None:
    assert put("a: 0", "a=1", "a=2") == {"a": 2}


def test_a_key_that_is_a_number_is_found() -> None:
    assert put("a: {100: 1}", "a.100=2") == {"a": {100: 2}}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", "command line: `seed` is not an override: expected key.path=value, such as seed=1"),
        ("=1", "command line: `=1` is not an override: expected key.path=value, such as seed=1"),
        ("a..b=1", "command line: `a..b=1` is not an override: expected key.path=value, such as seed=1"),
        ("a.b=[1", "command line: a.b: the value `[1` is not valid YAML: column 3: "),
        ("a.b={c: 1, c: 2}", "command line: a.b: is given twice, on lines 1 and 1: keep one"),
        ("a.b=!x 1", "command line: a.b: the tag `!x` is not allowed: give a plain value"),
        ("a.b.c=1", "command line: a.b: is 0, so it has no `c`: override it as a whole, a.b={c: …}"),
        ("a.c.2=1", "command line: a.c: is a list of 2 (indexes start at 0), so it has no `2`: override it as a whole"),
        ("a.c.x=1", "command line: a.c: is a list of 2 (indexes start at 0), so it has no `x`: override it as a whole"),
        (
            "stages.bak.length=1",
            "command line: stages.bak: there is no `bak`; did you mean `bake`? To add it, give it whole: "
            "stages.bak={…}",
        ),
    ],
)
def test_what_is_no_override_is_refused(override: str, expected: str) -> None:
    (problem,) = refused("a: {b: 0, c: [1, 2]}\nstages: {bake: {}}", override)
    assert problem.startswith(expected)


def test_parsing_raises_the_problem() -> None:
    with pytest.raises(UserError, match="is not an override"):
        parse_override("seed")


def test_the_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n")
    put(path.read_text(), "a=2")
    assert path.read_text() == "a: 1\n"
