"""A module as a function of its parameters: pure, in both of Flax's modes, with random streams or without."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from optim.models.functional import Functional
from optim.models.utilities import LinearUtility


class Noisy(nnx.Module):
    """A module that draws while it is called."""

    def __init__(self) -> None:
        self.weight = nnx.Param(jnp.ones(2))
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(dropout=0))

    def __call__(self, x: Array) -> Array:
        return jnp.sum(self.dropout(self.weight[...] * x))


def test_it_is_differentiated_under_jit_and_vmap() -> None:
    function, parameters = Functional.split(LinearUtility(2, 1, intercept=True))
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 1]), parameters)
    slope = jax.grad(lambda p, x: function(p)(x, jnp.int32(0)) ** 2)
    gradients = jax.jit(jax.vmap(slope, in_axes=(0, None)))(members, jnp.array([3.0, 4.0]))
    np.testing.assert_array_equal(gradients["bias"], [[0.0], [16.0]])
    np.testing.assert_array_equal(gradients["weights"], [[[0.0, 0.0]], [[48.0, 64.0]]])


def test_the_parameters_that_are_given_are_the_ones_that_count() -> None:
    module = LinearUtility(2, 1, intercept=False)
    function, parameters = Functional.split(module)
    changed = {"weights": jnp.array([[1.0, 2.0]])}
    assert function(changed)(jnp.ones(2), jnp.int32(0)) == 3.0
    assert function(parameters)(jnp.ones(2), jnp.int32(0)) == 0.0  # nothing is left behind
    assert module(jnp.ones(2), jnp.int32(0)) == 0.0


def test_a_module_with_random_streams_can_be_differentiated() -> None:
    function, parameters = Functional.split(Noisy())
    loss = lambda p: function(p)(jnp.array([1.0, 2.0]))
    value, gradient = jax.jit(jax.value_and_grad(loss))(parameters)
    again, _ = jax.jit(jax.value_and_grad(loss))(parameters)
    assert value == again
    assert gradient["weight"].shape == (2,)
