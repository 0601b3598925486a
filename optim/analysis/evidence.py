"""What there is to be said for a fit: what the data determine, whether likes are separated, whether it has settled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from optim.analysis.curvature_of_fit import Curvature, basis_of, decrement, dense, krylov
from optim.analysis.design import PART, Block, Design
from optim.analysis.identifiability import Determined, determined_by
from optim.analysis.separation import Separation, separation_of
from optim.analysis.total_loss import Bound
from optim.config import schema
from optim.losses.likelihood import ResponseLoss
from optim.models.links import Logit

SETTLED = 0.1
"""A fit has settled where no combination of its coefficients is off by more than this share of its standard error."""


@dataclass(frozen=True, eq=False)
class BlockEvidence:
    """Evidence of one block of a design.

    Attributes:
        block: the block.
        determined: what its rows determine.
        curvature: of the likelihood alone.
        penalised: of what was minimised. Of Firth's penalty only the gradient is taken: his own method takes the
            information for the curvature as well.
        gradient, hessian: of the likelihood, by theta.
        slope: norm of the gradient of what was minimised, by the module's own parameters.
        scatter: variance of the likelihood's gradient where responses are independent: the Hessian of the likelihood
            where all have the weight 1.
        separation: None where likes are not separated.
        is_unknown: whether they are could not be told.
    """

    block: Block
    determined: Determined
    curvature: Curvature
    penalised: Curvature
    gradient: Float64[np.ndarray, " m"]
    hessian: Float64[np.ndarray, "m m"]
    slope: float
    scatter: Float64[np.ndarray, "m m"]
    separation: Separation | None = None
    is_unknown: bool = False


class Slopes:
    """First and second derivatives of a response's loss by its utility, in float64; compiled once."""

    def __init__(self, loss: ResponseLoss) -> None:
        def both(like: jax.Array, utility: jax.Array) -> tuple[jax.Array, jax.Array]:
            first = jax.grad(loss)
            return jax.vmap(lambda u: jax.jvp(lambda v: first(v, like), (u,), (jnp.ones_like(u),)))(utility)

        self._both = jax.jit(jax.vmap(both, in_axes=(0, None)))

    @staticmethod
    @cache
    def of_link(link: type[Logit]) -> Slopes:
        """Of the negative log-likelihood of a link without parameters: one for all the fits of a process."""
        return Slopes(lambda utility, like: -link().log_probability(utility, like))

    def __call__(
        self, utility: Float64[np.ndarray, " cells"]
    ) -> tuple[Float64[np.ndarray, "2 cells"], Float64[np.ndarray, "2 cells"]]:
        """The derivatives of the loss of a like (row 0) and of a dislike (row 1)."""
        with jax.enable_x64(True):
            first, second = self._both(np.array([1.0, 0.0]), utility)
            return np.asarray(first), np.asarray(second)


def evidence_of(design: Design, slopes: Slopes, penalty: schema.Penalty | None) -> tuple[BlockEvidence, ...]:
    """Evidence of every block, without a search for separation.

    Args:
        design: the design, with the coefficients at which the fit has ended.
        slopes: of the loss.
        penalty: what was added to it.
    """
    first, second = slopes(design.utilities)
    found, start = [], 0
    for block in design.blocks:
        here = slice(start, start := start + len(block.rows))
        found.append(_of_block(block, first[:, here], second[:, here], penalty))
    return tuple(found)


def _of_block(
    block: Block,
    first: Float64[np.ndarray, "2 cells"],
    second: Float64[np.ndarray, "2 cells"],
    penalty: schema.Penalty | None,
) -> BlockEvidence:
    counts = np.stack([block.likes, block.dislikes])
    gradient = plain = block.rows.T @ np.sum(counts * first, axis=0)
    bends = np.sum(counts * second, axis=0)
    hessian = _gram(block.rows, bends)
    determined = determined_by(block.rows)
    curvature = penalised = Curvature.of(gradient, hessian, basis_of(determined))
    if isinstance(penalty, schema.Ridge):
        ridge = penalty.strength * block.penalised
        gradient = gradient + ridge * block.theta
        penalised = Curvature.of(gradient, hessian + np.diag(ridge), np.eye(len(ridge)))
    elif isinstance(penalty, schema.Firth):
        gradient = gradient + _firth_gradient(block, bends, determined)
        penalised = Curvature.of(gradient, hessian, basis_of(determined))
    scatter = hessian
    if not np.array_equal(block.squares, block.counts):
        scatter = _gram(block.rows, block.squares * _of_one_response(block, bends))
    slope = float(np.linalg.norm(gradient))
    return BlockEvidence(block, determined, curvature, penalised, plain, hessian, slope, scatter)


