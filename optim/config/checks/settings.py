"""Settings of the processes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress

from optim.config.checks.names import properties
from optim.config.formulas import parse
from optim.config.naming import nearest, parts, unknown
from optim.config.schema import (
    SOURDOUGH_SETTINGS,
    Bake,
    Config,
    DeliciousnessScore,
    HeldTarget,
    OwnProperties,
    OwnScore,
    Setting,
    Sourdough,
    settings_read,
)
from optim.config.source import Finding, KeyPath


def bounds(path: KeyPath, setting: Setting) -> Iterator[Finding]:
    """A free setting has bounds, in order; a value that is held is of the right kind, and inside them."""
    low, high = setting.min, setting.max
    if setting.fixed is None:
        for side, bound in (("min", low), ("max", high)):
            if bound is None:
                yield (*path, side), "is missing: a free setting needs bounds (or hold it with `fixed`)"
    if low is not None and high is not None and low > high:
        yield (*path, "min"), f"min {low:g} is above max {high:g}: lower min or raise max"
    elif setting.fixed is not None:
        yield from value((*path, "fixed"), setting, setting.fixed)


def value(path: KeyPath, setting: Setting, given: float | tuple[float, float]) -> Iterator[Finding]:
    """A value is complex only where the setting is, and inside its bounds."""
    if isinstance(given, tuple) and not setting.complex:
        yield path, "expected a number, as the setting is not `complex`, got two"
        return
    given_parts = (
        zip(("its real part ", "its imaginary part "), given, strict=True)
        if isinstance(given, tuple)
        else [("", given)]
    )
    low = -math.inf if setting.min is None else setting.min
    high = math.inf if setting.max is None else setting.max
    for name, part in given_parts:
        if not low <= part <= high:
            yield path, f"{name}{part:g} is outside its bounds, {low:g} to {high:g}: move it inside"


def names(config: Config) -> Iterator[Finding]:
    """A setting has a name of its own."""
    taken = {
        **dict.fromkeys(properties(config) or (), "a property"),
        **dict.fromkeys(config.ingredients, "an ingredient"),
    }
    for name in config.settings:
        if name in taken:
            yield ("settings", name), f"`{name}` is also {taken[name]}: rename one of them"
            continue
        others = {**taken, **dict.fromkeys((other for other in config.settings if other != name), "a setting")}
        for part in parts(name, config.settings[name].complex):
            if part != name and part in others:
                yield ("settings", name), f"its part `{part}` is also {others[part]}: rename one of them"


def read(config: Config) -> Iterator[Finding]:
    """Something depends on every setting that is trained."""
    model, stages = config.model.properties, config.stages.values()
    bakes = [stage for stage in stages if isinstance(stage, Bake)]
    if any(isinstance(stage.score, OwnScore) for stage in bakes):
        return  # which may read them all
    known = {*settings_read(model), *(name for stage in bakes for name in _in_formulas(stage))}
    for name in config.settings:
        if name not in known:
            remedy = "remove it, or use it in a target's formula or in a property model or score of your own"
            yield ("settings", name), f"nothing reads `{name}`, so nothing can be said about it: {remedy}"


def _in_formulas(stage: Bake) -> Iterator[str]:
    """Names in the formulas of a stage's targets; one that is wrong is a finding of its own."""
    targets = stage.score.targets.values() if isinstance(stage.score, DeliciousnessScore) else ()
    for target in targets:
        text = target.formula if isinstance(target, HeldTarget) else target
        if isinstance(text, str):
            with suppress(ValueError):
                yield from parse(text).names


def of_the_model(config: Config) -> Iterator[Finding]:
    """The settings that the property model reads are there, and of the kind that it reads."""
    model = config.model.properties
    if isinstance(model, OwnProperties):
        for index, name in enumerate(model.settings):
            if name not in config.settings:
                yield ("model", "properties", "settings", index), unknown("setting", name, config.settings)
    if not isinstance(model, Sourdough):
        return
    for name, is_complex in SOURDOUGH_SETTINGS.items():
        kind = "complex" if is_complex else "real"
        if name not in config.settings:
            near = nearest(name, [own for own in config.settings if own not in SOURDOUGH_SETTINGS])
            remedy = f"rename `{near}`" if near else "add it to `settings`"
            yield ("model", "properties", "kind"), f"`sourdough` needs the {kind} setting `{name}`: {remedy}"
        elif config.settings[name].complex != is_complex:
            yield ("settings", name), f"`sourdough` needs a {kind} `{name}`: set `complex: {str(is_complex).lower()}`"


CHECKS = (names, of_the_model, read)
SETTING_CHECKS = (bounds,)
