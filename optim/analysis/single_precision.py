"""Data of which single precision keeps too little: a level so large that its range has hardly any steps in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from optim.analysis.design import is_constant, raw_features
from optim.analysis.verdicts import NOT_SETTLED, Caveat
from optim.losses.cake import CakeObjective
from optim.losses.likelihood import PanelObjective
from optim.losses.properties import PropertyObjective
from optim.models.features import FeatureMap
from optim.study.study import Study

STEP = float(np.finfo(np.float32).eps)
"""Distance of neighbouring numbers, as a share of their size (at most)."""

RESOLUTION = 1e-4
"""Largest step, as a share of the range, that does no harm. Recipes are judged inside what was tasted to 1e-3 of a
range, totals are kept and starts agree in score to 1e-4, and a score moves by a range's share of what it moves by over
the whole range: coarser numbers would decide these by their rounding."""


@dataclass(frozen=True)
class _Measure:
    """Numbers that are computed with: their largest size, and the range within which they matter."""

    about: str
    what: str
    size: float
    width: float

    @property
    def steps(self) -> float:
        """How many numbers single precision has within the range."""
        return self.width / (STEP * self.size)

    @property
    def is_too_coarse(self) -> bool:
        """Whether the range matters in shares that are smaller than a step."""
        return self.width > 0 and self.steps < 1 / RESOLUTION

    @property
    def text(self) -> str:
        return (
            f"{self.what}: single precision has about {max(self.steps, 1.0):,.0f} steps in this range, and an "
            f"answer needs {1 / RESOLUTION:,.0f}; set precision: float64"
        )


def too_coarse(study: Study) -> list[Caveat]:
    """What the study reads that needs double precision; nothing where it has it.

    Of an ingredient whose range and whose tasted amounts both do, the range is named.
    """
    if study.config.precision == "float64":
        return []
    found: dict[str, Caveat] = {}
    for one in _measures(study):
        if one.is_too_coarse:
            found.setdefault(one.about, Caveat(one.about, NOT_SETTLED, one.text))
    return list(found.values())


def property_too_coarse(name: str, values: Float[np.ndarray, " recipes"], steepness: float) -> str:
    """That single precision keeps too little of a property, in words; else empty.

    Args:
        name: of the property.
        values: of it at recipes that are allowed, as single precision has computed them.
        steepness: its slope per range, where it is the same at all of these recipes; else it is not read.
    """
    found = _column(f"properties.{name}", f"{name} of recipes that are allowed", values)
    if found.width == 0:
        what = f"{name} is {found.size:.9g} at every recipe, although it has slopes"
        found = _Measure(found.about, what, found.size, steepness)
    return found.text if found.is_too_coarse else ""


def _measures(study: Study) -> Iterator[_Measure]:
    objectives = [stage.objective for stage in study.stages]
    if any(stage.bakes for stage in study.stages):
        yield from _of_space(study)
    for objective in objectives:
        if isinstance(objective, PanelObjective):
            yield from _of_features(study)
        elif isinstance(objective, PropertyObjective):
            yield from _of_measured(study, objective)
        elif isinstance(objective, CakeObjective):
            for name, values in objective.audience.columns.items():
                yield _column(f"data.customers.{name}", f"{name} of the customers", values)


def _of_space(study: Study) -> Iterator[_Measure]:
    """What bakes move: amounts and settings within their bounds, under a total that they must meet."""
    space, ranges = study.space, {}
    for name, low, high in zip(space.owners, *space.bounds, strict=True):
        if name in space.settings:
            yield _between(f"settings.{name}", name, float(low), float(high))
        else:
            yield _between(f"ingredients.{name}", name, float(low), float(high))
            ranges[name] = float(high - low)
    least = min((width for width in ranges.values() if width > 0), default=None)
    if space.total is not None and least is not None:
        name = next(name for name, width in ranges.items() if width == least)
        what = f"the total is {space.total:.9g} beside the range of {name}, {least:.9g}"
        yield _Measure("total", what, space.total, least)


def _of_features(study: Study) -> Iterator[_Measure]:
    """What the utility reads of the recipes that are in the fit; not yet of properties that a stage will train."""
    panel, member = study.panel, study.first_member["model"]
    assert panel is not None
    features: FeatureMap = study.model(member).feature_map
    if study.reads_fitted_properties:
        return
    tasted = panel.recipes_in_fit
    values = raw_features(study.model, member, panel.amounts[tasted])
    for name, low, high in zip(features.names, values.min(axis=0), values.max(axis=0), strict=True):
        about = f"ingredients.{name}" if name in study.space.names else f"features.{name}"
        yield _ends(about, f"{name} of the tasted recipes", float(low), float(high))


def _of_measured(study: Study, objective: PropertyObjective) -> Iterator[_Measure]:
    """What a property model is fitted to, and what it reads."""
    assert study.panel is not None
    for name in objective.columns:
        yield _column(f"data.recipes.{name}", f"{name} as it was measured", study.panel.properties[name])
    for name, values in zip(study.space.names, study.panel.amounts.T, strict=True):
        yield _column(f"ingredients.{name}", f"{name} of the measured recipes", values)


def _column(about: str, what: str, values: Float[np.ndarray, " n"]) -> _Measure:
    """A column of numbers."""
    return _ends(about, what, float(np.min(values)), float(np.max(values)))


def _ends(about: str, what: str, low: float, high: float) -> _Measure:
    """The least and the greatest of numbers; where they are always the same they have no range."""
    return _between(about, what, low, low if is_constant(np.array([low, high])) else high)


def _between(about: str, what: str, low: float, high: float) -> _Measure:
    """Numbers from `low` to `high`."""
    return _Measure(about, f"{what} goes from {low:.9g} to {high:.9g}", max(abs(low), abs(high)), high - low)
