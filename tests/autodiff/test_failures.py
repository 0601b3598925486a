"""Errors that depend on computed numbers are raised, compiled or not, and cost the derivative nothing."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from optim.autodiff.failures import raise_unless

# Which of them JAX raises depends on how the compiled code was called; the text is in both.
COMPILED = (jax.errors.JaxRuntimeError, ValueError)


def too_hot(temperature: np.ndarray) -> ValueError:
    return ValueError(f"{float(temperature):g} degrees are too many")


def squared_if_mild(temperature: Array) -> Array:
    return raise_unless(temperature < 50.0, too_hot, temperature**2, temperature)


def test_outside_compiled_code_the_error_itself_is_raised() -> None:
    assert squared_if_mild(jnp.float32(20.0)) == 400.0
    with pytest.raises(ValueError, match=r"^60 degrees are too many$"):
        squared_if_mild(jnp.float32(60.0))


def test_the_first_place_that_fails_is_shown() -> None:
    temperatures = jnp.array([[20.0, 30.0], [70.0, 60.0]])
    with pytest.raises(ValueError, match=r"^70 degrees"):
        raise_unless(temperatures < 50.0, too_hot, temperatures, temperatures)


@pytest.mark.parametrize(
    "transform",
    [jax.vmap, lambda f: jax.jit(jax.vmap(f)), lambda f: lambda x: jax.lax.map(f, x)],
    ids=["vmap", "jit", "scan"],
)
def test_inside_a_transformation_the_text_is_in_the_error_of_jax(
    transform: Callable[[Callable[[Array], Array]], Callable[[Array], Array]],
) -> None:
    function = transform(squared_if_mild)
    np.testing.assert_array_equal(function(jnp.array([1.0, 2.0])), [1.0, 4.0])
    with pytest.raises(COMPILED, match="60 degrees are too many"):
        jax.block_until_ready(function(jnp.array([1.0, 60.0])))


def test_derivatives_pass_through() -> None:
    for mode in (jax.grad, jax.jacfwd, lambda f: jax.jit(jax.grad(f))):
        assert mode(squared_if_mild)(3.0) == 6.0
        assert mode(mode(squared_if_mild))(3.0) == 2.0
    with pytest.raises(COMPILED, match="60 degrees"):
        jax.block_until_ready(jax.jit(jax.grad(squared_if_mild))(60.0))


def test_every_leaf_of_a_tree_depends_on_the_check() -> None:
    @jax.jit
    def salt(temperature: Array) -> Array:
        tree = {"salt": jnp.float32(1.0), "cream": temperature}
        return raise_unless(temperature < 50.0, too_hot, tree, temperature)["salt"]

    assert salt(jnp.float32(20.0)) == 1.0
    with pytest.raises(COMPILED, match="60 degrees"):
        salt(jnp.float32(60.0)).block_until_ready()


def test_it_is_compiled_once() -> None:
    traces = []

    @jax.jit
    def checked(temperature: Array) -> Array:
        traces.append(temperature)
        return squared_if_mild(temperature)

    assert [float(checked(jnp.float32(t))) for t in (1.0, 2.0, 3.0)] == [1.0, 4.0, 9.0]
    assert len(traces) == 1
