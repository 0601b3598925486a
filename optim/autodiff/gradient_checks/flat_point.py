"""A pytree of real and complex arrays as one real vector whose components have names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from optim.autodiff.names import shortened
from optim.autodiff.trees import component_names

ComponentNames = Mapping[str, str] | Sequence[str]


@dataclass(frozen=True, eq=False)
class FlatPoint:
    """A point as a vector in double precision, each component divided by its size.

    A complex number is two components. Sizes are powers of two, so that scaling is exact.

    Attributes:
        scaled: the components, divided by their sizes.
        size: max(1, |component|), rounded up to a power of two.
        names: a name a component: where it stands in the pytree (`cake.amounts[2]`), or what the caller said.
    """

    scaled: Float[np.ndarray, " n"]
    size: Float[np.ndarray, " n"]
    names: tuple[str, ...]
    leaves: tuple[np.ndarray, ...]
    structure: Any

    @classmethod
    def of(cls, point: PyTree[ArrayLike], names: ComponentNames | None = None) -> FlatPoint:
        """Flatten a point of concrete numbers.

        Raises:
            TypeError: a leaf is neither real nor complex (an integer, say).
            ValueError: there is no component, one is not finite, or the names do not fit.
        """
        given, structure = jax.tree.flatten(point)
        leaves = tuple(_in_double_precision(leaf) for leaf in given)
        components = np.concatenate([np.zeros(0), *(_reals(leaf) for leaf in leaves)])
        if not components.size:
            raise ValueError("the point has no component: there is nothing to differentiate with respect to")
        named = _renamed(_places(point, leaves), names)
        for component, name in zip(components, named, strict=True):
            if not np.isfinite(component):
                raise ValueError(f"{name} is {component}: derivatives are checked at a finite point")
        size = np.exp2(np.ceil(np.log2(np.maximum(1.0, np.abs(components)))))
        return cls(components / size, size, named, leaves, structure)

    def restore(self, scaled: Float[Array, " n"]) -> PyTree[Array]:
        """The pytree of a scaled vector; inverse of flattening, and linear."""
        ends = np.cumsum([_reals(leaf).size for leaf in self.leaves])
        blocks = jnp.split(scaled * self.size, ends[:-1])

        def one(block: Array, leaf: np.ndarray) -> Array:
            if not np.iscomplexobj(leaf):
                return block.reshape(leaf.shape)
            pairs = block.reshape(*leaf.shape, 2)
            return jax.lax.complex(pairs[..., 0], pairs[..., 1])

        leaves = [one(block, leaf) for block, leaf in zip(blocks, self.leaves, strict=True)]
        return jax.tree.unflatten(self.structure, leaves)


def _in_double_precision(leaf: ArrayLike) -> np.ndarray:
    """The leaf as an array of float64 or complex128."""
    array = np.asarray(leaf)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        raise TypeError(f"the point holds {array.dtype}: derivatives are with respect to real or complex numbers")
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64, order="C")


def _reals(leaf: np.ndarray) -> Float[np.ndarray, " n"]:
    """The components of a leaf; of a complex number first the real part, then the imaginary one."""
    return leaf.reshape(-1).view(np.float64)


def _places(point: PyTree[ArrayLike], leaves: tuple[np.ndarray, ...]) -> list[str]:
    """Where each component stands in the pytree."""
    places = component_names(point)
    if places is None:
        places = tuple(f"[{index}]" for index in range(leaves[0].size)) if leaves[0].ndim else ("point",)
    parts = [part for leaf in leaves for part in [(".real", ".imag") if np.iscomplexobj(leaf) else ("",)] * leaf.size]
    return [place + part for place, parts_of_one in zip(places, parts, strict=True) for part in parts_of_one]


def _renamed(places: list[str], names: ComponentNames | None) -> tuple[str, ...]:
    """Names given by the caller in place of those by position."""
    if names is None:
        return tuple(places)
    if isinstance(names, Mapping):
        for place in names.keys() - set(places):
            raise ValueError(f"names has {place!r}, which is no component of the point: those are {shortened(places)}")
        return tuple(names.get(place, place) for place in places)
    if len(names) != len(places):
        raise ValueError(f"names has {len(names)} entries, the point {len(places)} components: {shortened(places)}")
    return tuple(names)
