"""Penalties: what the parameters of a utility cost, whatever the responses say.

A penalty is stated for the summed negative log-likelihood of all responses of the fit; the objective scales it, so that
its effect is the same whatever the aggregate and the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_leaves_with_path
from jaxtyping import Array, Float, Int, PyTree

from optim.autodiff import log1pexp
from optim.config import schema
from optim.data.panel import Panel
from optim.data.tallies import tally
from optim.losses.objective import Parameters

UtilityOf = Callable[[Parameters, Float[Array, " f"]], Float[Array, ""]]
"""(parameters of the utility, scaled features of a recipe) → utility of a customer of the first group."""

INTERCEPT = "bias"
"""Name of the parameters that a ridge leaves free: they say how much is liked, and not because of what."""

ZERO_WITHIN = 10.0
"""How far from zero a singular value of a design counts as zero: in machine epsilons of the largest one, for each row
or column, whichever are more."""


@runtime_checkable
class Penalty(Protocol):
    """What is added to the summed negative log-likelihood of all responses of the fit."""

    def constants(self, utility: UtilityOf, parameters: Parameters, features: Float[Array, "recipes f"]) -> PyTree:
        """Arrays that the penalty needs, given the features of each recipe and parameters of the utility's shapes."""

    def __call__(self, parameters: Parameters, constants: PyTree) -> Float[Array, ""]:
        """The penalty of the utility's parameters."""


def build_penalty(
    block: schema.Penalty | None, panel: Panel, group: Int[np.ndarray, " customers"], groups: int
) -> Penalty | None:
    """The penalty of a block of the config.

    Args:
        block: the block.
        panel: the panel whose responses are fitted.
        group: each customer's group.
        groups: how many groups the utility has; some may have no customer here.
    """
    if isinstance(block, schema.Ridge):
        return Ridge(block.strength)
    return None if block is None else Firth.of(panel, group, groups)


@dataclass(frozen=True)
class Ridge:
    """½ λ ‖weights‖² over all parameters but the intercepts; of a complex one, the squared modulus.

    Hoerl and Kennard 1970, "Ridge regression"; for the logit le Cessie and van Houwelingen 1992, "Ridge estimators in
    logistic regression". The weights are those of the scaled features: their units do not matter.
    """

    strength: float

    def constants(
        self, utility: UtilityOf, parameters: Parameters, features: Float[Array, "recipes _"]
    ) -> Float[Array, ""]:
        return jnp.asarray(self.strength, features.dtype)

    def __call__(self, parameters: Parameters, constants: Float[Array, ""]) -> Float[Array, ""]:
        leaves = tree_leaves_with_path(parameters)
        weights = [leaf for path, leaf in leaves if keystr(path[-1:], simple=True) != INTERCEPT]
        squares = [jnp.sum(jnp.real(leaf * jnp.conj(leaf))) for leaf in weights]
        return constants / 2 * jnp.sum(jnp.stack([jnp.zeros_like(constants), *squares]))


class FirthConstants(NamedTuple):
    """The design of each group's cells, the pairs of that group and a recipe; padded to the group with the most.

    Attributes:
        design: gradient of a cell's utility with respect to its group's k parameters; 0 for padding.
        inside: the same in an orthonormal basis of the space that the group's designs span, padded with zeros to k.
        outside: 1 for each of those zeros, else 0.
        log_responses: logarithm of how many responses of the fit a cell has; −∞ for padding.
    """

    design: Float[Array, "groups cells k"]
    inside: Float[Array, "groups cells k"]
    outside: Float[Array, "groups k"]
    log_responses: Float[Array, "groups cells"]


@dataclass(frozen=True, eq=False)
class Firth:
    """−½ log det of the Fisher information: Jeffreys' prior, for a logit whose utility is linear in its parameters.

    It takes the leading term off the bias of the estimate, and keeps it finite where likes are separated (Firth 1993,
    "Bias reduction of maximum likelihood estimates"; Heinze and Schemper 2002, "A solution to the problem of separation
    in logistic regression"). The information of a group is Σ responses · p (1 − p) · z zᵀ over the recipes that it
    tasted, z being the gradient of the utility. Groups share no parameter, so that their terms add up. What a group's
    recipes do not determine has no information, and plays no part: the determinant is that on the space which the z
    span. A group without a response of the fit adds 0.

    Attributes:
        recipe: recipe of each cell; 0 for padding.
        responses: how many responses of the fit it has; 0 for padding.
    """

    recipe: Int[np.ndarray, "groups cells"]
    responses: Int[np.ndarray, "groups cells"]

    @classmethod
    def of(cls, panel: Panel, group: Int[np.ndarray, " customers"], groups: int) -> Firth:
        """For the responses of a panel that are not held out, of customers in these groups, numbered from 0."""
        counted = tally(panel, group, ~panel.held_out, by_customer=False)
        owner = counted.group
        sizes = np.bincount(owner, minlength=groups)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        recipe, responses = np.zeros((2, len(sizes), int(sizes.max())), int)
        recipe[owner, place], responses[owner, place] = counted.recipe, counted.likes + counted.dislikes
        return cls(recipe, responses)

    def constants(
        self, utility: UtilityOf, parameters: Parameters, features: Float[Array, "recipes _"]
    ) -> FirthConstants:
        origin = jax.tree.map(jnp.zeros_like, parameters)
        gradients = jax.vmap(jax.grad(utility), in_axes=(None, 0))(origin, features)
        rows = _joined(jax.tree.map(lambda leaf: leaf[:, 0], gradients))
        design = jnp.where((self.responses > 0)[..., None], rows[self.recipe], 0.0)
        inside, outside = jax.vmap(_in_row_space)(design)
        return FirthConstants(design, inside, outside, jnp.log(jnp.asarray(self.responses, features.dtype)))

    def __call__(self, parameters: Parameters, constants: FirthConstants) -> Float[Array, ""]:
        utilities = jnp.einsum("gck,gk->gc", constants.design, _joined(parameters))
        return -jnp.sum(jax.vmap(_half_log_determinant)(utilities, constants))


def _joined(parameters: PyTree[Float[Array, "rows ..."]]) -> Float[Array, "rows k"]:
    """Each row's numbers side by side."""
    return jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(parameters)], axis=1)


def _in_row_space(design: Float[Array, "cells k"]) -> tuple[Float[Array, "cells k"], Float[Array, " k"]]:
    """The rows in an orthonormal basis of what they span, and which of the k coordinates are beyond it."""
    cells, width = design.shape
    square = jnp.pad(design, ((0, max(0, width - cells)), (0, 0)))  # with as many singular vectors as columns
    _, sizes, basis = jnp.linalg.svd(square, full_matrices=False)
    zero = ZERO_WITHIN * len(square) * jnp.finfo(design.dtype).eps * sizes[0]
    spanned = sizes > zero
    return jnp.where(spanned, design @ basis.T, 0.0), jnp.where(spanned, 0.0, 1.0)


def _half_log_determinant(utilities: Float[Array, " cells"], group: FirthConstants) -> Float[Array, ""]:
    """½ log det of a group's information, by the QR factors of its root: of half the condition, and never indefinite.

    The root of p (1 − p) is taken by its logarithm, which does not underflow with it.
    """
    log_variance = -log1pexp(utilities) - log1pexp(-utilities)
    roots = jnp.exp((group.log_responses + log_variance) / 2)
    matrix = jnp.concatenate([roots[:, None] * group.inside, jnp.diag(group.outside)])
    return jnp.sum(jnp.log(jnp.abs(jnp.diagonal(jnp.linalg.qr(matrix, mode="r")))))
