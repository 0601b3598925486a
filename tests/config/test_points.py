"""The runs of a sweep and their names."""

from __future__ import annotations

import pytest

from optim.config.axes import Axis
from optim.config.points import LONGEST_NAME, in_human_order, points_of, short_keys


def test_axes_multiply_and_the_last_varies_fastest() -> None:
    found = points_of([Axis("stages.fit.optimizer.learning_rate", ("0.1", "0.03")), Axis("seed", ("0", "1"))])
    assert [point.name for point in found] == [
        "learning_rate=0.1,seed=0",
        "learning_rate=0.1,seed=1",
        "learning_rate=0.03,seed=0",
        "learning_rate=0.03,seed=1",
    ]
    assert found[2].overrides == ("stages.fit.optimizer.learning_rate=0.03", "seed=0")


@pytest.mark.parametrize(
    ("keys", "short"),
    [
        (["seed"], ["seed"]),
        (["stages.fit.length", "stages.bake.length"], ["fit.length", "bake.length"]),
        (["stages.fit.optimizer.b1", "stages.fit.length"], ["b1", "length"]),
        (["stages.a.b", "a.b"], ["stages.a.b", "a.b"]),
    ],
)
def test_keys_are_as_short_as_tells_them_apart(keys: list[str], short: list[str]) -> None:
    assert short_keys(keys) == short


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (("[amounts]", "[fractions]"), ["amounts", "fractions"]),
        (("{name: adam}", "{name: sgd}"), ["1", "2"]),
        (("'../up'", "x"), ["1", "2"]),
        (("adam", "ADAM"), ["1", "2"]),
        (("[1]", "1"), ["1", "2"]),
        (("1.0e-09", "-2"), ["1.0e-09", "-2"]),
        (("a" * 30, "b"), ["1", "2"]),
    ],
)
def test_a_value_that_no_folder_can_be_called_is_told_by_its_number(values: tuple[str, ...], labels: list[str]) -> None:
    assert [point.name for point in points_of([Axis("a.key", values)])] == [f"key={label}" for label in labels]


def test_names_too_long_for_a_folder_are_numbers() -> None:
    axes = [Axis(f"stages.{'x' * 40}{number}", ("1", "2")) for number in range(6)]
    names = [point.name for point in points_of(axes)]
    assert names[:2] == ["run-1", "run-2"]
    assert max(map(len, names)) <= LONGEST_NAME


def test_names_sort_as_people_sort() -> None:
    names = ["rate=0.1,seed=10", "rate=0.1,seed=9", "rate=0.03,seed=2", "rate=1.0e-05,seed=1", "rate=-2,seed=1", "b1"]
    assert sorted(names, key=in_human_order) == [
        "b1",
        "rate=-2,seed=1",
        "rate=1.0e-05,seed=1",
        "rate=0.03,seed=2",
        "rate=0.1,seed=9",
        "rate=0.1,seed=10",
    ]
