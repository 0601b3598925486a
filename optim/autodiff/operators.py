"""Products of derivatives with a direction, whose results have the structure of what they are about.

A function may take and give any pytree of real floating arrays. Where it takes a Labelled recipe and gives Labelled
properties, a direction is as well a mapping from names: what if there is less flour and more sugar,
`{"flour": -0.05, "sugar": 0.1}`; what would make it sweeter and flatter, `{"sweetness": 0.2, "fluffiness": -0.1}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from optim.autodiff.trees import matching, real_point, real_scalar, require_real


def jvp(
    f: Callable[[Any], PyTree[Array]],
    point: PyTree[ArrayLike],
    direction: PyTree[ArrayLike] | Mapping[str, ArrayLike],
) -> tuple[PyTree[Array], PyTree[Array]]:
    """Value of a function, and its change along a direction: Jacobian · direction, by forward mode.

    Args:
        f: maps a tree like the point to a tree of real arrays.
        point: where.
        direction: a tree like the point; or numbers by name, for a point that is a Labelled vector or a dict. Names
            left out are 0.

    Returns:
        f(point), and the change, which has the same structure.

    Raises:
        ValueError: the direction has another structure or shape than the point, or an unknown name.
        TypeError: point, direction or value are not real floating numbers.
    """
    point = real_point(point)
    value, change = jax.jvp(f, (point,), (matching(direction, point, "direction", "the point"),))
    require_real(value, "the function's value")
    return value, change


def vjp(
    f: Callable[[Any], PyTree[Array]],
    point: PyTree[ArrayLike],
    weights: PyTree[ArrayLike] | Mapping[str, ArrayLike],
) -> tuple[PyTree[Array], PyTree[Array]]:
    """Value of a function, and the gradient of its weighted sum: weights · Jacobian, by reverse mode.

    Args:
        f: maps a tree like the point to a tree of real arrays.
        point: where.
        weights: a tree like the value; or numbers by name, for a value that is a Labelled vector or a dict. Names left
            out are 0.

    Returns:
        f(point), and the gradient, which has the structure of the point.

    Raises:
        ValueError: the weights have another structure or shape than the value, or an unknown name.
        TypeError: point, weights or value are not real floating numbers.
    """
    value, pull_back = jax.vjp(f, real_point(point))
    require_real(value, "the function's value")
    (gradient,) = pull_back(matching(weights, value, "weights", "the value"))
    return value, gradient


def hvp(
    f: Callable[[Any], PyTree[Array]],
    point: PyTree[ArrayLike],
    direction: PyTree[ArrayLike] | Mapping[str, ArrayLike],
) -> PyTree[Array]:
    """Hessian · direction of a real scalar function, by forward over reverse mode.

    No Hessian is formed: time and memory are a small multiple of the function's own, whatever the number of variables.

    Args:
        f: maps a tree like the point to one real number.
        point: where.
        direction: as for `jvp`.

    Returns:
        the product, which has the structure of the point.

    Raises:
        ValueError: the function does not give one number; or the direction has another structure or shape than the
            point, or an unknown name.
        TypeError: point, direction or value are not real floating numbers.
    """
    point = real_point(point)
    _, product = jax.jvp(jax.grad(real_scalar(f)), (point,), (matching(direction, point, "direction", "the point"),))
    return product
