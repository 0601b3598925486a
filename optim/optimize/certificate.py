"""What can be said for an answer: how many starts agree and on what; what is violated, active, unread or saturated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from optim.models.space import RecipeSpace
from optim.optimize.region import Region, active_bounds, feasible_gradient, region_of, violation
from optim.optimize.starts import build_others
from optim.optimize.yardstick import Yardstick, yardstick

AGREEMENT = 1e-4
"""Scores agree that differ by no more than this share of what the score differs by between recipes."""

SPREAD = 1e-2
"""Recipes differ in a coordinate that spreads over more than this share of its range."""

STATIONARY = 1e-3
"""A slope per range is small up to this share of what the score differs by between recipes."""

ELSEWHERE = 9
"""At how many recipes beside the trained ones it is looked whether a coordinate is read: the centre and random ones."""

Score = Callable[[Float[Array, " d"]], Float[Array, ""]]
"""A function of a recipe with its settings, in the order of `RecipeSpace.coordinates`, that JAX can trace."""

Reads = Callable[[Float[Array, " d"]], Float[Array, " k"]]
"""Such a function with several values."""


@dataclass(frozen=True)
class Saturation:
    """P(like) is 1 or 0 at the best recipe, to the last bit of the run's precision; its logit still has a slope.

    Attributes:
        log_odds: the logit there.
        stationarity: its largest slope there along an allowed direction, per range.
        stationary: whether that is small, up to 1e-3 of what the logit differs by between recipes.
        starts: at how many of the starts P(like) is 1 or 0.
    """

    log_odds: float
    stationarity: float
    stationary: bool
    starts: int


@dataclass(frozen=True)
class Certificate:
    """Evidence for the best cake.

    Attributes:
        starts: how many starts were trained.
        agreeing: how many ended at the best score, up to 1e-4 of what it differs by between recipes.
        max_violation: largest excess over a bound or the total, in the user's units.
        stationarity: largest slope of the score along an allowed direction, per range of an ingredient; 0 at a peak.
        active: bounds that hold the recipe back, such as `sugar max`.
        best: which of the starts ended at the best recipe, from 0.
        score: its score; −∞ where none is finite.
        stationary: whether `stationarity` is small, up to 1e-3 of what the score differs by between recipes; of a
            saturated score, whose slope is always small, whether that of its logit is.
        spread: coordinates in which the agreeing starts differ by more than 1e-2 of the range: the least and the
            greatest value, in the user's units.
        unread: free coordinates that the score does not depend on, so far as it can be told; with a total, not an
            ingredient that alone fills up what the others leave.
        saturation: None where the score is not P(like), or not saturated.
        left_out: how many starts came to numbers that are not finite; nothing else here is about them.
        higher: the highest score of some recipes that nobody trained (the centre, and random ones), where it is higher;
            else None. A slope does not tell: far from a peak, in a corner that too large a step has jumped to, a score
            may be flat.
        measure: what the score differs by between recipes, and what its differences are lost in.
        elsewhere: the recipes that nobody trained.
        others: the least and the greatest score of the starts that do not agree; None where all do.
    """

    starts: int
    agreeing: int
    max_violation: float
    stationarity: float
    active: tuple[str, ...]
    best: int
    score: float
    stationary: bool
    spread: Mapping[str, tuple[float, float]]
    unread: tuple[str, ...]
    saturation: Saturation | None
    left_out: int
    higher: float | None
    measure: Yardstick
    elsewhere: Float[np.ndarray, "others d"]
    others: tuple[float, float] | None

    @property
    def is_too_coarse(self) -> bool:
        """Whether the score is rounded more coarsely than the starts have to agree; of a saturated one, its logit
        decides."""
        return self.saturation is None and self.measure.is_too_coarse(AGREEMENT)


class _Survey(NamedTuple):
    """A function at the trained recipes, in their order, and then elsewhere.

    Attributes:
        points: these recipes.
        values: of the function.
        slopes: its gradients.
        steepness: its largest slopes along allowed directions, per range.
    """

    points: Float[np.ndarray, "points d"]
    values: Float[np.ndarray, " points"]
    slopes: Float[np.ndarray, "points d"]
    steepness: Float[np.ndarray, " points"]

    def measure(self, top: float) -> Yardstick:
        """What the function differs by between recipes that nobody trained."""
        elsewhere = slice(-ELSEWHERE, None)
        precision = float(np.finfo(self.values.dtype).eps)
        return yardstick(top, self.values[elsewhere].astype(float), self.steepness[elsewhere].astype(float), precision)


def certify(
    space: RecipeSpace,
    recipes: Float[np.ndarray, "starts d"],
    score: Score,
    *,
    log_odds: Score | None = None,
    reads: Reads | None = None,
) -> Certificate:
    """Certificate of the recipe with the highest score; of several saturated ones, of that with the highest log-odds.

    Args:
        space: the recipes that are allowed.
        recipes: the trained recipes, with their settings, in the order of `space.coordinates`, in the run's precision.
        score: the plain score, free of limits. High is good.
        log_odds: logit of the score, where the score is P(like) and nothing else.
        reads: what the parts of the score that can saturate are made from, such as the utilities behind a P(like).
            What these read is never called unread. Without them, nothing is where no coordinate has a slope.

    Raises:
        ValueError: none of the recipes is finite.
    """
    trained, whole = recipes, np.flatnonzero(np.isfinite(recipes).all(axis=1))
    if not len(whole):
        raise ValueError("none of the recipes is finite: there is nothing to certify")
    recipes = trained[whole]
    survey = _survey(space, recipes, score)
    values = survey.values[: len(recipes)].astype(float)
    scores = np.where(np.isfinite(values), values, -np.inf)
    best, found = int(np.argmax(scores)), None
    region = region_of(space)
    if log_odds is not None:
        best, found = _by_log_odds(space, recipes, scores, log_odds)
    point, reached = recipes[best], float(scores[best])
    *sides, beyond = jax.device_get(_place_of(point, region))
    elsewhere = survey.values[len(recipes) :].astype(float)
    measure = survey.measure(max(reached, float(elsewhere[np.isfinite(elsewhere)].max(initial=-np.inf))))
    stationarity = float(survey.steepness[best])
    agreeing = scores >= reached - measure.passes_for_equal(AGREEMENT)
    small = stationarity <= measure.passes_for_zero(STATIONARY)
    return Certificate(
        starts=len(trained),
        agreeing=int(agreeing.sum()),
        max_violation=float(beyond),
        stationarity=stationarity,
        active=_active(space, *sides),
        best=int(whole[best]),
        score=reached,
        stationary=small if found is None else found.stationary,
        spread=_spread(space, recipes[agreeing]),
        unread=_unread(space, recipes, survey, log_odds, reads),
        saturation=found,
        left_out=len(trained) - len(whole),
        higher=_higher(elsewhere, reached, measure),
        measure=measure,
        elsewhere=survey.points[len(recipes) :],
        others=_ends(scores[~agreeing]),
    )


def _ends(scores: Float[np.ndarray, " starts"]) -> tuple[float, float] | None:
    """The least and the greatest of the scores that are finite."""
    finite = scores[np.isfinite(scores)]
    return (float(finite.min()), float(finite.max())) if len(finite) else None


def _higher(elsewhere: Float[np.ndarray, " points"], score: float, measure: Yardstick) -> float | None:
    """The highest score of untrained recipes, where it is higher by more than agreeing ones differ."""
    finite = elsewhere[np.isfinite(elsewhere)]
    highest = float(finite.max(initial=-np.inf))
    return highest if np.isfinite(score) and highest > score + measure.passes_for_equal(AGREEMENT) else None


def _joined(reads: Reads) -> Score:
    """One function of several values: what any of them reads, it reads, unless that value is exactly 0."""
    return lambda recipe: 0.5 * jnp.sum(reads(recipe) ** 2)


def _survey(space: RecipeSpace, recipes: Float[np.ndarray, "starts d"], function: Score) -> _Survey:
    """Values and slopes of a function at the trained recipes and elsewhere."""
    elsewhere = build_others(ELSEWHERE, space)
    points = np.concatenate([recipes, np.asarray(elsewhere, recipes.dtype)])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(function)))(points)
    steepness = _steepness(slopes, points, region_of(space))
    return _Survey(points, np.asarray(values), np.asarray(slopes), np.asarray(steepness))


def _by_log_odds(
    space: RecipeSpace,
    recipes: Float[np.ndarray, "starts d"],
    scores: Float[np.ndarray, " starts"],
    log_odds: Score,
) -> tuple[int, Saturation | None]:
    """The best of the starts by a score that is P(like). Among saturated ones, all alike, the logit decides."""
    best, saturated = int(np.argmax(scores)), _saturated(scores, recipes.dtype)
    if not saturated[best]:
        return best, None
    survey = _survey(space, recipes, log_odds)
    best = int(np.argmax(np.where(saturated, survey.values[: len(scores)], -np.inf)))
    top, slope = float(survey.values[best]), float(survey.steepness[best])
    is_small = slope <= survey.measure(top).passes_for_zero(STATIONARY)
    return best, Saturation(top, slope, is_small, int(saturated.sum()))


def _saturated(likings: Float[np.ndarray, " starts"], dtype: np.dtype) -> Bool[np.ndarray, " starts"]:
    """Which P(like) are 1 or 0 to the last bit: no further from 1 than numbers near it are apart, or below them all."""
    limits = np.finfo(dtype)
    return (likings >= 1 - limits.eps) | ((likings >= 0) & (likings < limits.tiny))


@jax.jit
def _steepness(
    gradients: Float[Array, "points d"], points: Float[Array, "points d"], region: Region
) -> Float[Array, " points"]:
    """Largest slopes along allowed directions, per range."""

    def steepest(gradient: Float[Array, " d"], point: Float[Array, " d"]) -> Float[Array, ""]:
        return jnp.max(jnp.abs(feasible_gradient(-gradient, point, region) * region.ranges))

    return jax.vmap(steepest)(gradients, points)


@jax.jit
def _place_of(
    point: Float[Array, " d"], region: Region
) -> tuple[Bool[Array, " d"], Bool[Array, " d"], Float[Array, ""]]:
    """Which coordinates of a recipe stand at their lower and which at their upper bound, and how far it is from being
    allowed."""
    return *active_bounds(point, region), violation(point, region)


def _active(space: RecipeSpace, lower: Bool[np.ndarray, " d"], upper: Bool[np.ndarray, " d"]) -> tuple[str, ...]:
    """Bounds at which a recipe stands."""
    sides = zip(space.coordinates, lower, upper, strict=True)
    both = ((name, (("min", at_lower), ("max", at_upper))) for name, at_lower, at_upper in sides)
    return tuple(f"{name} {side}" for name, pair in both for side, is_at in pair if is_at)


def _spread(space: RecipeSpace, recipes: Float[np.ndarray, "agreeing d"]) -> dict[str, tuple[float, float]]:
    """Coordinates in which recipes differ, with the least and the greatest value."""
    lower, upper = space.bounds
    least, greatest = recipes.min(axis=0), recipes.max(axis=0)
    differ = np.flatnonzero(greatest - least > SPREAD * (upper - lower))
    # By way of the shortest text, as 0.2 in single precision is to be read.
    return {space.coordinates[at]: (float(str(least[at])), float(str(greatest[at]))) for at in differ}


def _unread(
    space: RecipeSpace,
    recipes: Float[np.ndarray, "starts d"],
    survey: _Survey,
    log_odds: Score | None,
    reads: Reads | None,
) -> tuple[str, ...]:
    """Free coordinates by which no slope is anything but exactly 0, at any of the points.

    What does not saturate is only looked at where the score itself has no slope.
    """
    lower, upper = space.bounds
    free = lower < upper
    still = free & (survey.slopes == 0).all(axis=0)
    for function in (log_odds, None if reads is None else _joined(reads)):
        if function is not None and still.any():
            still &= (_survey(space, recipes, function).slopes == 0).all(axis=0)
    if reads is None and (still == free).all():  # the score may be saturated everywhere
        return ()
    filler = still & (np.arange(len(free)) < len(space.names))
    if space.total is not None and filler.sum() == 1:  # the total settles its amount: what the others leave
        still &= ~filler
    return tuple(space.coordinates[at] for at in np.flatnonzero(still))
