"""The likelihood model."""

from __future__ import annotations

from collections.abc import Iterator

from optim.config.checks.names import AMOUNTS, NEEDED_INGREDIENTS, SIMULATED_COLUMN, properties, reads_settings
from optim.config.naming import choices, did_you_mean, nearest, unknown
from optim.config.schema import Bakery, Config, LinearUtility, QuadraticUtility, Sourdough
from optim.config.source import Finding


def formulas(config: Config) -> Iterator[Finding]:
    """Property models by formula find their ingredients."""
    model = config.model.properties
    if not isinstance(model, Bakery | Sourdough):
        return
    needed = NEEDED_INGREDIENTS[type(model)]
    for name in needed:
        if name not in config.ingredients:
            near = nearest(name, [own for own in config.ingredients if own not in needed])
            remedy = f"rename `{near}`" if near else "add it to `ingredients`"
            yield ("model", "properties", "kind"), f"`{model.kind}` needs the ingredient `{name}`: {remedy}"


def property_names(config: Config) -> Iterator[Finding]:
    """Properties and ingredients have names of their own, so that formulas can use both."""
    names = properties(config) or []
    for index, name in enumerate(names):
        path = ("model", "properties", "columns", index)
        if name in names[:index]:
            yield path, f"`{name}` is given twice: remove one"
        elif name in config.ingredients:
            yield path, f"`{name}` is also an ingredient: rename one of them"


def features(config: Config) -> Iterator[Finding]:
    """Every feature exists, once."""
    utility = config.model.utility
    if utility is None:
        return
    names = properties(config)
    for index, feature in enumerate(utility.features):
        path = ("model", "utility", "features", index)
        if feature in utility.features[:index]:
            yield path, f"`{feature}` is given twice: remove one"
        elif feature == "properties" and config.model.properties is None:
            yield path, "`properties` needs a property model: add `model.properties`"
        elif reads_settings(config) and feature not in AMOUNTS:
            message = "depends on settings, which are not known of the recipes that were tasted: use `amounts`"
            yield path, f"`{feature}` {message} or `fractions`"
        elif names is not None and feature not in (*AMOUNTS, "properties", *names):
            yield path, _no_feature(feature, names)
        elif names and feature in names and "properties" in utility.features:
            yield path, f"`{feature}` is already among `properties`: remove one of them"
    if set(AMOUNTS) <= set(utility.features):
        message = "`amounts` and `fractions` exclude each other: the one is the other times the total; keep one"
        yield ("model", "utility", "features"), message


def _no_feature(feature: str, names: list[str]) -> str:
    if names:
        return unknown("feature", feature, (*AMOUNTS, "properties", *names))
    near = did_you_mean(feature, (*AMOUNTS, "properties"))
    hint = near or f": expected {choices(AMOUNTS)}; a property by its name needs a property model, `model.properties`"
    return f"unknown feature `{feature}`{hint}"


def intercept(config: Config) -> Iterator[Finding]:
    """A constant can be told from the features."""
    utility = config.model.utility
    if isinstance(utility, LinearUtility | QuadraticUtility) and utility.intercept and "fractions" in utility.features:
        yield (
            ("model", "utility", "intercept"),
            "cannot be told from `fractions`: they sum to 1, so a constant is already in their weights; "
            "remove `intercept: true`",
        )


def groups(config: Config) -> Iterator[Finding]:
    """The column that groups the customers can exist."""
    utility = config.model.utility
    if utility is None or utility.groups is None:
        return
    problem = missing_column(config, utility.groups)
    if problem:
        yield ("model", "utility", "groups"), problem


def missing_column(config: Config, column: str) -> str | None:
    """Why the customers cannot have a column, if they cannot; a table that is there is looked at later."""
    data = config.data
    if data is not None and data.customers is not None:
        return None
    if data is None or data.simulate is None:
        return f"the column `{column}` needs a table of the customers: give `data.customers`"
    if column != SIMULATED_COLUMN:
        return f"simulated customers have no column `{column}`, only `{SIMULATED_COLUMN}`: use that"
    return None


CHECKS = (formulas, property_names, features, intercept, groups)
