"""Modules as pure functions of their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import jax
from flax import nnx
from jaxtyping import Array, PyTree

M = TypeVar("M", bound=nnx.Module)


@dataclass(frozen=True, eq=False)
class Functional(Generic[M]):
    """A module split once: called with its parameters as a nested dict of arrays, it gives the module back.

    Splitting and merging by hand works in both of Flax's modes and keeps modules out of the hot path: the loop
    carries arrays, and merging happens while the loss is traced.
    """

    graphdef: Any
    template: Any
    rest: Any

    @classmethod
    def split(cls, module: M) -> tuple[Functional[M], dict[str, PyTree[Array]]]:
        """The function, and the parameters it starts with."""
        split: tuple[Any, ...] = nnx.split(module, nnx.Param, ...)
        graphdef, parameters, rest = split
        return cls(graphdef, parameters, rest), nnx.to_pure_dict(parameters)

    def __call__(self, parameters: dict[str, PyTree[Array]]) -> M:
        state = jax.tree.map(lambda leaf: leaf, self.template)  # a copy: replacing writes into it
        nnx.replace_by_pure_dict(state, parameters)
        module: M = nnx.merge(self.graphdef, state, self.rest, copy=True)
        return module
