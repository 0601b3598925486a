"""Scores: how good a cake is for one customer. High is good.

A score is a pure function of a recipe and a customer, in the space of amounts, free of gradient limits and held
targets, so that it can be certified and analysed as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from optim.config import schema
from optim.config.errors import UserError
from optim.config.formulas import Formula, parse
from optim.config.naming import choices
from optim.models.cake import Settings
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
        settings: by name, real or complex.
    """

    amounts: Mapping[str, Scalar]
    properties: Mapping[str, Scalar]
    cost: Scalar
    liking: Scalar | None
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class RecipeForStrangers(Recipe):
    """A recipe for an audience some of whom were never asked what they like.

    Attributes:
        strangers: names of their groups.
    """

    strangers: tuple[str, ...] = ()

    def __getattribute__(self, name: str) -> Any:
        """The attribute; P(like) is not known.

        Raises:
            UserError: it is asked for.
        """
        if name == "liking":
            who = choices(self.strangers, "and")
            raise UserError(
                f"the score reads P(like), which is not known of {who}: nobody there was asked; leave those customers "
                "out of the table, or ask some of them"
            )
        return super().__getattribute__(name)


@dataclass(frozen=True)
class WatchedRecipe(Recipe):
    """A recipe that notes what is asked of it.

    Attributes:
        noted: gets the names of the attributes that are asked for.
    """

    noted: set[str] = field(default_factory=set)

    def __getattribute__(self, name: str) -> Any:
        """The attribute, noted."""
        if name != "noted":
            self.noted.add(name)
        return super().__getattribute__(name)


@dataclass(frozen=True)
class Customer:
    """What a score sees of a customer: the columns of the customers' table that the config names."""

    columns: Mapping[str, Scalar]


@dataclass(frozen=True)
class Asked:
    """What a score asks for.

    Attributes:
        recipe: of a recipe: names of its attributes (`liking`, `properties` …).
        columns: of a customer: columns of the customers' table.
    """

    recipe: frozenset[str]
    columns: frozenset[str]


Weights = Mapping[str, Any]
"""A score's own numbers, as traced arrays, so that they can be varied and differentiated."""

Score = Callable[[Recipe, Customer, Weights], Scalar]


@dataclass(frozen=True)
class BuiltScore:
    """A score with the numbers it starts from and the customer columns it reads.

    Attributes:
        function: the score.
        trained: the same value, with the gradient that a stage trains by: targets that are held do not move.
        weights: the numbers.
        columns: the columns.
    """

    function: Score
    trained: Score
    weights: Weights
    columns: tuple[str, ...]


def build_score(block: schema.Score) -> BuiltScore:
    """The score of a config block.

    Raises:
        UserError: a score of the user's own cannot be imported.
    """
    if isinstance(block, schema.LikingScore):
        liking = _Liking(block.cost)
        return BuiltScore(liking, liking, {"cost_weight": block.cost_weight}, ())
    if isinstance(block, schema.DeliciousnessScore):
        return _build_deliciousness(block)
    own = load_object(block.path)
    score: Score = lambda recipe, customer, weights: own(recipe, customer)
    return BuiltScore(score, score, {}, tuple(block.columns))


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
    held: Collection[str] = ()
    """Properties whose target's gradient is stopped: it follows the recipe, but does not pull on it."""

    def __call__(self, recipe: Recipe, customer: Customer, weights: Weights) -> Scalar:
        values: dict[str, Scalar] = {**recipe.amounts, **recipe.properties, **recipe.settings}
        computed = {name: jnp.asarray(formula.evaluate(values, FUNCTIONS)) for name, formula in self.formulas.items()}
        targets = {
            **weights["targets"],
            **{name: stop_gradient(target) if name in self.held else target for name, target in computed.items()},
            **{name: customer.columns[column] for name, column in self.columns.items()},
        }
        misses = sum((recipe.properties[name] - target) ** 2 for name, target in targets.items())
        return jnp.asarray(-misses - weights["cost_weight"] * _cost(recipe, self.cost))


def _build_deliciousness(block: schema.DeliciousnessScore) -> BuiltScore:
    targets = block.targets
    columns = {name: target.column for name, target in targets.items() if isinstance(target, schema.Column)}
    texts = {name: target for name, target in targets.items() if isinstance(target, str)}
    texts |= {name: target.formula for name, target in targets.items() if isinstance(target, schema.HeldTarget)}
    score = _Deliciousness({name: parse(text) for name, text in texts.items()}, columns, block.cost)
    numbers = {name: target for name, target in targets.items() if isinstance(target, float)}
    weights = {"targets": numbers, "cost_weight": block.cost_weight}
    trained = replace(score, held=schema.held_targets(block))
    return BuiltScore(score, trained, weights, tuple(dict.fromkeys(columns.values())))
