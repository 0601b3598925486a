"""Where a recipe stands among the recipes that were tasted: in their convex hull, and by its leverage."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

INSIDE = 1e-3
"""Distance from the hull, in ranges, that counts as none: a printed table rounds its recipes to about three digits, and
an answer in single precision is known no better than its optimizer has settled."""

OUTSIDE_ROW_SPACE = 1e-6
"""Part of a row that the tasted rows cannot express: more than the rounding of an answer in single precision."""


@dataclass(frozen=True)
class Place:
    """Where a point lies with respect to the mixtures of tasted recipes.

    Attributes:
        inside: whether it is such a mixture, to rounding.
        distance: from the nearest mixture, Euclidean, every coordinate in its range; 0 inside.
        nearest: the nearest mixture, in the units of the point; the point itself inside.
        beyond: point − nearest.
    """

    inside: bool
    distance: float
    nearest: Float[np.ndarray, " d"]
    beyond: Float[np.ndarray, " d"]


@dataclass(frozen=True)
class Leverage:
    """How far a row of features lies from the data, in the metric of the data.

    Attributes:
        value: of the row; infinite where the data say nothing about its direction.
        largest_tasted: the largest of one response to a tasted recipe; 0 where none was tasted.
    """

    value: float
    largest_tasted: float


def place_in_hull(
    point: Float[np.ndarray, " d"], tasted: Float[np.ndarray, "recipes d"], scale: Float[np.ndarray, " d"]
) -> Place:
    """Where `point` lies with respect to the convex hull of the tasted recipes, which may be flat or a single point.

    Args:
        point: a recipe.
        tasted: the recipes that were tasted, in the same units; repeated ones do no harm.
        scale: range of each coordinate, by which distances are measured; positive.

    Raises:
        ValueError: if no recipe was tasted, or a number is not finite.
    """
    if not len(tasted):
        raise ValueError("no recipe was tasted: there is no hull to be inside of")
    from_point = (tasted - point) / scale
    if _is_surrounded(from_point):
        return Place(True, 0.0, point.copy(), np.zeros_like(point))
    from scipy.optimize import nnls

    # Least ‖Aλ‖² + h² (1 − Σλ)² over λ ≥ 0, where the columns of A are the recipes as seen from the point. Write λ = tμ
    # with Σμ = 1: at a given μ, ‖Aμ‖ = d is the distance of that mixture, and the best t = h²/(h² + d²) leaves
    # h²d²/(h² + d²), which grows with d. So μ = λ/Σλ is the nearest mixture itself, not an approximation of it.
    # Any height h will do; that of the nearest recipe keeps t away from 0 for points far away.
    height = max(1.0, float(np.linalg.norm(from_point, axis=1).min()))
    system = np.vstack([from_point.T, np.full(len(tasted), height)])
    wanted = np.append(np.zeros(len(point)), height)
    weights, _ = nnls(system, wanted, maxiter=10 * sum(system.shape))
    gap = (weights / weights.sum()) @ from_point
    distance = float(np.linalg.norm(gap))
    if distance <= INSIDE:
        return Place(True, 0.0, point.copy(), np.zeros_like(point))
    return Place(False, distance, point + gap * scale, -gap * scale)


def _is_surrounded(from_point: Float[np.ndarray, "recipes d"]) -> bool:
    """Whether a mixture that is quick to find is the point itself; it may be one even if not.

    Of all weights with Σλ = 1 and Σ λᵢ rᵢ = 0 those with the least Σ λᵢ²/wᵢ, where wᵢ falls with the distance from the
    point, are linear in w: no weight is negative for most points with recipes all around. (It spares importing SciPy.)
    """
    system = np.vstack([from_point.T, np.ones(len(from_point))])
    squares = np.sum(from_point**2, axis=1)
    for width in (1.0, 0.3, 0.1):
        near = np.exp(-squares / (2 * width * max(float(np.median(squares)), 1e-300)))
        weighted = system * near
        multipliers, *_ = np.linalg.lstsq(weighted @ system.T, np.eye(len(system))[-1], rcond=None)
        mixture = near * (multipliers @ system)
        if (mixture >= 0).all() and np.linalg.norm(mixture @ from_point) <= INSIDE and abs(mixture.sum() - 1) <= INSIDE:
            return True
    return False


def leverage(
    row: Float[np.ndarray, " k"], rows: Float[np.ndarray, "recipes k"], counts: Float[np.ndarray, " recipes"]
) -> Leverage:
    """x (XᵀNX)⁺ x: the variance of the fitted value at x, in units of the variance of one response.

    The definition is that of the diagonal of the hat matrix (Hoaglin and Welsch 1978), for a row that need not be one
    of the data.

    Args:
        row: the features x.
        rows: features X of the recipes that were tasted. In double precision: rows of single precision that depend on
            each other appear to be independent by their rounding.
        counts: responses to each recipe, the diagonal of N.
    """
    weighted = np.sqrt(counts)[:, None] * rows
    norms = np.linalg.norm(weighted, axis=0)
    # Columns of one length, so that neither the rank nor the row space depends on the units of the features.
    lengths = np.where(norms > 0, norms, 1.0)
    left, singular, right = np.linalg.svd(weighted / lengths, full_matrices=False)
    seen = singular > max(rows.shape) * np.finfo(float).eps * singular.max(initial=0.0)
    left, singular, right = left[:, seen], singular[seen], right[seen]
    tasted = counts > 0
    largest = float(((left[tasted] ** 2).sum(axis=1) / counts[tasted]).max(initial=0.0))
    scaled = row / lengths
    along = right @ scaled
    unseen = np.linalg.norm(scaled - along @ right)
    if row[norms == 0].any() or unseen > OUTSIDE_ROW_SPACE * np.linalg.norm(scaled):
        return Leverage(math.inf, largest)
    return Leverage(float(((along / singular) ** 2).sum()), largest)
