"""Squared error of a fitted property model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from optim.config.errors import UserError
from optim.config.naming import did_you_mean
from optim.config.schema import Aggregate
from optim.data.panel import Panel
from optim.losses.objective import Parameters
from optim.models.functional import Functional
from optim.models.likelihood import LikelihoodModel


class MeasuredRecipes(NamedTuple):
    """Recipes with their measured properties, and the properties' standard deviations over the recipes."""

    amounts: Float[Array, "*b n"]
    measured: Float[Array, "*b p"]
    counted: Bool[Array, "*b"]


class PropertyConstants(NamedTuple):
    """Arrays of a fit of properties."""

    frozen: Parameters
    buffers: Parameters
    recipes: MeasuredRecipes
    spread: Float[Array, " p"]


@dataclass(frozen=True, eq=False)
class PropertyObjective:
    """Mean over recipes of the squared errors, each property in units of its standard deviation. Low is good."""

    panel: Panel
    model: Functional[LikelihoodModel]
    columns: tuple[str, ...]
    aggregate: Aggregate = "mean_responses"
    names: None = None

    @property
    def units(self) -> int:
        return len(self._kept)

    @cached_property
    def _kept(self) -> Int[np.ndarray, " kept"]:
        """The recipes that are fitted: not those held out with all their responses, which are to be predicted."""
        panel = self.panel
        held_out = np.bincount(panel.recipe[panel.held_out], minlength=len(panel.recipes))
        kept = np.bincount(panel.recipe[~panel.held_out], minlength=len(panel.recipes))
        return np.flatnonzero((kept > 0) | (held_out == 0))

    @property
    def _measured(self) -> Float[np.ndarray, "kept p"]:
        known = self.panel.properties
        for name in self.columns:
            if name not in known:
                raise UserError(
                    f"the recipes' table has no column {name!r} to fit that property to{did_you_mean(name, known)}"
                )
        return np.stack([known[name][self._kept] for name in self.columns], axis=1)

    def constants(self, parameters: Parameters) -> PropertyConstants:
        frozen = {part: value for part, value in parameters["model"].items() if part != "properties"}
        spread = self._measured.std(axis=0)
        recipes = MeasuredRecipes(
            jnp.asarray(self.panel.amounts[self._kept]), jnp.asarray(self._measured), jnp.ones(self.units, bool)
        )
        scale = jnp.asarray(np.where(spread > 0, spread, 1.0))
        return PropertyConstants(frozen, self.model.buffers, recipes, scale)

    @property
    def width(self) -> int:
        return 1

    def everyone(self, constants: PropertyConstants) -> MeasuredRecipes:
        return constants.recipes

    def batch(
        self,
        constants: PropertyConstants,
        index: Int[Array, " b"],
        mask: Bool[Array, " b"],
    ) -> MeasuredRecipes:
        recipes = constants.recipes
        return MeasuredRecipes(recipes.amounts[index], recipes.measured[index], mask)

    def unit_loss(
        self,
        trained: Parameters,
        unit: MeasuredRecipes,
        constants: PropertyConstants,
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        model = self.model({**constants.frozen, **trained["model"]}, constants.buffers)
        error = jnp.sum(((model.properties_of(unit.amounts) - unit.measured) / constants.spread) ** 2)
        return jnp.where(unit.counted, error, 0.0), unit.counted.astype(error.dtype)
