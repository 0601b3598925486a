"""Names that a config defines, as its checks need them."""

from __future__ import annotations

from optim.config.schema import (
    Bakery,
    Config,
    Fit,
    OwnProperties,
    PropertyLoss,
    PropertyNetwork,
    Scheffe,
    Sourdough,
    settings_read,
)

NEEDED_INGREDIENTS = {
    Bakery: ("butter", "eggs", "flour", "sugar"),
    Sourdough: ("flour", "sugar", "yeast"),
}
"""The ingredients of the formulas."""
GIVEN_PROPERTIES = {
    Bakery: ("sweetness", "fluffiness", "cost"),
    Sourdough: ("activity", "maturity", "acidity", "smoothness"),
}
"""The properties that the formulas give."""
SIMULATED_COLUMN = "segment"
"""The one column of the table of simulated customers; it holds names."""


AMOUNTS = ("amounts", "fractions")
"""The features that are no properties."""


def free_ingredients(config: Config) -> list[str]:
    """The ingredients that are trained."""
    return [name for name, ingredient in config.ingredients.items() if ingredient.fixed is None]


def free(config: Config) -> list[str]:
    """The ingredients and settings that are trained."""
    return free_ingredients(config) + [name for name, setting in config.settings.items() if setting.fixed is None]


def real_settings(config: Config) -> list[str]:
    """The settings that a formula can compute with."""
    return [name for name, setting in config.settings.items() if not setting.complex]


def reads_settings(config: Config) -> bool:
    """Whether the properties of a recipe depend on settings."""
    return bool(settings_read(config.model.properties))


def properties(config: Config) -> list[str] | None:
    """The properties of the property model, none without one; None where only the user's own code knows them."""
    model = config.model.properties
    if model is None:
        return []
    if isinstance(model, OwnProperties):
        return None
    if isinstance(model, Bakery | Sourdough):
        return list(GIVEN_PROPERTIES[type(model)])
    return list(model.columns)


def needs_fit(config: Config) -> bool:
    """Whether the properties are nothing before a stage has fitted them."""
    return isinstance(config.model.properties, Scheffe | PropertyNetwork)


def reads_properties(config: Config) -> bool:
    """Whether the utility sees properties."""
    utility = config.model.utility
    return utility is not None and not set(utility.features) <= set(AMOUNTS)


def trained_parts(stage: Fit) -> tuple[str, ...]:
    """The parts of the model that a fit stage trains."""
    if stage.train is not None:
        return tuple(stage.train)
    return ("properties",) if isinstance(stage.loss, PropertyLoss) else ("utility", "link")


def fitted_before(config: Config, name: str) -> set[str]:
    """The parts of the model that some stage before one has trained."""
    stages = list(config.stages)
    before = [config.stages[other] for other in stages[: stages.index(name)]]
    return {part for stage in before if stage.kind == "fit" for part in trained_parts(stage)}
