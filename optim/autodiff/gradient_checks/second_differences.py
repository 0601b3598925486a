"""Second derivatives along a direction from the values of a function alone, by central differences."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from optim.autodiff.gradient_checks.finite_differences import STEPS, Difference, difference_of


def second_difference_of(samples: Float[np.ndarray, " samples"], value: float, steepness: float) -> Difference:
    """Second derivative of f(x + t · direction) with respect to t at 0, from the values of `samples_along`.

    It is the first derivative of 2 (f(x + t · direction) − f(x)) / t, twice the slope of the chord from 0 to t.

    Args:
        samples: values of f along the direction.
        value: f(x).
        steepness: length of the gradient of f: by how much the rounding of x moves f.

    Returns:
        The derivative and its rounding, of shape (); NaN where no triple of steps is finite.
    """
    steps = np.concatenate([STEPS, -STEPS])
    known = samples.astype(np.float64)
    with np.errstate(all="ignore"):
        chords = 2.0 * (known - value) / steps
        # A chord magnifies the rounding of f and of x by 2 / t. `difference_of` takes what is rounded from the largest
        # number of a step: this one, whose own derivative is 0.
        magnitudes = 2.0 * (np.abs(known) + np.abs(value) + steepness) / np.abs(steps)
        columns = np.stack([chords, magnitudes], axis=1).astype(samples.dtype)
    both = difference_of(columns)
    return Difference(np.asarray(both.derivative[0]), np.asarray(both.rounding[0]))
