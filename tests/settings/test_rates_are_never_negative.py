"""Whatever valid numbers a schedule has, no rate is below 0 or infinite: no stage trains away from its optimum."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.config.block import Block
from optim.optimize.chains import build_schedule
from tests.settings.test_every_optimizer_and_schedule import SCHEDULES, resolve, schedule_of

VALUES = (-1.0, 0.0, 0.4, 3.0, -2, 1)
"""Values that each number and duration of a schedule is tried at, those that are valid."""


@pytest.mark.parametrize("kind", SCHEDULES, ids=lambda kind: str(kind.__name__))
def test_no_valid_number_makes_a_rate_negative_or_infinite(kind: type[Block]) -> None:
    for name in kind.model_fields:
        for value in VALUES:
            try:
                schedule = build_schedule(schedule_of(kind, **{name: value}), resolve)
            except ValueError:  # refused by its type, or by optax
                continue
            rates = np.asarray(jax.vmap(schedule)(jnp.arange(20)))
            assert np.isfinite(rates).all(), f"{name}: {value}"
            assert (rates >= -1e-6).all(), f"{name}: {value}"
