"""Property models: what a recipe turns into.

A property model is a Flax NNX module with `names: tuple[str, ...]` and `__call__(amounts) -> (properties,)`, where
amounts has shape (ingredients,) and is in the user's units. One that reads settings of processes is called as
`model(amounts, settings)`, where settings are scalars by name. One of the user's own is constructed as
`Class(ingredients=("butter", …), rngs=rngs, **arguments)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from optim.autodiff import power_with_floored_slope
from optim.models.arrays import float_dtype, on_device, zeros
from optim.models.cake import Settings
from optim.models.features import fractions
from optim.models.variables import Statistic


@runtime_checkable
class PropertyModel(Protocol):
    """Recipe → properties."""

    names: tuple[str, ...]

    def __call__(self, amounts: Float[Array, " n"]) -> Float[Array, " properties"]: ...


@runtime_checkable
class SettingsReader(Protocol):
    """Recipe and settings of the processes → properties."""

    names: tuple[str, ...]

    def __call__(self, amounts: Float[Array, " n"], settings: Settings) -> Float[Array, " properties"]: ...


class Bakery(nnx.Module):
    """Sweetness, fluffiness and cost of a cake of butter, eggs, flour and sugar (natural logarithms):

    sweetness = 10 log(1 + sugar) + 0.1 butter − 0.2 flour
    fluffiness = 5 eggs / 3 − 0.5 (flour − 2)² + 0.2 butter
    cost = 0.5 (sugar^1.1 + flour^0.9 + butter^1.2 + eggs)

    The values are exact; the slope of a power is taken at no less than 1e-6 (see `power_with_floored_slope`).
    """

    def __init__(self, ingredients: Sequence[str]) -> None:
        self.names: tuple[str, ...] = ("sweetness", "fluffiness", "cost")
        self.index = {name: tuple(ingredients).index(name) for name in ("butter", "eggs", "flour", "sugar")}

    def __call__(self, amounts: Float[Array, " n"]) -> Float[Array, "3"]:
        butter, eggs, flour, sugar = (amounts[self.index[name]] for name in ("butter", "eggs", "flour", "sugar"))
        sweetness = 10.0 * jnp.log1p(sugar) + 0.1 * butter - 0.2 * flour
        fluffiness = 5.0 * eggs / 3.0 - 0.5 * (flour - 2.0) ** 2 + 0.2 * butter
        power = power_with_floored_slope
        cost = 0.5 * (power(sugar, 1.1) + power(flour, 0.9) + power(butter, 1.2) + eggs)
        return jnp.stack([sweetness, fluffiness, cost])


class ScheffeMixture(nnx.Module):
    """Scheffé's canonical polynomial in the fractions x of the total: Σ βᵢ xᵢ, with Σ βᵢⱼ xᵢ xⱼ (i < j) at degree 2.

    There is no constant and there are no squares: the fractions sum to 1 (Scheffé, 1958). The measured properties
    are scaled inside, so the weights start at zero, which predicts their means.
    """

    def __init__(
        self, names: Sequence[str], degree: int, ingredients: int, center: np.ndarray, scale: np.ndarray
    ) -> None:
        self.names = tuple(names)
        pairs = list(combinations(range(ingredients), 2)) if degree == 2 else []
        self.left = tuple(i for i, _ in pairs)
        self.right = tuple(j for _, j in pairs)
        self.weights = nnx.Param(zeros(len(self.names), ingredients + len(pairs)))
        self.center, self.scale = Statistic(on_device(center)), Statistic(on_device(scale))

    def __call__(self, amounts: Float[Array, " n"]) -> Float[Array, " properties"]:
        x = fractions(amounts)
        terms = jnp.concatenate([x, x[jnp.array(self.left, int)] * x[jnp.array(self.right, int)]])
        return self.center[...] + self.scale[...] * (self.weights[...] @ terms)


class PropertyNetwork(nnx.Module):
    """A multilayer perceptron (tanh) from the amounts, in units of their standard deviation, to the properties."""

    def __init__(
        self,
        names: Sequence[str],
        hidden: Sequence[int],
        amounts: Float[np.ndarray, "recipes n"],
        center: np.ndarray,
        scale: np.ndarray,
        rngs: nnx.Rngs,
    ) -> None:
        self.names = tuple(names)
        spread = amounts.std(axis=0)
        self.middle = Statistic(on_device(amounts.mean(axis=0)))
        self.spread = Statistic(on_device(np.where(spread > 0, spread, 1.0)))
        self.center, self.scale = Statistic(on_device(center)), Statistic(on_device(scale))
        self.network = Perceptron(amounts.shape[1], hidden, len(self.names), rngs=rngs)

    def __call__(self, amounts: Float[Array, " n"]) -> Float[Array, " properties"]:
        z = (amounts - self.middle[...]) / self.spread[...]
        return self.center[...] + self.scale[...] * self.network(z)


class Perceptron(nnx.Module):
    """Dense layers with tanh between them."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, *, rngs: nnx.Rngs) -> None:
        widths = [inputs, *hidden, outputs]
        self.layers = nnx.List([nnx.Linear(a, b, param_dtype=float_dtype(), rngs=rngs) for a, b in pairwise(widths)])

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        for layer in self.layers[:-1]:
            x = jax.nn.tanh(layer(x))
        return self.layers[-1](x)
