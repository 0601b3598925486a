"""No number of an optimizer is without effect beside another: such pairs are found by going through them all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, get_args

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import TypeAdapter, ValidationError

from optim.config.checks.numbers import CHECKS
from optim.config.optimizers import LineSearch, Optimizer, OptimizerBase
from optim.config.schema import Config, Fit
from optim.optimize.chains import build_chain
from tests.settings.test_every_optimizer_and_schedule import OPTIMIZERS, resolve
from tests.settings.walk import is_tag

EXTREMES: tuple[Any, ...] = (None, False, 0.0)
"""Values of one number at which another may lose its effect."""

VALUES: tuple[Any, ...] = (True, False, 0.3, 0.95, 6.0, None)
"""Values that the other is tried at, those that are valid."""

BESIDE: dict[str, dict[str, Any]] = {"noisy_sgd": {"key": 1}, "rmsprop": {"eps": 0.01}}
"""What an optimizer needs for its numbers to be valid, and to count."""

SAID = {("noisy_sgd", "key")}
"""A number that is required, and so cannot be refused: that there is no noise is said (`optim.config.idle`)."""

APART = ("name", "learning_rate", *OptimizerBase.model_fields)


def numbers_of(kind: type[OptimizerBase]) -> list[str]:
    return [name for name in kind.model_fields if name not in APART and not is_tag(kind, name)]


def refused(block: OptimizerBase) -> set[str | int]:
    """The numbers that the checks refuse."""
    stage = Fit.model_validate({"kind": "fit", "length": 9, "optimizer": block})
    return {path[-1] for check in CHECKS for path, _ in check(CONFIG, (), stage)}


CONFIG = Config.model_validate({"ingredients": {"gin": {"max": 1}}, "stages": {"fit": {
    "kind": "fit", "length": 9, "optimizer": {"name": "newton"},
}}})  # fmt: skip


def blocks(kind: type[OptimizerBase], name: str, values: tuple[Any, ...], fixed: dict[str, Any]) -> Iterator[Any]:
    """The optimizer with each value of a number that is valid."""
    tag = get_args(kind.model_fields["name"].annotation)[0]
    for value in values:
        fields = {"name": tag, "learning_rate": 0.4, **BESIDE.get(tag, {}), **fixed, name: value}
        try:
            block = TypeAdapter(Optimizer).validate_python(fields)
        except ValidationError:
            continue
        if not refused(block) - {name}:
            yield block


GRADIENTS = np.random.default_rng(0).normal(size=(7, 40)) * np.geomspace(1, 2, 7)[:, None]
"""Gradients that change their signs, and grow."""


def path_of(block: OptimizerBase) -> bytes:
    """Where the updates lead; they are not compiled, of which there would be hundreds."""
    optimizer = build_chain(block, resolve, "noise")()
    x = jnp.ones(40)
    state = optimizer.init(x)
    for gradient in GRADIENTS.astype(np.float32):
        updates, state = optimizer.update(jnp.asarray(gradient), state, x)
        x = optax.apply_updates(x, updates)
    return np.asarray(x).tobytes()


@pytest.mark.parametrize("kind", [kind for kind in OPTIMIZERS if not issubclass(kind, LineSearch)])
def test_no_number_loses_its_effect_beside_another_unless_that_is_refused(kind: type[OptimizerBase]) -> None:
    names = numbers_of(kind)
    for other, name in product(names, names):
        if other == name:
            continue
        for at in blocks(kind, other, EXTREMES, {}):
            fixed = {other: getattr(at, other)}
            changed = list(blocks(kind, name, VALUES, fixed))
            idle = len(changed) > 1 and all(path_of(block) == path_of(changed[0]) for block in changed[1:])
            given = [block for block in changed if getattr(block, name) != kind.model_fields[name].default]
            assert not idle or (at.name, name) in SAID or all(name in refused(block) for block in given), (
                f"{at.name}.{name} changes no update where {other} is {fixed[other]!r}: refuse it in "
                "optim/config/checks/numbers.py"
            )
