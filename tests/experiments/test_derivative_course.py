"""The derivative course agrees with the source, row by row, and says so where it does not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from experiments import derivative_course as course
from experiments.derivative_course import Entry, Outcome, Result, compared, main, outcome_of, paths_of_a_run


def test_the_rows_are_those_of_the_seed() -> None:
    rows = [f"S{number}" for number in range(1, 23)]
    assert list(course.SECTIONS) == rows
    assert list(course.SOURCE) == rows[:20]


LONG = ("S5", "S6", "S7", "S10", "S20", "S22")
"""Rows of which each takes seconds: the rooms' own tests have their figures as well."""


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[pytest.mark.long] * (row in LONG)) for row in course.SECTIONS]
)
def test_it_agrees_with_the_source(row: str) -> None:
    outcome = outcome_of(row)
    assert outcome.complaints == []
    assert outcome.entries or row == "S22"
    assert outcome.title


def test_a_figure_may_differ_by_what_is_allowed_and_no_more() -> None:
    assert Entry("near", 100.00100, 100.0).excess < 1.0
    assert Entry("far", 100.00102, 100.0).excess > 1.0
    assert Entry("small", 0.0, 1.1e-6).excess > 1.0
    assert Entry("not finite", math.nan, 1.0).excess > 1.0


def test_figures_of_another_name_or_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"ours are slope, the source's value"):
        compared({"slope": 1.0}, {"value": 1.0})
    with pytest.raises(ValueError, match=r"slope has shape \(\), the source's \(2,\)"):
        compared({"slope": 1.0}, {"slope": (1.0, 1.0)})


def test_complex_figures_are_compared_by_their_parts() -> None:
    assert compared({"z": np.array([1 - 2j])}, {"z": ((1, 2),)}) == (Entry("z[0, 0]", 1, 1), Entry("z[0, 1]", -2, 2))


def test_a_wrong_figure_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--row", "s17"]) == 0
    assert "1 of 1 rows agree" in capsys.readouterr().out
    monkeypatch.setitem(course.SOURCE, "S17", {"stability": 10.0, "slope": 6.0001})
    assert main(["--row", "s17"]) == 1
    output = capsys.readouterr().out
    assert "S17 differs: slope is 6, the source has 6.0001" in output
    assert "0 of 1 rows agree" in output


def test_a_section_shows_its_code_and_what_it_finds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--row", "S8"]) == 0
    output = capsys.readouterr().out
    assert 'jvp(properties, recipe(), {"flour": -0.05, "sugar": 0.1})' in output
    assert "sweetness       0.41" in output
    assert "change[2]" in output


def test_a_section_that_fails_is_named_and_the_others_still_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> Result:
        """What fails"""
        raise OverflowError("too sweet")

    sections = {"S1": failing, "S17": course.SECTIONS["S17"], "S18": lambda: Result(claims={"warm": False})}
    monkeypatch.setattr(course, "SECTIONS", sections)
    monkeypatch.delitem(course.SOURCE, "S18")
    assert main(["--no-pictures"]) == 1
    output = capsys.readouterr().out
    assert "S1 failed: OverflowError: too sweet" in output
    assert "S18 does not hold: warm" in output
    assert "1 of 3 rows agree" in output


def test_who_cannot_draw_is_told_before_the_sections_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(course, "find_spec", lambda name: None)
    monkeypatch.setattr(course, "SECTIONS", {})
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "pictures need matplotlib: `pip install matplotlib`, or give --no-pictures" in capsys.readouterr().err
    assert main(["--no-pictures"]) == 0


def test_of_many_figures_the_worst_is_shown() -> None:
    entries = tuple(Entry(f"figure[{k}]", 1.0 + 1e-6 * (k == 3), 1.0) for k in range(9))
    assert course.figures_text(Outcome("S1", "", entries), "ours") == "1.000001\nfigure[3], of 9"


@pytest.mark.long
def test_the_run_of_the_picture_climbs_from_all_its_starts_to_one_cake() -> None:
    paths = paths_of_a_run()
    assert paths.shape == (4, 151, 2)
    starts, ends = paths[:, 0], paths[:, -1]
    np.testing.assert_allclose(starts, [[0.6, 1.1], [0.6, 2.8], [2.4, 1.1], [2.4, 2.8]], rtol=1e-6)
    assert np.ptp(ends, axis=0).max() < 0.01
    np.testing.assert_allclose(ends[0], minimize(minus_deliciousness, [1.5, 2.0], tol=1e-10).x, atol=0.01)


def minus_deliciousness(free: NDArray[np.float64]) -> float:
    """Of one cup of butter, three eggs, and so much sugar and flour."""
    sugar, flour = free
    sweetness = 10 * math.log(1 + sugar) + 0.1 - 0.2 * flour
    fluffiness = 5 - 0.5 * (flour - 2) ** 2 + 0.2
    cost = 0.5 * (sugar**1.1 + flour**0.9 + 1 + 3)
    return (sweetness - 10) ** 2 + (fluffiness - 5) ** 2 + 0.5 * cost


@pytest.mark.long
def test_pictures_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "paths_of_a_run", lambda: np.linspace([[0.6, 1.1]] * 4, [[1.5, 2.0]] * 4, 9, axis=1))
    paths = course.save_pictures(tmp_path / "new" / "pictures")
    assert [path.name for path in paths] == ["landscape.png", "yeast.png", "customers.png"]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 20_000
