"""Which coefficients the data determine: rank, what can't be told apart, and in whose words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from optim.analysis.design import Block, is_constant
from optim.config.numbers import number
from optim.models.coefficients import CONSTANT

RANK = 1e-7
"""Singular values of the design (its columns of length 1) up to this share of the largest count as 0: what single
precision, or the digits of a table, tell apart from nothing."""
PLAIN = 1e-6
"""Squared singular values whose ratio is above this are known to ten digits from the columns' products alone."""
INDEPENDENT = 1e-9
"""A column of length 1 with less than this beside those before it depends on them. In the user's units columns are far
less independent than scaled ones, so it is closer to rounding."""
HARDLY = 300.0
"""A condition above this is worth a word (Belsley, Kuh and Welsch 1980 call 100 strong)."""
SEEN = 1e-5
"""A unit vector with a part up to this in directions that the data do not determine has none, for the same reason."""


@dataclass(frozen=True, eq=False)
class Determined:
    """What some rows of a design determine.

    Attributes:
        rank: how many independent combinations of the coefficients.
        coefficients: how many coefficients there are.
        condition: largest over smallest singular value that is not 0, of the design with columns of length 1.
        lengths: the lengths of the design's columns, 1 for those that are 0.
        null: orthonormal basis of the combinations that the rows say nothing of, in units of 1/lengths.
    """

    rank: int
    coefficients: int
    condition: float
    lengths: Float64[np.ndarray, " m"]
    null: Float64[np.ndarray, "m _"]

    @property
    def all(self) -> bool:
        """Whether every coefficient is determined."""
        return self.rank == self.coefficients

    def sees(self, functionals: Float64[np.ndarray, "rows m"], rounding: float = SEEN) -> Bool[np.ndarray, " rows"]:
        """Which linear functions of the coefficients are determined: those in the row space of the design.

        Args:
            functionals: one a row.
            rounding: which share of one may be rounding.
        """
        scaled = functionals / self.lengths
        size = np.linalg.norm(scaled, axis=1)
        hidden = np.linalg.norm(scaled @ self.null, axis=1)
        return hidden <= rounding * np.where(size > 0, size, 1.0)

    def determines(self, block: Block) -> Bool[np.ndarray, " m"]:
        """Which coefficients of a block, in the user's units, are determined one by one.

        What centres a feature makes a long functional of the constant: nothing but float64's own rounding is let pass.
        """
        return self.sees(block.to_user, RANK)


def determined_by(rows: Float64[np.ndarray, "rows m"]) -> Determined:
    """What some rows determine, by a singular value decomposition."""
    count = rows.shape[1]
    gram = rows.T @ rows
    lengths = np.sqrt(np.diag(gram))
    lengths = np.where(lengths > 0, lengths, 1.0)
    if not rows.size:
        return Determined(0, count, np.inf, lengths, np.eye(count))
    squares = np.linalg.eigvalsh(gram / np.outer(lengths, lengths))
    if squares[0] > PLAIN * squares[-1]:  # by far the most tables: no need to look at every row again
        return Determined(count, count, float(np.sqrt(squares[-1] / squares[0])), lengths, np.zeros((count, 0)))
    scaled = rows / lengths
    if len(scaled) > 4 * count:  # the triangle of a tall matrix has its singular values
        scaled = np.asarray(np.linalg.qr(scaled, mode="r"))
    _, values, directions = np.linalg.svd(scaled, full_matrices=True)
    rank = int(np.sum(values > RANK * values[0])) if values[0] > 0 else 0
    condition = float(values[0] / values[rank - 1]) if rank else np.inf
    return Determined(rank, count, condition, lengths, directions[rank:].T)


def reduction(block: Block, determined: Determined) -> tuple[tuple[str, ...], Float64[np.ndarray, "kept m"]] | None:
    """Coefficients to leave out so that the others are determined, and those others (user's units) from theta.

    Among all the coefficients that predict the same of everything tasted, the ones for which those left out are 0.
    Columns are taken in turn and left out where those before them say the same: features that vary first, then
    products, then the constant, and last what was always the same (so that the constant stays in its place).

    Returns:
        None where too few recipes were tasted for that to say anything: any choice of as many would do.
    """
    if block.distinct <= determined.rank or not determined.rank:
        return None
    rows = np.linalg.solve(block.to_user.T, block.rows.T).T  # utility = rows @ coefficients in the user's units
    lengths = np.linalg.norm(rows, axis=0)
    lengths = np.where(lengths > 0, lengths, 1.0)
    kept = _independent(rows / lengths, _order(block), determined.rank)
    if kept is None:
        return None
    solved, *_ = np.linalg.lstsq((rows / lengths)[:, kept], rows / lengths, rcond=None)
    names = tuple(name for index, name in enumerate(block.names) if index not in kept)
    return names, (solved / lengths[kept][:, None] * lengths) @ block.to_user


def _independent(columns: Float64[np.ndarray, "rows m"], order: list[int], rank: int) -> list[int] | None:
    """The first columns in an order that are independent of those before them; None where rounding hides some."""
    basis = np.zeros((len(columns), 0))
    kept: list[int] = []
    for index in order:
        rest = columns[:, index]
        for _ in range(2):  # once more, for what rounding has left
            rest = rest - basis @ (basis.T @ rest)
        size = float(np.linalg.norm(rest))
        if size > INDEPENDENT and len(kept) < rank:
            kept.append(index)
            basis = np.column_stack([basis, rest / size])
    return sorted(kept) if len(kept) == rank else None


