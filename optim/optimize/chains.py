"""From an optimizer block of the config to an optax chain."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from optim.config.optimizers import Optimizer
from optim.config.schedules import Schedule, ScheduleBase
from optim.optimize.newton import newton

Resolve = Callable[[int | str], int]
"""Turns a duration of the config into steps."""

OWN = {"newton": newton}
"""Optimizers that optax has not."""

SELF_TUNED = ("lbfgs", "newton", "rprop")
"""Optimizers that find the sizes of their steps themselves: what the config gives is where they begin."""


def build_optimizer(block: Optimizer, resolve: Resolve, stream: str) -> optax.GradientTransformationExtraArgs:
    """The optax chain of a block: global clipping, then the optimizer.

    The learning rate is a traced array in the optimizer's state (`optax.inject_hyperparams`), not a constant of the
    program; an optimizer that finds its own is left as it is.

    Args:
        block: the optimizer block.
        resolve: durations of its schedule → steps.
        stream: name of the stream of random numbers of an optimizer that draws some.
    """
    arguments = block.parameters()
    if "key" in arguments:
        arguments["key"] = zlib.crc32(f"{stream}/{arguments['key']}".encode())
    rate: Schedule | float | None = arguments.get("learning_rate")
    if isinstance(rate, ScheduleBase):
        arguments["learning_rate"] = build_schedule(rate, resolve)
    function = OWN.get(block.name) or getattr(optax, block.name)
    if block.name in SELF_TUNED:
        optimizer = function(**arguments)
    else:
        fixed = tuple(name for name in arguments if name != "learning_rate")
        optimizer = optax.inject_hyperparams(function, static_args=fixed)(**arguments)
    if block.clip_global_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(block.clip_global_norm), optimizer)
    return optax.with_extra_args_support(optimizer)


def build_schedule(block: Schedule, resolve: Resolve) -> optax.Schedule:
    """The optax schedule of a block."""
    arguments: dict[str, Any] = block.parameters(resolve)
    if "schedules" in arguments:  # joined ones hold schedules themselves
        arguments["schedules"] = [build_schedule(inner, resolve) for inner in arguments["schedules"]]
    return getattr(optax, block.schedule)(**arguments)


def learning_rate(state: optax.OptState) -> Float[Array, " members"] | None:
    """The learning rate of the last update (of a line search: its step size), or None where there is none."""
    found = optax.tree_utils.tree_get_all_with_path(state, "learning_rate")
    return jnp.asarray(found[0][1]) if found else None


def initialise(optimizer: optax.GradientTransformationExtraArgs, flat: Float[Array, "members p"]) -> optax.OptState:
    """The optimizer's state for every member: numbers only, of definite types, as a checkpoint can hold them.

    Every member draws random numbers of its own, the same however many members there are.
    """
    return jax.tree.map(_plain, jax.vmap(optimizer.init)(flat))


def _plain(leaf: Array) -> Array:
    """Random keys, one a member, as their numbers, which optax takes as well; weakly typed numbers, strongly typed."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(jax.vmap(jax.random.fold_in)(leaf, jnp.arange(len(leaf))))
    return jnp.asarray(leaf, leaf.dtype)
