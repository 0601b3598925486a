"""Negative log-likelihood of the panel's responses, per customer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from optim.config.errors import UserError
from optim.config.schema import Aggregate
from optim.data.panel import Panel
from optim.data.tallies import tally
from optim.losses.objective import Parameters
from optim.losses.penalties import Penalty
from optim.models.functional import Functional
from optim.models.likelihood import LikelihoodModel
from optim.models.links import Logit

ResponseLoss = Callable[[Float[Array, ""], Float[Array, ""]], Float[Array, ""]]
"""(utility, like as 0 or 1) → loss of one response."""


LAID_OUT = 2**24
"""Most numbers that the inputs of all responses may take in order to be laid out side by side with the responses."""


SLICE = 2**14
"""About how many responses are gone through at once for second derivatives, so that these stay in a core's cache."""


MANY = 2**16
"""From so many responses on those that are alike are counted, and everyone's loss is taken over the counts."""
ALIKE = 4
"""There have to be this many responses, on average, for each that is different."""


class CountedResponses(NamedTuple):
    """Everyone's responses, each that is different once: those of a group to a recipe that are likes, or dislikes."""

    inputs: Float[Array, "rows _"]
    like: Float[Array, " rows"]
    counted: Float[Array, " rows"]
    """How many there are; at least one."""
    group: Int[Array, " rows"]


class _Alike(NamedTuple):
    """`CountedResponses` with the recipe of each row, whose inputs depend on the parameters."""

    recipe: Int[np.ndarray | Array, " rows"]
    like: Float[np.ndarray | Array, " rows"]
    counted: Float[np.ndarray | Array, " rows"]
    group: Int[np.ndarray | Array, " rows"]


class PanelConstants(NamedTuple):
    """Arrays of a fit; responses are flat, sorted by customer."""

    frozen: Parameters
    buffers: Parameters
    inputs: Float[Array, "_ _"]
    """Scaled features of each recipe; its amounts where the stage trains the property model. Empty if laid out."""
    recipe: Int[Array, " _"]
    """The recipe of each response. Empty if laid out."""
    responses: Float[Array, "responses _"]
    """Like and whether it is held out, as 0 or 1; if laid out, after the inputs of the response's recipe. A batch is
    then a single gather of rows, where it would be three, which are a quarter of a small model's step."""
    offsets: Int[Array, " customers1"]
    group: Int[Array, " customers"]
    counted: CountedResponses | None
    """None where there are few responses, or few that are alike, or a mean over customers asks whose they are."""
    penalty: PyTree
    """The penalty's own; None without one."""
    first: Int[Array, ""]
    """The first response that counts."""
    counting: Float[Array, ""]
    """How many responses count."""


class CustomerResponses(NamedTuple):
    """One customer's responses, padded to the longest customer's."""

    inputs: Float[Array, "*b r _"]
    like: Float[Array, "*b r"]
    counted: Bool[Array, "*b r"]
    group: Int[Array, "*b"]


class AllResponses(NamedTuple):
    """Everyone's responses along a single axis: however unequal the customers, nothing is padded."""

    inputs: Float[Array, "responses _"]
    like: Float[Array, " responses"]
    counted: Bool[Array, " responses"]
    customer: Int[Array, " responses"]
    group: Int[Array, " responses"]


