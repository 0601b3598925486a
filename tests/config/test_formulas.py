"""Formulas are read, evaluated, and refused piece by piece."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optim.config.formulas import parse

FUNCTIONS = {"log": math.log, "exp": math.exp, "sqrt": math.sqrt}


def test_the_fluffiness_target_of_the_bakery() -> None:
    formula = parse("2 + 0.5*butter + eggs - 0.1*flour")
    assert formula.names == ("butter", "eggs", "flour")
    assert formula.evaluate({"butter": 1.0, "eggs": 3.0, "flour": 2.0}, FUNCTIONS) == pytest.approx(5.3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-x**2", -9.0),
        ("(1 + x) / 2", 2.0),
        ("log(exp(x)) + sqrt(4)", 5.0),
        ("2 * 3", 6.0),
        (" x ", 3.0),
        ("2 ** -x", 0.125),
    ],
)
def test_arithmetic(text: str, expected: float) -> None:
    assert parse(text).evaluate({"x": 3.0}, FUNCTIONS) == pytest.approx(expected)


def test_other_numbers_than_floats_flow_through() -> None:
    assert parse("2*x + 1").evaluate({"x": 1j}, FUNCTIONS) == 1 + 2j


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_it_agrees_with_python(a: float, b: float) -> None:
    text = "3*a - b*(a + 2)/4 + a**2"
    assert parse(text).evaluate({"a": a, "b": b}, FUNCTIONS) == 3 * a - b * (a + 2) / 4 + a**2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.b", r"`a\.b` is not allowed in a formula: expected numbers, names, \+ - \* / \*\*, parentheses and `log`"),
        ("[1][0]", r"`\[1\]\[0\]` is not allowed"),
        ("x if y else z", "`x if y else z` is not allowed"),
        ("x < y", "`x < y` is not allowed"),
        ("x % y", "`x % y` is not allowed"),
        ("+x", r"`\+x` is not allowed"),
        ("lambda: 1", "`lambda: 1` is not allowed"),
        ("log(x, y)", r"`log\(x, y\)` is not allowed"),
        ("'text'", "`'text'` is not allowed"),
        ("True", "`True` is not allowed"),
        ("1j", "`1j` is not allowed"),
        ("lg(x)", "unknown function `lg` in the formula; did you mean `log`"),
        ("__import__('os')", "unknown function `__import__` in the formula: expected `log`, `exp` or `sqrt`"),
        ("a +", r"`a \+` is not a formula"),
        ("a ; b", "`a ; b` is not a formula near `; b`"),
        ("", "`` is not a formula"),
        ("a\0", "is not a formula"),
        ("1/0", "`1 / 0` in the formula has no finite value"),
        ("(0-8)**0.5", "has no finite value"),
        ("log(0)", r"`log\(0\)` in the formula has no finite value"),
        ("1e999", "has no finite value"),
        ("9" * 1000, "has no finite value"),
        ("x**9**9", r"the exponent `9 \*\* 9` in the formula is too large: at most 100"),
        ("x**-101", "the exponent `-101` in the formula is too large"),
        ("(" * 300 + "x" + ")" * 300, "is not a formula"),
        ("-" * 300 + "x", "nested more than 200 levels deep: shorten it"),
        ("x" * 2001, "the formula has 2001 characters: at most 2000"),
    ],
)
def test_whatever_is_not_plain_arithmetic_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)
