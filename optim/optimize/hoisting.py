"""Functions with their numbers taken out, so that others that differ in numbers alone are the same program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jaxtyping import Array, Shaped

Numbers = tuple[Shaped[Array | np.ndarray, ""], ...]


@dataclass(frozen=True)
class Hoisted:
    """A traced function whose numbers are arguments; two of them are equal where nothing but numbers differed.

    Attributes:
        text: what is computed, as JAX prints it.
        program: the same, to be called.
    """

    text: str
    program: core.ClosedJaxpr = field(compare=False)

    def __call__(self, numbers: Numbers, argument: Shaped[Array, ""]) -> Shaped[Array, ""]:
        """The function's value, given its numbers."""
        found: Shaped[Array, ""] = core.jaxpr_as_fun(self.program)(*numbers, argument)[0]
        return found


def hoisted(function: Callable[[Any], Any], dtype: Any) -> tuple[Hoisted, Numbers]:
    """A function of a scalar with its numbers taken out, and the numbers, in the precision that is set.

    By which numbers Python itself has decided what is computed leaves no trace as numbers: that shows in the text.

    Args:
        function: from a scalar to a scalar. Its numbers may stand anywhere in it, and may have been computed with.
        dtype: type of its argument.
    """
    traced = jax.make_jaxpr(function)(jax.ShapeDtypeStruct((), dtype))
    inputs: list[core.Var] = []
    numbers: list[Shaped[np.ndarray, ""]] = []

    def taken_out(atom: Any) -> Any:
        if not isinstance(atom, core.Literal) or np.ndim(atom.val):
            return atom
        inputs.append(core.Var(atom.aval))
        numbers.append(np.asarray(atom.val, jax.dtypes.canonicalize_dtype(atom.aval.dtype)))  # type: ignore[attr-defined]
        return inputs[-1]

    jaxpr, constants = traced.jaxpr, traced.consts
    opened = jaxpr.replace(
        eqns=[equation.replace(invars=list(map(taken_out, equation.invars))) for equation in jaxpr.eqns],
        outvars=list(map(taken_out, jaxpr.outvars)),
        debug_info=jaxpr.debug_info._replace(arg_names=None, result_paths=None),
    )
    opened = opened.replace(invars=[*inputs, *jaxpr.invars])
    text = f"{opened} where {[np.asarray(one).tolist() for one in constants]}"
    return Hoisted(text, core.ClosedJaxpr(opened, constants)), tuple(numbers)
