"""The gradient limit clips what goes backward, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from optim.autodiff import limit_gradient

START = (1.0, 3.0, 2.0, 1.5)  # butter, eggs, flour, sugar
PLAIN = (-0.1525816, -0.91666603, -0.66476905, 8.810353)
BUTTER_LIMITED = (-0.1, -0.91666603, -0.66476905, 8.810353)
BUTTER = (0.1, np.inf, np.inf, np.inf)


def deliciousness(recipe: Array) -> Array:
    butter, eggs, flour, sugar = recipe
    sweetness = 10 * jnp.log(1 + sugar) + 0.1 * butter - 0.2 * flour
    fluffiness = 5 * eggs / 3 - 0.5 * (flour - 2) ** 2 + 0.2 * butter
    cost = 0.5 * (sugar**1.1 + flour**0.9 + butter**1.2 + eggs)
    return -((sweetness - 10) ** 2) - (fluffiness - 5) ** 2 - 0.5 * cost


def limited(recipe: Array, limit: object = BUTTER, tally: Array | None = None) -> Array:
    return deliciousness(limit_gradient(recipe, jnp.asarray(limit), tally))


def test_without_a_limit_the_gradient_is_the_printed_one() -> None:
    gradient = jax.grad(limited)(jnp.array(START), np.inf)
    np.testing.assert_allclose(gradient, PLAIN, rtol=2e-6)


def test_the_butter_component_is_clipped_and_the_others_are_not() -> None:
    gradient = jax.jit(jax.grad(limited))(jnp.array(START))
    np.testing.assert_allclose(gradient, BUTTER_LIMITED, rtol=2e-6)
    assert gradient[0] == np.float32(-0.1)


@pytest.mark.usefixtures("float64")
def test_it_works_in_double_precision() -> None:
    gradient = jax.grad(limited)(jnp.array(START))
    assert gradient.dtype == jnp.float64
    assert gradient[0] == -0.1
    np.testing.assert_allclose(gradient, BUTTER_LIMITED, rtol=2e-6)


def test_the_value_is_unchanged() -> None:
    recipe = jnp.array([1e-30, -3.0, 2e30, 1.5])
    assert jnp.array_equal(limit_gradient(recipe, 1e-9), recipe)


def test_a_scalar_limits_every_component() -> None:
    gradient = jax.grad(lambda x: limit_gradient(x, 2.0) @ jnp.array([-5.0, 1.0, 3.0]))(jnp.zeros(3))
    np.testing.assert_array_equal(gradient, [-2.0, 1.0, 2.0])


def test_an_array_of_limits_broadcasts() -> None:
    slopes = jnp.array([[4.0, -4.0], [1.0, 4.0]])
    gradient = jax.grad(lambda x: jnp.sum(limit_gradient(x, jnp.array([3.0, 2.0])) * slopes))(jnp.zeros((2, 2)))
    np.testing.assert_array_equal(gradient, [[3.0, -2.0], [1.0, 2.0]])


def test_a_tree_takes_one_limit_or_a_tree_of_them() -> None:
    tree = {"cream": jnp.zeros(2), "salt": jnp.zeros(())}

    def loss(tree: dict[str, Array], limit: object) -> Array:
        held = limit_gradient(tree, limit)
        return jnp.sum(9.0 * held["cream"]) - 9.0 * held["salt"]

    one = jax.grad(loss)(tree, 4.0)
    np.testing.assert_array_equal(one["cream"], [4.0, 4.0])
    assert one["salt"] == -4.0
    several = jax.grad(loss)(tree, {"cream": jnp.array([1.0, np.inf]), "salt": 2.0})
    np.testing.assert_array_equal(several["cream"], [1.0, 9.0])
    assert several["salt"] == -2.0


def test_limits_for_other_names_are_refused() -> None:
    with pytest.raises(ValueError, match="salt"):
        limit_gradient({"cream": jnp.zeros(2)}, {"salt": 1.0})


def test_under_vmap_each_row_is_limited_by_itself() -> None:
    recipes = jnp.stack([jnp.array(START), jnp.array(START).at[0].set(0.9)])
    batched = jax.jit(jax.vmap(jax.grad(limited)))(recipes)
    for row, recipe in zip(batched, recipes, strict=True):
        np.testing.assert_allclose(row, jax.grad(limited)(recipe), rtol=1e-6)


def test_under_vmap_limits_can_differ() -> None:
    gradients = jax.vmap(jax.grad(limited), in_axes=(None, 0))(jnp.array(START), jnp.array([0.05, 0.1, 1.0]))
    np.testing.assert_allclose(gradients[:, 0], [-0.05, -0.1, -0.1525816], rtol=2e-6)


def test_inside_scan_every_step_is_limited() -> None:
    def descend(recipe: Array, _: None) -> tuple[Array, Array]:
        gradient = jax.grad(limited)(recipe)
        return recipe + 0.01 * gradient, gradient

    _, gradients = jax.jit(lambda recipe: jax.lax.scan(descend, recipe, length=5))(jnp.array(START))
    assert bool(jnp.all(jnp.abs(gradients[:, 0]) <= 0.1))
    np.testing.assert_allclose(gradients[0], BUTTER_LIMITED, rtol=2e-6)


def test_the_gradient_through_a_scan_is_limited_at_every_use() -> None:
    def loss(x: Array) -> Array:
        total, _ = jax.lax.scan(lambda sum_, slope: (sum_ + slope * limit_gradient(x, 2.0), None), 0.0, SLOPES)
        return total

    assert jax.grad(loss)(jnp.array(1.0)) == 1.0 + 2.0 + 2.0 - 2.0


SLOPES = jnp.array([1.0, 3.0, 4.0, -5.0])


def test_what_follows_the_limit_is_still_differentiated() -> None:
    """Through a transform of the parameters: the limit acts on the amounts, the chain rule goes on."""
    gradient = jax.grad(lambda z: limited(jnp.exp(z)))(jnp.log(jnp.array(START)))
    np.testing.assert_allclose(gradient, np.array(BUTTER_LIMITED) * START, rtol=2e-5)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_the_tally_counts_what_was_clipped(transform: Callable[..., Callable[..., Array]]) -> None:
    tally = transform(jax.grad(limited, argnums=2))(jnp.array(START), jnp.array([0.1, 0.9, 0.9, 9.0]), jnp.zeros(4))
    np.testing.assert_array_equal(tally, [1.0, 1.0, 0.0, 0.0])


def test_the_tally_adds_up_over_steps_and_rows() -> None:
    def loss(tally: Array, x: Array) -> Array:
        total, _ = jax.lax.scan(lambda sum_, slope: (sum_ + slope * limit_gradient(x, 2.0, tally), None), 0.0, SLOPES)
        return total

    assert jax.grad(loss)(jnp.zeros(()), jnp.array(1.0)) == 3.0
    rows = jax.grad(lambda tally: jnp.sum(jax.vmap(loss, in_axes=(None, 0))(tally, jnp.ones(5))))(jnp.zeros(()))
    assert rows == 15.0


def test_a_gradient_just_at_the_limit_is_not_counted() -> None:
    _, pull_back = jax.vjp(lambda x, tally: limit_gradient(x, 2.0, tally), jnp.zeros(2), jnp.zeros(2))
    gradient, tally = pull_back(jnp.array([2.0, -2.0]))
    np.testing.assert_array_equal(gradient, [2.0, -2.0])
    np.testing.assert_array_equal(tally, [0.0, 0.0])


def test_nan_is_not_hidden_and_an_infinite_gradient_is_clipped() -> None:
    _, pull_back = jax.vjp(lambda x, tally: limit_gradient(x, 2.0, tally), jnp.zeros(3), jnp.zeros(3))
    gradient, tally = pull_back(jnp.array([np.nan, np.inf, -np.inf]))
    np.testing.assert_array_equal(gradient, [np.nan, 2.0, -2.0])
    np.testing.assert_array_equal(tally, [0.0, 1.0, 1.0])


def test_a_limit_of_zero_holds_a_component() -> None:
    gradient = jax.grad(limited)(jnp.array(START), (np.inf, 0.0, np.inf, np.inf))
    assert gradient[1] == 0.0
    assert gradient[3] > 8.0
