"""Customers with responses: each one's gradient of a logistic likelihood over all of theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from customer_contenders import TorchWritings, Workload, Writing
from optim.config import schema
from optim.data.panel import Panel
from optim.losses.likelihood import PanelObjective
from optim.models.build import Tasted, build_model
from optim.models.functional import Functional

TorchParameters = dict[str, Any]


@dataclass(frozen=True)
class Utility:
    """A utility of ten parameters, in the ways in which it is needed."""

    block: dict[str, Any]
    """Of the config."""
    ingredients: tuple[str, ...]
    inputs: Callable[[np.ndarray], np.ndarray]
    """What it is linear in (recipes, parameters), from the features (recipes, ingredients)."""
    with_torch: Callable[[TorchParameters], tuple[Callable[[TorchParameters, Any], Any], TorchParameters]]
    """From our parameters by name: a customer's utilities of parameters and features, and its own parameters."""


def quadratic_inputs(features: np.ndarray) -> np.ndarray:
    """A constant, the products and the features, in the order of the quadratic utility's parameters."""
    left, right = np.triu_indices(features.shape[1])
    return np.hstack([np.ones_like(features[:, :1]), features[:, left] * features[:, right], features])


def torch_linear(values: TorchParameters) -> tuple[Callable[[TorchParameters, Any], Any], TorchParameters]:
    """A linear utility as a module of torch's."""
    import torch

    module = torch.nn.Linear(len(values["weights"]), 1, bias=False)
    call = lambda parameters, features: torch.func.functional_call(module, parameters, (features,))[:, 0]
    return call, {"weight": values["weights"][None]}


def torch_quadratic(values: TorchParameters) -> tuple[Callable[[TorchParameters, Any], Any], TorchParameters]:
    """A quadratic utility as one would write its formula with torch."""
    import torch

    count = len(values["weights"])
    left, right = torch.triu_indices(count, count)

    def call(parameters: TorchParameters, features: Any) -> Any:
        products = features[:, left] * features[:, right]
        return features @ parameters["weights"] + products @ parameters["products"] + parameters["bias"]

    return call, values


LINEAR = Utility({"kind": "linear", "intercept": False}, tuple("abcdefghij"), lambda features: features, torch_linear)
QUADRATIC = Utility({"kind": "quadratic"}, ("butter", "flour", "sugar"), quadratic_inputs, torch_quadratic)


@dataclass(frozen=True, eq=False)
class PanelWorkload(Workload):
    """A fit of a utility to a panel."""

    utility: Utility
    features: np.ndarray
    """Of each response (customers, responses, ingredients), as the model scales them."""
    inputs: np.ndarray
    """What the utility is linear in (customers, responses, parameters), in the order of the gradients."""
    likes: np.ndarray

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The utility's parameters by name."""
        return {name: np.asarray(array[0]) for name, array in self.trained["model"]["utility"].items()}

    @property
    def rows(self) -> tuple[np.ndarray, ...]:
        return self.inputs, self.likes

    def loss(self, parameters: jax.Array, *row: jax.Array) -> jax.Array:
        inputs, likes = row
        return jnp.mean(jax.nn.softplus((1 - 2 * likes) * jnp.sum(inputs * parameters, axis=-1)))

    def gradients_in_doubles(self) -> np.ndarray:
        inputs, signs = self.inputs.astype(float), 1 - 2 * self.likes.astype(float)
        slopes = signs / (1 + np.exp(-signs * (inputs @ np.asarray(self.parameters, float))))
        return np.einsum("cr,crk->ck", slopes, inputs) / inputs.shape[1]

    def torch_writings(self) -> TorchWritings:
        import torch

        inputs, likes = (torch.from_numpy(array) for array in self.rows)
        by_hand = Writing(torch_by_hand, (torch.tensor(np.asarray(self.parameters)), inputs, likes))
        utilities, parameters = self.utility.with_torch(
            {name: torch.tensor(array) for name, array in self.values.items()}
        )
        documented = Writing(torch_as_documented(utilities), (parameters, torch.from_numpy(self.features), likes))
        if likes.shape[1] > 1:  # compiled for eight responses, it would take twelve times as long as for any number
            for array in (inputs, likes):
                torch._dynamo.mark_dynamic(array, 1)
        return TorchWritings(documented, by_hand, by_hand)


def torch_as_documented(utilities: Callable[[TorchParameters, Any], Any]) -> Callable[..., Any]:
    """The way of PyTorch's documentation: a loss of the dict of parameters."""
    import torch

    def loss(parameters: TorchParameters, features: Any, likes: Any) -> Any:
        return torch.nn.functional.binary_cross_entropy_with_logits(utilities(parameters, features), likes)

    def gradients(parameters: TorchParameters, features: Any, likes: Any) -> Any:
        found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, features, likes)
        parts = [found[name].reshape(len(likes), -1) for name in sorted(found)]
        return torch.hstack(parts) if len(parts) > 1 else parts[0]

    return gradients


def torch_by_hand(parameters: Any, inputs: Any, likes: Any) -> Any:
    """The same transformation of a loss in the fewest operations."""
    import torch

    def loss(parameters: Any, inputs: Any, likes: Any) -> Any:
        return torch.nn.functional.softplus((1 - 2 * likes) * (inputs @ parameters)).mean()

    return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, inputs, likes)


def panel_workload(utility: Utility, customers: int, responses: int, recipes: int) -> PanelWorkload:
    """Draw a panel and parameters, and prepare a fit."""
    draws = np.random.default_rng(0)
    panel = panel_of(utility.ingredients, customers, responses, recipes, draws)
    tasted = Tasted(panel.amounts, {}, np.ones(recipes), 1)
    block = schema.Model.model_validate({"utility": utility.block})
    module = build_model(block, panel.ingredients, tasted, lambda _: nnx.Rngs(0))
    model, parameters = Functional.split(module)
    draw = lambda leaf: jnp.asarray(draws.normal(0.0, 0.3, leaf.shape), leaf.dtype)
    trained = {"model": {"utility": jax.tree.map(draw, parameters["utility"])}}
    objective = PanelObjective(panel, np.zeros(customers, int), model, ("utility",), None, "mean_customers")
    constants = jax.block_until_ready(objective.constants({"model": parameters}))
    features = np.asarray(jax.vmap(module.features)(jnp.asarray(panel.amounts, jnp.float32)))
    by_response = lambda table: table[panel.recipe].reshape(customers, responses, -1)
    likes = panel.like.astype(np.float32).reshape(customers, responses)
    return PanelWorkload(
        objective, trained, constants, utility, by_response(features), by_response(utility.inputs(features)), likes
    )


def panel_of(
    ingredients: tuple[str, ...], customers: int, responses: int, recipes: int, draws: np.random.Generator
) -> Panel:
    """Draw what was tasted and what was liked; where there are as many recipes as responses, each has its own."""
    count = customers * responses
    amounts = draws.standard_normal((recipes, len(ingredients)))
    recipe = np.arange(count) if recipes == count else draws.integers(0, recipes, count)
    return Panel(
        customers=tuple(map(str, range(customers))),
        recipes=tuple(map(str, range(recipes))),
        ingredients=ingredients,
        amounts=amounts,
        offsets=np.arange(0, count + 1, responses, dtype=np.int32),
        recipe=recipe.astype(np.int32),
        like=draws.random(count) < 0.5,
        held_out=np.zeros(count, bool),
    )
