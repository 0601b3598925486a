"""Known numbers on the device.

`jnp.zeros`, `jnp.asarray` and indexing outside a compiled function are each a program of their own, traced, lowered and
loaded for one use; for the few numbers of a model that takes longer than all that is done with them.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree


def float_dtype() -> np.dtype[Any]:
    """The precision that is set: float32, or float64."""
    return np.dtype(jax.dtypes.canonicalize_dtype(float))


def on_device(values: Any) -> Array:
    """Numbers that are known here as an array on the device, in the precision that is set."""
    return jax.device_put(np.asarray(values))


def zeros(*shape: int) -> Array:
    """Zeros in the precision that is set; no shape is a scalar."""
    return on_device(np.zeros(shape))


def first_member(tree: PyTree[Array | np.ndarray]) -> PyTree[Array]:
    """The first member of arrays with a leading member axis: all there is of a fit."""
    return jax.tree.map(lambda leaf: on_device(np.asarray(leaf)[0]), tree)