def _gram(rows: Float64[np.ndarray, "cells m"], weights: Float64[np.ndarray, " cells"]) -> Float64[np.ndarray, "m m"]:
    """Σ w x xᵀ, in parts that stay in a cache."""
    parts = (slice(start, start + PART) for start in range(0, len(rows), PART))
    return sum(((rows[part].T * weights[part]) @ rows[part] for part in parts), start=np.zeros((rows.shape[1],) * 2))


def _of_one_response(block: Block, bends: Float64[np.ndarray, " cells"]) -> Float64[np.ndarray, " cells"]:
    """Second derivative of the loss of a single response of each cell."""
    return bends / np.maximum(block.counts, np.finfo(float).tiny)


def _firth_gradient(
    block: Block, bends: Float64[np.ndarray, " cells"], determined: Determined
) -> Float64[np.ndarray, " m"]:
    """Of −½ log det Σ n p(1 − p) x xᵀ: by a cell's utility −½ h (1 − 2p), h being its leverage (Firth 1993)."""
    weights = block.responses * _of_one_response(block, bends)
    information = Curvature.of(np.zeros(len(block.theta)), _gram(block.rows, weights), basis_of(determined))
    leverages = weights * information.variances(block.rows)
    return block.rows.T @ (leverages * 0.5 * np.tanh(block.utilities / 2))


def has_finite_maximum(evidence: BlockEvidence) -> bool:
    """Whether the curvature alone proves that the likelihood of a block has its maximum at finite coefficients.

    For a logistic likelihood it does where δ · max ‖x‖ ≤ 1/2, the lengths of the rows taken in the metric of the
    inverse Hessian, in which they are the standard errors of the cells' utilities (Bach 2010, "Self-concordant analysis
    for logistic regression", proposition 2). Where likes are separated it cannot hold.
    """
    if not len(evidence.block.rows):
        return True
    longest = float(np.sqrt(evidence.curvature.variances(evidence.block.rows).max()))
    full = evidence.curvature.rank == evidence.determined.rank
    return full and float(np.sqrt(evidence.curvature.squared_decrement)) * longest <= 0.5


def with_separation(evidence: tuple[BlockEvidence, ...]) -> tuple[BlockEvidence, ...]:
    """The same, with a search for separation in the blocks that could have some."""
    return tuple(one if has_finite_maximum(one) or not _is_suspicious(one) else _searched(one) for one in evidence)


LARGE = 20_000
"""From so many cells on separation is only looked for where something has run away."""
FAR = 15.0
"""A utility beyond this says that P(like) is within 3e-7 of 0 or 1."""


def _is_suspicious(evidence: BlockEvidence) -> bool:
    block = evidence.block
    settled = evidence.curvature.squared_decrement <= SETTLED**2
    return len(block.rows) < LARGE or settled or bool((np.abs(block.utilities) > FAR).any())


def _searched(evidence: BlockEvidence) -> BlockEvidence:
    """A block with what the linear program finds. What has no finite value is left out of its curvature."""
    try:
        separation = separation_of(evidence.block)
    except RuntimeError:  # HiGHS gives up on some programs of many cells
        return replace(evidence, is_unknown=True)
    if separation is None:
        return evidence
    finite = Curvature.of(evidence.gradient, evidence.hessian, basis_of(separation.determined))
    penalised = finite if evidence.penalised is evidence.curvature else evidence.penalised
    return replace(evidence, separation=separation, curvature=finite, penalised=penalised)


def general_curvature(at: Bound, budget: int) -> tuple[Curvature, bool]:
    """The curvature of any objective by Hessian–vector products; on a Krylov space where all would cost too much.

    Args:
        at: the objective where the fit has ended.
        budget: over how many rows gradients may be taken, about; some products are always taken.

    Returns:
        The curvature, and whether it is of the whole space.
    """
    gradient = at.gradient / at.variance
    products = lambda directions: at.products(directions) / at.variance
    affordable = max(LEAST_PRODUCTS, budget // (2 * max(len(at.total.weights), 1)))
    if len(gradient) <= min(affordable, MOST_DENSE):
        return dense(gradient, products), True
    return krylov(gradient, products, min(affordable, MOST_DENSE)), False


LEAST_PRODUCTS, MOST_DENSE = 20, 1000
"""Products that are always taken, and the most parameters whose Hessian is written out."""
MOMENT = 1_000_000
"""Rows whose gradients take a moment."""


def total_decrement(evidence: tuple[BlockEvidence, ...]) -> float:
    """δ of the whole objective."""
    return decrement([one.penalised for one in evidence])
