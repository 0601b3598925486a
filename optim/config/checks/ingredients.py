"""Bounds, fixed amounts and the total."""

from __future__ import annotations

from collections.abc import Iterator

from optim.config.checks.names import free
from optim.config.schema import Bake, Config, Ingredient
from optim.config.source import Finding, KeyPath

_SLACK = 1e-9
"""Sums of decimal fractions are off by rounding; relative."""


def bounds(path: KeyPath, ingredient: Ingredient) -> Iterator[Finding]:
    """A free ingredient has bounds, and they are in order."""
    low, high, fixed = ingredient.min, ingredient.max, ingredient.fixed
    if high is None:
        if fixed is None:
            yield (*path, "max"), "is missing: a free ingredient needs a greatest amount (or hold it with `fixed`)"
    elif low > high:
        yield (*path, "min"), f"min {low:g} is above max {high:g}: lower min or raise max"
        return
    if fixed is not None and not (low <= fixed and (high is None or fixed <= high)):
        reach = f"min {low:g}" if high is None else f"min {low:g} to max {high:g}"
        yield (*path, "fixed"), f"{fixed:g} is outside {reach}: move it inside, or remove min and max"


def total(config: Config) -> Iterator[Finding]:
    """The total can be reached inside the bounds."""
    if config.total is None:
        return
    reach = [_reach(ingredient) for ingredient in config.ingredients.values()]
    if any(low > high for low, high in reach):
        return
    low, high = sum(low for low, _ in reach), sum(high for _, high in reach)
    slack = _SLACK * config.total
    if not low - slack <= config.total <= high + slack:
        span = f"from {low:g} (all at min) to {high:g} (all at max)" if low < high else f"{low:g}, all being fixed"
        yield ("total",), f"{config.total:g} is out of reach: the amounts sum to {span}; change the total or the bounds"


def _reach(ingredient: Ingredient) -> tuple[float, float]:
    if ingredient.fixed is not None:
        return ingredient.fixed, ingredient.fixed
    # Without a max the check of bounds has its say; here the ingredient could be anything.
    return ingredient.min, float("inf") if ingredient.max is None else ingredient.max


def something_to_bake(config: Config) -> Iterator[Finding]:
    """A bake stage has an ingredient or a setting to train."""
    if free(config):
        return
    for name, stage in config.stages.items():
        if isinstance(stage, Bake):
            yield (
                ("stages", name),
                "has nothing to train, as every ingredient is fixed: give one of them min and max instead of `fixed`",
            )


CHECKS = (total, something_to_bake)
INGREDIENT_CHECKS = (bounds,)
