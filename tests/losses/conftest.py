"""Panels, models and parameters small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from flax import nnx
from numpy.typing import NDArray

from optim.config import schema
from optim.config.schema import Aggregate
from optim.data.panel import Panel
from optim.losses.objective import Parameters
from optim.models.build import Tasted, build_model
from optim.models.functional import Functional
from optim.models.likelihood import LikelihoodModel
from optim.models.space import RecipeSpace

INGREDIENTS = ("butter", "eggs", "flour", "sugar")
AGGREGATES: tuple[Aggregate, ...] = ("sum", "mean_responses", "mean_customers")
MOSTLY = [*(pytest.param(name, marks=pytest.mark.long) for name in AGGREGATES[:2]), "mean_customers"]
"""The aggregates, of which the one that says the most is tested by default."""
START = np.array([1.0, 3.0, 2.0, 1.5])


def swept(*axes: Sequence[Any], by_default: Collection[tuple[Any, ...]]) -> list[Any]:
    """Parameters of every combination; but for those that differ in what they run, they are marked as long."""
    assert set(by_default) <= set(product(*axes))
    return [pytest.param(*case, marks=() if case in by_default else pytest.mark.long) for case in product(*axes)]


def panel_of(
    lengths: Sequence[int], recipes: int = 6, ingredients: int = 3, seed: int = 0, held_out: float = 0.0
) -> Panel:
    """Customers with so many responses each, to recipes at random."""
    random = np.random.default_rng(seed)
    count = sum(lengths)
    return Panel(
        customers=tuple(f"c{k}" for k in range(len(lengths))),
        recipes=tuple(f"r{k}" for k in range(recipes)),
        ingredients=tuple("abcdefgh"[:ingredients]),
        amounts=random.normal(1.0, 1.0, (recipes, ingredients)),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        recipe=random.integers(0, recipes, count).astype(np.int32),
        like=random.random(count) < 0.6,
        held_out=random.random(count) < held_out,
        properties={"crunch": random.normal(30.0, 4.0, recipes), "aroma": random.normal(0.0, 0.1, recipes)},
    )


def model_of(
    panel: Panel | None, ingredients: Sequence[str], groups: int = 1, **block: Any
) -> tuple[Functional[LikelihoodModel], Parameters]:
    """A model of a config's block, and its parameters."""
    tasted = None
    if panel is not None:
        tasted = Tasted(panel.amounts, dict(panel.properties), np.ones(len(panel.recipes)), groups)
    read = schema.Model.model_validate(block)
    model, parameters = Functional.split(build_model(read, tuple(ingredients), tasted, lambda _: nnx.Rngs(0)))
    return model, {"model": parameters}


def space_of(prices: Sequence[float] = (0.0, 0.0, 0.0, 0.0)) -> RecipeSpace:
    """A wide space of the four ingredients of a cake."""
    return RecipeSpace(INGREDIENTS, ("",) * 4, np.zeros(4), np.full(4, 5.0), np.asarray(prices, float), None)


def log_likelihood(utility: NDArray[np.float64], like: NDArray[np.bool_]) -> NDArray[np.float64]:
    """log σ(±u) of each response, in double precision."""
    return -np.logaddexp(0.0, np.where(like, -utility, utility))
