"""Errors that depend on computed numbers, raised inside compiled code as well."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree


def raise_unless(
    holds: ArrayLike, error: Callable[..., Exception], value: PyTree[Array], *numbers: ArrayLike
) -> PyTree[Array]:
    """Return `value`, or raise where a condition does not hold.

    Outside compiled code the error itself is raised. Inside jit, vmap or scan a callback raises it when the numbers are
    known: JAX then surfaces an error of its own that holds the text. Derivatives pass through `value` unchanged.

    Args:
        holds: the condition; of any shape, in which case all must hold.
        error: makes the error from `numbers`; those of the first place at which the condition fails.
        value: what must not be used unless the condition holds: arrays or a pytree of them.
        numbers: what the message is to show, each a scalar or of the shape of `holds`.
    """
    condition, *shown = (jax.lax.stop_gradient(jnp.asarray(array)) for array in (holds, *numbers))

    def on_host(holds: ArrayLike, *shown: ArrayLike) -> np.ndarray:  # JAX hands over arrays of its own
        condition = np.asarray(holds)
        if not condition.all():
            first = np.unravel_index(np.argmin(condition), condition.shape)
            raise error(*(np.broadcast_to(number, condition.shape)[first] for number in shown))
        return condition

    if not any(isinstance(array, jax.core.Tracer) for array in (condition, *shown)):
        on_host(np.asarray(condition), *(np.asarray(number) for number in shown))
        return value
    result = jax.ShapeDtypeStruct(condition.shape, condition.dtype)
    known = jax.pure_callback(on_host, result, condition, *shown, vmap_method="broadcast_all")
    # The value has to depend on the callback's, or the compiler would leave the callback out.
    return jax.tree.map(lambda leaf: jnp.where(jnp.all(known), leaf, jnp.nan), value)


def lacks_forward_mode(error: TypeError) -> bool:
    """Whether JAX's error says that a `jax.custom_vjp` rule, which has no forward mode, was asked for one."""
    return "custom_vjp" in str(error)


def raised_inside(error: BaseException) -> str | None:
    """The text of the error that `raise_unless` raised inside compiled code, if that is what JAX's error is about."""
    lines = str(error).strip().splitlines()
    return lines[-1] if len(lines) > 1 and "callback" in lines[0].lower() else None
