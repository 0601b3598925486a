"""The order of the stages: what a stage rests on is there before it, and stays as it was."""

from __future__ import annotations

from collections.abc import Iterator

from optim.config.checks.names import fitted_before, needs_fit, reads_properties, trained_parts
from optim.config.naming import choices
from optim.config.schema import Bake, Config, Fit, PropertyLoss, Stage
from optim.config.source import Finding, KeyPath


def fits_first(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """Nothing is fitted once a cake is baked: it would be reported under a model that it was not baked for."""
    names = list(config.stages)
    bakes = [name for name in names[: names.index(str(path[-1]))] if isinstance(config.stages[name], Bake)]
    if isinstance(stage, Fit) and bakes:
        yield (
            path,
            f"comes after `{bakes[0]}`, which was baked for the model before; no fit depends on a bake: put it before "
            "that stage",
        )


def unfitted_features(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """Properties that the likelihood is made of have been fitted before, or are trained along with it."""
    if not _fits_on_properties(config, str(path[-1])) or not needs_fit(config) or _moved_later(config, str(path[-1])):
        return
    if "properties" not in _fitted_with(config, str(path[-1])):
        yield (
            path,
            "fits the utility on properties that nothing has fitted: put a fit stage with `loss: {kind: "
            "property_error}` before it",
        )


def stale_features(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """The properties that a utility was fitted on are those that it ends up with."""
    later = _moved_later(config, str(path[-1]))
    if not _fits_on_properties(config, str(path[-1])) or not later:
        return
    moving = f"{choices(later, 'and')} fit{'' if len(later) > 1 else 's'}"
    yield (
        path,
        f"fits the utility on properties that {moving} afterwards, and it would be reported under others than it was "
        "fitted on: put it after them, or train the utility there as well",
    )


def unfitted_utility(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """Properties are fitted to responses through a utility that says what they have to do with each other."""
    if not isinstance(stage, Fit) or isinstance(stage.loss, PropertyLoss) or "properties" not in trained_parts(stage):
        return
    if "utility" not in _fitted_with(config, str(path[-1])):
        yield (
            (*path, "train"),
            "fits properties to responses through a utility that nothing has fitted: train `utility` as well, or put "
            "a fit stage that trains it before this one",
        )


def _fits_on_properties(config: Config, name: str) -> bool:
    """Whether a stage trains a utility that sees properties."""
    return "utility" in _trains(config, name) and reads_properties(config)


def _moved_later(config: Config, name: str) -> list[str]:
    """The stages that train the properties after a stage, where none from there on trains the utility again."""
    names = list(config.stages)
    later = names[names.index(name) + 1 :]
    if any("utility" in _trains(config, other) for other in later):
        return []  # which has its own say about what comes after it
    return [other for other in later if "properties" in _trains(config, other)]


def _fitted_with(config: Config, name: str) -> set[str]:
    """The parts of the model that have been fitted by the end of a stage."""
    return fitted_before(config, name) | set(_trains(config, name))


def _trains(config: Config, name: str) -> tuple[str, ...]:
    """The parts of the model that a stage trains."""
    stage = config.stages[name]
    return trained_parts(stage) if isinstance(stage, Fit) else ()


CHECKS = (fits_first, unfitted_features, stale_features, unfitted_utility)
