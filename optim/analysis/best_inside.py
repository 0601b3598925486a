"""The best recipe that no one has to extrapolate for: the best mixture of tasted recipes that is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from optim.analysis.tasted import INSIDE
from optim.optimize.certificate import AGREEMENT
from optim.optimize.yardstick import yardstick

TOLERANCE = 1e-7
"""Frank–Wolfe gap at which a search has arrived, as a share of what the score differs by between tasted recipes."""
ROUNDS = 200
"""Vertices that one search may ask for."""
TASTED_STARTS = 3
"""Searches that start at the best of the tasted recipes."""
EXACT = 1e-10
"""What a linear program may miss a bound or the total by, in ranges; the smallest that HiGHS accepts."""
EPSILON = float(np.finfo(float).eps)
"""Relative distance of neighbouring numbers, in which scores are computed here."""
BISECTIONS = 60
"""Halvings of an interval, after which a double has no bits left."""

ScoreAndGradient = Callable[[Float[np.ndarray, " d"]], tuple[float, Float[np.ndarray, " d"]]]
Scores = Callable[[Float[np.ndarray, "recipes d"]], Float[np.ndarray, " recipes"]]
Oracle = Callable[[Float[np.ndarray, " d"]], Float[np.ndarray, " d"]]


@dataclass(frozen=True)
class Allowed:
    """The recipes that are allowed: lower ≤ x ≤ upper and, where a total is given, Σ x = total.

    Bounds may be infinite. The total is of all coordinates.
    """

    lower: Float[np.ndarray, " d"]
    upper: Float[np.ndarray, " d"]
    total: float | None


@dataclass(frozen=True)
class Inside:
    """The best recipe among the mixtures of tasted recipes that are allowed.

    Attributes:
        point: the recipe.
        score: its score. High is good.
        gap: its certificate, the largest ∇score·(v − point) over all such mixtures v: for a concave score, no mixture
            scores more than score + gap; for another it says how nearly the recipe is a stationary one.
        starts: how many searches were made.
        agreeing: how many of them ended at the best score, up to 1e-4 of what it differs by between tasted recipes.
    """

    point: Float[np.ndarray, " d"]
    score: float
    gap: float
    starts: int
    agreeing: int


def best_inside(
    score_and_gradient: ScoreAndGradient,
    tasted: Float[np.ndarray, "recipes d"],
    allowed: Allowed,
    starts: Float[np.ndarray, "starts d"],
    scale: Float[np.ndarray, " d"],
    scores: Scores | None = None,
) -> Inside | None:
    """The recipe with the highest score in the convex hull of the tasted recipes, cut by what is allowed.

    By simplicial decomposition (von Hohenbalken 1977, "Simplicial decomposition in nonlinear programming algorithms",
    Mathematical Programming 13): the score is maximised over the mixtures of the few vertices known so far, and the
    best vertex along the gradient at that mixture is added, until it promises no more. The score need not be concave,
    so several searches are made: from the mixture nearest to each of `starts`, and from the best of the tasted recipes
    that are allowed, or where none is from the mixtures nearest to the best of all. Nothing is drawn at random.

    A model that reads fractions alone has its hull in the fractions. Give it `tasted` as fractions × total; where there
    is no total, scale every tasted recipe to one common total.

    Args:
        score_and_gradient: the score of a recipe and its gradient, per unit of each coordinate; smooth. It is called
            once for every tasted recipe, and some hundred times for every search.
        tasted: the recipes that were tasted. One that misses the allowed recipes by no more than the rounding of a
            printed table (`INSIDE`) stands for the allowed recipe nearest to it.
        allowed: the bounds and the total.
        starts: recipes to look near, such as the answer without the hull; they need not be mixtures, nor allowed.
        scale: range of each coordinate, by which distances are measured; positive.
        scores: scores of many recipes at once; None to take them one by one.

    Returns:
        The best of what the searches found; None where no mixture of tasted recipes is allowed.

    Raises:
        ValueError: if the score is finite at the end of no search.
        RuntimeError: if HiGHS does not solve a linear program that has a solution.
    """
    recipes, is_allowed = _rounded_to_allowed(tasted, allowed, scale)
    oracle = _oracle(recipes, is_allowed, allowed, scale)
    if oracle is None:
        return None
    scores_of = scores or (lambda recipes: np.array([score_and_gradient(recipe)[0] for recipe in recipes]))
    tasted_scores = scores_of(recipes)
    far = [*starts]
    near = _best(recipes[is_allowed], tasted_scores[is_allowed])
    if not near:
        far += _best(recipes, tasted_scores)
    first = oracle(np.zeros_like(scale))
    measured = _measured(score_and_gradient, tasted_scores, recipes, scale)
    ends = [_ascend(measured, oracle, _ascend(_nearness(start, scale, first), oracle, first).point) for start in far]
    ends += [_ascend(measured, oracle, start) for start in near]
    reached = np.array([end.score for end in ends])
    if not np.isfinite(reached).any():
        raise ValueError("the score is not finite at any mixture of tasted recipes that was tried")
    best = ends[int(np.argmax(np.where(np.isfinite(reached), reached, -np.inf)))]
    score, gradient = score_and_gradient(best.point)
    _, gap = _promise(oracle, best.point, gradient)
    agreeing = reached >= best.score - AGREEMENT
    return Inside(best.point, score, gap, len(ends), int(agreeing.sum()))


def _measured(
    score_and_gradient: ScoreAndGradient,
    tasted_scores: Float[np.ndarray, " recipes"],
    recipes: Float[np.ndarray, "recipes d"],
    scale: Float[np.ndarray, " d"],
) -> ScoreAndGradient:
    """The score below the best tasted one, in units of what it differs by between tasted recipes.

    A search in these goes the same way whatever is added to a score, and whatever it is multiplied by.
    """
    finite = np.where(np.isfinite(tasted_scores), tasted_scores, -np.inf)
    best = int(np.argmax(finite))
    unit = yardstick(float(finite[best]), tasted_scores, np.zeros_like(finite), EPSILON).unit
    if not unit > 0:  # all are as good, or there is but one
        unit = float(np.abs(score_and_gradient(recipes[best])[1] * scale).max())
    level = finite[best] if np.isfinite(finite[best]) else 0.0
    unit = unit if 0 < unit < math.inf else 1.0

    def measured(point: Float[np.ndarray, " d"]) -> tuple[float, Float[np.ndarray, " d"]]:
        score, gradient = score_and_gradient(point)
        return (score - level) / unit, gradient / unit

    return measured


@dataclass(frozen=True)
class _End:
    """Where one search has ended."""

    point: Float[np.ndarray, " d"]
    score: float
    gap: float


def _ascend(score_and_gradient: ScoreAndGradient, oracle: Oracle, start: Float[np.ndarray, " d"]) -> _End:
    """Simplicial decomposition from one start, which has to be an allowed mixture itself; the score is measured."""
    vertices, weights = start[None], np.ones(1)
    point, (score, gradient) = start, score_and_gradient(start)
    vertex, gap = _promise(oracle, point, gradient)
    for _ in range(ROUNDS):
        if not gap > TOLERANCE:
            break
        vertices = np.vstack([vertices, vertex])
        weights = _best_mixture(score_and_gradient, vertices, np.append(weights, 0.0))
        new_score, gradient = score_and_gradient(weights @ vertices)
        if not new_score > score:  # what the vertex promises is lost in the rounding of the score
            break
        vertices, weights = vertices[weights > 0], weights[weights > 0]
        point, score = weights @ vertices, new_score
        vertex, gap = _promise(oracle, point, gradient)
    return _End(point, score, gap)


def _promise(
    oracle: Oracle, point: Float[np.ndarray, " d"], gradient: Float[np.ndarray, " d"]
) -> tuple[Float[np.ndarray, " d"], float]:
    """The vertex that is best along the gradient, and the Frank–Wolfe gap; NaN where the gradient is not finite."""
    if not np.isfinite(gradient).all():
        return point, math.nan
    vertex = oracle(gradient)
    return vertex, float(gradient @ (vertex - point))


def _best_mixture(
    score_and_gradient: ScoreAndGradient, vertices: Float[np.ndarray, "k d"], weights: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """Weights of the mixture of a few vertices with the highest score near the mixture given."""
    from scipy.optimize import minimize

    def loss(weights: Float[np.ndarray, " k"]) -> tuple[float, Float[np.ndarray, " k"]]:
        score, gradient = score_and_gradient(weights @ vertices)
        return -score, -(vertices @ gradient)

    ones = np.ones_like(weights)
    found = minimize(
        loss,
        weights,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(weights),
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": lambda _: ones},
        options={"ftol": 1e-15, "maxiter": 200},
    )
    positive = np.maximum(found.x, 0.0)
    return positive / positive.sum()


def _nearness(
    start: Float[np.ndarray, " d"], scale: Float[np.ndarray, " d"], first: Float[np.ndarray, " d"]
) -> ScoreAndGradient:
    """A score that is highest at the mixture nearest to `start`; in ranges, or measured by how far `first` is."""
    unit = 1 + 0.5 * float(np.sum(((first - start) / scale) ** 2))

    def score_and_gradient(point: Float[np.ndarray, " d"]) -> tuple[float, Float[np.ndarray, " d"]]:
        away = (point - start) / scale
        return -0.5 * float(away @ away) / unit, -away / scale / unit

    return score_and_gradient


def _best(
    recipes: Float[np.ndarray, "recipes d"], scores: Float[np.ndarray, " recipes"]
) -> list[Float[np.ndarray, " d"]]:
    """The few recipes with the highest scores, those with the same score in the order of the table."""
    order = np.argsort(-np.where(np.isfinite(scores), scores, -np.inf), kind="stable")
    return list(recipes[order[:TASTED_STARTS]])


def _rounded_to_allowed(
    tasted: Float[np.ndarray, "recipes d"], allowed: Allowed, scale: Float[np.ndarray, " d"]
) -> tuple[Float[np.ndarray, "recipes d"], Bool[np.ndarray, " recipes"]]:
    """The recipes, those that are allowed but for rounding moved to the nearest allowed one; and which these are.

    The nearest one is clip(x − τ scale²), where τ, the multiplier of the total, is found by bisection.
    """
    nearest = np.clip(tasted, allowed.lower, allowed.upper)
    if allowed.total is not None:
        # A coordinate that moves freely moves by τ scale, in ranges: beyond this the recipe is no matter of rounding.
        low = np.full((len(tasted), 1), -2 * INSIDE / scale.min())
        high = -low
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            nearest = np.clip(tasted - middle * scale**2, allowed.lower, allowed.upper)
            is_heavy = nearest.sum(axis=1, keepdims=True) > allowed.total
            low, high = np.where(is_heavy, middle, low), np.where(is_heavy, high, middle)
    is_allowed = np.linalg.norm((nearest - tasted) / scale, axis=1) <= INSIDE
    if allowed.total is not None:
        is_allowed &= np.isclose(nearest.sum(axis=1), allowed.total, rtol=EXACT, atol=EXACT * scale.min())
    return np.where(is_allowed[:, None], nearest, tasted), is_allowed


def _oracle(
    recipes: Float[np.ndarray, "recipes d"],
    is_allowed: Bool[np.ndarray, " recipes"],
    allowed: Allowed,
    scale: Float[np.ndarray, " d"],
) -> Oracle | None:
    """What gives the allowed mixture that is best along a gradient; None where no mixture is allowed."""
    if not len(recipes):
        return None
    if is_allowed.all():
        return lambda gradient: recipes[np.argmax(recipes @ gradient)]

    from scipy.optimize import linprog

    excess = np.hstack([(recipes - allowed.upper) / scale, (allowed.lower - recipes) / scale])
    excess = excess[:, (excess > 0).any(axis=0)]  # only a bound that some recipe breaks can bind a mixture
    off_total = np.zeros((len(recipes), 0))
    if allowed.total is not None:
        off_total = (recipes.sum(axis=1, keepdims=True) - allowed.total) / scale.max()
    equal = np.hstack([np.ones((len(recipes), 1)), off_total])

    def solve(gains: Float[np.ndarray, " recipes"]) -> Any:
        return linprog(
            -gains,
            A_ub=excess.T,
            b_ub=np.zeros(excess.shape[1]),
            A_eq=equal.T,
            b_eq=np.eye(equal.shape[1])[0],
            method="highs-ds",
            # Many columns and a handful of dense rows: there is nothing to presolve, and it takes half the time.
            options={"presolve": False, "primal_feasibility_tolerance": EXACT, "dual_feasibility_tolerance": EXACT},
        )

    def best_along(gradient: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        gains = (recipes - recipes[0]) @ gradient
        found = solve(gains / (np.abs(gains).max() or 1.0))
        if found.x is None:
            raise RuntimeError(f"the linear program over the tasted recipes was not solved: {found.message}")
        return found.x @ recipes / found.x.sum()

    return None if solve(np.zeros(len(recipes))).x is None else best_along
