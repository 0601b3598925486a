"""How sure the coefficients of a fit are, and P(like) of a recipe: standard errors, robust ones, and intervals.

Standard errors are those of the observed information; beside them stands the sandwich by customer, which holds where a
customer's responses depend on one another (White 1982, "Maximum likelihood estimation of misspecified models"; Liang
and Zeger 1986), without a correction for few customers. Intervals are Wald's at 95 %; those of P(like) are taken on the
scale of the logit, so that they stay between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from optim.analysis.design import Design, stacked
from optim.analysis.evidence import BlockEvidence, Slopes
from optim.analysis.verdicts import CHECKED, NOT_DETERMINED, NOT_KNOWN, Status
from optim.data.panel import Panel
from optim.data.tallies import Tally

NORMAL = 1.959963984540054
"""The standard normal's 97.5 % point."""
ROWS = 2**17
"""Responses whose scores are laid out at once."""


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty."""

    value: float
    standard_error: float
    robust_standard_error: float

    @property
    def z(self) -> float:
        """The value in standard errors."""
        return self.value / self.standard_error if self.standard_error > 0 else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval."""
        return self.value - NORMAL * self.standard_error, self.value + NORMAL * self.standard_error


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a block's customers: the gradients of their losses by theta.

    Attributes:
        outer: Σ s sᵀ.
        customers: how many customers there are. Few say nothing of how customers differ.
    """

    outer: Float64[np.ndarray, "m m"]
    customers: int


def customer_scores(
    design: Design, counted: Tally, panel: Panel, group: Int[np.ndarray, " customers"], slopes: Slopes
) -> tuple[Scores, ...]:
    """The scores of each block."""
    rows = stacked([block.rows for block in design.blocks])
    first, _ = slopes(design.utilities)
    like = panel.like[counted.counted]
    residual = counted.weight * np.where(like, first[0, counted.of_response], first[1, counted.of_response])
    customer = panel.customer_of_response()[counted.counted]
    starts = np.flatnonzero(np.diff(customer, prepend=-1))
    sums = np.zeros((len(design.blocks), rows.shape[1], rows.shape[1]))
    block = np.array(design.block_of_group)[group[customer[starts]]]
    customers = np.bincount(block, minlength=len(sums))
    begin = 0
    while begin < len(starts):
        end = max(begin + 1, int(np.searchsorted(starts, starts[begin] + ROWS)))
        last = starts[end] if end < len(starts) else len(residual)
        here = slice(starts[begin], last)
        scores = np.add.reduceat(
            residual[here, None] * rows[counted.of_response[here]], starts[begin:end] - starts[begin], axis=0
        )
        owners = block[begin:end]
        for index in np.unique(owners):
            own = scores[owners == index]
            sums[index] += own.T @ own
        begin = end
    return tuple(Scores(outer, int(count)) for outer, count in zip(sums, customers, strict=True))


def estimates(evidence: BlockEvidence, functionals: Float64[np.ndarray, "n m"], scores: Scores) -> list[Estimate]:
    """Linear functions of theta with their uncertainty, by the curvature of what was minimised.

    Where responses are weighted, as a mean over customers weights them, the standard error is that of independent
    responses with these weights.

    The robust standard error is NaN where there are no more customers than coefficients.
    """
    curvature, block = evidence.penalised, evidence.block
    values = functionals @ block.theta
    variances = curvature.variances(functionals)
    if not np.array_equal(block.squares, block.counts):  # of weighted responses the curvature is not the information
        variances = np.diag(curvature.sandwich(functionals, evidence.scatter))
    plain = np.sqrt(np.maximum(variances, 0.0))
    robust = np.sqrt(np.maximum(np.diag(curvature.sandwich(functionals, scores.outer)), 0.0))
    robust = robust if scores.customers > len(block.names) else np.full(len(plain), np.nan)
    return [Estimate(float(a), float(b), float(c)) for a, b, c in zip(values, plain, robust, strict=True)]


@dataclass(frozen=True)
class Liking:
    """P(like) of a recipe for some customers.

    Attributes:
        customers: how many they are.
        status: what the number is worth.
        mean: P(like); None where it is not determined or not known.
        logit_error: standard error of its logit.
        robust_logit_error: the same by the sandwich.
        text: why there is no number, or what is known in its place.
    """

    customers: int
    status: Status
    mean: float | None = None
    logit_error: float | None = None
    robust_logit_error: float | None = None
    text: str = ""

    def interval(self, error: float | None) -> tuple[float, float] | None:
        """95 % interval, from a standard error of the logit."""
        if self.mean is None or error is None or not np.isfinite(error) or not 0 < self.mean < 1:
            return None
        logit = float(np.log(self.mean) - np.log1p(-self.mean))
        return sigma(logit - NORMAL * error), sigma(logit + NORMAL * error)


def sigma(utility: float) -> float:
    """P(like) of a utility, whose logit it is."""
    return float(1 / (1 + np.exp(-utility))) if utility >= 0 else float(np.exp(utility) / (1 + np.exp(utility)))


@dataclass(frozen=True, eq=False)
class Standing:
    """A recipe in a block of a design, for the customers of one group.

    Attributes:
        evidence: of the block.
        row, offset: of the recipe: its utility is row @ theta + offset.
        scores: of the block's customers; None where no standard error is to be given.
        customers: how many are in the group.
        is_penalised: a penalty keeps the coefficients finite, whatever the data say.
    """

    evidence: BlockEvidence
    row: Float64[np.ndarray, " m"]
    offset: float
    scores: Scores | None
    customers: int
    is_penalised: bool = False


def liking_at(place: Standing) -> Liking:
    """P(like) of a recipe for one group."""
    evidence, row = place.evidence, place.row
    if not evidence.determined.sees(row[None])[0]:
        text = "the recipes that were tasted do not determine the utility of this one"
        return Liking(place.customers, NOT_DETERMINED, text=text)
    separation = evidence.separation
    if separation is not None and not place.is_penalised and not separation.determined.sees(row[None])[0]:
        side = separation.side_of(row)
        text = "likes are separated" + (f", and it is on the side that was {side}" if side else "")
        return Liking(place.customers, NOT_DETERMINED, text=text)
    utility = float(row @ evidence.block.theta) + place.offset
    if place.scores is None:
        return Liking(place.customers, CHECKED, sigma(utility))
    (estimate,) = estimates(evidence, row[None], place.scores)
    return Liking(place.customers, CHECKED, sigma(utility), estimate.standard_error, estimate.robust_standard_error)


def mean_liking(parts: Sequence[Liking], places: Sequence[Standing]) -> Liking:
    """P(like) over the customers of several groups.

    By the delta method: with g the gradient of P̄ = Σ w p by the coefficients, whose blocks are independent, P̄ has the
    variance gᵀH⁻¹g, and its logit the standard error √(gᵀH⁻¹g) / (P̄ (1 − P̄)).

    Args:
        parts: P(like) of each group that was asked.
        places: the recipe for each of them; none where there are no standard errors.
    """
    customers = sum(part.customers for part in parts)
    if not customers:
        return Liking(0, NOT_KNOWN, text="nobody was asked")
    if any(part.mean is None for part in parts):
        return Liking(customers, NOT_DETERMINED, text=next(part.text for part in parts if part.mean is None))
    means = np.array([part.mean for part in parts], float)
    weights = np.array([part.customers for part in parts]) / customers
    mean = float(weights @ means)
    if not places or any(place.scores is None for place in places) or not 0 < mean < 1:
        return Liking(customers, CHECKED, mean)
    gradients: dict[int, Float64[np.ndarray, " m"]] = {}
    blocks = {id(place.evidence): place for place in places}
    for place, slope in zip(places, weights * means * (1 - means), strict=True):
        key = id(place.evidence)
        gradients[key] = gradients.get(key, np.zeros_like(place.row)) + slope * place.row
    made = []
    for key, gradient in gradients.items():
        place = blocks[key]
        assert place.scores is not None
        made += estimates(place.evidence, gradient[None], place.scores)
    slope = mean * (1 - mean)
    plain = float(np.linalg.norm([one.standard_error for one in made])) / slope
    return Liking(
        customers, CHECKED, mean, plain, float(np.linalg.norm([one.robust_standard_error for one in made])) / slope
    )
