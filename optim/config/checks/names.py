"""Names that a config defines, as its checks need them."""

from __future__ import annotations

from optim.config.schema import Bakery, Config, Fit, OwnProperties, PropertyLoss

BAKERY_INGREDIENTS = ("butter", "eggs", "flour", "sugar")
BAKERY_PROPERTIES = ("sweetness", "fluffiness", "cost")
SIMULATED_COLUMN = "segment"
"""The one column of the table of simulated customers; it holds names."""


def free(config: Config) -> list[str]:
    """The ingredients that are trained."""
    return [name for name, ingredient in config.ingredients.items() if ingredient.fixed is None]


def properties(config: Config) -> list[str] | None:
    """The properties of the property model, none without one; None where only the user's own code knows them."""
    model = config.model.properties
    if model is None:
        return []
    if isinstance(model, OwnProperties):
        return None
    return list(BAKERY_PROPERTIES) if isinstance(model, Bakery) else list(model.columns)


def trained_parts(stage: Fit) -> tuple[str, ...]:
    """The parts of the model that a fit stage trains."""
    if stage.train is not None:
        return tuple(stage.train)
    return ("properties",) if isinstance(stage.loss, PropertyLoss) else ("utility", "link")


def fits_before(config: Config, name: str) -> list[Fit]:
    """The fit stages that run before a stage."""
    stages = list(config.stages)
    before = [config.stages[other] for other in stages[: stages.index(name)]]
    return [stage for stage in before if stage.kind == "fit"]
