"""Designed recipes: spread evenly inside the ingredients' bounds, with an exact total where one is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from optim.config.schema import Config


@dataclass(frozen=True)
class Bounds:
    """Least and greatest amount of each ingredient, in its unit; equal for one that is fixed."""

    names: tuple[str, ...]
    low: Float64[np.ndarray, " ingredients"]
    high: Float64[np.ndarray, " ingredients"]

    @property
    def range(self) -> Float64[np.ndarray, " ingredients"]:
        """Width of the bounds."""
        return self.high - self.low

    @property
    def free(self) -> Bool[np.ndarray, " ingredients"]:
        """Which ingredients can vary."""
        return self.range > 0


def bounds_of(config: Config) -> Bounds:
    """The bounds of a config's ingredients."""
    low, high = zip(*(ingredient.bounds for ingredient in config.ingredients.values()), strict=True)
    return Bounds(tuple(config.ingredients), np.array(low, dtype=np.float64), np.array(high, dtype=np.float64))


def designed_recipes(
    bounds: Bounds, count: int, total: float | None, random: np.random.Generator
) -> Float64[np.ndarray, "{count} ingredients"]:
    """Space-filling recipes: a Latin hypercube (McKay, Beckman and Conover, 1979), moved onto the total, if any.

    Each ingredient takes one amount from each of `count` equal parts of its range. (SciPy has such designs too, but
    importing them takes a second.)

    Args:
        bounds: bounds of every ingredient; at least one is free.
        count: how many recipes.
        total: exact sum of the amounts of a recipe, within the reach of the bounds; None where it is free.
        random: the source of the design.
    """
    free = bounds.free
    parts = random.permuted(np.tile(np.arange(count), (int(free.sum()), 1)), axis=1).T
    unit = (parts + random.random(parts.shape)) / count
    amounts = np.tile(bounds.low, (count, 1))
    if total is not None:
        unit = onto_total(unit, bounds.range[free], total - float(bounds.low.sum()))
    amounts[:, free] = np.clip(bounds.low[free] + bounds.range[free] * unit, bounds.low[free], bounds.high[free])
    return amounts


def onto_total(
    unit: Float64[np.ndarray, "recipes free"], weights: Float64[np.ndarray, " free"], total: float
) -> Float64[np.ndarray, "recipes free"]:
    """The nearest points of the unit cube whose weighted sum is `total`.

    Distances are measured with every ingredient in units of its range: measured in amounts, a pinch of salt would
    have to take as many grams as the flour does and would end on its bound in nearly every recipe. The nearest point
    is `clip(unit + shift * weights, 0, 1)`; the shift is found by bisection, as the sum grows with it.

    Args:
        unit: points of the unit cube.
        weights: weight of each coordinate, positive.
        total: the sum to reach, between 0 and the sum of the weights.
    """

    def moved(shift: Float64[np.ndarray, "recipes 1"]) -> Float64[np.ndarray, "recipes free"]:
        return np.clip(unit + shift * weights, 0.0, 1.0)

    # A shift of one over the least weight takes every coordinate to its bound.
    high = np.full((len(unit), 1), 1 / weights.min())
    low = -high
    for _ in range(200):
        middle = (low + high) / 2
        short = moved(middle) @ weights[:, None] < total
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return moved(high)
