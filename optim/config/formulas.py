"""Formulas of ingredients and properties, such as `2 + 0.5*butter + eggs`, read without running anything.

Only a whitelist of Python's expression syntax is accepted, and the caller supplies the functions, so that arrays of any
kind flow through and this room stays free of them.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from optim.config.naming import choices, did_you_mean

T = TypeVar("T")

FUNCTIONS = ("log", "exp", "sqrt")
"""Functions that a formula may call; `evaluate` is given what they do."""

LONGEST = 2000
DEEPEST = 200
GREATEST_EXPONENT = 100

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_ACCEPTED = f"numbers, names, + - * / **, parentheses and {choices(FUNCTIONS)}"


@dataclass(frozen=True)
class Formula:
    """A formula that was found to be safe."""

    text: str
    """As it was written."""
    names: tuple[str, ...]
    """The names in it, in the order in which they first appear."""
    tree: ast.expr
    """Its syntax."""

    def evaluate(self, values: Mapping[str, T], functions: Mapping[str, Callable[[Any], Any]]) -> T:
        """The value of the formula.

        Args:
            values: of each of its names.
            functions: what each of `FUNCTIONS` does to such a value.

        Returns:
            What the arithmetic of the values gives; a float where the formula is constant.
        """
        value: T = _evaluate(self.tree, values, functions)
        return value


def parse(text: str) -> Formula:
    """Read a formula.

    Raises:
        ValueError: names the piece that is not accepted, and what is.
    """
    if len(text) > LONGEST:
        raise ValueError(f"the formula has {len(text)} characters: at most {LONGEST}")
    tree = _tree(text)
    _accept(tree, 0)
    return Formula(text, tuple(dict.fromkeys(_names(tree))), tree)


def _tree(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        at = f" near `{error.text.strip()[max(0, (error.offset or 1) - 1) :][:20]}`" if error.text else ""
        raise ValueError(f"`{text[:60]}` is not a formula{at}: expected {_ACCEPTED}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ValueError(f"`{text[:60]}` is not a formula: expected {_ACCEPTED}") from None


def _accept(node: ast.expr, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"the formula is nested more than {DEEPEST} levels deep: shorten it")
    match node:
        case ast.Constant(value=value):
            _accept_number(value)
        case ast.Name():
            pass
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _accept(operand, depth + 1)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            _accept(left, depth + 1)
            _accept(right, depth + 1)
            if isinstance(op, ast.Pow):
                _accept_exponent(right)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
            if name not in FUNCTIONS:
                known = did_you_mean(name, FUNCTIONS) or f": expected {choices(FUNCTIONS)}"
                raise ValueError(f"unknown function `{name}` in the formula{known}")
            _accept(argument, depth + 1)
        case _:
            raise ValueError(f"`{_short(node)}` is not allowed in a formula: expected {_ACCEPTED}")
    _accept_constant(node)


def _accept_number(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{value!r}` is not allowed in a formula: expected {_ACCEPTED}")


def _accept_exponent(node: ast.expr) -> None:
    if not _names(node) and abs(_constant(node)) > GREATEST_EXPONENT:
        raise ValueError(f"the exponent `{_short(node)}` in the formula is too large: at most {GREATEST_EXPONENT}")


def _accept_constant(node: ast.expr) -> None:
    """Refuses arithmetic of numbers alone that has no value, such as 1/0, before it turns up in the middle of a run."""
    if not _names(node) and not math.isfinite(_constant(node)):
        raise ValueError(f"`{_short(node)}` in the formula has no finite value")


def _constant(node: ast.expr) -> float:
    try:
        value = _evaluate(node, {}, {"log": math.log, "exp": math.exp, "sqrt": math.sqrt})
    except (ArithmeticError, ValueError):
        return math.nan
    return math.nan if isinstance(value, complex) else float(value)


def _short(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _evaluate(node: ast.expr, values: Mapping[str, Any], functions: Mapping[str, Callable[[Any], Any]]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as value):
            # Floats even where the text has integers: arithmetic of constants must overflow rather than grow.
            return float(value)
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, values, functions)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_evaluate(left, values, functions), _evaluate(right, values, functions))
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return functions[name](_evaluate(argument, values, functions))
    raise AssertionError(f"{ast.dump(node)} was not refused")


def _names(node: ast.expr) -> list[str]:
    """The names in a piece of a formula, as often as they appear; those of functions are not among them."""
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.UnaryOp(operand=operand):
            return _names(operand)
        case ast.BinOp(left=left, right=right):
            return _names(left) + _names(right)
        case ast.Call(args=[argument]):
            return _names(argument)
    return []
