"""The floating-point type of a study."""

from __future__ import annotations

import jax

from optim.config.schema import Config


def set_precision(config: Config) -> None:
    """Set the floating-point type; before any array exists."""
    jax.config.update("jax_enable_x64", config.precision == "float64")
