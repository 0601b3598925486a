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

    @property
    def buffers(self) -> dict[str, PyTree[Array]]:
        """Arrays that the module holds beside its parameters, such as the means by which it scales features."""
        return nnx.to_pure_dict(self.rest)

    def __call__(self, parameters: dict[str, PyTree[Array]], buffers: dict[str, PyTree[Array]] | None = None) -> M:
        """The module with these parameters.

        Args:
            parameters: like those that `split` gave.
            buffers: of another module that is built alike; None for its own, which are then part of the program.
        """
        rest = self.rest if buffers is None else _replaced(self.rest, buffers)
        module: M = nnx.merge(self.graphdef, _replaced(self.template, parameters), rest, copy=True)
        return module


def _replaced(state: Any, arrays: dict[str, PyTree[Array]]) -> Any:
    """A state of the same form with other arrays."""
    copy = jax.tree.map(lambda leaf: leaf, state)  # replacing writes into it
    nnx.replace_by_pure_dict(copy, arrays)
    return copy
