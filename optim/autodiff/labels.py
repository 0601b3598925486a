"""Arrays whose axes carry names."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import GetAttrKey
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from optim.autodiff.names import shortened, unknown_name
from optim.autodiff.text_tables import text_table

if TYPE_CHECKING:
    import polars

Names = tuple[str, ...] | None
Key = str | SupportsIndex | slice


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True, eq=False, repr=False)
class Labelled:
    """An array that knows the names along its axes: a recipe by ingredient, a Jacobian by property and ingredient.

    A pytree: the values are its data, the labels are static. It passes through jit, vmap, scan and derivatives.

    Attributes:
        values: the array.
        labels: for each axis its names, or None where the axis is only numbered. Axes in front that vmap or scan
            added have no entry: the labels belong to the last axes.

    Raises:
        ValueError: there are more labels than axes, a number of names differs from its axis, or a name comes twice.
    """

    values: Shaped[Array, "..."]
    labels: tuple[Names, ...]

    def __post_init__(self) -> None:
        shape = self.values.shape
        if len(self.labels) > len(shape):
            raise ValueError(f"there are labels for {len(self.labels)} axes, and the values have shape {shape}")
        for axis, (names, size) in enumerate(zip(self.labels, shape[len(shape) - len(self.labels) :], strict=True)):
            if names is not None:
                _check_names(names, size, axis)

    @classmethod
    def vector(
        cls, names: Sequence[str], values: ArrayLike | Sequence[ArrayLike] | Mapping[str, ArrayLike]
    ) -> Labelled:
        """A vector of named numbers.

        Args:
            names: a name for every entry.
            values: an array of shape (n,), a sequence of n numbers, or numbers by name: names left out are 0. An array
                keeps its type; other numbers become floating ones.

        Raises:
            ValueError: a number has no or an unknown name, or is not one number.
        """
        names = tuple(names)
        if isinstance(values, Mapping):
            return cls(_by_name(names, values), (names,))
        if isinstance(values, Sequence):
            if len(values) != len(names):
                raise ValueError(f"{len(values)} numbers were given for {len(names)} names: {shortened(names)}")
            return cls(_by_name(names, dict(zip(names, values, strict=True))), (names,))
        array = jnp.asarray(values)
        if array.ndim != 1:
            raise ValueError(f"a vector of {len(names)} names needs an array of one axis, not of shape {array.shape}")
        return cls(array, (names,))

    def __getitem__(self, key: Key | tuple[Key, ...]) -> Array | Labelled:
        """What stands under a name or number of each labelled axis; `:`, or no key, keeps an axis.

        Returns:
            the array where every axis was given, else a Labelled with the axes that are left.

        Raises:
            KeyError: no such name along this axis.
            IndexError: no such number along this axis, or more keys than labelled axes.
        """
        keys = key if isinstance(key, tuple) else (key,)
        if len(keys) > len(self.labels):
            raise IndexError(f"{len(keys)} keys for {len(self.labels)} labelled axes")
        keys += (slice(None),) * (len(self.labels) - len(keys))
        places = tuple(self._place(axis, key) for axis, key in enumerate(keys))
        left = tuple(names for names, place in zip(self.labels, places, strict=True) if isinstance(place, slice))
        found = self.values[(..., *places)]
        return Labelled(found, left) if left else found

    def _place(self, axis: int, key: Key) -> int | slice:
        """Position along an axis."""
        names, size = self.labels[axis], self.values.shape[axis - len(self.labels)]
        if isinstance(key, slice):
            if key != slice(None):
                raise IndexError("only `:`, a name or a number is a key")
            return key
        if isinstance(key, str):
            if names is None:
                raise KeyError(f"axis {axis} has no names: give a number below {size} for `{key}`")
            if key not in names:
                raise KeyError(unknown_name(key, names))
            return names.index(key)
        place = operator.index(key)
        if not -size <= place < size:  # JAX would give the last entry
            raise IndexError(f"axis {axis} has {size} entries, and number {place} was asked for")
        return place

    def names(self, axis: int) -> tuple[str, ...]:
        """Names along a labelled axis; the numbers from 0 where it has none."""
        names = self.labels[axis]
        return tuple(map(str, range(self.values.shape[axis - len(self.labels)]))) if names is None else names

    def to_frame(self) -> polars.DataFrame:
        """A vector as a frame with columns `name` and `value`; a matrix with a column for each of its columns.

        Raises:
            ValueError: it is neither a vector nor a matrix.
            polars.exceptions.DuplicateError: a column of the matrix is itself called `name`.
        """
        import polars  # only those who want a frame pay for it

        if not self._is_table():
            raise ValueError(f"a frame holds a labelled vector or matrix, and this is {self!r}")
        numbers = np.asarray(self.values)
        rows = polars.Series("name", self.names(0))
        if numbers.ndim == 1:
            return polars.DataFrame([rows, polars.Series("value", numbers)])
        columns = (polars.Series(name, column) for name, column in zip(self.names(1), numbers.T, strict=True))
        return polars.DataFrame([rows, *columns])

    def __str__(self) -> str:
        """A table where the numbers of a vector or matrix are known, else one line."""
        if not self._is_table():
            return repr(self)
        numbers = np.asarray(self.values)
        if numbers.ndim == 1:
            return text_table(self.names(0), [""], numbers[:, None])
        return text_table(self.names(0), self.names(1), numbers)

    def _is_table(self) -> bool:
        known = isinstance(self.values, Array | np.ndarray) and not isinstance(self.values, jax.core.Tracer)
        return known and self.values.ndim == len(self.labels) and self.values.ndim in (1, 2)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What a notebook shows: the table."""
        printer.text(str(self))

    def __repr__(self) -> str:
        array = self.values
        if isinstance(array, Array | jax.ShapeDtypeStruct | np.ndarray):
            sizes = ",".join(map(str, array.shape))
            content = f"{array.dtype}[{sizes}]" + (" traced" if isinstance(array, jax.core.Tracer) else "")
        else:
            content = repr(array)
        named = " × ".join("numbered" if names is None else shortened(names) for names in self.labels)
        return f"Labelled({content}: {named})"

    def tree_flatten_with_keys(self) -> tuple[tuple[tuple[GetAttrKey, Any]], tuple[Names, ...]]:
        return ((GetAttrKey("values"), self.values),), self.labels

    @classmethod
    def tree_unflatten(cls, labels: tuple[Names, ...], children: tuple[Any]) -> Labelled:
        # Past the checks of the constructor: transformations put other things than arrays into a tree.
        made = object.__new__(cls)
        object.__setattr__(made, "values", children[0])
        object.__setattr__(made, "labels", labels)
        return made


def _check_names(names: tuple[str, ...], size: int, axis: int) -> None:
    if len(names) != size:
        raise ValueError(f"axis {axis} has {size} entries and {len(names)} names: {shortened(names)}")
    if len(set(names)) < size:
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"axis {axis} has the name `{twice}` twice")


def _by_name(names: tuple[str, ...], numbers: Mapping[str, ArrayLike]) -> Array:
    known = frozenset(names)
    for name, number in numbers.items():
        if name not in known:
            raise ValueError(unknown_name(name, names))
        if np.shape(number) != ():
            raise ValueError(f"`{name}` needs one number, and an array of shape {np.shape(number)} was given")
    return jnp.array([numbers.get(name, 0.0) for name in names], jnp.result_type(0.0, *numbers.values()))
