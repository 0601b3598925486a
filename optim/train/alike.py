"""Which runs one program serves: found by tracing them, not by a list of what may differ."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr
from jaxtyping import PyTree

from optim.losses.objective import Parameters
from optim.study.stage import Stage, initial_state
from optim.train.program import Program

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def programs_of(stages: Sequence[Stage], parameters: Parameters) -> tuple[str, ...]:
    """What the compiled programs of a run compute, a digest each; numbers that are arguments play no part.

    Runs for which they are equal differ in such numbers alone. Nothing is computed to tell.

    Args:
        stages: the stages of the run.
        parameters: its initial parameters, along a member axis.
    """
    digests = []
    state = jax.eval_shape(initial_state, parameters)
    for stage in stages:
        state = jax.eval_shape(stage.begin, state, stage.beginning)
        constants = jax.eval_shape(stage.constants, state.parameters)
        digests.append(_digest(Program(stage).jaxpr(state, constants), (state, constants)))
        state = jax.eval_shape(stage.finish, state)
    return tuple(digests)


def _digest(traced: ClosedJaxpr, arguments: PyTree) -> str:
    text = f"{jax.tree.structure(arguments)} {_ADDRESS.sub('', str(traced.jaxpr))}"
    digest = hashlib.sha256(text.encode())
    for constant in traced.consts:
        digest.update(np.asarray(constant).tobytes())
    return digest.hexdigest()
