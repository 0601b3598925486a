"""Bake stages: scores, targets and starts."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from optim.config.checks.model import missing_column
from optim.config.checks.names import (
    SIMULATED_COLUMN,
    fitted_before,
    free,
    needs_fit,
    properties,
    reads_properties,
    real_settings,
)
from optim.config.checks.settings import value
from optim.config.formulas import parse
from optim.config.naming import choices, unknown
from optim.config.schema import (
    Bake,
    Column,
    Config,
    DeliciousnessScore,
    HeldTarget,
    Ingredient,
    LikingScore,
    OwnScore,
    Stage,
)
from optim.config.source import Finding, KeyPath


def liking(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """Somebody has learnt what is liked before it is baked for."""
    if not isinstance(stage, Bake) or not isinstance(stage.score, LikingScore):
        return
    if config.model.utility is None:
        yield (*path, "score"), "liking needs a utility: add `model.utility`"
    elif "utility" not in fitted_before(config, path[-1]):
        yield (
            (*path, "score"),
            "liking needs a utility that was fitted: put a fit stage that trains it before this one",
        )


def fitted_properties(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A property model that learns has learnt before it is baked with."""
    if not isinstance(stage, Bake) or not needs_fit(config) or not _uses_properties(config, stage):
        return
    if "properties" not in fitted_before(config, path[-1]):
        yield (
            (*path, "score"),
            "uses properties that nothing has fitted: put a fit stage with `loss: {kind: property_error}` before it",
        )


def _uses_properties(config: Config, stage: Bake) -> bool:
    score = stage.score
    if not isinstance(score, LikingScore):  # what a score of the user's own uses is known once it is called
        return isinstance(score, DeliciousnessScore)
    return reads_properties(config) or (score.cost == "property" and score.cost_weight > 0)


def targets(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """Targets name properties, and can be computed."""
    yield from targets_of(config, path, stage, properties(config))


def targets_of(config: Config, path: KeyPath, stage: Stage, names: Collection[str] | None) -> Iterator[Finding]:
    """The same for a model with these properties; None where they are not known yet."""
    if not isinstance(stage, Bake) or not isinstance(stage.score, DeliciousnessScore):
        return
    if config.model.properties is None:
        yield (*path, "score"), "deliciousness is about properties: add `model.properties`, such as `kind: bakery`"
        return
    for name, target in stage.score.targets.items():
        at = (*path, "score", "targets", name)
        if names is not None and name not in names:
            yield at, unknown("property", name, names)
        if isinstance(target, str):
            yield from _formula(config, at, target, names)
        elif isinstance(target, HeldTarget):
            yield from _formula(config, (*at, "formula"), target.formula, names)
        elif isinstance(target, Column):
            yield from _column(config, (*at, "column"), target.column)


def _formula(config: Config, path: KeyPath, text: str, names: Collection[str] | None) -> Iterator[Finding]:
    try:
        formula = parse(text)
    except ValueError as error:
        yield path, str(error)
        return
    if names is None:
        return
    known = (*config.ingredients, *names, *real_settings(config))
    for name in formula.names:
        if name in config.settings and name not in known:
            yield path, f"`{name}` is complex, and formulas are of real numbers: use a property that depends on it"
        elif name not in known:
            yield path, f"{unknown('name', name, known)} (in the formula `{text}`)"


def _column(config: Config, path: KeyPath, column: str) -> Iterator[Finding]:
    problem = missing_column(config, column)
    if problem is None and config.data is not None and config.data.simulate is not None:
        problem = f"`{SIMULATED_COLUMN}` holds names, and a target is a number: give a number or a formula"
    elif problem is not None and config.data is not None and config.data.simulate is not None:
        problem = f"simulated customers have no column `{column}`: give a number or a formula, or use tables"
    if problem:
        yield path, problem


def own_columns(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """The columns that the user's own score reads can exist."""
    if isinstance(stage, Bake) and isinstance(stage.score, OwnScore):
        for index, column in enumerate(stage.score.columns):
            if column in stage.score.columns[:index]:
                yield (*path, "score", "columns", index), f"`{column}` is given twice: remove one"
            else:
                yield from _column(config, (*path, "score", "columns", index), column)


def cost(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A cost that is a property is one of the model's."""
    yield from cost_of(config, path, stage, properties(config))


def cost_of(config: Config, path: KeyPath, stage: Stage, names: Collection[str] | None) -> Iterator[Finding]:
    """The same for a model with these properties; None where they are not known yet."""
    if not isinstance(stage, Bake) or isinstance(stage.score, OwnScore):
        return
    score = stage.score
    if config.model.properties is None and isinstance(score, DeliciousnessScore):
        return  # The targets have said that there is no property model.
    if score.cost == "property" and score.cost_weight > 0 and names is not None and "cost" not in names:
        yield (*path, "score", "cost"), "there is no property `cost`: use `cost: prices`, or a model that has one"


def starts(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """Initial recipes name the ingredients that are trained, inside their bounds."""
    if not isinstance(stage, Bake) or not isinstance(stage.starts, list):
        return
    if not stage.starts:
        yield (*path, "starts"), "is empty: give at least one recipe, or how many to draw"
    for index, start in enumerate(stage.starts):
        yield from _start(config, (*path, "starts", index), start)


def previous(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """Recipes to go on from come from a bake before."""
    if not isinstance(stage, Bake) or stage.starts != "previous":
        return
    names = list(config.stages)
    before = [config.stages[name] for name in names[: names.index(path[-1])]]
    if not any(other.kind == "bake" for other in before):
        message = "`previous` needs a bake stage before this one: give a number of starts or the recipes themselves"
        yield (*path, "starts"), message


def _start(config: Config, path: KeyPath, start: dict[str, float | tuple[float, float]]) -> Iterator[Finding]:
    expected = free(config)
    missing = [name for name in expected if name not in start]
    both = lambda joined: f"ingredient {joined} setting" if config.settings else "ingredient"
    if missing:
        yield path, f"lacks {choices(missing, 'and')}: give every {both('and')} that is not fixed"
    for name, amount in start.items():
        if name not in config.ingredients and name not in config.settings:
            yield (*path, name), unknown(both("or"), name, expected)
        elif name not in expected:
            held = config.ingredients[name].fixed if name in config.ingredients else config.settings[name].fixed
            yield (
                (*path, name),
                f"`{name}` is fixed at {list(held) if isinstance(held, tuple) else held}: remove it here",
            )
        elif name in config.settings:
            yield from value((*path, name), config.settings[name], amount)
        else:
            yield from _amount((*path, name), config.ingredients[name], amount)


def _amount(path: KeyPath, ingredient: Ingredient, amount: float | tuple[float, float]) -> Iterator[Finding]:
    if isinstance(amount, tuple):
        yield path, "expected a number, got two: amounts are real"
    elif ingredient.max is not None and not ingredient.min <= amount <= ingredient.max:
        yield path, f"{amount:g} is outside its bounds, {ingredient.min:g} to {ingredient.max:g}: move it inside"


CHECKS = (liking, fitted_properties, targets, own_columns, cost, starts, previous)
