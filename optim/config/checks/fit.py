"""Fit stages."""

from __future__ import annotations

from collections.abc import Iterator

from optim.config.checks.effects import is_given
from optim.config.checks.names import reads_properties, reads_settings
from optim.config.schema import (
    Bakery,
    Config,
    Evaluate,
    Firth,
    Fit,
    LikelihoodLoss,
    LinearUtility,
    PropertyLoss,
    QuadraticUtility,
    Stage,
)
from optim.config.source import Finding, KeyPath


def panel(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A fit has data that can hold what its loss needs."""
    if not isinstance(stage, Fit):
        return
    if config.data is None:
        yield path, "has nothing to fit to: add `data` with `recipes` and `ratings`, or with `simulate`"
    elif isinstance(stage.loss, PropertyLoss) and config.data.simulate is not None:
        yield (
            (*path, "loss"),
            "property_error needs measured properties, and simulated recipes have none: use `data.recipes`",
        )


def model(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A fit has the part of the model that its loss is about."""
    if not isinstance(stage, Fit):
        return
    if isinstance(stage.loss, PropertyLoss):
        if config.model.properties is None or isinstance(config.model.properties, Bakery):
            yield (
                (*path, "loss"),
                "property_error needs a property model with parameters: use `model.properties` of kind "
                "scheffe, mlp or own",
            )
        elif reads_settings(config):
            yield (
                (*path, "loss"),
                "property_error needs the settings of the tasted recipes, which are not known: fit a property model "
                "that reads none",
            )
    elif config.model.utility is None:
        yield path, "fits responses, which needs a utility: add `model.utility`"


def train(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """Every part to train has parameters, and the loss depends on it."""
    if not isinstance(stage, Fit) or stage.train is None:
        return
    if not stage.train:
        yield (*path, "train"), "is empty: name the parts to train, or remove it for the default"
    for index, part in enumerate(stage.train):
        reason = _untrainable(config, stage, part)
        if part in stage.train[:index]:
            reason = "is given twice: remove one"
        if reason:
            yield (*path, "train", index), f"`{part}` {reason}"


def _untrainable(config: Config, stage: Fit, part: str) -> str | None:
    if part == "link":
        return "is a logit and has no parameters: remove it"
    if part == "utility" and isinstance(stage.loss, PropertyLoss):
        return "plays no part in property_error: train `properties`"
    if part == "utility":
        # A utility that is missing altogether is a finding about the stage.
        return None
    if config.model.properties is None:
        return "cannot be trained as there is no property model: add `model.properties` or remove it"
    if isinstance(config.model.properties, Bakery):
        return "are the bakery's formulas and have no parameters: remove it"
    if reads_settings(config):
        return "read settings, which are not known of the tasted recipes: remove it"
    if not isinstance(stage.loss, PropertyLoss) and not reads_properties(config):
        return "play no part in the utility, which sees none of them: remove it, or add one to its `features`"
    return None


def evaluation(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """What is said of evaluations has a held-out loss to go by."""
    if not isinstance(stage, Fit):
        return
    given, place = stage.evaluate, (*path, "evaluate")
    asked = [name for name in Evaluate.model_fields if is_given(given, name)]
    if isinstance(stage.loss, PropertyLoss):
        reason = "is about the held-out loss, which a fit of properties has not: remove it"
        yield from (((*place, name), reason) for name in asked)
    elif config.data is not None and config.data.evaluation is None:
        reason = "needs responses held out of the fit: add `data: {evaluation: {share: 0.2}}`, or remove it"
        yield from (((*place, name), reason) for name in asked)
    elif "min_improvement" in asked and given.patience is None:
        yield (
            (*place, "min_improvement"),
            "says when `patience` runs out, and there is none: add `patience`, or remove it",
        )


def penalty(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A penalty is on what the stage trains; Firth's is of one design, and of all responses together."""
    if not isinstance(stage, Fit) or not isinstance(stage.loss, LikelihoodLoss) or stage.loss.penalty is None:
        return
    place = (*path, "loss", "penalty")
    if stage.train is not None and "utility" not in stage.train:
        yield place, "is on the weights of the utility, which this stage does not train: remove it, or train `utility`"
    elif isinstance(stage.loss.penalty, Firth):
        yield from ((place, f"{reason}, or use `kind: ridge`") for reason in _unfit_for_firth(config, stage))


def _unfit_for_firth(config: Config, stage: Fit) -> Iterator[str]:
    utility = config.model.utility
    if utility is not None and not isinstance(utility, LinearUtility | QuadraticUtility):
        yield (
            f"firth needs a utility that is linear in its parameters, and one of kind {utility.kind} is not: use "
            "`model.utility` of kind linear or quadratic"
        )
    if stage.train is not None and "properties" in stage.train:
        yield (
            "firth needs features that stay as they are, and this stage trains the properties behind them: train "
            "`utility` alone"
        )
    if stage.batch != "all":
        yield "firth needs the Fisher information of all responses, which minibatches do not have: use `batch: all`"


CHECKS = (panel, model, train, penalty, evaluation)
