"""Higher derivatives of a function of one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optim.autodiff.trees import outline, real_point, real_scalar

Series = Callable[[Float[Array, ""]], tuple[Float[Array, ""], ...]]


def derivatives(f: Callable[[Any], ArrayLike], order: int) -> Callable[[ArrayLike], Float[Array, " order *s"]]:
    """The derivatives of a function of one number, from the first on, as a function of the number.

    Forward mode nested `order` times: custom rules are respected, and the work grows as 2^order, so it is for the first
    few.

    Args:
        f: maps one real number to one real number.
        order: of the last derivative, at least 1.

    Returns:
        A function that gives for a number x the array of shape (order,) with f'(x), f''(x), …, and for an array of
        shape s that of shape (order, *s). It raises ValueError where f does not give one number, and TypeError where x
        or the value are not real floating numbers.

    Raises:
        TypeError: the order is not a whole number.
        ValueError: the order is below 1.
    """
    if not isinstance(order, int | np.integer):
        raise TypeError(f"the order of a derivative is a whole number, and {order!r} was given")
    if order < 1:
        raise ValueError(f"the order of a derivative is at least 1, and {order} was given")

    def at_one(x: Float[Array, ""]) -> Float[Array, " order"]:
        scalar = real_scalar(f)
        series: Series = lambda x: (scalar(x),)
        for _ in range(order):
            series = _extended(series)
        return jnp.stack(series(x)[1:])

    def at(x: ArrayLike) -> Float[Array, "order *s"]:  # noqa: F821 (a shape)
        if not jax.tree_util.all_leaves([x]):
            raise TypeError(f"these are derivatives of a function of one number: the point is {outline(x)}")
        return jnp.moveaxis(jnp.vectorize(at_one, signature="()->(order)")(real_point(x)), -1, 0)

    return at


def _extended(series: Series) -> Series:
    """Function and derivatives with one derivative more."""

    def extended(x: Float[Array, ""]) -> tuple[Float[Array, ""], ...]:
        values, slopes = jax.jvp(series, (x,), (jnp.ones_like(x),))
        return (*values, slopes[-1])

    return extended