def _order(block: Block) -> list[int]:
    """The columns in the order in which they are kept."""
    features = zip(block.feature_names, block.features.T, strict=True)
    constant = {name for name, column in features if is_constant(column)}

    def kind(name: str) -> int:
        if constant.intersection(name.split("*")):
            return 3
        return 2 if name == CONSTANT else 1 if "*" in name else 0

    return sorted(range(len(block.names)), key=lambda index: (kind(block.names[index]), index))


def reasons(block: Block, determined: Determined) -> tuple[str, ...]:
    """Why some coefficients of a block are not determined, in words; empty where all are."""
    if not len(block.rows):
        return (f"{block.place}nobody was asked",)
    if determined.all:
        return _hardly(block, determined)
    counts = f"{determined.coefficients} coefficients, {_count(block.distinct, 'distinct recipe')}: "
    found = [f"{block.place}{counts}rank {determined.rank}"]
    told = [*_always(block), *_relations(block)]
    return (*found, *(told or _alike(block, determined)))


def _hardly(block: Block, determined: Determined) -> tuple[str, ...]:
    """What is determined by the last digits of a table alone."""
    if determined.condition <= HARDLY:
        return ()
    text = (
        f"{block.place}the coefficients are hardly determined (condition {number(determined.condition, 2)}): one "
        "column of the design all but follows from the others, as where amounts have one sum but for rounding"
    )
    return (text,)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _where(block: Block) -> str:
    return f"in {block.group} " if block.group else ""


def _always(block: Block) -> list[str]:
    """Features that were always the same, where that leaves a coefficient open."""
    found = []
    for name, column in zip(block.feature_names, block.features.T, strict=True):
        if name in block.left_out or not is_constant(column):
            continue
        if not column[0]:
            found.append(f"{_where(block)}there was never any {name}, so nothing is known of what it does")
        elif block.has_constant:
            same = f"{_where(block)}{name} was always {number(column[0], 6)}"
            found.append(f"{same}, so what it does there cannot be told from the constant")
    return found


def _relations(block: Block) -> list[str]:
    """Linear relations between features that held in more recipes than it takes to determine them."""
    varying = [index for index, column in enumerate(block.features.T) if not is_constant(column)]
    columns = block.features[:, varying]
    if block.has_constant:  # else a sum that is constant takes its place
        columns = np.column_stack([columns, np.ones(len(columns))])
    determined = determined_by(columns)
    if determined.all or block.distinct <= determined.rank:
        return []
    vectors = _sparse(determined.null.T, len(varying)) / determined.lengths
    names = [block.feature_names[index] for index in varying]
    alone = len(vectors) == 1 and not any("*" in name for name in block.names)
    return [_relation(block, names, vector, alone=alone) for vector in vectors]


def _sparse(vectors: Float64[np.ndarray, "r m"], features: int) -> Float64[np.ndarray, "r m"]:
    """A basis of the same space with many zeros: reduced row echelon form, pivots on the largest entries.

    Args:
        vectors: relations between columns of length 1.
        features: how many of the columns are features; what follows is the constant, which is no pivot.
    """
    reduced = np.array(vectors)
    free = list(range(features))
    for row in range(len(reduced)):
        pivot = max(free, key=lambda column: abs(reduced[row, column]))
        free.remove(pivot)
        reduced[row] /= reduced[row, pivot]
        others = np.arange(len(reduced)) != row
        reduced[others] -= np.outer(reduced[others, pivot], reduced[row])
    size = np.abs(reduced).max(axis=1, keepdims=True)
    return np.where(np.abs(reduced) > SEEN * size, reduced, 0.0)


def _relation(block: Block, names: Sequence[str], vector: Float64[np.ndarray, " m"], *, alone: bool) -> str:
    """`orange + banana + mango is always 1, so the constant is not determined: leave it out`."""
    factors, value = vector[: len(names)], 0.0 - float(vector[len(names) :].sum())
    parts = np.flatnonzero(factors)
    unit = np.abs(factors[parts]).min() * np.sign(factors[parts[0]])
    terms = "".join(
        _term(names[int(index)], float(factors[index] / unit), first=bool(index == parts[0])) for index in parts
    )
    same = f"{_where(block)}{terms} is always {number(value / unit, 6)}"
    if not value:
        return f"{same}, so they cannot be told apart"
    if alone:
        return f"{same}, so the constant is not determined: leave it out"
    return f"{same}, so they and the constant cannot be told apart"


def _term(name: str, factor: float, *, first: bool) -> str:
    sign = ("-" if factor < 0 else "") if first else (" - " if factor < 0 else " + ")
    size = abs(factor)
    return f"{sign}{name}" if abs(size - 1) <= SEEN else f"{sign}{number(size)} {name}"


def _alike(block: Block, determined: Determined) -> list[str]:
    """The coefficients that are not determined one by one, where no relation says it better."""
    hidden = [name for name, seen in zip(block.names, determined.determines(block), strict=True) if not seen]
    found = []
    if len(hidden) == len(block.names):
        found.append("no coefficient is determined by itself")
    elif hidden:
        found.append(f"these are not determined by themselves: {', '.join(hidden)}")
    if block.distinct <= determined.rank:
        found.append(f"taste at least {determined.coefficients} different recipes, or choose a simpler utility")
    return found
