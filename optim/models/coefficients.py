"""Coefficients of utilities that are polynomials of their features, in the module's scaled features and in the user's.

A linear or quadratic utility is θ · t(z): the terms t of scaled features z = (f − center) / scale are the constant
(where there is one), the features and their products, in this order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from optim.models.utilities import LinearUtility, QuadraticUtility

Polynomial = LinearUtility | QuadraticUtility
CONSTANT = "constant"
"""Name of the coefficient that no feature multiplies; `bias` in result.json."""

Named = dict[str, Any]
"""`{"weights": {"butter": 1.2, …}, "products": {"butter*butter": −0.3, …}, "bias": 0.1}`."""


def pairs(utility: Polynomial) -> list[tuple[int, int]]:
    """The features of each product of a utility."""
    return list(zip(utility.left, utility.right, strict=True)) if isinstance(utility, QuadraticUtility) else []


def coefficient_names(utility: Polynomial, features: Sequence[str]) -> tuple[str, ...]:
    """Name of each term: `constant`, the feature's, or `butter*sugar`."""
    products = [f"{features[i]}*{features[j]}" for i, j in pairs(utility)]
    return (*([CONSTANT] if utility.bias is not None else []), *features, *products)


def scaled_coefficients(utility: Polynomial, group: int) -> Float[np.ndarray, " m"]:
    """θ of a group, as the module holds it."""
    parts = [] if utility.bias is None else [np.asarray(utility.bias[...], float)[group][None]]
    parts.append(np.asarray(utility.weights[...], float)[group])
    if isinstance(utility, QuadraticUtility):
        parts.append(np.asarray(utility.products[...], float)[group])
    return np.concatenate(parts)


def terms(
    utility: Polynomial,
    features: Float[np.ndarray, "rows k"],
    center: Float[np.ndarray, " k"],
    scale: Float[np.ndarray, " k"],
) -> Float64[np.ndarray, "rows m"]:
    """t(z) of features in the user's units, z = (f − c)/s; written in place, as there may be millions of rows."""
    left, right = np.array(pairs(utility), int).reshape(-1, 2).T
    start, count = 0 if utility.bias is None else 1, features.shape[1]
    found = np.empty((len(features), start + count + len(left)))
    found[:, :start] = 1.0
    scaled = found[:, start : start + count]
    np.subtract(features, center, out=scaled)
    scaled /= scale
    np.multiply(scaled[:, left], scaled[:, right], out=found[:, start + count :])
    return found


def in_user_units(
    utility: Polynomial, center: Float[np.ndarray, " k"], scale: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "m m"]:
    """The matrix that turns θ into the coefficients of unscaled features, in the same order.

    From z = (f − c)/s: zᵢzⱼ = (fᵢfⱼ − cⱼfᵢ − cᵢfⱼ + cᵢcⱼ) / (sᵢsⱼ). A utility without a constant is not centred, so it
    needs none.
    """
    features, start = len(scale), 0 if utility.bias is None else 1
    products = pairs(utility)
    matrix = np.eye(start + features + len(products))
    constant = np.zeros(len(matrix))
    for i in range(features):
        matrix[start + i, start + i] = 1 / scale[i]
        constant[start + i] = -center[i] / scale[i]
    for column, (i, j) in enumerate(products, start + features):
        unit = scale[i] * scale[j]
        matrix[column, column] = 1 / unit
        matrix[start + i, column] -= center[j] / unit
        matrix[start + j, column] -= center[i] / unit
        constant[column] = center[i] * center[j] / unit
    if start:
        matrix[0, 1:] = constant[1:]
    return matrix


def as_named(utility: Polynomial, features: Sequence[str], values: Mapping[str, Any]) -> Named:
    """What is known of coefficients by name, sorted into weights, products and bias. Those without it are absent.

    A utility without a constant has the bias 0.
    """
    products = [name for name in coefficient_names(utility, features) if name != CONSTANT and name not in features]
    named: Named = {"weights": {name: values[name] for name in features if name in values}}
    if isinstance(utility, QuadraticUtility):
        named["products"] = {name: values[name] for name in products if name in values}
    if utility.bias is None:
        named["bias"] = 0.0
    elif CONSTANT in values:
        named["bias"] = values[CONSTANT]
    return named
