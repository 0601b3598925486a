"""What the types alone cannot say: whether the parts of a config fit together.

Each check is a small function that yields the path of a mistake and a message with its remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from optim.config.block import Block
from optim.config.checks import (
    bake,
    data,
    effects,
    fit,
    ingredients,
    model,
    numbers,
    optimizers,
    order,
    run,
    settings,
    sizes,
)
from optim.config.schema import Config
from optim.config.source import Finding, KeyPath

CHECKS = (*ingredients.CHECKS, *settings.CHECKS, *data.CHECKS, *model.CHECKS, *run.CHECKS, *sizes.CHECKS)
STAGE_CHECKS = (
    *optimizers.CHECKS,
    *order.CHECKS,
    *fit.CHECKS,
    *bake.CHECKS,
    *effects.CHECKS,
    *numbers.CHECKS,
    *sizes.STAGE_CHECKS,
)


def check(config: Config, *, partial: bool = False) -> list[Finding]:
    """Everything that does not fit together.

    Args:
        config: a config whose every value is right by itself.
        partial: values that are wrong or missing are absent as attributes; a check that reaches for one says no more.
    """
    findings: list[Finding] = []
    for findings_of_one in _started(config):
        try:
            findings.extend(findings_of_one)
        except AttributeError:
            if not partial:
                raise
    return findings


def _started(config: Config) -> Iterator[Iterator[Finding]]:
    yield from (one(config) for one in CHECKS)
    for path, ingredient in _entries(config, "ingredients"):
        yield from (one(path, ingredient) for one in ingredients.INGREDIENT_CHECKS)
    for path, setting in _entries(config, "settings"):
        yield from (one(path, setting) for one in settings.SETTING_CHECKS)
    for path, stage in _entries(config, "stages"):
        yield from (one(config, path, stage) for one in STAGE_CHECKS)


def _entries(config: Config, name: str) -> Iterator[tuple[KeyPath, Any]]:
    """The blocks of a mapping that can be read."""
    entries = config.__dict__.get(name, {})
    yield from (((name, key), entry) for key, entry in entries.items() if isinstance(entry, Block))
