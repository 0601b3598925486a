"""What the operators ask of the trees they are given, and the names of a tree's numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import FlattenedIndexKey, SequenceKey, keystr
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from optim.autodiff.labels import Labelled, Names
from optim.autodiff.names import unknown_name


def real_point(point: PyTree[ArrayLike]) -> PyTree[Float[Array, "..."]]:
    """The point as arrays.

    Raises:
        TypeError: it holds other than real floating numbers.
    """
    arrays = jax.tree.map(jnp.asarray, point)
    require_real(arrays, "the point")
    return arrays


def require_real(tree: PyTree[Array | jax.ShapeDtypeStruct], what: str) -> None:
    """Raise TypeError unless all arrays of the tree hold real floating numbers.

    Args:
        tree: arrays, or the shapes and types of arrays.
        what: what the tree is, for the message.
    """
    for path, leaf in _leaves(tree):
        dtype = _array(leaf).dtype
        at = f" at `{_place(path)}`" if path else ""
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise TypeError(
                f"{what} must be real, and is {dtype}{at}: `real_jacobian` differentiates complex functions"
            )
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"{what} must hold floating numbers, and is {dtype}{at}: convert it, or write 1.0 for 1")


def real_scalar(f: Callable[[Any], PyTree[ArrayLike]]) -> Callable[[Any], Float[Array, ""]]:
    """The function itself, with an error where it gives anything but one real number.

    The function returned raises:
        ValueError: the value is not one number of shape ().
        TypeError: it is not a real floating one.
    """

    def scalar(point: Any) -> Float[Array, ""]:
        value = jax.tree.map(jnp.asarray, f(point))
        leaves = jax.tree.leaves(value)
        if len(leaves) != 1 or leaves[0].shape != ():
            raise ValueError(f"the function must give one number, of shape (): it gave {outline(value)}")
        require_real(value, "the function's value")
        return leaves[0]

    return scalar


def matching(
    given: PyTree[ArrayLike] | Mapping[str, ArrayLike], like: PyTree[Array], what: str, whose: str
) -> PyTree[Array]:
    """A direction in the space of `like`: with its structure, shapes and types.

    Args:
        given: the direction; or numbers by name where `like` is a Labelled vector or a dict. Names left out get 0.
        like: real arrays.
        what: what is given, for the message.
        whose: whose structure it must have, for the message.

    Raises:
        ValueError: another structure or shape, or an unknown name.
        TypeError: complex numbers.
    """
    direction = _completed(given, like)
    if form(direction) != form(like):
        raise ValueError(
            f"the {what} must have the structure and shapes of {whose}, {outline(like)}: it is {outline(direction)}"
        )
    if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(direction)):
        raise TypeError(f"the {what} must be real: it is {outline(direction)}")
    return jax.tree.map(lambda leaf, one: jnp.asarray(leaf, one.dtype), direction, like)


def _completed(given: Any, like: Any) -> Any:
    """Zeros for what a mapping leaves out. What does not fit stays as it is."""
    if not isinstance(given, Mapping):
        return given
    if isinstance(like, Labelled) and len(like.labels) == like.values.ndim == 1 and like.labels[0]:
        return Labelled.vector(like.labels[0], given)
    if not isinstance(like, dict):
        return given
    for name in given:
        if name not in like:
            raise ValueError(unknown_name(name, like))
    return {
        name: _completed(given[name], part) if name in given else jax.tree.map(jnp.zeros_like, part)
        for name, part in like.items()
    }


def form(tree: PyTree[ArrayLike]) -> tuple[object, list[tuple[int, ...]]]:
    """The structure of a tree and the shapes of its arrays: what two trees need in common to be added."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [jnp.shape(leaf) for leaf in leaves]


def outline(tree: PyTree[ArrayLike]) -> str:
    """The structure of a tree with the type and shape of each array, for messages."""

    def one(leaf: Any) -> Any:
        array = jax.typeof(leaf.values if isinstance(leaf, Labelled) else leaf)
        text = f"{array.dtype}[{','.join(map(str, array.shape))}]"
        return repr(leaf) if isinstance(leaf, Labelled) else text

    return str(jax.tree.map(one, tree, is_leaf=_is_labelled)).replace("'", "")


def component_names(tree: PyTree[ArrayLike | jax.ShapeDtypeStruct]) -> Names:
    """A name for each number of a tree, in the order in which `ravel_pytree` puts them.

    The names of a Labelled vector are its labels; other names are the places in the tree: `butter`, `cake.amounts[2]`,
    `layers[0].kernel[1,3]`. A tree that is one number or one vector without names has none: None.
    """
    leaves = _leaves(tree)
    if len(leaves) == 1 and not leaves[0][0]:
        labels, shape = _labels(leaves[0][1])
        if len(shape) <= 1 and labels in ((), (None,)):
            return None
    return tuple(name for path, leaf in leaves for name in _names(_place(path), leaf))


def _names(place: str, leaf: Any) -> Iterator[str]:
    labels, shape = _labels(leaf)
    if len(labels) == 1 and labels[0] is not None:
        yield from (f"{place}.{name}" if place else name for name in labels[0])
        return
    axes = (map(str, range(size)) if names is None else names for names, size in zip(labels, shape, strict=True))
    for entry in product(*axes):
        yield place + (f"[{','.join(entry)}]" if entry else "")


def _labels(leaf: Any) -> tuple[tuple[Names, ...], tuple[int, ...]]:
    """Labels and shape of an array; None for every axis without names."""
    shape = jnp.shape(_array(leaf))
    labels = leaf.labels if isinstance(leaf, Labelled) else ()
    return (None,) * (len(shape) - len(labels)) + labels, shape


def _place(path: tuple[Any, ...]) -> str:
    text = ""
    for key in path:
        numbered = isinstance(key, SequenceKey | FlattenedIndexKey)
        text += f"[{keystr((key,), simple=True)}]" if numbered else f".{keystr((key,), simple=True)}"
    return text.removeprefix(".")


def _leaves(tree: Any) -> list[tuple[tuple[Any, ...], Any]]:
    return jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_labelled)[0]


def _is_labelled(leaf: Any) -> bool:
    return isinstance(leaf, Labelled)


def _array(leaf: Any) -> Any:
    return leaf.values if isinstance(leaf, Labelled) else leaf
