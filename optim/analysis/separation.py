"""Separated likes: where some combination of the terms tells likes from dislikes, coefficients have no finite value.

Albert and Anderson (1984), "On the existence of maximum likelihood estimates in logistic regression models"; the linear
program is that of Konis (2007), with which separated responses are found as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from optim.analysis.design import Block
from optim.analysis.identifiability import Determined, determined_by

STRICT = 1e-6
"""A program's variable above this is not 0, where its scale is 1."""


@dataclass(frozen=True, eq=False)
class Separation:
    """A direction in which the likelihood of a block only rises.

    Attributes:
        complete: every response is on its side; else (quasi-complete) some stand on the border.
        direction: a direction that separates as many cells as any: theta runs away along it.
        separated: which cells are strictly on their side.
        determined: what the other cells determine; nothing else has a finite value.
        rises, falls: coefficients (in the user's units) that only rise, or only fall, along every such direction.
        text: what was found, in words.
    """

    complete: bool
    direction: Float64[np.ndarray, " m"]
    separated: Bool[np.ndarray, " cells"]
    determined: Determined
    rises: tuple[str, ...]
    falls: tuple[str, ...]
    text: str

    def side_of(self, row: Float64[np.ndarray, " m"]) -> str:
        """What is known of a recipe that no finite utility is known for: `liked`, `disliked` or nothing."""
        if self.determined.sees(row[None])[0]:
            return ""
        value = float(row @ self.direction)
        return "liked" if value > 0 else "disliked" if value < 0 else ""


def separation_of(block: Block) -> Separation | None:
    """Whether the likes of a block are separated, by a linear program over its cells (HiGHS).

    Maximise Σ tᵢ over β and 0 ≤ t ≤ 1 with tᵢ ≤ sᵢ xᵢ·β, where s is 1 in cells that were always liked and −1 in those
    that never were, and xᵢ·β = 0 in the others. As β may be scaled, tᵢ ends at 1 in every cell that some direction
    separates strictly, and at 0 in the others.

    Returns:
        None where there is a finite maximum of the likelihood (up to what the rows do not determine).
    """
    from scipy.optimize import linprog

    cells, count = block.rows.shape
    if not cells:
        return None
    lengths = np.linalg.norm(block.rows, axis=0)
    rows = block.rows / np.where(lengths > 0, lengths, 1.0)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    mixed = (block.likes > 0) & (block.dislikes > 0)
    side = np.where(block.likes > 0, 1.0, -1.0)
    signed, tied = (rows * side[:, None])[~mixed], rows[mixed]
    pure = len(signed)
    if not pure:
        return None
    found = linprog(
        np.concatenate([np.zeros(count), -np.ones(pure)]),
        A_ub=np.concatenate([-signed, np.eye(pure)], axis=1),
        b_ub=np.zeros(pure),
        A_eq=np.concatenate([tied, np.zeros((len(tied), pure))], axis=1) if len(tied) else None,
        b_eq=np.zeros(len(tied)) if len(tied) else None,
        bounds=[(None, None)] * count + [(0.0, 1.0)] * pure,
        method="highs",
    )
    strict = found.x[count:] > 0.5 if found.status == 0 else np.zeros(pure, bool)
    if not strict.any():
        return None
    separated = np.zeros(cells, bool)
    separated[np.flatnonzero(~mixed)[strict]] = True
    direction = found.x[:count] / np.where(lengths > 0, lengths, 1.0)
    rises, falls = _monotone(block, signed, tied, lengths)
    complete = bool(separated.all())
    return Separation(
        complete=complete,
        direction=direction,
        separated=separated,
        determined=determined_by(block.rows[~separated]),
        rises=rises,
        falls=falls,
        text=_text(block, complete, separated),
    )


def _monotone(
    block: Block,
    signed: Float64[np.ndarray, "pure m"],
    tied: Float64[np.ndarray, "mixed m"],
    lengths: Float64[np.ndarray, " m"],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The coefficients that have one sign along all the directions that separate."""
    from scipy.optimize import linprog

    to_user = block.to_user / np.where(lengths > 0, lengths, 1.0)
    rises, falls = [], []
    for name, row in zip(block.names, to_user, strict=True):
        if name == "constant":
            continue
        cost = row / np.abs(row).max()
        extremes = []
        for sign in (1.0, -1.0):
            found = linprog(
                sign * cost,
                A_ub=-signed,
                b_ub=np.zeros(len(signed)),
                A_eq=tied if len(tied) else None,
                b_eq=np.zeros(len(tied)) if len(tied) else None,
                bounds=(-1.0, 1.0),
                method="highs",
            )
            extremes.append(sign * found.fun if found.status == 0 else np.nan)
        least, most = extremes
        if least >= -STRICT and most > STRICT:
            rises.append(name)
        elif most <= STRICT and least < -STRICT:
            falls.append(name)
    return tuple(rises), tuple(falls)


def _text(block: Block, complete: bool, separated: Bool[np.ndarray, " cells"]) -> str:
    """`everything with sugar of 1.75 and more was liked, everything with 1.5 and less was not`."""
    kind = "the likes are separated" if complete else "some likes are separated"
    single = _single(block) if complete else ""
    if single:
        return f"{block.place}{kind}: {single}"
    share = f"{int(separated.sum())} of {len(separated)} recipes" if not complete else "every recipe"
    return f"{block.place}{kind}: a combination of the terms tells those liked from those not ({share})"


def _single(block: Block) -> str:
    """The feature that separates the likes by itself, in words; empty where none does."""
    liked, disliked = block.likes > 0, block.dislikes > 0
    for name, column in zip(block.feature_names, block.features.T, strict=True):
        if not liked.any() or not disliked.any():
            continue
        for this, that, words in ((liked, disliked, ("more", "less")), (disliked, liked, ("less", "more"))):
            if column[this].min() > column[that].max():
                high, low = column[this].min(), column[that].max()
                above, below = ("was liked", "was not") if words[0] == "more" else ("was not liked", "was")
                return (
                    f"everything with {name} of {high:.6g} or more {above}, everything with {low:.6g} or less {below}"
                )
    return ""
