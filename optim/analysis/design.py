"""The design of a fit: what the utility reads of everything that was tasted, one row a cell.

For a utility that is linear in its parameters everything that can be said of the fit follows from the design: what the
data determine, whether likes are separated, the curvature of the likelihood and the standard errors. All in float64,
whatever the precision of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float64, Int, PyTree

from optim.data.tallies import Tally
from optim.losses.objective import Parameters
from optim.losses.penalties import INTERCEPT
from optim.models.build import CONSTANT as SAME_TO_SINGLE
from optim.models.build import CONSTANT_IN_DOUBLE
from optim.models.coefficients import (
    CONSTANT,
    Polynomial,
    coefficient_names,
    in_user_units,
    scaled_coefficients,
    terms,
)
from optim.models.flat import Flat
from optim.models.functional import Functional
from optim.models.likelihood import LikelihoodModel
from optim.models.utilities import LinearUtility, NetworkUtility, QuadraticUtility


@dataclass(frozen=True, eq=False)
class Block:
    """The part of the design whose coefficients one group of customers shares with no other.

    Attributes:
        group: name of the group, empty where everyone is one.
        names: names of the coefficients.
        rows: terms of the cells' scaled features: utility = rows @ theta + offset.
        theta: the coefficients of the terms, as the module holds them.
        to_user: turns theta into coefficients in the user's units.
        penalised: which coefficients a penalty on the scaled weights sees.
        features: the cells' features in the user's units, with a column a feature, and their names.
        likes, dislikes: the cells' counts of responses in the fit.
        responses: how many responses each cell has, whatever their weights.
        squares: sums of the squared weights of a cell's responses.
        offset: of the cells' utilities, which no coefficient changes.
        left_out: coefficients of ingredients that are held at the amount at which they were always tasted: nothing
            depends on them, and `names` has none of them.
    """

    group: str
    names: tuple[str, ...]
    rows: Float64[np.ndarray, "cells m"]
    theta: Float64[np.ndarray, " m"]
    to_user: Float64[np.ndarray, "m m"]
    penalised: Bool[np.ndarray, " m"]
    features: Float64[np.ndarray, "cells k"]
    feature_names: tuple[str, ...]
    likes: Float64[np.ndarray, " cells"]
    dislikes: Float64[np.ndarray, " cells"]
    responses: Float64[np.ndarray, " cells"]
    squares: Float64[np.ndarray, " cells"]
    offset: Float64[np.ndarray, " cells"]
    left_out: tuple[str, ...]

    @property
    def utilities(self) -> Float64[np.ndarray, " cells"]:
        """Utility of every cell."""
        return self.rows @ self.theta + self.offset

    @property
    def counts(self) -> Float64[np.ndarray, " cells"]:
        """Responses of each cell."""
        return self.likes + self.dislikes

    @property
    def has_constant(self) -> bool:
        """Whether one of the coefficients is a constant."""
        return CONSTANT in self.names

    @cached_property
    def distinct(self) -> int:
        """How many different recipes there are, in what the utility reads."""
        return distinct_rows(self.features)

    @property
    def place(self) -> str:
        """`north: ` or nothing, to begin a sentence with."""
        return f"{self.group}: " if self.group else ""


Row = Callable[[Float64[np.ndarray, " k"], int], tuple[Float64[np.ndarray, " m"], float]]
"""(features of a recipe in the user's units, group) → its row in the group's block, and what is added to row @ θ."""


@dataclass(frozen=True, eq=False)
class Design:
    """The blocks of a design, and how a recipe stands in it.

    Attributes:
        blocks: those without a response have no rows.
        block_of_group: for each group, which block holds its coefficients.
        row: of a recipe.
        utility: the utility where its coefficients have names; None for one of the user's own.
        thetas: coefficients of each block, from the parameters of the likelihood model.
    """

    blocks: tuple[Block, ...]
    block_of_group: tuple[int, ...]
    row: Row
    utility: Polynomial | None
    thetas: Callable[[Parameters], tuple[Float64[np.ndarray, " m"], ...]]

    def at(self, parameters: Parameters) -> Design:
        """The same design with other coefficients."""
        pairs = zip(self.blocks, self.thetas(parameters), strict=True)
        return replace(self, blocks=tuple(replace(block, theta=theta) for block, theta in pairs))

    @property
    def utilities(self) -> Float64[np.ndarray, " cells"]:
        """Utility of every cell, block after block."""
        return np.concatenate([block.utilities for block in self.blocks])


@lru_cache(maxsize=8)
def _compiled_features(model: Functional[LikelihoodModel]) -> Callable[[Parameters, Array], Array]:
    """Features of recipes in the user's units; compiled once a model."""
    return jax.jit(lambda parameters, amounts: jax.vmap(model(parameters).raw_features)(amounts))


@lru_cache(maxsize=8)
def _compiled_utilities(model: Functional[LikelihoodModel]) -> Callable[[Parameters, Array, Array], Array]:
    """Utilities of scaled features and groups; compiled once a model."""

    def utilities(parameters: Parameters, features: Array, group: Array) -> Array:
        utility = model(parameters).utility
        assert utility is not None
        return jax.vmap(utility)(features, group)

    return jax.jit(utilities)


def raw_features(
    model: Functional[LikelihoodModel], parameters: Parameters, amounts: Float64[np.ndarray, "recipes n"]
) -> Float64[np.ndarray, "recipes k"]:
    """Features of recipes in the user's units, in float64."""
    if model(parameters).feature_map.chosen == ("amounts",):  # of a million recipes, a copy to the device and back
        return np.asarray(amounts, np.float64)
    with jax.enable_x64(True):
        return np.asarray(_compiled_features(model)(in_float64(parameters), jnp.asarray(amounts, jnp.float64)))


def scaled_features(
    model: Functional[LikelihoodModel], parameters: Parameters, amounts: Float64[np.ndarray, "recipes n"]
) -> Float64[np.ndarray, "recipes k"]:
    """Features of recipes as the utility reads them, in float64."""
    return _scaled(model, parameters, raw_features(model, parameters, amounts))


def _scaled(
    model: Functional[LikelihoodModel], parameters: Parameters, raw: Float64[np.ndarray, "recipes k"]
) -> Float64[np.ndarray, "recipes k"]:
    center, scale = _center_and_scale(model, parameters)
    scaled = raw - center
    scaled /= scale
    return scaled


def _center_and_scale(
    model: Functional[LikelihoodModel], parameters: Parameters
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    module = model(parameters)
    return np.asarray(module.center[...], float), np.asarray(module.scale[...], float)


def utilities_of(
    model: Functional[LikelihoodModel],
    parameters: Parameters,
    amounts: Float64[np.ndarray, "recipes n"],
    recipe: Int[np.ndarray, " cells"],
    group: Int[np.ndarray, " cells"],
) -> Float64[np.ndarray, " cells"]:
    """Utility of recipes for customers of groups, by any utility, in float64."""
    utility = model(parameters).utility
    if isinstance(utility, LinearUtility | QuadraticUtility):  # nothing needs to be compiled
        theta = np.stack([scaled_coefficients(utility, index) for index in range(int(group.max(initial=0)) + 1)])
        raw = of_cells(raw_features(model, parameters, amounts), recipe)
        scaling = _center_and_scale(model, parameters)
        return in_parts(len(raw), lambda part: _polynomial(terms(utility, raw[part], *scaling), theta, group[part]))
    features = of_cells(scaled_features(model, parameters, amounts), recipe)
    with jax.enable_x64(True):
        groups = jnp.asarray(group, jnp.int32)
        return np.asarray(_compiled_utilities(model)(in_float64(parameters), jnp.asarray(features), groups))


def _polynomial(
    rows: Float64[np.ndarray, "cells m"], theta: Float64[np.ndarray, "groups m"], group: Int[np.ndarray, " cells"]
) -> Float64[np.ndarray, " cells"]:
    """Utility of rows of terms, by the coefficients of each group."""
    return np.einsum("nm,m->n", rows, theta[0]) if len(theta) == 1 else np.einsum("nm,nm->n", rows, theta[group])


def in_parts(rows: int, values: Callable[[slice], Float64[np.ndarray, " part"]]) -> Float64[np.ndarray, " rows"]:
    """Values of so many rows, computed for some at a time: what it takes stays in a cache."""
    return np.concatenate([np.zeros(0), *(values(slice(start, start + PART)) for start in range(0, rows, PART))])


PART = 2**14
"""Rows that are gone through at once."""


def of_cells(
    features: Float64[np.ndarray, "recipes k"], recipe: Int[np.ndarray, " cells"]
) -> Float64[np.ndarray, "cells k"]:
    """The features of each cell's recipe; those of the recipes themselves where there is a cell for each in turn."""
    same = len(recipe) == len(features) and np.array_equal(recipe, np.arange(len(features)))
    return features if same else features[recipe]  # a copy of a million rows is worth sparing


def in_float64(parameters: PyTree[Array]) -> PyTree[Array]:
    """Arrays in double precision (whole numbers stay what they are); to be used where JAX has it enabled."""

    def double(leaf: Array) -> Array:
        dtype = np.asarray(leaf).dtype
        wide = dtype if np.issubdtype(dtype, np.integer) else np.result_type(dtype, np.float64)
        return jnp.asarray(np.asarray(leaf), wide)

    return jax.tree.map(double, parameters)


def design_of(
    model: Functional[LikelihoodModel],
    parameters: Parameters,
    amounts: Float64[np.ndarray, "recipes n"],
    counted: Tally,
    groups: tuple[str, ...],
    fixed: Mapping[str, float],
) -> Design | None:
    """The design of a likelihood model at some parameters; None for a utility that is not linear in them.

    Args:
        model: the model.
        parameters: its parameters, of one member.
        amounts: the panel's recipes.
        counted: the responses of the fit.
        groups: names of the groups.
        fixed: features that a recipe holds at one value: those of ingredients that are fixed.
    """
    utility = model(parameters).utility
    features = of_cells(raw_features(model, parameters, amounts), counted.recipe)
    if isinstance(utility, LinearUtility | QuadraticUtility):
        return _of_polynomial(model, parameters, utility, features, counted, groups, fixed)
    return None if isinstance(utility, NetworkUtility) else _of_own(model, parameters, features, counted, len(groups))


def _of_polynomial(
    model: Functional[LikelihoodModel],
    parameters: Parameters,
    utility: Polynomial,
    features: Float64[np.ndarray, "cells k"],
    counted: Tally,
    groups: tuple[str, ...],
    fixed: Mapping[str, float],
) -> Design:
    """A block a group, with a column a term."""
    module = model(parameters)
    center, scale = _center_and_scale(model, parameters)
    names = module.feature_map.names
    every = coefficient_names(utility, names)
    held: set[str] = set()
    if utility.bias is not None:  # without a constant, what is always the same takes its place
        held = {name for name, column in zip(names, features.T, strict=True) if is_held(fixed.get(name), column)}
    columns = np.flatnonzero([not held.intersection(name.split("*")) for name in every])
    chosen = tuple(every[column] for column in columns)
    rows = terms(utility, features, center, scale)
    rows = rows[:, columns] if held else rows
    to_user = in_user_units(utility, center, scale)[np.ix_(columns, columns)]
    left_out = tuple(name for name in every if held.intersection(name.split("*")))
    blocks = []
    for index, group in enumerate(groups):
        mine = slice(*np.searchsorted(counted.group, [index, index + 1]))  # cells are sorted by group
        blocks.append(
            Block(
                group=group if len(groups) > 1 else "",
                names=chosen,
                rows=rows[mine],
                theta=scaled_coefficients(utility, index)[columns],
                to_user=to_user,
                penalised=np.array([name != CONSTANT for name in chosen]),
                features=features[mine],
                feature_names=names,
                likes=counted.likes[mine],
                dislikes=counted.dislikes[mine],
                responses=counted.responses_of_cell[mine],
                squares=counted.squares[mine],
                offset=np.zeros(len(rows[mine])),
                left_out=left_out,
            )
        )

    def row(recipe: Float64[np.ndarray, " k"], group: int) -> tuple[Float64[np.ndarray, " m"], float]:
        return terms(utility, recipe[None], center, scale)[0, columns], 0.0

    def thetas(parameters: Parameters) -> tuple[Float64[np.ndarray, " m"], ...]:
        changed = model(parameters).utility
        assert isinstance(changed, LinearUtility | QuadraticUtility)
        return tuple(scaled_coefficients(changed, index)[columns] for index in range(len(groups)))

    return Design(tuple(blocks), tuple(range(len(groups))), row, utility, thetas)


MOST_SLOPES = 2**24
"""Most numbers that the slopes of all cells may take for a utility of the user's own to be looked at."""


def _of_own(
    model: Functional[LikelihoodModel],
    parameters: Parameters,
    features: Float64[np.ndarray, "cells k"],
    counted: Tally,
    groups: int,
) -> Design | None:
    """One block for all groups of a utility of the user's own, if it is linear in its parameters.

    It is where its slopes by the parameters are the same everywhere; random parameters tell.
    """
    with jax.enable_x64(True):
        own = in_float64(parameters["utility"])
        flat = Flat.of_one(own)
        theta = np.asarray(flat.ravel_one(own))
        module = model(parameters)
        center, scale = _center_and_scale(model, parameters)

        def utility(vector: Array, features: Array, group: Array) -> Array:
            changed = model({**in_float64(parameters), "utility": flat.unravel(vector)}).utility
            assert changed is not None
            return changed(features, group)

        both = jax.jit(jax.vmap(jax.value_and_grad(utility), in_axes=(None, 0, 0)))

        def at(vector: Float64[np.ndarray, " p"], raw: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            with jax.enable_x64(True):
                found = both(jnp.asarray(vector), jnp.asarray((raw - center) / scale), jnp.asarray(group, jnp.int32))
                return np.asarray(found[0]), np.asarray(found[1])

        if not theta.size or theta.size * len(features) > MOST_SLOPES or jnp.iscomplexobj(jax.tree.leaves(own)[0]):
            return None
        values, rows = at(theta, features, counted.group)
        random = np.random.default_rng(0)
        for _ in range(2):
            _, others = at(random.standard_normal(len(theta)), features, counted.group)
            if not np.allclose(rows, others, rtol=1e-9, atol=1e-9):
                return None
        paths = jax.tree_util.tree_leaves_with_path(own)
        names = [f"{jax.tree_util.keystr(path)}[{i}]" for path, leaf in paths for i in range(np.size(leaf))]
        free = [jax.tree_util.keystr(path[-1:], simple=True) == INTERCEPT for path, _ in paths]
        penalised = np.repeat([not is_free for is_free in free], [np.size(leaf) for _, leaf in paths])
    block = Block(
        group="",
        names=tuple(names),
        rows=rows,
        theta=theta,
        to_user=np.eye(len(theta)),
        penalised=penalised,
        features=features,
        feature_names=module.feature_map.names,
        likes=counted.likes,
        dislikes=counted.dislikes,
        responses=counted.responses_of_cell,
        squares=counted.squares,
        offset=values - rows @ theta,
        left_out=(),
    )

    def row(recipe: Float64[np.ndarray, " k"], group: int) -> tuple[Float64[np.ndarray, " m"], float]:
        value, slopes = at(theta, recipe[None], np.array([group]))
        return slopes[0], float(value[0] - slopes[0] @ theta)

    def thetas(parameters: Parameters) -> tuple[Float64[np.ndarray, " m"], ...]:
        with jax.enable_x64(True):
            return (np.asarray(flat.ravel_one(in_float64(parameters["utility"]))),)

    return Design((block,), (0,) * groups, row, None, thetas)


def is_held(value: float | None, column: Float64[np.ndarray, " rows"]) -> bool:
    """Whether a feature has the value that it always had."""
    return (
        value is not None and is_constant(column) and bool(np.isclose(column[0], value, rtol=SAME_TO_SINGLE, atol=0.0))
    )


def stacked(parts: Sequence[Float64[np.ndarray, "_ m"]]) -> Float64[np.ndarray, "rows m"]:
    """The rows of all parts; of a single one without a copy."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def distinct_rows(features: Float64[np.ndarray, "rows k"]) -> int:
    """How many rows are different, but for the rounding of what they are computed from."""
    # Numbers that are different come of rows that are: where all are, there is no need to sort the rows themselves.
    # Column by column, so that rows that are the same give the same bits.
    mixed = np.zeros(len(features))
    for number, column in enumerate(features.T, start=2):
        mixed += np.sqrt(number) * _rounded(column)
    if len(np.unique(mixed)) == len(mixed):
        return len(mixed)
    return len(np.unique(np.stack([_rounded(column) for column in features.T], axis=1), axis=0))


def _rounded(column: Float64[np.ndarray, " rows"]) -> Float64[np.ndarray, " rows"]:
    """To nine digits of the largest entry, of which it is a whole number."""
    size = np.abs(column).max(initial=0.0)
    return np.rint(column / (size or 1.0) * 1e9)


def is_constant(column: Float64[np.ndarray, " rows"]) -> bool:
    """Whether a feature was always the same."""
    return len(column) > 0 and float(np.ptp(column)) <= CONSTANT_IN_DOUBLE * float(np.abs(column).max())
