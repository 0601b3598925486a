"""First-order expansions: the derivatives at the point, each of many customers', from slopes worked out once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from optim.autodiff import Labelled, first_order, fixed_point, limit_gradient

POINT: dict[str, Any] = {"amounts": jnp.array([1.5, 0.2, 3.0]), "vibration": jnp.array(0.3 - 0.4j)}
TARGETS = jnp.linspace(-1.0, 2.0, 12)


def properties(point: dict[str, Array]) -> Array:
    """Two properties of amounts and a complex setting; the second is not holomorphic in it."""
    amounts, z = point["amounts"], point["vibration"]
    settled, _ = fixed_point(lambda a, m: jnp.tanh(a * m) / 2 + a / 4, amounts[0], jnp.zeros((), amounts.dtype))
    return jnp.stack([settled * amounts @ jnp.array([1.0, -2.0, 0.5]), jnp.abs(z) ** 2 * amounts[1] + z.imag**3])


def losses(f: Any, point: Any) -> tuple[Array, Any]:
    """Loss and gradient for a target of each customer."""
    loss = lambda point, target: jnp.sum((f(point) - target) ** 2)
    return jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0)))(point, TARGETS)


@jax.jit
def found(point: Any) -> tuple[Array, Any]:
    """The same of the properties' expansion."""
    return losses(first_order(properties, point), point)


def same(one: Any, other: Any, tolerance: float) -> None:
    for found, expected in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_values_and_gradients_at_the_point_are_those_of_the_function() -> None:
    same(losses(properties, POINT), found(POINT), 2e-6)


@pytest.mark.usefixtures("float64")
def test_in_double_precision_as_well() -> None:
    point = {"amounts": jnp.array([1.5, 0.2, 3.0]), "vibration": jnp.array(0.3 - 0.4j)}
    same(losses(properties, point), found(point), 1e-12)


def test_slopes_of_more_outputs_than_inputs() -> None:
    wide = lambda x: jnp.sin(jnp.outer(x, jnp.arange(1.0, 8.0))).ravel()
    point = jnp.array([0.4, -0.7])
    same(losses(first_order(wide, point), point), losses(wide, point), 2e-6)


def test_a_slope_that_is_infinite_leaves_the_value_as_it_is() -> None:
    f = first_order(lambda x: jnp.sqrt(x), jnp.array([0.0, 4.0]))
    np.testing.assert_array_equal(f(jnp.array([0.0, 4.0])), [0.0, 2.0])


def test_a_rule_for_reverse_mode_alone_is_left_to_each_customer() -> None:
    """The limit is on a customer's gradient, and not on the slope of what the customers share."""
    limited = lambda x: limit_gradient(x, 0.5)[:1] * 3.0
    point = jnp.array([1.0, 2.0])
    assert first_order(limited, point) is limited
    _, gradients = losses(first_order(limited, point), point)
    assert float(jnp.abs(gradients).max()) == 0.5


def test_other_errors_are_not_taken_for_that() -> None:
    def wrong(x: Array) -> Array:
        raise TypeError("no such property")

    with pytest.raises(TypeError, match="no such property"):
        first_order(wrong, jnp.ones(2))


def test_it_compiles_once_and_the_function_is_traced_a_few_times_however_many_gradients() -> None:
    traces = []

    def counted(point: dict[str, Array]) -> Array:
        traces.append(1)
        return properties(point)

    run = jax.jit(lambda point: losses(first_order(counted, point), point))
    for shift in (0.0, 0.1, 0.2):
        run({**POINT, "amounts": POINT["amounts"] + shift})
    assert len(traces) <= 3  # its value, whether it has a forward mode, and its slopes


def test_names_stay_with_the_numbers() -> None:
    double = lambda recipe: Labelled(recipe.values**2, recipe.labels)
    recipe = Labelled.vector(("butter", "sugar"), [1.0, 3.0])
    expanded = first_order(double, recipe)
    assert expanded(recipe).labels == (("butter", "sugar"),)
    slope = jax.grad(lambda recipe: expanded(recipe)["sugar"])(recipe)
    np.testing.assert_array_equal(slope.values, [0.0, 6.0])