@dataclass(frozen=True, eq=False)
class PanelObjective:
    """Loss of the likelihood model over the panel. Low is good.

    Args:
        panel: the panel.
        group: each customer's group.
        model: the likelihood model as a function of its parameters.
        train: the parts of the model that are trained.
        response_loss: loss of one response; None for the link's negative log-probability.
        aggregate: how the customers' losses become one.
        held_out: take the responses held out of the fit instead of those in it.
        penalty: what is added to the summed loss of all responses; None for nothing.
    """

    panel: Panel
    group: Int[np.ndarray, " customers"]
    model: Functional[LikelihoodModel]
    train: tuple[str, ...]
    response_loss: ResponseLoss | None
    aggregate: Aggregate
    held_out: bool = False
    penalty: Penalty | None = None

    @property
    def units(self) -> int:
        return len(self.panel.customers)

    @property
    def names(self) -> Sequence[str]:
        return self.panel.customers

    @property
    def width(self) -> int:
        return self.panel.most_responses

    def constants(self, parameters: Parameters) -> PanelConstants:
        panel = self.panel
        responses = np.stack([panel.like, panel.held_out], axis=1)
        # The panel goes in as arguments: closed over, it would become literals of the program.
        return jax.jit(self._constants)(
            parameters["model"], panel.amounts, panel.recipe, responses, panel.offsets, self.group, self._alike
        )

    @cached_property
    def _alike(self) -> _Alike | None:
        """The responses counted, where that is worth it."""
        panel = self.panel
        most = 2 * len(panel.recipes) * (int(self.group.max(initial=0)) + 1)
        if self.aggregate == "mean_customers" or panel.number_of_responses < max(MANY, ALIKE * most):
            return None
        cells = tally(panel, self.group, panel.held_out == self.held_out, by_customer=False)
        counts = np.concatenate([cells.likes, cells.dislikes])
        there = counts > 0  # the loss of a response that nobody gave might be infinite
        like = np.repeat([1.0, 0.0], len(cells.recipe))[there]
        recipe, group = (np.tile(index, 2)[there].astype(np.int32) for index in (cells.recipe, cells.group))
        return _Alike(recipe, like, counts[there], group)

    def _constants(
        self,
        model_parameters: Parameters,
        amounts: Float[Array, "recipes n"],
        recipe: Int[Array, " responses"],
        responses: Bool[Array, "responses 2"],
        offsets: Int[Array, " customers1"],
        group: Int[Array, " customers"],
        alike: _Alike | None,
    ) -> PanelConstants:
        inputs = self._inputs(model_parameters, amounts)
        counted = None
        if alike is not None:
            counted = CountedResponses(inputs[alike.recipe], *map(jnp.asarray, alike[1:]))
        penalty = self._penalty_constants(model_parameters, inputs)
        rows, counts = responses.astype(amounts.dtype), responses[:, 1] == self.held_out
        if len(recipe) * inputs.shape[1] <= LAID_OUT:
            rows = jnp.concatenate([inputs[recipe], rows], axis=1)
            inputs, recipe = inputs[:0], recipe[:0]
        return PanelConstants(
            frozen={part: value for part, value in model_parameters.items() if part not in self.train},
            buffers=self.model.buffers,
            inputs=inputs,
            recipe=recipe,
            responses=rows,
            offsets=offsets,
            group=group.astype(jnp.int32),
            counted=counted,
            penalty=penalty,
            first=jnp.argmax(counts).astype(jnp.int32),
            counting=jnp.sum(counts, dtype=jnp.int32).astype(amounts.dtype),
        )

    def _inputs(self, model_parameters: Parameters, amounts: Float[Array, "recipes n"]) -> Float[Array, "recipes _"]:
        """Scaled features of recipes, or their amounts where the stage trains the property model."""
        return amounts if "properties" in self.train else jax.vmap(self.model(model_parameters).features)(amounts)

    def _penalty_constants(self, model_parameters: Parameters, features: Float[Array, "recipes _"]) -> PyTree:
        if self.penalty is None:
            return None

        def utility(parameters: Parameters, features: Float[Array, " _"]) -> Float[Array, ""]:
            model = self.model({**model_parameters, "utility": parameters})
            assert model.utility is not None
            return model.utility(features, jnp.int32(0))

        return self.penalty.constants(utility, model_parameters["utility"], features)

    def batch(self, constants: PanelConstants, index: Int[Array, " b"], mask: Bool[Array, " b"]) -> CustomerResponses:
        longest = self.width
        steps = jnp.arange(longest, dtype=index.dtype)
        if self._all_alike:  # no padding: the rows follow from the index alone
            rows = index[:, None] * longest + steps
            counted = jnp.broadcast_to(mask[:, None], rows.shape)
        else:
            rows = constants.offsets[index][:, None] + steps
            counted = mask[:, None] & (rows < constants.offsets[index + 1][:, None])
            rows = jnp.minimum(rows, len(self.panel.recipe) - 1)
            counted &= constants.responses[rows, -1] == self.held_out
            # A row that does not count is replaced by one that does: masked out, its loss could still be infinite
            # and spoil the gradient. The customer may have none, so it is the panel's first.
            rows = jnp.where(counted, rows, constants.first)
        inputs, like = self._rows(constants, rows)
        group = constants.group[index] if self.group.any() else jnp.zeros_like(index)
        return CustomerResponses(inputs, like, counted, group)

    def everyone(self, constants: PanelConstants) -> CustomerResponses | AllResponses | CountedResponses:
        if constants.counted is not None:
            return constants.counted
        if self._all_alike:
            return self._everyone_alike(constants)
        rows = jnp.arange(len(self.panel.recipe), dtype=jnp.int32)
        customer = jnp.searchsorted(constants.offsets, rows, side="right") - 1
        counted = constants.responses[:, -1] == self.held_out
        inputs, like = self._rows(constants, jnp.where(counted, rows, jnp.argmax(counted)))
        return AllResponses(inputs, like, counted, customer, constants.group[customer])

    def _everyone_alike(self, constants: PanelConstants) -> CustomerResponses:
        """As a batch of all customers, without looking up rows that lie there in their order."""
        shape = self.units, self.width
        found = constants.responses.reshape(*shape, -1)
        inputs = constants.inputs[constants.recipe].reshape(*shape, -1) if constants.recipe.size else found[..., :-2]
        return CustomerResponses(inputs, found[..., -2], jnp.ones(shape, bool), constants.group)

    def slice_size(self, batch: CustomerResponses | AllResponses | CountedResponses) -> int | None:
        """How many customers, or responses, at a time are best; None where customers' means are of unequal parts."""
        if isinstance(batch, CustomerResponses):
            return max(1, SLICE // self.width)
        return None if self.aggregate == "mean_customers" else SLICE

    @property
    def _all_alike(self) -> bool:
        """Every customer has as many responses, and all of them count."""
        return bool((np.diff(self.panel.offsets) == self.width).all()) and not self.panel.held_out.any()

    def _rows(
        self, constants: PanelConstants, rows: Int[Array, "*b r"]
    ) -> tuple[Float[Array, "*b r _"], Float[Array, "*b r"]]:
        """Inputs and likes of responses."""
        found = constants.responses[rows]
        inputs, like = found[..., :-2], found[..., -2]
        return (constants.inputs[constants.recipe[rows]] if constants.recipe.size else inputs), like

    def unit_loss(
        self, trained: Parameters, unit: CustomerResponses, constants: PanelConstants
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        losses = self._response_losses(trained, constants, unit.inputs, unit.like, unit.counted, unit.group)
        return jnp.sum(losses), jnp.sum(unit.counted).astype(losses.dtype)

    def penalty_of(
        self, trained: Parameters, batch: CustomerResponses | AllResponses | CountedResponses, constants: PanelConstants
    ) -> Float[Array, ""]:
        """The penalty in the units of the aggregate, such that whole epochs weigh it alike whatever the batch.

        A mean has the share of one response of the fit in it, a sum that of each response of the batch.
        """
        if self.penalty is None:
            return jnp.zeros(())
        share = (jnp.sum(batch.counted) if self.aggregate == "sum" else 1) / constants.counting
        return self.penalty(trained["model"]["utility"], constants.penalty) * share

    def losses(
        self, trained: Parameters, batch: CustomerResponses | AllResponses | CountedResponses, constants: PanelConstants
    ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        """Losses of several customers at once; of their single responses, where no mean over customers asks for more.

        Where all share one set of weights, their responses are gone through along a single axis, as if they were one
        customer's: XLA's code for sums and matrix products over two axes takes up to five times as long.
        """
        if isinstance(batch, AllResponses):
            return self._losses_of_all(trained, batch, constants)
        if isinstance(batch, CountedResponses):
            group = batch.group if self.group.any() else jnp.zeros((), batch.group.dtype)
            losses = self.response_losses(trained, constants.frozen, batch.inputs, batch.like, group, constants.buffers)
            return batch.counted * losses, batch.counted
        if self.group.any():
            return jax.vmap(self.unit_loss, in_axes=(None, 0, None))(trained, batch, constants)
        customers, most = batch.like.shape
        one_axis = lambda leaf: leaf.reshape(customers * most, *leaf.shape[2:])
        losses = self._response_losses(
            trained,
            constants,
            one_axis(batch.inputs),
            one_axis(batch.like),
            one_axis(batch.counted),
            jnp.zeros((), batch.group.dtype),
        ).reshape(customers, most)
        return jnp.sum(losses, axis=1), jnp.sum(batch.counted, axis=1).astype(losses.dtype)

    def _losses_of_all(
        self, trained: Parameters, batch: AllResponses, constants: PanelConstants
    ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        group = batch.group if self.group.any() else jnp.zeros((), batch.group.dtype)
        losses = self._response_losses(trained, constants, batch.inputs, batch.like, batch.counted, group)
        counts = batch.counted.astype(losses.dtype)
        if self.aggregate != "mean_customers":
            return losses, counts
        by_customer = lambda values: jax.ops.segment_sum(values, batch.customer, self.units, indices_are_sorted=True)
        return by_customer(losses), by_customer(counts)

    def _response_losses(
        self,
        trained: Parameters,
        constants: PanelConstants,
        inputs: Float[Array, "r _"],
        like: Float[Array, " r"],
        counted: Bool[Array, " r"],
        group: Int[Array, "*r"],
    ) -> Float[Array, " r"]:
        """Loss of each response; 0 for those that do not count. All are of one group, or each of its own."""
        losses = self.response_losses(trained, constants.frozen, inputs, like, group, constants.buffers)
        return jnp.where(counted, losses, 0.0)

    def response_losses(
        self,
        trained: Parameters,
        frozen: Parameters,
        inputs: Float[Array, "r _"],
        like: Float[Array, " r"],
        group: Int[Array, "*r"],
        buffers: Parameters | None = None,
    ) -> Float[Array, " r"]:
        """Loss of responses, without a penalty.

        Args:
            trained: the parameters that the stage trains.
            frozen: the other parts of the model.
            inputs: scaled features of the recipes, or their amounts where the stage trains the property model.
            like: 1 for a like, 0 for a dislike.
            group: one for all of them, or each one's.
            buffers: what the model holds beside its parameters; None for its own.
        """
        model = self.model({**frozen, **trained["model"]}, buffers)
        assert model.utility is not None
        features = jax.vmap(model.features)(inputs) if "properties" in self.train else inputs
        utilities = jax.vmap(model.utility, in_axes=(0, 0 if group.ndim else None))(features, group)
        losses = jax.vmap(self.loss_of_response(model.link))(utilities, like)
        if jnp.shape(losses) != like.shape:
            raise UserError(f"the loss gives an array of shape {losses.shape[1:]} for one response: expected a scalar")
        return losses

    def loss_of_response(self, link: Logit) -> ResponseLoss:
        """(utility, like) → loss: the link's negative log-probability, or the user's own."""
        return self.response_loss or (lambda utility, like: -link.log_probability(utility, like))

    def total_penalty(self, parameters: Parameters) -> Callable[[Parameters], Float[Array, ""]] | None:
        """The penalty of the summed loss as a function of the trained parameters; None without one.

        Args:
            parameters: of one member; those that the stage does not train count.
        """
        penalty = self.penalty
        if penalty is None:
            return None
        features = self._inputs(parameters["model"], jnp.asarray(self.panel.amounts))
        constants = self._penalty_constants(parameters["model"], features)
        return lambda trained: penalty(trained["model"]["utility"], constants)
