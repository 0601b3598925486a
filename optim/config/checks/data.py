"""The panel: tables or simulated customers."""

from __future__ import annotations

from collections.abc import Iterator

from optim.config.checks.names import free_ingredients
from optim.config.naming import choices, unknown
from optim.config.schema import Config
from optim.config.source import Finding

_COMMAND = "`optim train CONFIG data.recipes=PATH data.ratings=PATH`"

MOST_RESPONSES = 2**31 - 1
"""Most responses that a study has room for."""


def source(config: Config) -> Iterator[Finding]:
    """The customers come from tables or are simulated, not both and not neither."""
    data = config.data
    if data is None:
        return
    tables = {"recipes": data.recipes, "ratings": data.ratings, "customers": data.customers}
    given = [name for name, table in tables.items() if table is not None]
    if data.simulate is not None:
        if given:
            message = f"stands beside {choices(given, 'and')}: keep either simulated customers or tables"
            yield ("data", "simulate"), message
        return
    for name in ("recipes", "ratings"):
        if tables[name] is None:
            yield (
                ("data", name),
                f"is missing: give the tables here or on the command line, {_COMMAND} (or use `data.simulate`)",
            )


def like(config: Config) -> Iterator[Finding]:
    """Ratings are turned into likes by a threshold inside their scale; simulated customers have no ratings."""
    data = config.data
    if data is None:
        return
    if data.simulate is not None:
        if data.like is not None:
            yield ("data", "like"), "is for tables of ratings, and simulated customers have none: remove it"
        return
    if data.like is None:
        yield ("data", "like"), "is missing: say which rating is a like, as in `like: {column: liking, at_least: 6}`"
        return
    if data.like.scale is None:
        return
    low, high = data.like.scale
    if low >= high:
        yield ("data", "like", "scale"), f"expected the lowest rating and then the highest, got [{low:g}, {high:g}]"
    elif not low <= data.like.at_least <= high:
        message = f"{data.like.at_least:g} is outside the scale, {low:g} to {high:g}: mend one of them"
        yield ("data", "like", "at_least"), message


def tastings(config: Config) -> Iterator[Finding]:
    """There are as many recipes as one customer tastes."""
    simulate = config.data and config.data.simulate
    if simulate and simulate.tastings > simulate.recipes:
        message = (
            f"{simulate.tastings} different recipes cannot be tasted where there are {simulate.recipes}: "
            "raise `recipes` or lower `tastings`"
        )
        yield ("data", "simulate", "tastings"), message


def responses(config: Config) -> Iterator[Finding]:
    """Responses are counted in 32 bits with a sign."""
    simulate = config.data and config.data.simulate
    if simulate and simulate.customers * simulate.tastings > MOST_RESPONSES:
        message = (
            f"{simulate.customers:,} customers with {simulate.tastings} tastings each give more than the "
            f"{MOST_RESPONSES:,} responses that there is room for: lower one of them"
        )
        yield ("data", "simulate", "customers"), message


def ideals(config: Config) -> Iterator[Finding]:
    """Every segment says which amount of every free ingredient it likes best."""
    simulate = config.data and config.data.simulate
    if not simulate:
        return
    expected = free_ingredients(config)
    for name, segment in simulate.segments.items():
        path = ("data", "simulate", "segments", name, "ideal")
        for ingredient in segment.ideal:
            if ingredient in config.ingredients and ingredient not in expected:
                yield (*path, ingredient), f"`{ingredient}` is fixed, so no segment can wish for it: remove it here"
            elif ingredient not in expected:
                yield (*path, ingredient), unknown("ingredient", ingredient, expected)
        missing = [ingredient for ingredient in expected if ingredient not in segment.ideal]
        if missing:
            yield path, f"lacks {choices(missing, 'and')}: give the best amount of each ingredient"


def ranges(config: Config) -> Iterator[Finding]:
    """Simulated tastes are measured in shares of each ingredient's range, which must not be empty."""
    if not (config.data and config.data.simulate):
        return
    for name in free_ingredients(config):
        ingredient = config.ingredients[name]
        if ingredient.min == ingredient.max:
            message = f"min and max are both {ingredient.min:g}, which leaves no range to taste: use `fixed` instead"
            yield ("ingredients", name, "max"), message


def evaluation(config: Config) -> Iterator[Finding]:
    """Simulated customers give enough to hold some of it out and keep the rest."""
    data = config.data
    if data is None or data.simulate is None or data.evaluation is None:
        return
    simulate, by = data.simulate, data.evaluation.by
    there, remedy = {
        "response": (
            simulate.tastings,
            "everyone keeps the one recipe they taste: raise `tastings`, or use another `by`",
        ),
        "recipe": (simulate.recipes, "the fit needs the one recipe there is: raise `recipes`"),
        "customer": (simulate.customers, "the fit needs the one customer there is: raise `customers`"),
    }[by]
    if there == 1:
        yield ("data", "evaluation"), f"`by: {by}` finds nothing to hold out, as {remedy}"


CHECKS = (source, like, tastings, responses, ideals, ranges, evaluation)
