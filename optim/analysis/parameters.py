"""The parameters of a likelihood model by their paths in it, such as `utility.layers.0.kernel`."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from optim.losses.objective import Parameters
from optim.study.study import Study

MOST_IN_RESULT = 200
"""Numbers of a module that result.json holds itself; of a larger one `parameters.npz` alone has them."""


def named_parameters(member: Parameters) -> dict[str, np.ndarray]:
    """The arrays of a model by their paths in it.

    Args:
        member: nested dicts of arrays, of one member.
    """
    leaves = jax.tree_util.tree_flatten_with_path(member)[0]
    return {".".join(str(key.key) for key in path): np.asarray(leaf) for path, leaf in leaves}


def parameter_arrays(study: Study, member: Parameters) -> dict[str, np.ndarray]:
    """All that a model needs to be called elsewhere: its parameters, and how the features of a utility are scaled.

    Empty for a model without parameters.
    """
    arrays = named_parameters(member)
    model = study.model(member)
    if arrays and model.utility is not None:
        arrays["features.names"] = np.array(model.feature_map.names, np.str_)
        arrays["features.center"] = np.asarray(model.center[...])
        arrays["features.scale"] = np.asarray(model.scale[...])
    return arrays


def few_parameters(member: Parameters, part: str) -> dict[str, Any]:
    """The parameters of a small part of a model by their paths, ready for JSON; empty for a large one.

    Args:
        member: the model's parameters.
        part: `utility` or `properties`.
    """
    arrays = named_parameters({part: member[part]} if part in member else {})
    is_small = sum(array.size for array in arrays.values()) <= MOST_IN_RESULT
    if not is_small or any(np.iscomplexobj(array) for array in arrays.values()):  # JSON has no complex numbers
        return {}
    return {name: _as_lists(array) for name, array in arrays.items()}


def _as_lists(array: np.ndarray) -> Any:
    """By way of the shortest texts, as 0.2 in single precision is to be read."""
    return np.array([float(str(value)) for value in array.ravel()]).reshape(array.shape).tolist()
