"""Jacobians and Hessians with the names of their rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from optim.autodiff.failures import lacks_forward_mode
from optim.autodiff.labels import Labelled
from optim.autodiff.names import unknown_name
from optim.autodiff.trees import component_names, real_point, real_scalar, require_real

Mode = Literal["forward", "reverse"]
REVERSE_FROM = 2.0
"""Inputs for each output from which reverse mode is chosen.

Forward mode costs one pass an input, reverse mode one an output. The passes of matrix products cost about the same in
both modes, so that they break even at one input an output; those of elementwise functions are up to four times as cheap
forward. Two loses least in the worse case (`experiments/benchmarks/derivatives.py` measures both).
"""


def chosen_mode(inputs: int, outputs: int) -> Mode:
    """The mode in which a Jacobian of this shape is expected to be quicker."""
    return "reverse" if inputs > REVERSE_FROM * outputs else "forward"


def jacobian(
    f: Callable[[Any], PyTree[Array]], mode: Literal["auto", "forward", "reverse"] = "auto"
) -> Callable[[PyTree[ArrayLike]], Labelled]:
    """The Jacobian of a function as a function of the point.

    Args:
        f: maps a tree of real arrays to a tree of real arrays. JAX must be able to trace it.
        mode: how to differentiate; `auto` chooses from the shapes. Where a function has a rule for reverse mode alone
            (`jax.custom_vjp`, as `limit_gradient` has), `auto` takes that.

    Returns:
        A function that gives the Labelled matrix of shape (outputs, inputs). Input and output are ravelled. Their names
        are the labels of a Labelled vector, else the places in the tree, such as `butter` or `layers[0].kernel[1,3]`;
        one array without names is numbered, and a single number gives an axis of length 1. It raises TypeError where
        point or value are not real floating numbers, and where `forward` was asked for and a rule has no forward mode.

    Raises:
        ValueError: there is no such mode.
    """
    modes = ("auto", *get_args(Mode))
    if mode not in modes:
        raise ValueError(f"mode: {unknown_name(mode, modes)}")

    def matrix(point: PyTree[ArrayLike]) -> Labelled:
        point = real_point(point)
        flat, unravel = ravel_pytree(point)
        value = jax.eval_shape(f, point)
        require_real(value, "the function's value")
        outputs = sum(leaf.size for leaf in jax.tree.leaves(value))
        chosen = chosen_mode(flat.size, outputs) if mode == "auto" else mode
        ravelled = lambda x: ravel_pytree(f(unravel(x)))[0]
        values = jax.jacrev(ravelled)(flat) if chosen == "reverse" else _forward(ravelled, flat, mode == "auto")
        return Labelled(values, (component_names(value), component_names(point)))

    return matrix


def _forward(f: Callable[[Array], Array], x: Array, or_reverse: bool) -> Array:
    """The Jacobian by forward mode; where a rule has none, by reverse mode or not at all."""
    try:
        return jax.jacfwd(f)(x)
    except TypeError as error:
        if not lacks_forward_mode(error):
            raise
        if or_reverse:
            return jax.jacrev(f)(x)
        raise TypeError('the function has a jax.custom_vjp rule, which has no forward mode: say "reverse"') from error


def hessian(f: Callable[[Any], PyTree[Array]]) -> Callable[[PyTree[ArrayLike]], Labelled]:
    """The Hessian of a real scalar function as a function of the point, by forward over reverse mode.

    Args:
        f: maps a tree of real arrays to one real number.

    Returns:
        A function that gives the Labelled matrix of shape (n, n), the names of whose rows and columns are those of
        `jacobian`. It raises ValueError where the function does not give one number, and TypeError where point or value
        are not real floating numbers.
    """

    def matrix(point: PyTree[ArrayLike]) -> Labelled:
        point = real_point(point)
        flat, unravel = ravel_pytree(point)
        names = component_names(point)
        scalar = real_scalar(f)
        return Labelled(jax.jacfwd(jax.grad(lambda x: scalar(unravel(x))))(flat), (names, names))

    return matrix
