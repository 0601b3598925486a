"""A recipe, and customers who have targets of their own for its two properties: each one's gradient of the recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from customer_contenders import TorchWritings, Workload, Writing
from optim.config import schema
from optim.losses.audience import Audience
from optim.losses.cake import CakeObjective
from optim.losses.scores import build_score
from optim.models.build import Tasted, build_model
from optim.models.functional import Functional
from optim.models.space import RecipeSpace

INGREDIENTS = tuple("abcdefghij")
PROPERTIES = ("sweetness", "moisture")
TASTED = 50
"""Recipes from which the property model takes its scaling."""


class Mixture(NamedTuple):
    """The property model, Scheffé's polynomial of degree 2, in the arrays of NumPy, JAX or torch."""

    center: Any
    scale: Any
    weights: Any
    """Of each property (ingredients and pairs of them)."""
    left: Any
    right: Any

    def properties(self, recipe: Any, concat: Callable[[list[Any]], Any]) -> Any:
        """The properties of a recipe (ingredients,)."""
        fractions = recipe / recipe.sum()
        terms = concat([fractions, fractions[self.left] * fractions[self.right]])
        return self.center + self.scale * (self.weights @ terms)


@dataclass(frozen=True, eq=False)
class CakeWorkload(Workload):
    """A bake for customers who each want the properties elsewhere."""

    mixture: Mixture
    targets: np.ndarray
    """Of each customer (customers, properties)."""

    @property
    def rows(self) -> tuple[np.ndarray, ...]:
        return (self.targets,)

    def loss(self, parameters: jax.Array, *row: jax.Array) -> jax.Array:
        mixture = Mixture(*map(jnp.asarray, self.mixture))
        return jnp.sum((mixture.properties(parameters, jnp.concat) - row[0]) ** 2)

    def gradients_in_doubles(self) -> np.ndarray:
        center, scale, weights = (array.astype(float) for array in self.mixture[:3])
        recipe = np.asarray(self.parameters, float)
        fractions = recipe / recipe.sum()
        alone, together = np.split(weights, [len(recipe)], axis=1)
        pairs = np.zeros((len(weights), len(recipe), len(recipe)))
        pairs[:, self.mixture.left, self.mixture.right] = together
        properties = center + scale * (alone @ fractions + pairs @ fractions @ fractions)
        by_fraction = alone + (pairs + pairs.transpose(0, 2, 1)) @ fractions
        by_amount = (by_fraction - by_fraction @ fractions[:, None]) / recipe.sum()
        return 2 * (properties - self.targets) @ (scale[:, None] * by_amount)

    def torch_writings(self) -> TorchWritings:
        import torch

        mixture = Mixture(*map(torch.tensor, self.mixture))
        properties = lambda recipe: mixture.properties(recipe, torch.concat)

        def loss(recipe: Any, targets: Any) -> Any:
            return ((properties(recipe) - targets) ** 2).sum()

        def documented(recipe: Any, targets: Any) -> Any:
            return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(recipe, targets)

        def by_hand(recipe: Any, targets: Any) -> Any:
            return (properties(recipe) - targets) @ (2 * torch.func.jacrev(properties)(recipe))

        def to_compile(recipe: Any, targets: Any) -> Any:
            misses = properties(recipe) - targets
            return (misses[:, :, None] * (2 * torch.func.jacrev(properties)(recipe))).sum(dim=1)

        arguments = torch.tensor(np.asarray(self.parameters)), torch.from_numpy(self.targets)
        written = lambda gradients: Writing(gradients, arguments)
        return TorchWritings(written(documented), written(by_hand), written(to_compile))


def cake_workload(customers: int) -> CakeWorkload:
    """Draw a property model, a recipe and targets, and prepare a bake."""
    draws = np.random.default_rng(0)
    count = len(INGREDIENTS)
    tasted = Tasted(
        draws.random((TASTED, count)), {name: draws.normal(size=TASTED) for name in PROPERTIES}, np.ones(TASTED), 1
    )
    block = schema.Model.model_validate({"properties": {"kind": "scheffe", "degree": 2, "columns": list(PROPERTIES)}})
    module = build_model(block, INGREDIENTS, tasted, lambda _: nnx.Rngs(0))
    model, parameters = Functional.split(module)
    weights = draws.normal(size=parameters["properties"]["weights"].shape).astype(np.float32)
    parameters["properties"]["weights"] = jnp.asarray(weights)
    trained = {"cake": {"amounts": jnp.asarray(draws.uniform(0.5, 1.5, count), jnp.float32)}}
    targets = draws.normal(size=(customers, len(PROPERTIES))).astype(np.float32)
    objective = objective_of(model, targets)
    constants = jax.block_until_ready(objective.constants({"model": parameters}))
    center, scale = (np.array(getattr(module.properties, name)[...]) for name in ("center", "scale"))
    mixture = Mixture(center, scale, weights, *np.triu_indices(count, 1))
    return CakeWorkload(objective, trained, constants, mixture, targets)


def objective_of(model: Functional[Any], targets: np.ndarray) -> CakeObjective:
    """Minus the deliciousness of a cake for customers with these targets (customers, properties)."""
    count, customers = len(INGREDIENTS), len(targets)
    space = RecipeSpace(INGREDIENTS, ("",) * count, np.zeros(count), np.full(count, 2.0), np.zeros(count), None)
    columns = {name: {"column": name} for name in PROPERTIES}
    score = schema.DeliciousnessScore.model_validate({"kind": "deliciousness", "targets": columns, "cost_weight": 0})
    wanted = dict(zip(PROPERTIES, targets.T, strict=True))
    audience = Audience(np.zeros(customers, int), wanted, np.ones(customers), None)
    cake, _ = Functional.split(space.cake())
    return CakeObjective(space, model, cake, build_score(score), audience, "mean_customers")
