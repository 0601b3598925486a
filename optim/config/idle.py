"""Settings that change nothing in the study they stand in, and are no mistake for that: they are said, not refused."""

from __future__ import annotations

from collections.abc import Iterator

from optim.config.checks.effects import is_given
from optim.config.checks.names import reads_properties, trained_parts
from optim.config.schema import (
    Bake,
    Column,
    Config,
    DeliciousnessScore,
    Fit,
    NetworkUtility,
    OwnProperties,
    OwnScore,
    OwnUtility,
    PropertyLoss,
    PropertyNetwork,
    Stage,
)
from optim.config.source import Finding


def idle(config: Config) -> tuple[Finding, ...]:
    """What a valid config holds without effect: the path of each setting, and why it has none."""
    found = [_seed, _segments, _without_bake, _single_recipe, _properties, _utility, _data, _optimizers, _rollbacks]
    return tuple(finding for of_one in found for finding in of_one(config))


def _fits(config: Config) -> list[Fit]:
    return [stage for stage in config.stages.values() if isinstance(stage, Fit)]


def _bakes(config: Config) -> list[Bake]:
    return [stage for stage in config.stages.values() if isinstance(stage, Bake)]


def _seed(config: Config) -> Iterator[Finding]:
    model, data = config.model, config.data
    is_random = (
        data is not None and (data.simulate is not None or data.evaluation is not None),
        isinstance(model.properties, PropertyNetwork | OwnProperties),
        isinstance(model.utility, NetworkUtility | OwnUtility),
        any(stage.batch != "all" or _is_noisy(stage) for stage in config.stages.values()),
        any(isinstance(stage.starts, int) and stage.starts > 1 for stage in _bakes(config)),
    )
    if is_given(config, "seed") and not any(is_random):
        yield ("seed",), "nothing in this study is drawn at random, so that every seed gives the same answer"


def _is_noisy(stage: Stage) -> bool:
    return stage.optimizer.name == "noisy_sgd" and stage.optimizer.parameters()["eta"] > 0


def _segments(config: Config) -> Iterator[Finding]:
    simulate = config.data and config.data.simulate
    if simulate and len(simulate.segments) == 1:
        for name, segment in simulate.segments.items():
            if is_given(segment, "share"):
                path = ("data", "simulate", "segments", name, "share")
                yield path, "is a size relative to other segments, and there is no other: everyone belongs to this one"


def _without_bake(config: Config) -> Iterator[Finding]:
    """What describes cakes, where none is baked: simulated ones are designed by the total, and fractions are of it."""
    if _bakes(config):
        return
    for name, ingredient in config.ingredients.items():
        if is_given(ingredient, "price"):
            yield ("ingredients", name, "price"), "no stage bakes a cake that would cost anything"
    for name in config.settings:
        yield ("settings", name), "no stage bakes a cake that would have it"
    utility, simulated = config.model.utility, config.data is not None and config.data.simulate is not None
    if config.total is not None and not simulated and (utility is None or "fractions" not in utility.features):
        yield ("total",), "no stage bakes a cake that would have it"


_SLACK = 1e-9
"""Sums of decimal fractions are off by rounding; relative."""


def _single_recipe(config: Config) -> Iterator[Finding]:
    """Bakes for which bounds and total leave nothing to choose."""
    if any(setting.fixed is None and setting.min != setting.max for setting in config.settings.values()):
        return
    bounds = [ingredient.bounds for ingredient in config.ingredients.values()]
    free = sum(low < high for low, high in bounds)
    ends = (sum(low for low, _ in bounds), sum(high for _, high in bounds))
    total = config.total
    if free == 0 or (total is not None and (free == 1 or any(abs(end - total) <= _SLACK * total for end in ends))):
        for name, stage in config.stages.items():
            if isinstance(stage, Bake):
                yield ("stages", name), "the bounds and the total leave a single recipe, and nothing to train"


def _properties(config: Config) -> Iterator[Finding]:
    if config.model.properties is None or reads_properties(config) or _bakes(config):
        return
    if not any(isinstance(stage.loss, PropertyLoss) for stage in _fits(config)):
        yield ("model", "properties"), "nothing reads the properties: no feature, no fit and no bake"


def _utility(config: Config) -> Iterator[Finding]:
    if config.model.utility is not None and not any("utility" in trained_parts(stage) for stage in _fits(config)):
        yield ("model", "utility"), "no stage fits it, so that nothing is known of what is liked"


def _data(config: Config) -> Iterator[Finding]:
    if config.data is None or _fits(config):
        return
    if not any(_reads_customers(stage) for stage in _bakes(config)):
        yield ("data",), "no stage is fitted to it, and no score reads a column of the customers"
    elif config.data.evaluation is not None:
        yield ("data", "evaluation"), "no stage is fitted, so that there is nothing to hold responses out of"


def _reads_customers(bake: Bake) -> bool:
    """Whether a score has a column of the customers."""
    if isinstance(bake.score, DeliciousnessScore):
        return any(isinstance(target, Column) for target in bake.score.targets.values())
    return isinstance(bake.score, OwnScore) and bool(bake.score.columns)


def _optimizers(config: Config) -> Iterator[Finding]:
    """Numbers that are 0 and stand for nothing."""
    for name, stage in config.stages.items():
        place, given = ("stages", name, "optimizer"), stage.optimizer.parameters()
        if given.get("momentum") == 0:
            yield (*place, "momentum"), "0 is none, as without it"
        if stage.optimizer.name == "noisy_sgd" and not _is_noisy(stage):
            yield (*place, "key"), "`eta` is 0, so that there is no noise to draw; sgd does the same"


def _rollbacks(config: Config) -> Iterator[Finding]:
    if is_given(config, "max_rollbacks") and all(stage.batch == "all" for stage in config.stages.values()):
        yield (
            ("max_rollbacks",),
            "every step sees all the data (`batch: all`), so that there is no window to leave out and nothing to go "
            "back for",
        )
