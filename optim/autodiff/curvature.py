"""How a function bends at a point: along which directions, how strongly, and what that makes of the point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from optim.autodiff.labels import Labelled
from optim.autodiff.matrices import hessian
from optim.autodiff.text_tables import number_text, text_table

Verdict = Literal["peak", "valley", "saddle", "flat"]
ZERO_WITHIN = 10.0
"""How far from zero an eigenvalue counts as zero: in machine epsilons of the largest one, for each variable."""

VECTORS_SHOWN_TO = 1e-4
"""Of the components of unit vectors: the digits that all processors agree on where eigenvalues are apart."""


class Curvature(NamedTuple):
    """Eigenvalues and eigenvectors of a Hessian. A pytree.

    Attributes:
        eigenvalues: second derivatives along the directions, ascending.
        directions: the unit vectors that belong to them, one a row; the columns are the variables. The sign of each is
            such that its largest component is positive. Where eigenvalues coincide, the directions are one choice of
            many, and have no derivative.
    """

    eigenvalues: Float[Array, "*batch n"]
    directions: Labelled

    @property
    def verdict(self) -> Verdict:
        """The shape of the function to second order; what the point is, if the gradient vanishes there.

        An eigenvalue counts as zero if it is below 10 n machine epsilons of the largest absolute one.

        - `peak`: all eigenvalues are negative. `valley`: all are positive.
        - `saddle`: some are negative and some positive, whatever the others.
        - `flat`: some are zero, and the others have one sign or there are no others: along some direction the second
          derivatives do not tell whether the function rises or falls. So a ridge, a trough and a plane are flat.

        Raises:
            ValueError: an eigenvalue is not finite, or there is a batch of points.
        """
        eigenvalues = self._of_one_point()
        if not np.isfinite(eigenvalues).all():
            raise ValueError(f"no verdict: the eigenvalues are {eigenvalues}")
        zero = ZERO_WITHIN * eigenvalues.size * np.finfo(eigenvalues.dtype).eps * np.abs(eigenvalues).max()
        falls, rises = eigenvalues < -zero, eigenvalues > zero
        if falls.any() and rises.any():
            return "saddle"
        if falls.all():
            return "peak"
        return "valley" if rises.all() else "flat"

    def _of_one_point(self) -> np.ndarray:
        eigenvalues = np.asarray(self.eigenvalues)
        if eigenvalues.ndim != 1:
            raise ValueError(f"this is the curvature at points of shape {eigenvalues.shape[:-1]}: take one of them")
        return eigenvalues

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What a notebook shows: verdict and directions."""
        printer.text(str(self))

    def __str__(self) -> str:
        """The verdict, and a line for each direction."""
        eigenvalues = self._of_one_point()
        # Their digits beyond that differ from one processor to the next.
        rounding = float(eigenvalues.size * np.finfo(eigenvalues.dtype).eps * np.abs(eigenvalues).max(initial=0))
        texts = [number_text(value, rounding) for value in eigenvalues]
        rows = [text.rjust(max(map(len, texts))) for text in texts]
        vectors = np.asarray(self.directions.values)
        table = text_table(rows, self.directions.names(1), vectors, corner="eigenvalue", resolution=VECTORS_SHOWN_TO)
        return f"{self.verdict}\n{table}"


def curvature(f: Callable[[Any], PyTree[Array]]) -> Callable[[PyTree[ArrayLike]], Curvature]:
    """The eigenvalues and eigenvectors of a function's Hessian, as a function of the point.

    Args:
        f: maps a tree of real arrays to one real number.

    Returns:
        A function that gives the curvature, and raises as that of `hessian`.
    """

    def at(point: PyTree[ArrayLike]) -> Curvature:
        matrix = hessian(f)(point)
        eigenvalues, vectors = jnp.linalg.eigh(matrix.values)
        directions = vectors.T
        largest = jnp.argmax(jnp.abs(directions), axis=1, keepdims=True)
        signs = jnp.sign(jnp.take_along_axis(directions, largest, axis=1))
        return Curvature(eigenvalues, Labelled(signs * directions, (None, matrix.labels[1])))

    return at
