"""Who computes the gradients in `customer_gradients.py`: `optim`, torch, jax-privacy and NumPy, of any workload."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optim.losses.customers import customer_gradients
from optim.losses.objective import Objective, Parameters
from optim.models.flat import Flat
from optim.train.compiling import compiler_options

CLIP_NORM = 0.8
MICROBATCH = 10_000
SUMMED = 2**16  # customers

Result = tuple[Any, Any, Any]
"""Gradients (customers, parameters) or None, norms (customers,), mean of the clipped gradients (parameters,)."""
Contenders = dict[str, Callable[[], Result]]


class Writing(NamedTuple):
    """A way of writing the customers' gradients with torch."""

    gradients: Callable[..., Any]
    """Gives a tensor (customers, parameters)."""
    arguments: tuple[Any, ...]


class TorchWritings(NamedTuple):
    """As torch's documentation writes it, by hand, and as `torch.compile` makes most of it."""

    documented: Writing
    by_hand: Writing
    to_compile: Writing


@dataclass(frozen=True, eq=False)
class Workload(ABC):
    """Customers whose gradients are taken: as `optim` holds them, and the pieces of which others are made."""

    objective: Objective
    trained: Parameters
    constants: Any

    @property
    def parameters(self) -> jax.Array:
        """What is trained, as a vector in the order of the gradients."""
        return Flat.of_one(self.trained).ravel_one(self.trained)

    @property
    @abstractmethod
    def rows(self) -> tuple[np.ndarray, ...]:
        """What `loss` needs of the customers, who lie along the leading axes."""

    @abstractmethod
    def loss(self, parameters: jax.Array, *row: jax.Array) -> jax.Array:
        """Loss of one customer, as one writes it without a framework."""

    @abstractmethod
    def gradients_in_doubles(self) -> np.ndarray:
        """Gradients (customers, parameters) by NumPy's formulas in double precision."""

    @abstractmethod
    def torch_writings(self) -> TorchWritings:
        """The same with torch."""


class Ours:
    """`customer_gradients` of a workload."""

    def __init__(self, workload: Workload, keep_gradients: bool, reuse: bool) -> None:
        def run(spent: jax.Array | None, trained: Parameters, constants: Any) -> Result:
            found = customer_gradients(
                workload.objective, trained, constants, clip_norm=CLIP_NORM, keep_gradients=keep_gradients, out=spent
            )
            return found.gradients, found.norms, Flat.of_one(trained).ravel_one(found.mean)

        self.run = jax.jit(run, donate_argnums=0, compiler_options=compiler_options())
        self.workload, self.reuse = workload, reuse
        self.spent: jax.Array | None = None

    def __call__(self) -> Result:
        result = jax.block_until_ready(self.run(self.spent, self.workload.trained, self.workload.constants))
        if self.reuse:
            self.spent = result[0]
        return result


def our_contenders(workload: Workload) -> Contenders:
    """`customer_gradients` in its three uses."""
    return {
        "optim": Ours(workload, keep_gradients=True, reuse=True),
        "optim, new array": Ours(workload, keep_gradients=True, reuse=False),
        "optim, no gradients": Ours(workload, keep_gradients=False, reuse=False),
    }


def torch_contenders(workload: Workload) -> Contenders:
    """PyTorch's gradients by sample."""
    import torch

    def whole(gradients: Callable[..., Any]) -> Callable[..., Result]:
        return lambda *arguments: clipped_by_torch(gradients(*arguments))

    documented, by_hand, to_compile = workload.torch_writings()
    compiled = torch.compile(whole(to_compile.gradients), dynamic=False)
    return {
        "torch": partial(whole(documented.gradients), *documented.arguments),
        "torch, by hand": partial(whole(by_hand.gradients), *by_hand.arguments),
        "torch, compiled": partial(compiled, *to_compile.arguments),
    }


def clipped_by_torch(gradients: Any) -> Result:
    """Gradients (customers, parameters) with their norms and their clipped mean."""
    import torch

    norms = torch.linalg.vector_norm(gradients, dim=1)
    scale = (CLIP_NORM / norms.clamp_min(1e-30)).clamp_max(1.0)
    # In one product torch would add up a million numbers one by one, and lose two digits more; it takes as long.
    sums = [part @ rows for part, rows in zip(scale.split(SUMMED), gradients.split(SUMMED), strict=True)]
    return gradients, norms, sum(sums) / len(norms)


def privacy_contenders(workload: Workload) -> Contenders:
    """jax-privacy's clipped gradients."""
    from jax_privacy.clipping import clipped_grad

    rows = [jnp.asarray(array) for array in workload.rows]
    customers = workload.objective.units
    clipped = clipped_grad(
        workload.loss,
        l2_clip_norm=CLIP_NORM,
        normalize_by=customers,
        batch_argnums=tuple(range(1, 1 + len(rows))),
        keep_batch_dim=False,
        return_grad_norms=True,
        microbatch_size=min(MICROBATCH, customers),
    )

    def call(run: Callable[..., Any]) -> Result:
        mean, more = jax.block_until_ready(run(workload.parameters, *rows))
        return None, more.grad_norms, mean

    return {
        "jax-privacy": partial(call, jax.jit(clipped)),
        "jax-privacy, compiled likewise": partial(call, jax.jit(clipped, compiler_options=compiler_options())),
    }


def in_doubles(workload: Workload) -> Result:
    """What all are to compute, in double precision."""
    gradients = workload.gradients_in_doubles()
    norms = np.linalg.norm(gradients, axis=1)
    return gradients, norms, np.minimum(1, CLIP_NORM / norms) @ gradients / len(norms)
