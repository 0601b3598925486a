"""Utilities: what a customer makes of a recipe's features.

A utility is a Flax NNX module with `__call__(features, group) -> scalar`: `features` has shape (k,) and is scaled
(`optim.models.features`), `group` is the customer's group. One of the user's own is constructed as
`Class(features=("butter", …), groups=1, rngs=rngs, **arguments)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from optim.models.arrays import zeros
from optim.models.properties import Perceptron


@runtime_checkable
class Utility(Protocol):
    """Features and a customer's group → utility."""

    def __call__(self, features: Float[Array, " k"], group: Int[Array, ""]) -> Float[Array, ""]: ...


def of_group(weights: nnx.Param[Array], group: Int[Array, ""]) -> Array:
    """The row of a group; without a gather (nor its scatter in the gradient) where there is one group only."""
    values = weights[...]
    return values[0] if values.shape[0] == 1 else values[group]


class LinearUtility(nnx.Module):
    """w · features + b, with w of shape (groups, k) and b of shape (groups,).

    A sum of products rather than a dot: for the few features of a recipe the compiler fuses it with its
    neighbours, while a dot is a library call that costs more than the rest of the step.
    """

    def __init__(self, features: int, groups: int, intercept: bool) -> None:
        self.weights = nnx.Param(zeros(groups, features))
        self.bias = nnx.Param(zeros(groups)) if intercept else None

    def __call__(self, features: Float[Array, " k"], group: Int[Array, ""]) -> Float[Array, ""]:
        utility = jnp.sum(of_group(self.weights, group) * features)
        return utility if self.bias is None else utility + of_group(self.bias, group)


class QuadraticUtility(nnx.Module):
    """w · features + Σ qᵢⱼ featureᵢ featureⱼ + b over the pairs i ≤ j, squares left out where `squares` is false.

    Squares of fractions are left out: fractions sum to 1, so xᵢ² = xᵢ − Σ xᵢxⱼ is there already (Scheffé).
    """

    def __init__(self, features: int, groups: int, intercept: bool, squares: Sequence[bool]) -> None:
        pairs = [(i, j) for i in range(features) for j in range(i, features) if i != j or squares[i]]
        self.left = tuple(i for i, _ in pairs)
        self.right = tuple(j for _, j in pairs)
        self.weights = nnx.Param(zeros(groups, features))
        self.products = nnx.Param(zeros(groups, len(pairs)))
        self.bias = nnx.Param(zeros(groups)) if intercept else None

    def __call__(self, features: Float[Array, " k"], group: Int[Array, ""]) -> Float[Array, ""]:
        products = features[np.array(self.left, int)] * features[np.array(self.right, int)]
        utility = jnp.sum(of_group(self.weights, group) * features)
        utility = utility + jnp.sum(of_group(self.products, group) * products)
        return utility if self.bias is None else utility + of_group(self.bias, group)


class NetworkUtility(nnx.Module):
    """A multilayer perceptron of the features and, where there are several groups, the group's indicator."""

    def __init__(self, features: int, groups: int, hidden: Sequence[int], rngs: nnx.Rngs) -> None:
        self.groups = groups
        self.network = Perceptron(features + (groups if groups > 1 else 0), hidden, 1, rngs=rngs)

    def __call__(self, features: Float[Array, " k"], group: Int[Array, ""]) -> Float[Array, ""]:
        if self.groups > 1:
            features = jnp.concatenate([features, jax.nn.one_hot(group, self.groups, dtype=features.dtype)])
        return self.network(features)[0]
