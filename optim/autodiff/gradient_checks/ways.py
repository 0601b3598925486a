"""The ways of differentiating a scalar function along a direction, and what each of them is held against."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from optim.autodiff.gradient_checks.comparison import Along, Reference
from optim.autodiff.gradient_checks.finite_differences import Difference, difference_of, samples_along
from optim.autodiff.gradient_checks.report import Kind
from optim.autodiff.gradient_checks.second_differences import second_difference_of

Scalar = Callable[[Array], Array]
# A reference, with the ways of differentiating that are held against it.
Group = tuple[Reference, dict[Kind, Along]]


def ways_of_differentiating(f: Scalar, value: float, order: int) -> list[Group]:
    """What is compared with what, of a function whose value at the point is known.

    Args:
        order: 1 for first derivatives alone, 2 for second ones as well.
    """
    samples = _samples(lambda y, v: f(y))
    return [*_first_order(f, samples), *(_second_order(f, samples, value) if order == 2 else [])]


def _first_order(f: Scalar, samples: Along) -> list[Group]:
    forward, reverse = (jax.jit(partial(mode, f)) for mode in (_forward, _reverse))
    return [
        (_differences(samples), {"forward": forward, "reverse": reverse}),
        (lambda x, v: Difference(np.asarray(forward(x, v)), np.zeros(())), {"reverse against forward": reverse}),
    ]


def _second_order(f: Scalar, samples: Along, value: float) -> list[Group]:
    gradient_and_product = jax.jit(lambda x, v: jax.jvp(partial(_gradient, f), (x,), (v,)))
    product: Along = lambda x, v: gradient_and_product(x, v)[1]

    def second_differences(x: Array, v: Array) -> Difference:
        gradient = np.asarray(gradient_and_product(x, v)[0], np.float64)
        steepness = float(np.linalg.norm(gradient[np.isfinite(gradient)]))
        return second_difference_of(np.asarray(samples(x, v)), value, steepness)

    return [
        (
            _differences(_samples(lambda y, v: _gradient(f, y))),
            {
                "forward over reverse": product,
                "reverse over reverse": jax.jit(lambda x, v: _gradient(lambda y: _reverse(f, y, v), x)),
            },
        ),
        (
            _differences(_samples(partial(_forward, f))),
            {"forward over forward": jax.jit(lambda x, v: _forward(lambda y: _forward(f, y, v), x, v))},
        ),
        (second_differences, {"second differences": lambda x, v: _along(product(x, v), v)}),
    ]


def _gradient(f: Scalar, x: Array) -> Array:
    """The gradient in the precision of the value, which tells how exact it is."""
    value, pull_back = jax.vjp(f, x)
    return pull_back(jnp.ones_like(value))[0].astype(value.dtype)


def _forward(f: Scalar, x: Array, v: Array) -> Array:
    return jax.jvp(f, (x,), (v,))[1]


def _reverse(f: Scalar, x: Array, v: Array) -> Array:
    return _along(_gradient(f, x), v)


def _along(gradient: Array, v: Array) -> Array:
    """Derivative along v; what is not finite elsewhere does not spoil it."""
    return jnp.sum(jnp.where(v == 0.0, 0.0, gradient * v))


def _samples(f: Callable[[Array, Array], Array]) -> Along:
    """Values of f(y, v) for y near x, along v."""
    return jax.jit(lambda x, v: samples_along(lambda y: f(y, v), x, v))


def _differences(samples: Along) -> Reference:
    return lambda x, v: difference_of(np.asarray(samples(x, v)))
