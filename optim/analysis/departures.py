"""Ingredients that are held where nobody has tasted them: the same in every recipe, and fixed at something else.

What the difference does is not known, whatever a fitted form makes of it: nothing in the data has varied with the
ingredient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from optim.analysis.design import in_float64, is_constant, is_held
from optim.config import schema
from optim.config.numbers import number
from optim.losses.objective import Parameters
from optim.models.features import FeatureMap
from optim.models.flat import Flat
from optim.study.study import Study

Reading = Literal["amounts", "fractions"]

SOME = 8
"""Recipes at which a model of the user's own is tried."""


@dataclass(frozen=True)
class Departure:
    """An ingredient whose value in a recipe is another than in every recipe of the data.

    Attributes:
        name: the ingredient.
        held: its value in the recipe.
        tasted: its value in every recipe of the data.
        unit: of both.
    """

    name: str
    held: float
    tasted: float
    unit: str

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        held, tasted = number(self.held, 6), number(self.tasted, 6)
        return f"{self.name} is held at {held}{unit} and was {tasted}{unit} in every tasted recipe"


def unknown_effect(found: tuple[Departure, ...]) -> str:
    """What is not known of a recipe that departs from the data, and what to do about it.

    Args:
        found: the departures, one at least.
    """
    named = "; ".join(map(str, found))
    return f"{named}: what the difference does is not known; fix it there, or have recipes tasted that differ"


def departures_of_liking(
    study: Study, member: Parameters, amounts: Float[np.ndarray, " n"] | None = None
) -> tuple[Departure, ...]:
    """Departures that P(like) of a recipe depends on, by its features or by fitted properties among them.

    Args:
        study: a study with a panel and a utility.
        member: parameters of the likelihood model, of one member.
        amounts: the recipe, by whose total fractions are taken; None before there is one, when fractions of a recipe
            without a `total` are not known.
    """
    features, panel = study.model(member).feature_map, study.panel
    assert panel is not None
    if not (study.space.lower == study.space.upper).any():  # looking for what was tasted takes a while
        return ()
    tasted = panel.amounts[panel.recipes_in_fit]
    total = study.space.total if amounts is None else float(np.sum(amounts, dtype=np.float64))
    found = [one for kind in _readings(features) for one in _departures(study, tasted, kind, total)]
    if isinstance(study.config.model.utility, schema.OwnUtility):
        found = [one for one in found if _is_read(study, member, one, "utility")]
    if features.reads_properties:
        found += departures_of_properties(study, member, amounts)
    return _first_of_each(found)


def departures_of_properties(
    study: Study, member: Parameters, amounts: Float[np.ndarray, " n"] | None = None
) -> tuple[Departure, ...]:
    """Departures that fitted properties of a recipe depend on; a formula holds wherever it is used.

    Args:
        study: a study.
        member: parameters of the likelihood model, of one member.
        amounts: as for `departures_of_liking`.
    """
    block = study.config.model.properties
    if study.panel is None or "properties" not in member:
        return ()
    total = study.space.total if amounts is None else float(np.sum(amounts, dtype=np.float64))
    kind: Reading = "fractions" if isinstance(block, schema.Scheffe) else "amounts"
    found = tuple(_departures(study, study.panel.amounts, kind, total))
    if isinstance(block, schema.OwnProperties):  # which may not read the ingredient at all
        found = tuple(one for one in found if _is_read(study, member, one, "properties"))
    return found


def _readings(features: FeatureMap) -> tuple[Reading, ...]:
    """How the utility reads the ingredients themselves."""
    return tuple(kind for kind in ("amounts", "fractions") if kind in features.chosen)


def _departures(
    study: Study, recipes: Float64[np.ndarray, "recipes n"], kind: Reading, total: float | None
) -> Iterator[Departure]:
    """The fixed ingredients that were the same in all recipes, and are something else in one of this total."""
    space = study.space
    sums = recipes.sum(axis=1)
    for index in np.flatnonzero(space.lower == space.upper):
        column, held, unit = recipes[:, index], float(space.lower[index]), space.units[index]
        if kind == "fractions":
            if not total:
                continue
            column, held, unit = column / np.where(sums > 0, sums, 1.0), held / total, "of the total"
        if is_constant(column) and not is_held(held, column):
            yield Departure(space.names[index], held, float(column[0]), unit)


def _is_read(study: Study, member: Parameters, departure: Departure, part: Literal["properties", "utility"]) -> bool:
    """Whether a part of the user's own depends on the ingredient at all: at random parameters it shows."""
    assert study.panel is not None
    here = study.panel.amounts[:SOME]
    there = here.copy()
    there[:, study.space.names.index(departure.name)] += 1.0 + np.abs(here).max()
    with jax.enable_x64(True):
        double = in_float64(member)
        flat = Flat.of_one(double[part])
        random = np.random.default_rng(0).standard_normal(flat.ravel_one(double[part]).shape)
        model = study.model({**double, part: flat.unravel(jnp.asarray(random))})

        def output(amounts: Float[Array, " n"]) -> Float[Array, "..."]:
            if part == "properties":
                return model.properties_of(amounts)
            assert model.utility is not None
            return model.utility(model.features(amounts), jnp.int32(0))

        outputs = jax.jit(jax.vmap(output))
        return not np.array_equal(outputs(jnp.asarray(here)), outputs(jnp.asarray(there)), equal_nan=True)


def _first_of_each(found: list[Departure]) -> tuple[Departure, ...]:
    """One for each ingredient."""
    by_name: dict[str, Departure] = {}
    for one in found:
        by_name.setdefault(one.name, one)
    return tuple(by_name.values())
