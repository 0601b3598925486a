"""Whether the answer lies inside what was tasted, and the best recipe that does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float64

from optim.analysis.best_inside import Allowed, Inside, best_inside
from optim.analysis.cake_answer import BakedCake, Likings, liking_json
from optim.analysis.design import in_float64
from optim.analysis.tasted import Place, leverage, place_in_hull
from optim.analysis.verdicts import NOT_DETERMINED, Caveat
from optim.analysis.weighed import weighed
from optim.config.numbers import number
from optim.data.tallies import Tally
from optim.losses.objective import Parameters
from optim.models.space import RecipeSpace
from optim.study.study import Study, cake_layout

Points = Float64[np.ndarray, "recipes n"]


class TastedRecipes:
    """What was tasted in a fit, in what the likelihood model reads of it.

    Where it reads fractions alone, recipes are compared at one total: that of the recipe in question.
    """

    def __init__(self, study: Study, member: Parameters, counted: Tally, total: float) -> None:
        assert study.panel is not None
        self.study, self.counted = study, counted
        self.recipes = np.unique(counted.recipe)
        features = study.model(member).feature_map
        self.in_fractions = all(features.are_fractions)
        self.total = total
        self.points = self.coordinates(study.panel.amounts[self.recipes])
        self.read = self._read(member)
        self.scale = self._scale()

    def coordinates(self, amounts: Points) -> Points:
        """Amounts; where the model reads fractions alone, those of a recipe with the study's total."""
        if not self.in_fractions:
            return amounts
        total = amounts.sum(axis=1, keepdims=True)
        return amounts / np.where(total > 0, total, 1.0) * self.total

    def _read(self, member: Parameters) -> Bool[np.ndarray, " n"]:
        """Which ingredients the model reads at all."""
        study = self.study
        chosen = study.model(member).feature_map.chosen
        if "amounts" in chosen or "fractions" in chosen:
            return np.ones(len(study.space.names), bool)
        with jax.enable_x64(True):
            features = study.model(in_float64(member)).raw_features
            slopes = jax.jit(jax.vmap(jax.jacobian(features)))(self.points)
            return np.asarray((slopes != 0).any(axis=(0, 1)))

    def _scale(self) -> Float64[np.ndarray, " n"]:
        """Range of each coordinate: of its bounds, else (held, or without bounds) of what was tasted."""
        space: RecipeSpace = self.study.space
        spread = np.ptp(self.points, axis=0)
        widths = space.upper - space.lower
        size = np.maximum(np.abs(self.points).max(axis=0), np.where(np.isfinite(space.upper), np.abs(space.upper), 0.0))
        narrow = np.where(spread > 0, spread, np.where(size > 0, size, 1.0))
        return np.where(np.isfinite(widths) & (widths > 0), widths, narrow)

    def place(self, amounts: Float64[np.ndarray, " n"], among: Bool[np.ndarray, " recipes"] | None = None) -> Place:
        """Where a recipe lies, among all that was tasted or some of it."""
        point = self.coordinates(amounts[None])[0]
        points = self.points if among is None else self.points[among]
        return place_in_hull(point[self.read], points[:, self.read], self.scale[self.read])

    def by_group(self) -> dict[int, Bool[np.ndarray, " recipes"]]:
        """Which of the recipes each group tasted, of the groups that tasted some."""
        of = lambda group: self.counted.recipe[self.counted.group == group]
        return {group: np.isin(self.recipes, of(group)) for group in sorted(self.study.asked)}

    def best_liked(self) -> dict[str, Any]:
        """The recipe with the greatest share of likes, as it was tasted: a fact of the tables, held out or not."""
        panel = self.study.panel
        assert panel is not None
        responses = np.bincount(panel.recipe, minlength=len(panel.recipes))
        likes = np.bincount(panel.recipe, panel.like, minlength=len(panel.recipes))
        share = np.divide(likes, responses, out=np.full(len(likes), -1.0), where=responses > 0)
        at = int(np.argmax(share))
        return {"recipe": panel.recipes[at], "liked": float(share[at]), "responses": int(responses[at])}


@dataclass(frozen=True)
class Whereabouts:
    """Where the answer lies among the tasted recipes.

    Attributes:
        place: among all of them.
        of_group: among those of each group that was asked, by its index.
    """

    place: Place
    of_group: Mapping[int, Place]

    @property
    def outside(self) -> tuple[int, ...]:
        """The groups that have tasted nothing like it."""
        return tuple(group for group, place in self.of_group.items() if not place.inside)


def whereabouts(tasted: TastedRecipes, amounts: Float64[np.ndarray, " n"]) -> Whereabouts:
    """Where a recipe lies among the tasted ones."""
    place = tasted.place(amounts)
    of_group = {
        group: place if among.all() else tasted.place(amounts, among) for group, among in tasted.by_group().items()
    }
    return Whereabouts(place, of_group)


