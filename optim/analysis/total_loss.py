"""A stage's whole training objective as a function of its trained parameters: in float64, and summed, not averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from optim.analysis.design import in_float64, scaled_features
from optim.autodiff import hvp
from optim.data.tallies import Tally
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import Parameters
from optim.losses.properties import PropertyObjective
from optim.models.flat import Flat
from optim.study.stage import Stage

Vector = Float64[np.ndarray, " p"]
Losses = Callable[[Parameters], Float[Array, " rows"]]


@dataclass(frozen=True, eq=False)
class TotalLoss:
    """The sum of a fit's losses over all that it is trained on, with its penalty; compiled once for all parameters.

    A property fit's is half the sum of its squared errors: with their variance a Gaussian's negative log-likelihood.

    Attributes:
        stage: the fit.
        losses: of each row, from the trained parameters.
        weights: how often each row counts.
        penalty: of the trained parameters, or None.
        terms: how many terms the sum has: responses, or measured properties of recipes.
        squared: the losses are squared errors.
    """

    stage: Stage
    losses: Losses
    weights: Float64[np.ndarray, " rows"]
    penalty: Callable[[Parameters], Float[Array, ""]] | None
    terms: int
    squared: bool

    @classmethod
    def of(cls, stage: Stage, model_parameters: Parameters, counted: Tally | None) -> TotalLoss:
        """The objective of a fit.

        Args:
            stage: the fit.
            model_parameters: of the likelihood model, of one member; those that the fit does not train count.
            counted: the responses that it is trained on; None for a property fit.
        """
        objective = stage.objective
        with jax.enable_x64(True):
            parameters = in_float64(model_parameters)
            if isinstance(objective, PanelObjective):
                assert counted is not None
                losses, weights = _of_responses(objective, parameters, counted)
                penalty = objective.total_penalty({"model": parameters})
                return cls(stage, losses, weights, penalty, counted.responses, squared=False)
            assert isinstance(objective, PropertyObjective)
            terms = len(objective.columns) * objective.units
            return cls(
                stage, _of_recipes(objective, parameters), np.full(objective.units, 0.5), None, terms, squared=True
            )

    def vector(self, model_parameters: Parameters) -> Vector:
        """The trained parameters (`optim.models.flat.Flat`)."""
        with jax.enable_x64(True):
            return np.asarray(self._flat(model_parameters).ravel_one(self._trained(model_parameters)))

    def _trained(self, model_parameters: Parameters) -> Parameters:
        return self.stage.trained({"model": in_float64(model_parameters)})

    def _flat(self, model_parameters: Parameters) -> Flat:
        return Flat.of_one(self._trained(model_parameters))

    def bind(self, model_parameters: Parameters) -> Bound:
        """The objective at some parameters."""
        return Bound(self, self.vector(model_parameters), self._compiled(model_parameters))

    def _compiled(self, model_parameters: Parameters) -> _Compiled:
        if "compiled" not in self.__dict__:
            with jax.enable_x64(True):
                self.__dict__["compiled"] = _Compiled(self, self._flat(model_parameters))
        compiled: _Compiled = self.__dict__["compiled"]
        return compiled


class _Compiled:
    """Value, gradient and Hessian products of an objective, as functions of the vector."""

    def __init__(self, total: TotalLoss, flat: Flat) -> None:
        def value(vector: Float[Array, " p"], weights: Float[Array, " rows"]) -> Float[Array, ""]:
            trained = flat.unravel(vector)
            data = jnp.sum(weights * total.losses(trained))
            return data if total.penalty is None else data + total.penalty(trained)

        def noise(vector: Float[Array, " p"], weights: Float[Array, " rows"]) -> Float[Array, ""]:
            slopes = jax.jacobian(lambda v: total.losses(flat.unravel(v)))(vector)
            return jnp.sqrt(jnp.sum(weights[:, None] * slopes**2))

        self.value = jax.jit(value)
        self.gradient = jax.jit(jax.grad(value))
        product = lambda v, weights, direction: hvp(lambda v: value(v, weights), v, direction)
        self.products = jax.jit(jax.vmap(product, in_axes=(None, None, 0)))
        self.noise = jax.jit(noise)


EXACT = (32 * float(np.finfo(np.float32).eps)) ** 2
"""A mean squared error (in units of the spread of what is fitted) up to this is the rounding of single precision."""
AT_ONCE = 2**18
"""Most losses of rows that are differentiated at once, each in its own direction."""


@dataclass(frozen=True, eq=False)
class Bound:
    """A total loss at one point."""

    total: TotalLoss
    vector: Vector
    _functions: _Compiled

    def _call(self, function: Callable[..., Any], *rest: Float64[np.ndarray, "..."]) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(function(self.vector, self.total.weights, *rest))

    @cached_property
    def value(self) -> float:
        """The objective."""
        return float(self._call(self._functions.value))

    @cached_property
    def gradient(self) -> Vector:
        """Its gradient."""
        return self._call(self._functions.gradient)

    @property
    def noise(self) -> float:
        """Root of the summed squared norms of the single terms' gradients.

        About as long would the gradient be if the terms pointed anywhere.
        """
        return float(self._call(self._functions.noise))

    def products(self, directions: Float64[np.ndarray, "k p"]) -> Float64[np.ndarray, "k p"]:
        """Its Hessian times some directions, as many at once as there is room for."""
        size = max(1, AT_ONCE // max(len(self.total.weights), 1))
        parts = np.split(directions, range(size, len(directions), size))
        return np.concatenate([self._call(self._functions.products, part) for part in parts])

    @property
    def variance(self) -> float:
        """By what to divide the objective so that it is a negative log-likelihood: 1, or the mean squared error."""
        if not self.total.squared:
            return 1.0
        return max(2 * self.value / self.total.terms, EXACT)


def _of_responses(
    objective: PanelObjective, parameters: Parameters, counted: Tally
) -> tuple[Losses, Float64[np.ndarray, " rows"]]:
    """Losses of a like and of a dislike of each cell, and how many of each there are."""
    amounts = objective.panel.amounts[counted.recipe]
    trains_properties = "properties" in objective.train
    inputs = amounts if trains_properties else scaled_features(objective.model, parameters, amounts)
    frozen = {part: value for part, value in parameters.items() if part not in objective.train}
    inputs, group = np.tile(inputs, (2, 1)), np.tile(counted.group, 2).astype(np.int32)
    like = np.repeat([1.0, 0.0], len(counted.recipe))

    def losses(trained: Parameters) -> Float[Array, " rows"]:
        return objective.response_losses(trained, frozen, jnp.asarray(inputs), jnp.asarray(like), jnp.asarray(group))

    return losses, np.concatenate([counted.likes, counted.dislikes])


def _of_recipes(objective: PropertyObjective, parameters: Parameters) -> Losses:
    """Squared errors of each recipe, each property in units of its standard deviation."""
    constants = objective.constants({"model": parameters})
    everyone = objective.everyone(constants)

    def errors(trained: Parameters) -> Float[Array, " rows"]:
        sums, _ = jax.vmap(objective.unit_loss, in_axes=(None, 0, None))(trained, everyone, constants)
        return sums

    return errors
