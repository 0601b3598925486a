"""Features: the columns a utility sees, computed from a recipe's amounts and properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float


def fractions(amounts: Float[Array, " n"]) -> Float[Array, " n"]:
    """Each amount as a fraction of the recipe's own total; all 0 for an empty recipe, whose quotients would be NaN."""
    total = jnp.sum(amounts)
    return amounts / jnp.where(total == 0, 1.0, total)


@dataclass(frozen=True)
class FeatureMap:
    """Which ingredients and properties are features, in the written order of the config.

    Args:
        ingredients: names of the ingredients.
        properties: names that the property model gives; empty without one.
        chosen: entries of `model.utility.features`: `amounts`, `fractions`, `properties` or a property's name.
    """

    ingredients: tuple[str, ...]
    properties: tuple[str, ...]
    chosen: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """One name a feature: the ingredient's or the property's."""
        return tuple(name for choice in self.chosen for name in self._names_of(choice))

    @property
    def reads_properties(self) -> bool:
        """Whether any feature is a property, and not an ingredient's amount or fraction."""
        return not set(self.names) <= set(self.ingredients)

    @property
    def are_fractions(self) -> tuple[bool, ...]:
        """Which features are fractions of the recipe's total."""
        return tuple(choice == "fractions" for choice in self.chosen for _ in self._names_of(choice))

    def _names_of(self, choice: str) -> Sequence[str]:
        if choice in ("amounts", "fractions"):
            return self.ingredients
        return self.properties if choice == "properties" else (choice,)

    def __call__(self, amounts: Float[Array, " n"], properties: Float[Array, " p"]) -> Float[Array, " k"]:
        """Features of one recipe, unscaled: amounts in the user's units, fractions of the recipe's own total."""
        parts = []
        for choice in self.chosen:
            if choice == "amounts":
                parts.append(amounts)
            elif choice == "fractions":
                parts.append(fractions(amounts))
            elif choice == "properties":
                parts.append(properties)
            else:
                parts.append(properties[self.properties.index(choice)][None])
        return jnp.concatenate(parts)
