"""What of a command line varies from run to run."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optim.config.axes import Axis, axes_and_overrides, is_axis, split
from optim.config.errors import UserError
from optim.config.overrides import parse_override


def axis(argument: str, seed: int = 0) -> list[str]:
    (found,), rest = axes_and_overrides([argument], seed)
    assert rest == ()
    return list(found.values)


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("seed=0..3", ["0", "1", "2", "3"]),
        ("seed=-1..1,7", ["-1", "0", "1", "7"]),
        ("rate=0.1, 0.2", ["0.1", "0.2"]),
        ("rate=log(1e-3,1e-1,3)", ["0.001", "0.01", "0.1"]),
        ("rate=log(1e-9,1e-7,3)", ["1.0e-09", "1.0e-08", "1.0e-07"]),
        ("rate=0,log(0.1,10,3)", ["0", "0.1", "1", "10"]),
        ("model.utility.features=[amounts],[fractions]", ["[amounts]", "[fractions]"]),
        ("model.utility.features=[amounts, fractions],[fractions]", ["[amounts, fractions]", "[fractions]"]),
        ("stages.fit.optimizer={name: adam, b1: 0.5},{name: sgd}", ["{name: adam, b1: 0.5}", "{name: sgd}"]),
        ("score='a, b',c", ["'a, b'", "c"]),
        ("score=it's,yours", ["it's", "yours"]),
    ],
)
def test_the_forms_of_an_axis(argument: str, values: list[str]) -> None:
    assert axis(argument) == values


@pytest.mark.parametrize(
    "argument", ["seed=3", "features=[amounts, fractions]", "optimizer={name: a, b: 2}", "x='1, 2'", "a=", "seed"]
)
def test_one_value_is_an_override(argument: str) -> None:
    assert axes_and_overrides([argument], 0) == ((), (argument,))


@pytest.mark.parametrize("name", ["uniform", "loguniform"])
def test_values_are_drawn_from_the_seed_of_the_sweep_and_the_key(name: str) -> None:
    drawn = axis(f"rate={name}(0.01,10,400)", seed=3)
    assert drawn == axis(f"rate={name}(0.01,10,400)", seed=3)
    assert drawn != axis(f"rate={name}(0.01,10,400)", seed=4)
    assert drawn != axis(f"other={name}(0.01,10,400)", seed=3)
    numbers = [float(value) for value in drawn]
    assert all(0.01 <= number <= 10 for number in numbers)
    middle = 5.005 if name == "uniform" else math.sqrt(0.01 * 10)
    assert 160 < sum(number < middle for number in numbers) < 240


@given(st.floats(1e-12, 1e12), st.floats(1.01, 1e6), st.integers(2, 9))
def test_computed_values_are_numbers_to_a_config_and_lie_between(low: float, factor: float, count: int) -> None:
    low, high = float(f"{low:.6g}"), float(f"{low * factor:.6g}")
    numbers = [parse_override(f"rate={value}")[1] for value in axis(f"rate=log({low!r},{high!r},{count})")]
    assert all(isinstance(number, int | float) for number in numbers)
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (low, high)


def test_axes_and_overrides_keep_their_order() -> None:
    axes, overrides = axes_and_overrides(["b=1,2", "log.every=5", "a=0..1", "chunk=3"], 0)
    assert axes == (Axis("b", ("1", "2")), Axis("a", ("0", "1")))
    assert overrides == ("log.every=5", "chunk=3")
    assert axes[0].overrides() == ("b=1", "b=2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["seed=1,,2"], "seed: `1,,2` has an empty value"),
        (["seed=1,"], "seed: `1,` has an empty value"),
        (["seed=1,2,1"], "seed: `1` stands there twice"),
        (["seed=9..0"], "seed: `9..0` is empty: write the smaller number first, 0..9"),
        (["seed=0..1000000000"], "seed: `0..1000000000` is more than 100,000 values"),
        (["rate=log(0,1,3)"], "rate: `log(0,1,3)`: both numbers must be above 0"),
        (["rate=log(1,2)"], "rate: `log(1,2)` needs two numbers and how many: log(0.001,0.1,5)"),
        (["rate=uniform(2,1,3)"], "rate: `uniform(2,1,3)`: the first number must be below the second"),
        (["rate=log(1,2,1)"], "rate: `log(1,2,1)`: how many must be a whole number from 2"),
        (["rate=uniform(1,2,2.5)"], "how many must be a whole number from 1"),
        (["seed=1,2", "seed=3"], "seed: is an axis, and the same key is an override: give one of the two"),
        (["seed=1,2", "seed=3,4"], "seed: is an axis, and the same key is another axis"),
        (["a.b=1,2", "a={b: 3},{b: 4}"], "a: is an axis, and `a.b` is another axis"),
        (["a.b.c=3", "a.b={c: 3},{c: 4}"], "a.b: is an axis, and `a.b.c` is an override"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        axes_and_overrides(arguments, 0)
    assert said in str(error.value)


def test_every_wrong_axis_is_said_at_once() -> None:
    with pytest.raises(UserError) as error:
        axes_and_overrides(["a=1,,2", "b=9..0", "c=1,2"], 0)
    assert [problem.key for problem in error.value.problems] == ["a", "b"]


@given(
    st.lists(st.text(st.characters(codec="ascii", exclude_characters=",'\"[]{}()"), min_size=1), min_size=1, max_size=5)
)
def test_what_holds_no_brackets_is_split_at_every_comma(parts: list[str]) -> None:
    assert split(",".join(parts)) == parts
    assert is_axis(",".join(parts)) == (len(parts) > 1 or (".." in parts[0] and is_axis(parts[0])))
