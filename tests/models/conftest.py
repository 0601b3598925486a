"""Tasted recipes, and the model of a block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flax import nnx

from optim.config import schema
from optim.models.build import Tasted, build_model
from optim.models.likelihood import LikelihoodModel

INGREDIENTS = ("butter", "eggs", "flour", "sugar")

Build = Callable[..., LikelihoodModel]


@pytest.fixture
def tasted() -> Tasted:
    """Twelve recipes with two measured properties, tasted unequally often by customers of three groups."""
    random = np.random.default_rng(7)
    amounts = random.uniform([0.5, 1.0, 1.0, 0.5], [2.0, 5.0, 3.0, 2.5], (12, 4))
    properties = {"crunch": random.normal(40.0, 5.0, 12), "aroma": random.normal(0.0, 0.01, 12)}
    return Tasted(amounts, properties, np.arange(1.0, 13.0), 3)


@pytest.fixture
def build(tasted: Tasted) -> Build:
    """The model of a config block, given as YAML would."""

    def model(recipes: Tasted | None = tasted, fixed: tuple[str, ...] = (), **block: Any) -> LikelihoodModel:
        block = {"utility": {"kind": "linear"}} | block
        return build_model(schema.Model.model_validate(block), INGREDIENTS, recipes, lambda _: nnx.Rngs(0), fixed)

    return model
