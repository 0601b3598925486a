"""The fitted coefficients in the user's units: what the weights of scaled features mean for the features themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from optim.models.utilities import LinearUtility, QuadraticUtility


def polynomial(
    utility: LinearUtility | QuadraticUtility,
    group: int,
    center: Float[np.ndarray, " k"],
    scale: Float[np.ndarray, " k"],
) -> tuple[float, Float[np.ndarray, " k"], Float[np.ndarray, "k k"]]:
    """Constant, linear and quadratic coefficients of utility = b + w·f + fᵀQf in unscaled features f (Q symmetric).

    The module holds them for z = (f − center)/scale; expanding z gives Q' = Q/(s sᵀ), w' = w/s − 2Q'c and
    b' = b − c·w/s + cᵀQ'c.
    """
    weights = np.asarray(utility.weights[...], float)[group] / scale
    bias = 0.0 if utility.bias is None else float(np.asarray(utility.bias[...])[group])
    quadratic = np.zeros((len(scale), len(scale)))
    if isinstance(utility, QuadraticUtility):
        products = np.asarray(utility.products[...], float)[group]
        for i, j, value in zip(utility.left, utility.right, products, strict=True):
            quadratic[i, j] += value / 2
            quadratic[j, i] += value / 2
    quadratic = quadratic / np.outer(scale, scale)
    constant = bias - center @ weights + center @ quadratic @ center
    return constant, weights - 2 * quadratic @ center, quadratic


def named_coefficients(
    utility: LinearUtility | QuadraticUtility,
    group: int,
    names: Sequence[str],
    center: Float[np.ndarray, " k"],
    scale: Float[np.ndarray, " k"],
) -> dict[str, dict[str, float] | float]:
    """`{"weights": {"butter": 1.2, …}, "products": {"butter*butter": −0.3, …}, "bias": 0.1}` in the user's units.

    A utility without an intercept has the bias 0; `products` is absent from a linear one.
    """
    constant, linear, quadratic = polynomial(utility, group, center, scale)
    named: dict[str, dict[str, float] | float] = {
        "weights": {name: float(value) for name, value in zip(names, linear, strict=True)}
    }
    if isinstance(utility, QuadraticUtility):
        named["products"] = {
            f"{names[i]}*{names[j]}": float(quadratic[i, j] * (1 if i == j else 2))
            for i, j in zip(utility.left, utility.right, strict=True)
        }
    named["bias"] = float(constant)
    return named
