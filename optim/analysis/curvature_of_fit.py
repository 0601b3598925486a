"""How a training objective bends where a fit has ended: its Newton decrement, rank, condition and covariance.

The decrement δ = √(gᵀH⁻¹g) of the total objective is in units of standard errors: for every linear function a of the
coefficients |a·(θ − θ̂)| ≤ δ √(aᵀH⁻¹a) to second order (Boyd and Vandenberghe 2004, Convex Optimization, 9.5.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from optim.analysis.design import in_parts
from optim.analysis.identifiability import Determined

ROUNDING = 1e-12
"""Eigenvalues up to this share of the largest (diagonal entries scaled to 1) count as 0, a hundred times what float64
leaves of a sum over the cells."""
FLAT = 1e-6
"""The same for objectives that are not convex by their form: parameters in single precision leave residuals whose own
curvature is about so large."""


@dataclass(frozen=True, eq=False)
class Curvature:
    """Gradient and Hessian of a total training objective, in coordinates that the data determine.

    Attributes:
        basis: from the coordinates to the parameters; what the data say nothing of is left out.
        gradient: by the coordinates.
        eigenvalues: of the Hessian, rising.
        vectors: its eigenvectors, as columns.
        rounding: eigenvalues up to this share of the largest count as 0.
    """

    basis: Float64[np.ndarray, "p r"]
    gradient: Float64[np.ndarray, " r"]
    eigenvalues: Float64[np.ndarray, " r"]
    vectors: Float64[np.ndarray, "r r"]
    rounding: float = ROUNDING

    @classmethod
    def of(
        cls,
        gradient: Float64[np.ndarray, " p"],
        hessian: Float64[np.ndarray, "p p"],
        basis: Float64[np.ndarray, "p r"],
    ) -> Curvature:
        """From gradient and Hessian by the parameters, in coordinates in which each bends alike."""
        inner = basis.T @ hessian @ basis
        diagonal = np.sqrt(np.abs(np.diag(inner)))
        scale = np.where(diagonal > 0, diagonal, 1.0)
        scaled = inner / np.outer(scale, scale)
        values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
        return cls(basis / scale, basis.T @ gradient / scale, values, vectors)

    @property
    def _bends(self) -> np.ndarray:
        """Which eigenvalues are not 0."""
        return np.abs(self.eigenvalues) > self.rounding * max(np.abs(self.eigenvalues).max(initial=0.0), 1e-300)

    @property
    def rank(self) -> int:
        """How many independent directions bend."""
        return int(self._bends.sum())

    @property
    def is_convex(self) -> bool:
        """Whether no direction bends downwards: the objective may have a minimum here."""
        return not bool((self._bends & (self.eigenvalues < 0)).any())

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue that is not 0; infinite without one."""
        bent = np.abs(self.eigenvalues[self._bends])
        return float(bent.max() / bent.min()) if bent.size else np.inf

    @property
    def squared_decrement(self) -> float:
        """δ² of this part of the objective; infinite where it is not convex."""
        if not self.is_convex:
            return np.inf
        along = (self.vectors.T @ self.gradient)[self._bends]
        return float(np.sum(along**2 / self.eigenvalues[self._bends]))

    def _solve(self, columns: Float64[np.ndarray, "r n"]) -> Float64[np.ndarray, "r n"]:
        bent = self._bends
        vectors = self.vectors[:, bent]
        return vectors @ ((vectors.T @ columns) / self.eigenvalues[bent][:, None])

    def covariance(self, functionals: Float64[np.ndarray, "n p"]) -> Float64[np.ndarray, "n n"]:
        """Covariance of linear functions of the parameters by the curvature: A H⁻¹ Aᵀ."""
        inner = functionals @ self.basis
        return inner @ self._solve(inner.T)

    def variances(self, functionals: Float64[np.ndarray, "n p"]) -> Float64[np.ndarray, " n"]:
        """The diagonal of the covariance."""
        bent = self._bends
        roots = self.basis @ self.vectors[:, bent] / np.sqrt(np.abs(self.eigenvalues[bent]))

        def squares(part: slice) -> Float64[np.ndarray, " part"]:
            along = functionals[part] @ roots
            return np.einsum("nr,nr->n", along, along)

        return in_parts(len(functionals), squares)

    def sandwich(
        self, functionals: Float64[np.ndarray, "n p"], scores: Float64[np.ndarray, "p p"]
    ) -> Float64[np.ndarray, "n n"]:
        """Robust covariance A H⁻¹ B H⁻¹ Aᵀ, with B the sum of the outer products of scores (White 1982)."""
        inner = self._solve((functionals @ self.basis).T)
        return inner.T @ (self.basis.T @ scores @ self.basis) @ inner


def basis_of(determined: Determined) -> Float64[np.ndarray, "m rank"]:
    """From coordinates that a design determines to its coefficients."""
    if determined.all:
        return np.diag(1 / determined.lengths)
    left, _, _ = np.linalg.svd(determined.null, full_matrices=True)
    return left[:, determined.coefficients - determined.rank :] / determined.lengths[:, None]


def decrement(parts: Sequence[Curvature]) -> float:
    """δ of an objective that is a sum over parts without a parameter in common."""
    return float(np.sqrt(sum(part.squared_decrement for part in parts)))


Products = Callable[[Float64[np.ndarray, "k p"]], Float64[np.ndarray, "k p"]]
"""Directions, one a row → Hessian times each of them."""


def dense(gradient: Float64[np.ndarray, " p"], products: Products) -> Curvature:
    """The curvature from Hessian–vector products, one for each parameter."""
    hessian = products(np.eye(len(gradient)))
    return Curvature(np.eye(len(gradient)), gradient, *np.linalg.eigh((hessian + hessian.T) / 2), FLAT)


def krylov(gradient: Float64[np.ndarray, " p"], products: Products, steps: int) -> Curvature:
    """The curvature on the Krylov space of the gradient, by so many steps of Lanczos with full reorthogonalisation.

    δ² there is ‖g‖² e₁ᵀT⁻¹e₁, what conjugate gradients would have reached: it rises to the true one. The eigenvalues of
    T lie between those of the Hessian, so that a negative one proves that this is no minimum.
    """
    size = float(np.linalg.norm(gradient))
    if not size:
        return Curvature(np.zeros((len(gradient), 0)), np.zeros(0), np.zeros(0), np.zeros((0, 0)), FLAT)
    most = min(steps, len(gradient))
    basis, images, done = np.empty((most, len(gradient))), np.empty((most, len(gradient))), 0
    following = gradient / size
    while done < most:
        basis[done] = following
        (images[done],) = products(basis[done][None])
        done += 1
        rest = images[done - 1]
        for _ in range(2):  # once more, for what rounding has left
            rest = rest - basis[:done].T @ (basis[:done] @ rest)
        length = float(np.linalg.norm(rest))
        if length <= ROUNDING * float(np.linalg.norm(images[done - 1])):
            break
        following = rest / length
    space = basis[:done]
    inner = space @ images[:done].T
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    return Curvature(space.T, space @ gradient, values, vectors, FLAT)
