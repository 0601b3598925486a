"""Two ways of taking a derivative compared along directions, and the search for the entry that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optim.autodiff.gradient_checks.finite_differences import Difference
from optim.autodiff.gradient_checks.flat_point import FlatPoint
from optim.autodiff.gradient_checks.report import GradientRow, Kind

# Of a point and a direction: one number, or one a component.
Along = Callable[[Array, Array], Array]
Reference = Callable[[Array, Array], Difference]


@dataclass(frozen=True, eq=False)
class Compared:
    """Derivatives along one direction, what they were compared with, and how far the two may lie apart."""

    derivative: Float[np.ndarray, "*s"]
    reference: Float[np.ndarray, "*s"]
    allowed: Float[np.ndarray, "*s"]

    @property
    def excess(self) -> Float[np.ndarray, "*s"]:
        """The errors as multiples of what is allowed; infinite where a number is not finite."""
        with np.errstate(all="ignore"):
            error = np.abs(self.derivative - self.reference)
            excess = np.where(error == 0.0, 0.0, error / self.allowed)
        return np.where(np.isfinite(error), excess, np.inf)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A way of differentiating against a reference, at a point.

    Attributes:
        tolerance: relative tolerance.
        least: what every reference counts as at least.
    """

    derivative: Along
    reference: Reference
    x: Float[Array, " n"]
    tolerance: float
    least: float

    def along(self, direction: Float[np.ndarray, " n"], reference: Difference | None = None) -> Compared:
        """Compare along a direction; `reference` is given where it is known already."""
        v = jnp.asarray(direction)
        reference = self.reference(self.x, v) if reference is None else reference
        derivative, known = np.asarray(self.derivative(self.x, v), np.float64), reference.derivative
        allowed = np.asarray(self.tolerance * (np.abs(known) + self.least) + reference.rounding)
        return Compared(derivative, known, allowed)


def worst_row(
    kind: Kind,
    comparison: Comparison,
    directions: Float[np.ndarray, "m n"],
    references: Sequence[Difference],
    point: FlatPoint,
) -> GradientRow:
    """The entry that exceeds most what is allowed, or comes closest to it, over all directions."""
    compared = [comparison.along(*pair) for pair in zip(directions, references, strict=True)]
    excess = np.stack([one.excess for one in compared])
    which, *entry = (int(index) for index in np.unravel_index(np.argmax(excess), excess.shape))
    direction, found = directions[which], compared[which]
    if excess[(which, *entry)] > 1.0:
        direction = _narrowed(direction, lambda part: float(comparison.along(part).excess[tuple(entry)]))
        found = comparison.along(direction)
    name, unit = _name_and_unit(kind, direction, entry, point)
    derivative, reference, allowed = (
        float(array[tuple(entry)]) for array in (found.derivative, found.reference, found.allowed)
    )
    return GradientRow(kind, name, derivative / unit, reference / unit, allowed / abs(unit))


def _narrowed(direction: Float[np.ndarray, " n"], excess: Callable[[np.ndarray], float]) -> Float[np.ndarray, " n"]:
    """Halve the components of a direction that fails, for as long as one half fails by itself."""
    while (support := np.flatnonzero(direction)).size > 1:
        halves = [np.zeros_like(direction), np.zeros_like(direction)]
        for half, part in zip(halves, np.array_split(support, 2), strict=True):
            half[part] = direction[part]
        excesses = [excess(half) for half in halves]
        # Not finite in both: a derivative of 0 · inf taints every direction, and no half is to blame.
        if max(excesses) <= 1.0 or min(excesses) == np.inf:
            break
        direction = halves[int(np.argmax(excesses))]
    return direction


def _name_and_unit(
    kind: Kind, direction: Float[np.ndarray, " n"], entry: list[int], point: FlatPoint
) -> tuple[str, float]:
    """What an entry is called, and what turns its derivative into the units of the point."""
    support = np.flatnonzero(direction)
    if support.size == 1:
        name, unit = point.names[support[0]], float(direction[support[0]] * point.size[support[0]])
    else:
        every = (
            "all " if support.size == direction.size else f"{point.names[support[0]]} … {point.names[support[-1]]}, "
        )
        name, unit = f"({every}{support.size} together)", 1.0
    if kind == "forward over forward":
        return f"{name}, {name}", unit**2
    for component in entry:
        name, unit = f"{point.names[component]}, {name}", unit * float(point.size[component])
    return name, unit
