"""How XLA is asked to compile a stage."""

from __future__ import annotations

from functools import cache

import jax


@cache
def compiler_options() -> dict[str, str] | None:
    """Options for `jax.jit`, or None for XLA's own.

    On CPUs, XLA hands sums and products to a library (YNNPACK) whose calls cost more than the whole step of a small
    model: a step of the fit in `configs/cake.yaml` takes eleven times as long with it as without. The library is an
    experiment of XLA's, so an XLA that does not know the option is left as it is.
    """
    if jax.default_backend() != "cpu":
        return None
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return None
    return options
