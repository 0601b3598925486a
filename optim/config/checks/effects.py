"""Settings that would change nothing where they stand are refused.

A value that is the default is none: the resolved config of a run holds all the defaults, and stays valid. What may well
change nothing, and is no mistake for that, is said instead (`optim.config.idle`).
"""

from __future__ import annotations

from collections.abc import Iterator

from optim.config.block import Block
from optim.config.checks.names import free
from optim.config.formulas import parse
from optim.config.schema import Bake, Config, DeliciousnessScore, HeldTarget, OwnScore, Stage
from optim.config.source import Finding, KeyPath


def is_given(block: Block, name: str) -> bool:
    """Whether a field has another value than its default."""
    return bool(getattr(block, name) != type(block).model_fields[name].default)


def cost(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A cost has a weight, and a weight a cost."""
    if not isinstance(stage, Bake) or isinstance(stage.score, OwnScore):
        return
    score, place = stage.score, (*path, "score")
    if score.cost_weight == 0 and is_given(score, "cost"):
        yield (*place, "cost"), "has no effect, as `cost_weight` is 0: give it a weight, or remove it"
    unpriced = all(ingredient.price == 0 for ingredient in config.ingredients.values())
    if score.cost_weight > 0 and score.cost == "prices" and unpriced and is_given(score, "cost_weight"):
        yield (
            (*place, "cost_weight"),
            "has no effect, as no ingredient has a price: give `ingredients.NAME.price`, or remove it",
        )


def held(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A target that is held would move otherwise."""
    if not isinstance(stage, Bake) or not isinstance(stage.score, DeliciousnessScore):
        return
    still = {*config.ingredients, *config.settings} - set(free(config))
    for name, target in stage.score.targets.items():
        if isinstance(target, HeldTarget) and target.hold and set(_names(target.formula)) <= still:
            yield (
                (*path, "score", "targets", name, "hold"),
                "has no effect, as nothing in the formula moves while the recipe is trained: remove it",
            )


def _names(formula: str) -> Iterator[str]:
    """The names in a formula; of one that is wrong, which is a finding of its own, one that nothing has."""
    try:
        yield from parse(formula).names
    except ValueError:
        yield ""


def starts(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """Two starts from one recipe end at one, and their agreement would say nothing; unless noise drives them apart."""
    if not isinstance(stage, Bake) or not isinstance(stage.starts, list) or stage.optimizer.name == "noisy_sgd":
        return
    for index, start in enumerate(stage.starts):
        if start in stage.starts[:index]:
            first = stage.starts.index(start)
            yield (*path, "starts", index), f"is the recipe of starts.{first} again, and would end where it ends"


def signs(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """What scales a gradient, or bounds it by a positive number, leaves the signs as they are."""
    optimizer = stage.optimizer
    if optimizer.name not in ("sign_sgd", "rprop"):
        return
    reason = f"has no effect: {optimizer.name} follows the signs of the gradient, and they stay; remove it"
    if optimizer.clip_global_norm is not None:
        yield (*path, "optimizer", "clip_global_norm"), reason
    for name, limit in optimizer.limits.items():
        # With a total, what one amount is limited to changes the direction of the others.
        if limit > 0 and (config.total is None or name in config.settings):
            yield (*path, "optimizer", "limits", name), reason


CHECKS = (cost, held, starts, signs)
