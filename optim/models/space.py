"""The space of recipes: the ingredients with their bounds, prices and total."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from optim.config.schema import Config, Ingredient


@dataclass(frozen=True)
class RecipeSpace:
    """All recipes that are allowed: lower ≤ amounts ≤ upper and, where a total is given, Σ amounts = total.

    A fixed ingredient has equal bounds.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    prices: Float[np.ndarray, " n"]
    total: float | None

    @property
    def ranges(self) -> Float[np.ndarray, " n"]:
        """Width of each ingredient's bounds; 1 for a fixed one, so that it can divide."""
        width = self.upper - self.lower
        return np.where(width > 0, width, 1.0)


def build_space(config: Config) -> RecipeSpace:
    """The recipe space of a config, in the written order of its ingredients."""

    def low(ingredient: Ingredient) -> float:
        return ingredient.min if ingredient.fixed is None else ingredient.fixed

    def high(ingredient: Ingredient) -> float:
        if ingredient.fixed is not None:
            return ingredient.fixed
        assert ingredient.max is not None  # the config's checks hold it
        return ingredient.max

    ingredients = list(config.ingredients.values())
    return RecipeSpace(
        names=tuple(config.ingredients),
        units=tuple(ingredient.unit for ingredient in ingredients),
        lower=np.array([low(ingredient) for ingredient in ingredients]),
        upper=np.array([high(ingredient) for ingredient in ingredients]),
        prices=np.array([ingredient.price for ingredient in ingredients]),
        total=config.total,
    )
