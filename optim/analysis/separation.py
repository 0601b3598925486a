"""Separated likes: where some combination of the terms tells likes from dislikes, coefficients have no finite value.

Albert and Anderson (1984), "On the existence of maximum likelihood estimates in logistic regression models"; the linear
program is that of Konis (2007), with which separated responses are found as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from optim.analysis.curvature_of_fit import basis_of
from optim.analysis.design import Block
from optim.analysis.identifiability import Determined, determined_by
from optim.config.numbers import number
from optim.models.coefficients import CONSTANT

Vector = Float64[np.ndarray, " n"]
STRICT = 1e-6
"""A program's variable above this is not 0, where its scale is 1."""


@dataclass(frozen=True, eq=False)
class Cone:
    """The directions β along which the likelihood of a block does not fall: signed @ β ≥ 0 and tied @ β = 0.

    Attributes:
        basis: from β to theta; what the rows do not determine has no part in it.
        signed: rows of cells that were always liked, and of those that never were, negated.
        tied: rows of the other cells.
    """

    basis: Float64[np.ndarray, "m r"]
    signed: Float64[np.ndarray, "pure r"]
    tied: Float64[np.ndarray, "mixed r"]

    @classmethod
    def of(cls, block: Block, determined: Determined) -> Cone:
        """Of a block; its rows have length 1 here."""
        basis = basis_of(determined)
        rows = block.rows @ basis
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(float).tiny)
        mixed = (block.likes > 0) & (block.dislikes > 0)
        side = np.where(block.likes > 0, 1.0, -1.0)
        return cls(basis, (rows * side[:, None])[~mixed], rows[mixed])

    def strictest(self) -> tuple[Float64[np.ndarray, " r"], Bool[np.ndarray, " pure"]]:
        """A direction that is strictly on the right side of as many pure cells as any, and which they are."""
        from scipy import sparse

        pure, count = self.signed.shape
        nothing = np.zeros(count), np.zeros(pure, bool)
        if not pure or not count or not self._is_open():
            return nothing
        found = self._solved(
            np.concatenate([np.zeros(count), -np.ones(pure)]),
            sparse.hstack([sparse.csr_array(-self.signed), sparse.eye_array(pure)]),
            sparse.hstack([sparse.csr_array(self.tied), sparse.csr_array((len(self.tied), pure))]),
            [(None, None)] * count + [(0.0, 1.0)] * pure,
        )
        return found[:count], found[count:] > 0.5

    def _is_open(self) -> bool:
        """Whether any direction is strictly on a side: Σ sᵢ xᵢ·β has a positive maximum over −1 ≤ β ≤ 1."""
        size = float(np.abs(self.signed.sum(axis=0)).max(initial=0.0))
        if not size:
            return False
        found = self._solved(-self.signed.sum(axis=0) / size, -self.signed, self.tied, (-1.0, 1.0))
        return float(np.max(self.signed @ found, initial=0.0)) > STRICT

    @staticmethod
    def _solved(cost: Vector, at_most_0: Any, exactly_0: Any, bounds: Any) -> Vector:
        """The solution of a linear program.

        Raises:
            RuntimeError: HiGHS does not solve it.
        """
        from scipy.optimize import linprog

        rows = exactly_0.shape[0]
        found = linprog(
            cost,
            A_ub=at_most_0,
            b_ub=np.zeros(at_most_0.shape[0]),
            A_eq=exactly_0 if rows else None,
            b_eq=np.zeros(rows) if rows else None,
            bounds=bounds,
            method="highs",
        )
        if found.status != 0:
            raise RuntimeError(f"HiGHS did not solve the program for separated likes: {found.message}")
        return np.asarray(found.x, float)

    def sign_of(self, functional: Float64[np.ndarray, " m"]) -> int:
        """Sign of a linear function of theta along all directions of the cone; 0 where it has both, or none."""
        cost = functional @ self.basis
        size = float(np.abs(cost).max(initial=0.0))
        if not size:
            return 0
        cost = cost / size
        least, most = (
            float(cost @ self._solved(sign * cost, -self.signed, self.tied, (-1.0, 1.0))) for sign in (1.0, -1.0)
        )
        if least >= -STRICT and most > STRICT:
            return 1
        return -1 if most <= STRICT and least < -STRICT else 0


