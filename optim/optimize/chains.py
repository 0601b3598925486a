"""From an optimizer block of the config to an optax chain."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Shaped

from optim.config.optimizers import Optimizer
from optim.config.schedules import Schedule, ScheduleBase
from optim.models.arrays import on_device
from optim.optimize.hoisting import Hoisted, Numbers, hoisted
from optim.optimize.newton import newton

Resolve = Callable[[int | str], int]
"""Turns a duration of the config into steps."""

OWN = {"newton": newton}
"""Optimizers that optax has not."""

SELF_TUNED = ("lbfgs", "newton", "rprop")
"""Optimizers that find the sizes of their steps themselves: what the config gives is where they begin."""


class ChainNumbers(NamedTuple):
    """The numbers of a chain, as arrays: they are no part of its program.

    Attributes:
        arguments: of the optimizer, by keyword.
        schedule: of the schedule of its learning rate, in the order of its program; none for a constant rate.
        clip_global_norm: greatest norm of the whole gradient; None for no limit.
    """

    arguments: dict[str, Shaped[Array, ""]]
    schedule: Numbers
    clip_global_norm: Float[Array, ""] | None


@dataclass(frozen=True)
class Chain:
    """What is an optax chain once it has its numbers: global clipping, then the optimizer.

    Chains that are equal differ in nothing but their numbers, so that one program serves them all.

    Attributes:
        name: of the optimizer.
        settings: its other arguments, which decide what is computed.
        schedule: of its learning rate; None for a constant one.
        numbers: its own numbers.
    """

    name: str
    settings: tuple[tuple[str, Any], ...]
    schedule: Hoisted | None
    numbers: ChainNumbers = field(compare=False)

    def __call__(self, numbers: ChainNumbers | None = None) -> optax.GradientTransformationExtraArgs:
        """The optax chain.

        The learning rate is a traced array in the optimizer's state (`optax.inject_hyperparams`); an optimizer that
        finds its own is left as it is.

        Args:
            numbers: those of another chain that is equal to this; None for its own.
        """
        numbers = self.numbers if numbers is None else numbers
        arguments: dict[str, Any] = {**dict(self.settings), **numbers.arguments}
        if self.schedule is not None:
            arguments["learning_rate"] = partial(self.schedule, numbers.schedule)
        function = OWN.get(self.name) or getattr(optax, self.name)
        if self.name in SELF_TUNED:
            optimizer = function(**arguments)
        else:
            fixed = tuple(name for name in arguments if name != "learning_rate")
            optimizer = optax.inject_hyperparams(function, static_args=fixed)(**arguments)
        if numbers.clip_global_norm is not None:
            optimizer = optax.chain(optax.clip_by_global_norm(numbers.clip_global_norm), optimizer)
        return optax.with_extra_args_support(optimizer)


def build_chain(block: Optimizer, resolve: Resolve, stream: str) -> Chain:
    """The chain of a block.

    Args:
        block: the optimizer block.
        resolve: durations of its schedule → steps.
        stream: name of the stream of random numbers of an optimizer that draws some.
    """
    arguments = block.parameters()
    if "key" in arguments:
        arguments["key"] = np.uint32(zlib.crc32(f"{stream}/{arguments['key']}".encode()))
    rate: Schedule | float | None = arguments.get("learning_rate")
    schedule: Hoisted | None = None
    of_schedule: Numbers = ()
    if isinstance(rate, ScheduleBase):
        schedule, of_schedule = hoisted(build_schedule(rate, resolve), np.int32)
        del arguments["learning_rate"]
    numbers = {name: on_device(value) for name, value in arguments.items() if isinstance(value, float | np.uint32)}
    settings = tuple((name, value) for name, value in arguments.items() if name not in numbers)
    clip = None if block.clip_global_norm is None else on_device(block.clip_global_norm)
    return Chain(block.name, settings, schedule, ChainNumbers(numbers, jax.tree.map(on_device, of_schedule), clip))


def build_schedule(block: Schedule, resolve: Resolve) -> optax.Schedule:
    """The optax schedule of a block."""
    arguments: dict[str, Any] = block.parameters(resolve)
    if "schedules" in arguments:  # joined ones hold schedules themselves
        arguments["schedules"] = [build_schedule(inner, resolve) for inner in arguments["schedules"]]
    schedule: optax.Schedule = getattr(optax, block.schedule)(**arguments)
    if block.schedule != "polynomial_schedule":
        return schedule
    return _ended(schedule, arguments["transition_begin"] + arguments["transition_steps"], arguments["end_value"])


def _ended(schedule: optax.Schedule, steps: int, end_value: float) -> optax.Schedule:
    """A schedule that is not asked beyond its last step: optax takes a power of the share that is left, and compiled,
    where a quotient is a product with a reciprocal, that share may be a little below 0, whose powers are NaN."""
    return lambda count: jnp.where(count < steps, schedule(jnp.minimum(count, steps - 1)), end_value)


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
