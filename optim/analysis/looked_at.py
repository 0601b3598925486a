"""Properties of the best cake, beside those of the recipes at which its certificate has looked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Float

from optim.analysis.design import is_constant
from optim.analysis.single_precision import property_too_coarse
from optim.config.numbers import resolved
from optim.losses.cake import CakeConstants, CakeObjective
from optim.models.arrays import on_device
from optim.study.study import Study, cake_layout


@dataclass(frozen=True)
class LookedAt:
    """Properties of a cake and, where its score reads them, of other recipes.

    Attributes:
        names: of the properties.
        values: of the cake.
        others: of the cake and the other recipes, one a row.
        steepness: largest slope of each at the cake, per range; 0 where nobody had to look, as they do differ.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, " p"]
    others: Float[np.ndarray, "recipes p"]
    steepness: Float[np.ndarray, " p"]

    @property
    def shown(self) -> dict[str, str]:
        """As they are to be printed: with digits that resolve what they differ by between recipes."""
        columns = zip(self.names, self.values, self.others.T, strict=True)
        return {name: resolved(value, float(np.ptp(column))) for name, value, column in columns if math.isfinite(value)}

    def too_coarse(self) -> Iterator[str]:
        """Of which single precision keeps too little, in words."""
        for name, column, slope in zip(self.names, self.others.T, self.steepness, strict=True):
            text = property_too_coarse(name, column, float(slope))
            if text:
                yield text


def look_at(
    study: Study,
    objective: CakeObjective,
    constants: CakeConstants,
    vector: Float[np.ndarray, " d"],
    elsewhere: Float[np.ndarray, "recipes d"],
    *,
    reads_properties: bool,
) -> LookedAt | None:
    """The properties of a cake; None where the model has none.

    Args:
        study: the study.
        objective: of the bake.
        constants: the stage's.
        vector: the cake.
        elsewhere: other recipes. They are only made where the score has been read there too: a process may refuse them.
        reads_properties: whether the score asks for them by itself.
    """
    model = study.model(constants.model)
    if model.properties is None:
        return None
    layout = cake_layout(study.space)

    def properties(vector: Float[Array, " d"]) -> Float[Array, " p"]:
        return model.properties_of(*objective.cake(layout.unravel(vector))())

    is_read = reads_properties or model.feature_map.reads_properties
    points = np.concatenate([vector[None], elsewhere if is_read else elsewhere[:0]])
    values = np.asarray(jax.jit(jax.vmap(properties))(on_device(points)))
    steepness = np.zeros(values.shape[1])
    finite = np.where(np.isfinite(values), values, values[0])
    if is_read and any(is_constant(column) for column in np.asarray(finite, float).T):
        lower, upper = study.space.bounds
        slopes = np.asarray(jax.jit(jax.jacrev(properties))(on_device(vector)), float)
        steepness = np.abs(slopes * (upper - lower)).max(axis=1)
    return LookedAt(model.properties.names, values[0], np.asarray(finite, float), steepness)