@dataclass(frozen=True, eq=False)
class Separation:
    """That some likes of a block are separated: the likelihood only rises along some directions.

    Attributes:
        cone: the directions along which it does not fall.
        direction: one that separates as many cells as any; theta runs away along such ones.
        complete: every response is on its side; else (quasi-complete) some stand on the border.
        separated: which cells some direction has strictly on their side.
        determined: what the other cells determine; nothing else has a finite value.
        rises, falls: coefficients (in the user's units) that only rise, or only fall, along every such direction.
        text: what was found, in words.
    """

    cone: Cone
    direction: Float64[np.ndarray, " m"]
    complete: bool
    separated: Bool[np.ndarray, " cells"]
    determined: Determined
    rises: tuple[str, ...]
    falls: tuple[str, ...]
    text: str

    def side_of(self, row: Float64[np.ndarray, " m"]) -> str:
        """On which side a recipe without a finite utility is, by every direction: `liked`, `disliked` or nothing."""
        return {1: "liked", -1: "disliked", 0: ""}[self.cone.sign_of(row)]


def separation_of(block: Block) -> Separation | None:
    """Whether the likes of a block are separated, by a linear program over its cells (HiGHS).

    Maximise Σ tᵢ over β and 0 ≤ t ≤ 1 with tᵢ ≤ sᵢ xᵢ·β, where s is 1 in cells that were always liked and −1 in those
    that never were, and xᵢ·β = 0 in the others. As β may be scaled, tᵢ ends at 1 in every cell that some direction
    separates strictly, and at 0 in the others.

    Returns:
        None where there is a finite maximum of the likelihood (up to what the rows do not determine).

    Raises:
        RuntimeError: HiGHS does not solve the program, which has a solution.
    """
    if not len(block.rows):
        return None
    cone = Cone.of(block, determined_by(block.rows))
    direction, strict = cone.strictest()
    if not strict.any():
        return None
    pure = (block.likes == 0) | (block.dislikes == 0)
    separated = np.zeros(len(block.rows), bool)
    separated[np.flatnonzero(pure)[strict]] = True
    named = [(name, row) for name, row in zip(block.names, block.to_user, strict=True) if name != CONSTANT]
    signs = {name: cone.sign_of(row) for name, row in named}
    return Separation(
        cone=cone,
        direction=cone.basis @ direction,
        complete=bool(separated.all()),
        separated=separated,
        determined=determined_by(block.rows[~separated]),
        rises=tuple(name for name, sign in signs.items() if sign > 0),
        falls=tuple(name for name, sign in signs.items() if sign < 0),
        text=_text(block, separated),
    )


def _text(block: Block, separated: Bool[np.ndarray, " cells"]) -> str:
    """`everything with sugar of 1.75 and more was liked, everything with 1.5 and less was not`."""
    if not block.dislikes.any():
        return f"{block.place}everything was liked"
    if not block.likes.any():
        return f"{block.place}everything was disliked"
    if not separated.all():
        share = f"{int(separated.sum())} of {len(separated)} recipes"
        return f"{block.place}some likes are separated: a combination of the terms tells them from the others ({share})"
    single = _single(block) or "a combination of the terms tells every recipe that was liked from those that were not"
    return f"{block.place}the likes are separated: {single}"


def _single(block: Block) -> str:
    """The feature that separates the likes by itself, in words; empty where none does."""
    liked, disliked = block.likes > 0, block.dislikes > 0
    for name, column in zip(block.feature_names, block.features.T, strict=True):
        for high, low, above, below in (
            (column[liked].min(), column[disliked].max(), "was liked", "was not"),
            (column[disliked].min(), column[liked].max(), "was not liked", "was"),
        ):
            if high > low:
                more, less = f"of {number(high, 6)} or more {above}", f"{number(low, 6)} or less {below}"
                return f"everything with {name} {more}, everything with {less}"
    return ""
