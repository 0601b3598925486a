"""How much a score differs between recipes: what its slopes and its differences are measured by.

Neither a constant that is added to a score nor a factor changes what is best, so neither may change what passes for a
peak. The size of a score is thus no measure of its slopes; what it differs by is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

ROUNDING = 4.0
"""What passes for the rounding of a score, in units of the last place."""


@dataclass(frozen=True)
class Yardstick:
    """By what a score is measured.

    Attributes:
        unit: how much it differs between recipes; 0 where it is the same everywhere, and flat.
        rounding: what its differences are lost in, at the size that it has.
    """

    unit: float
    rounding: float

    def passes_for_zero(self, share: float) -> float:
        """The largest slope that is told from none, given as a share of the unit.

        Of a score that is the same everywhere to its rounding, a slope within that is none.
        """
        return share * self.unit if self.unit > self.rounding else self.rounding

    def passes_for_equal(self, share: float) -> float:
        """The largest difference of equal scores, given as a share of the unit: rounding tells no scores apart."""
        return max(share * self.unit, self.rounding)

    def is_too_coarse(self, share: float) -> bool:
        """Whether differences of that share of the unit are lost in the rounding of a score that is not flat."""
        return 0 < share * self.unit < self.rounding


def yardstick(
    top: float, values: Float[np.ndarray, " points"], slopes: Float[np.ndarray, " points"], precision: float
) -> Yardstick:
    """How much a score differs between recipes that nobody has trained.

    At each of them it differs by what it lacks of the best, or by its slope over a range where that is more: at a
    recipe that happens to be near the best, or beside a peak that is narrow, one of the two says little. The median is
    taken, so that a cliff that some of them lie behind counts no more than another recipe, over those where there is a
    difference at all: a plateau says nothing about the rest. Twice the median is about the range of the differences.

    Args:
        top: the highest score that is known.
        values: scores of the recipes. What is not finite is left out.
        slopes: their largest slopes along allowed directions, per range.
        precision: relative distance of neighbouring numbers, in the precision of the scores.
    """
    if not np.isfinite(top):
        return Yardstick(0.0, 0.0)
    rounding = ROUNDING * precision * abs(top)
    differences = np.maximum(np.abs(top - values), slopes)
    differences = differences[np.isfinite(differences)]
    visible = differences[differences > rounding]
    unit = 2 * np.median(visible) if len(visible) else differences.max(initial=0.0)
    return Yardstick(float(unit), rounding)
