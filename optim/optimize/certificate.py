"""What can be said for an answer: how many starts agree and on what; what is violated, active, unread or saturated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from optim.models.space import RecipeSpace
from optim.optimize.region import Region, active_bounds, feasible_gradient, region_of, violation
from optim.optimize.starts import build_starts

AGREEMENT = 1e-4
"""Scores agree that differ by no more than this times 1 + |score|."""

SPREAD = 1e-2
"""Recipes differ in a coordinate that spreads over more than this share of its range."""

STATIONARY = 1e-3
"""A slope per range is small up to this times 1 + |score|."""

ELSEWHERE = 9
"""At how many recipes beside the trained ones it is looked whether a coordinate is read: the centre and random ones."""

Score = Callable[[Float[Array, " d"]], Float[Array, ""]]
"""A function of a recipe with its settings, in the order of `RecipeSpace.coordinates`, that JAX can trace."""

Reads = Callable[[Float[Array, " d"]], Float[Array, " k"]]
"""Such a function with several values."""


@dataclass(frozen=True)
class LogOdds:
    """The logit of a score that is P(like): it has a slope where the score itself is flat.

    Attributes:
        value: at the best recipe.
        stationarity: largest slope there along an allowed direction, per range.
        saturated: whether P(like) is 1 or 0 there, to the last bit of the run's precision.
        saturated_starts: at how many of the starts it is.
    """

    value: float
    stationarity: float
    saturated: bool
    saturated_starts: int


@dataclass(frozen=True)
class Certificate:
    """Evidence for the best cake.

    Attributes:
        starts: how many starts were trained.
        agreeing: how many ended within 1e-4 of the best score, relative to 1 + |score|.
        max_violation: largest excess over a bound or the total, in the user's units.
        stationarity: largest slope of the score along an allowed direction, per range of an ingredient; 0 at a peak.
        active: bounds that hold the recipe back, such as `sugar max`.
        best: which of the starts ended at the best recipe, from 0.
        stationary: whether `stationarity` is small, up to 1e-3 of 1 + |score|; of a saturated score, whose slope is
            always small, whether that of its logit is as well.
        spread: coordinates in which the agreeing starts differ by more than 1e-2 of the range: the least and the
            greatest value, in the user's units.
        unread: free coordinates that the score does not depend on, so far as it can be told; with a total, not an
            ingredient that alone fills up what the others leave.
        log_odds: None where the score is not P(like).
    """

    starts: int
    agreeing: int
    max_violation: float
    stationarity: float
    active: tuple[str, ...]
    best: int
    stationary: bool
    spread: Mapping[str, tuple[float, float]]
    unread: tuple[str, ...]
    log_odds: LogOdds | None


class _Survey(NamedTuple):
    """A function at the trained recipes, in their order, and then elsewhere."""

    values: Float[np.ndarray, " points"]
    slopes: Float[np.ndarray, "points d"]


def certify(
    space: RecipeSpace,
    recipes: Float[np.ndarray, "starts d"],
    scores: Float[np.ndarray, " starts"],
    gradient: Float[np.ndarray, " d"] | None = None,
    *,
    score: Score | None = None,
    log_odds: Score | None = None,
    reads: Reads | None = None,
) -> Certificate:
    """Certificate of the recipe with the highest score; of several saturated ones, of that with the highest log-odds.

    Args:
        space: the recipes that are allowed.
        recipes: the trained recipes, with their settings, in the order of `space.coordinates`, in the run's precision.
        scores: their scores, −∞ where there is none. High is good.
        gradient: gradient of the score at the recipe with the highest one, where the score itself is not given.
        score: the plain score, free of limits. Without it nothing is called unread.
        log_odds: logit of the score, where the score is P(like) and nothing else.
        reads: what the parts of the score that can saturate are made from, such as the utilities behind a P(like).
            What these read is never called unread. Without them, nothing is where no coordinate has a slope.

    Raises:
        ValueError: the gradient and the score are both given, or neither is, or something needs the score beside it.
    """
    if (gradient is None) == (score is None):
        raise ValueError("give either the score or its gradient at the best recipe")
    if score is None and not (log_odds is None and reads is None):
        raise ValueError("give the score beside its log-odds or what it reads")
    functions = [f for f in (score, log_odds, None if reads is None else _joined(reads)) if f is not None]
    surveys = _survey(space, recipes, functions) if functions else []
    logit = None if log_odds is None else surveys[1]
    saturated = np.zeros(len(scores), bool) if logit is None else _saturated(scores, recipes.dtype)
    best = _best(scores, saturated, logit)
    region, point = region_of(space), recipes[best]
    examine = lambda slope: _examine(jnp.asarray(slope), jnp.asarray(point), region)
    stationarity = examine(surveys[0].slopes[best] if gradient is None else gradient)
    agreeing = scores >= scores[best] - AGREEMENT * (1 + abs(scores[best]))
    found = None
    if logit is not None:
        slope = examine(logit.slopes[best])
        found = LogOdds(float(logit.values[best]), slope, bool(saturated[best]), int(saturated.sum()))
    return Certificate(
        starts=len(scores),
        agreeing=int(agreeing.sum()),
        max_violation=float(violation(jnp.asarray(point), region)),
        stationarity=stationarity,
        active=_active(space, point, region),
        best=best,
        stationary=_is_stationary(stationarity, float(scores[best]), found),
        spread=_spread(space, recipes[agreeing]),
        unread=_unread(space, surveys, surely=reads is not None),
        log_odds=found,
    )


def _joined(reads: Reads) -> Score:
    """One function of several values: what any of them reads, it reads, unless that value is exactly 0."""
    return lambda recipe: 0.5 * jnp.sum(reads(recipe) ** 2)


def _survey(space: RecipeSpace, recipes: Float[np.ndarray, "starts d"], functions: Sequence[Score]) -> list[_Survey]:
    """Values and slopes of some functions at the trained recipes and elsewhere, by one program."""
    elsewhere = build_starts(ELSEWHERE, space, np.random.default_rng(0))
    points = jnp.concatenate([jnp.asarray(recipes), elsewhere.astype(recipes.dtype)])
    both = lambda point: [jax.value_and_grad(function)(point) for function in functions]
    return [_Survey(np.asarray(values), np.asarray(slopes)) for values, slopes in jax.jit(jax.vmap(both))(points)]


def _saturated(likings: Float[np.ndarray, " starts"], dtype: np.dtype) -> Bool[np.ndarray, " starts"]:
    """Which P(like) are 1 or 0 to the last bit: no further from 1 than numbers near it are apart, or below them all."""
    limits = np.finfo(dtype)
    return (likings >= 1 - limits.eps) | ((likings >= 0) & (likings < limits.tiny))


def _best(
    scores: Float[np.ndarray, " starts"], saturated: Bool[np.ndarray, " starts"], log_odds: _Survey | None
) -> int:
    """The start with the highest score. Among saturated ones, which differ by rounding alone, the log-odds decide."""
    highest = int(np.argmax(scores))
    if log_odds is None or not saturated[highest]:
        return highest
    return int(np.argmax(np.where(saturated, log_odds.values[: len(scores)], -np.inf)))


def _examine(gradient: Float[Array, " d"], point: Float[Array, " d"], region: Region) -> float:
    """Largest slope along an allowed direction, per range."""
    return float(jnp.max(jnp.abs(_allowed_slope(gradient, point, region))))


@jax.jit
def _allowed_slope(gradient: Float[Array, " d"], point: Float[Array, " d"], region: Region) -> Float[Array, " d"]:
    """The gradient without what the constraints forbid, per range."""
    return feasible_gradient(-gradient, point, region) * region.ranges


def _is_stationary(slope: float, score: float, log_odds: LogOdds | None) -> bool:
    """Whether no allowed direction leads up."""
    small = slope <= STATIONARY * (1 + abs(score))
    if log_odds is None or not log_odds.saturated:
        return small
    return small and log_odds.stationarity <= STATIONARY * (1 + abs(log_odds.value))


def _active(space: RecipeSpace, point: Float[np.ndarray, " d"], region: Region) -> tuple[str, ...]:
    """Bounds at which a recipe stands."""
    sides = zip(space.coordinates, *active_bounds(jnp.asarray(point), region), strict=True)
    both = ((name, (("min", at_lower), ("max", at_upper))) for name, at_lower, at_upper in sides)
    return tuple(f"{name} {side}" for name, pair in both for side, is_at in pair if is_at)


def _spread(space: RecipeSpace, recipes: Float[np.ndarray, "agreeing d"]) -> dict[str, tuple[float, float]]:
    """Coordinates in which recipes differ, with the least and the greatest value."""
    lower, upper = space.bounds
    least, greatest = recipes.min(axis=0), recipes.max(axis=0)
    differ = np.flatnonzero(greatest - least > SPREAD * (upper - lower))
    # By way of the shortest text, as 0.2 in single precision is to be read.
    return {space.coordinates[at]: (float(str(least[at])), float(str(greatest[at]))) for at in differ}


def _unread(space: RecipeSpace, surveys: Sequence[_Survey], *, surely: bool) -> tuple[str, ...]:
    """Free coordinates by which no slope is anything but exactly 0, at any of the points.

    Args:
        space: the recipes that are allowed.
        surveys: the score, and what else tells that a coordinate is read.
        surely: whether no slope at all means that nothing is read, and not that the score is saturated everywhere.
    """
    if not surveys:
        return ()
    lower, upper = space.bounds
    free = lower < upper
    still = free & np.all([(survey.slopes == 0).all(axis=0) for survey in surveys], axis=0)
    if not surely and (still == free).all():
        return ()
    filler = still & (np.arange(len(free)) < len(space.names))
    if space.total is not None and filler.sum() == 1:  # the total settles its amount: what the others leave
        still &= ~filler
    return tuple(space.coordinates[at] for at in np.flatnonzero(still))