def tasted_answer(
    study: Study, cake: BakedCake, tasted: TastedRecipes, where: Whereabouts, likings: Likings
) -> tuple[dict[str, Any], tuple[Caveat, ...]]:
    """The answer's place among the tasted recipes, and the best recipe inside them where it is outside.

    Returns:
        `tasted` of result.json, and what a reader should know.
    """
    amounts, place = np.asarray(cake.amounts, np.float64), where.place
    found: dict[str, Any] = {"in": "fractions" if tasted.in_fractions else "amounts", **_place(tasted, place)}
    found["recipes"] = len(np.unique(tasted.points, axis=0))
    found["best"] = tasted.best_liked()
    found |= _leverage(study, likings, amounts)
    if not place.inside:
        text = f"the recipe lies outside what was tasted: {_beyond(tasted, place)}"
        inside = _best_inside(study, cake, tasted, amounts)
        if inside is not None:
            found["best_inside"] = _inside(study, tasted, inside, likings)
        return found, (Caveat("tasted", NOT_DETERMINED, text),)
    outside = {study.groups[group]: where.of_group[group] for group in where.outside}
    if outside:
        found["outside_for"] = list(outside)
    return found, tuple(
        Caveat(f"liking.by_group.{group}", NOT_DETERMINED, f"outside what {group} tasted: {_beyond(tasted, own)}")
        for group, own in outside.items()
    )


def _place(tasted: TastedRecipes, place: Place) -> dict[str, Any]:
    found: dict[str, Any] = {"inside": place.inside}
    if not place.inside:
        found |= {"distance": place.distance, "beyond": _by_name(tasted, place)}
    return found


def _by_name(tasted: TastedRecipes, place: Place) -> dict[str, float]:
    """By how much each ingredient differs from the nearest mixture of tasted recipes; in fractions, as fractions."""
    names = [name for name, read in zip(tasted.study.space.names, tasted.read, strict=True) if read]
    beyond = place.beyond / (tasted.total if tasted.in_fractions else 1.0)
    scale = tasted.scale[tasted.read] / (tasted.total if tasted.in_fractions else 1.0)
    far = np.abs(beyond) > 1e-3 * scale
    return {name: float(value) for name, value, is_far in zip(names, beyond, far, strict=True) if is_far}


def _beyond(tasted: TastedRecipes, place: Place) -> str:
    """`water 34.3 ml more, mint 2 g less than the nearest mixture of tasted recipes`."""
    units = dict(zip(tasted.study.space.names, tasted.study.space.units, strict=True))
    unit = lambda name: "" if tasted.in_fractions or not units[name] else f" {units[name]}"
    parts = [
        f"{name} {number(abs(value), 3)}{unit(name)} {'more' if value > 0 else 'less'}"
        for name, value in _by_name(tasted, place).items()
    ]
    return f"{', '.join(parts)} than in the nearest mixture of tasted recipes ({number(place.distance, 2)} ranges away)"


def _leverage(study: Study, likings: Likings, amounts: Float64[np.ndarray, " n"]) -> dict[str, Any]:
    """Leverage of the answer, the largest over the groups, beside the largest of what was tasted."""
    if not likings.has_design:
        return {}
    places = [likings.standing(amounts, group) for group in sorted(study.asked)]
    made = [leverage(one.row, one.evidence.block.rows, one.evidence.block.counts) for one in places]
    finite = [one for one in made if np.isfinite(one.value)]
    if len(finite) < len(made) or not made:
        return {}
    most = max(finite, key=lambda one: one.value)
    return {"leverage": most.value, "largest_tasted_leverage": most.largest_tasted}


def _best_inside(
    study: Study, cake: BakedCake, tasted: TastedRecipes, amounts: Float64[np.ndarray, " n"]
) -> Inside | None:
    """The best mixture of tasted recipes that is allowed; settings stay as they are."""
    layout, count = cake_layout(study.space), len(study.space.names)
    with jax.enable_x64(True):
        constants = in_float64(cake.constants)
        settings = jnp.asarray(cake.vector[count:], jnp.float64)
        score = lambda x: cake.objective.climbed(layout.unravel(jnp.concatenate([x, settings])), constants)
        compiled, every = jax.jit(jax.value_and_grad(score)), jax.jit(jax.vmap(score))
        scores = lambda recipes: np.asarray(every(jnp.asarray(recipes)))

        def both(x: Float64[np.ndarray, " n"]) -> tuple[float, Float64[np.ndarray, " n"]]:
            value, gradient = compiled(jnp.asarray(x))
            return float(value), np.asarray(gradient)

        space = study.space
        total = tasted.total if tasted.in_fractions else space.total
        allowed = Allowed(space.lower, space.upper, total)
        start = tasted.coordinates(amounts[None])
        return best_inside(both, np.unique(tasted.points, axis=0), allowed, start, tasted.scale, scores)


def _inside(study: Study, tasted: TastedRecipes, inside: Inside, likings: Likings) -> dict[str, Any]:
    mean, by_group = likings.of(inside.point, whereabouts(tasted, inside.point).outside)
    found: dict[str, Any] = {"recipe": dict(zip(study.space.names, inside.point.tolist(), strict=True))}
    found["shown"] = weighed(study.space, inside.point)
    return found | {"gap": inside.gap, "liking": liking_json(mean, by_group)}
