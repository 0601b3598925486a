"""Scores: how good a cake is for one customer. High is good.

A score is a pure function of a recipe and a customer, in the space of amounts and free of gradient limits, so that
it can be certified and analysed as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from optim.config import schema
from optim.config.formulas import Formula, parse
from optim.models.imports import load_object

Scalar = Float[Array, ""]

FUNCTIONS: Mapping[str, Callable[..., Any]] = {"log": jnp.log, "exp": jnp.exp, "sqrt": jnp.sqrt}
"""What a formula may call (natural logarithm)."""


@dataclass(frozen=True)
class Recipe:
    """What a score sees of a recipe.

    Attributes:
        amounts: by ingredient, in the user's units.
        properties: by property.
        cost: Σ price × amount.
        liking: P(like) of the customer in question; None without a likelihood model.
    """

    amounts: Mapping[str, Scalar]
    properties: Mapping[str, Scalar]
    cost: Scalar
    liking: Scalar | None


@dataclass(frozen=True)
class Customer:
    """What a score sees of a customer: the columns of the customers' table that the config names."""

    columns: Mapping[str, Scalar]


Weights = Mapping[str, Any]
"""A score's own numbers, as traced arrays, so that they can be varied and differentiated."""

Score = Callable[[Recipe, Customer, Weights], Scalar]


@dataclass(frozen=True)
class BuiltScore:
    """A score with the numbers it starts from and the customer columns it reads."""

    function: Score
    weights: Weights
    columns: tuple[str, ...]


def build_score(block: schema.Score) -> BuiltScore:
    """The score of a config block.

    Raises:
        UserError: a score of the user's own cannot be imported.
    """
    if isinstance(block, schema.LikingScore):
        return BuiltScore(_Liking(block.cost), {"cost_weight": block.cost_weight}, ())
    if isinstance(block, schema.DeliciousnessScore):
        return _build_deliciousness(block)
    own = load_object(block.path)
    return BuiltScore(lambda recipe, customer, weights: own(recipe, customer), {}, tuple(block.columns))


def _cost(recipe: Recipe, kind: str) -> Scalar:
    # A model without a `cost` is allowed where the weight is 0; the config's checks see to that.
    return recipe.cost if kind == "prices" else recipe.properties.get("cost", jnp.zeros_like(recipe.cost))


@dataclass(frozen=True)
class _Liking:
    """P(like) − cost_weight × cost."""

    cost: str

    def __call__(self, recipe: Recipe, customer: Customer, weights: Weights) -> Scalar:
        assert recipe.liking is not None  # the config's checks hold it
        return jnp.asarray(recipe.liking - weights["cost_weight"] * _cost(recipe, self.cost))


@dataclass(frozen=True)
class _Deliciousness:
    """−Σ (property − target)² − cost_weight × cost."""

    formulas: Mapping[str, Formula]
    columns: Mapping[str, str]
    cost: str

    def __call__(self, recipe: Recipe, customer: Customer, weights: Weights) -> Scalar:
        values: dict[str, Scalar] = {**recipe.amounts, **recipe.properties}
        targets = {
            **weights["targets"],
            **{name: formula.evaluate(values, FUNCTIONS) for name, formula in self.formulas.items()},
            **{name: customer.columns[column] for name, column in self.columns.items()},
        }
        misses = sum((recipe.properties[name] - target) ** 2 for name, target in targets.items())
        return jnp.asarray(-misses - weights["cost_weight"] * _cost(recipe, self.cost))


def _build_deliciousness(block: schema.DeliciousnessScore) -> BuiltScore:
    targets = block.targets
    columns = {name: target.column for name, target in targets.items() if isinstance(target, schema.Column)}
    score = _Deliciousness(
        formulas={name: parse(target) for name, target in targets.items() if isinstance(target, str)},
        columns=columns,
        cost=block.cost,
    )
    numbers = {name: target for name, target in targets.items() if isinstance(target, float)}
    weights = {"targets": numbers, "cost_weight": block.cost_weight}
    return BuiltScore(score, weights, tuple(dict.fromkeys(columns.values())))
