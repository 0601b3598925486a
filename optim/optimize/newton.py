"""Newton's method on one flat vector, with the exact Hessian and a line search: nothing to tune.

For a loss that is twice differentiable and has few parameters, such as the likelihood of a linear utility, which a
handful of steps bring to the rounding of its gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from optim.autodiff import hvp

MOST_PARAMETERS = 4000
"""Most parameters of a stage. In double precision the Hessian of so many takes 128 MB, and its eigenvectors and their
workspace about three times that; each step takes as many gradients of the loss and an eigendecomposition of seconds,
whose time grows with the cube."""

COLUMNS = 64
"""Columns of the Hessian that are computed at once: each takes the memory of one evaluation of the loss."""

FLAT_WITHIN = 10.0
"""How far from zero an eigenvalue counts as zero: in machine epsilons of the largest one, for each parameter. The same
as for the verdict of `optim.autodiff.curvature`."""

SUFFICIENT = 0.1
"""Least share of the decrease that the slope predicts with which a step is accepted."""

LOSS_ROUNDING = 32.0
"""What the loss may rise by, in its own machine epsilons. It is a sum over thousands of responses."""

Value = Callable[[Float[Array, " p"]], Float[Array, ""]]


@dataclass(frozen=True)
class WithHessian:
    """A loss with a quicker way to its Hessian than `hessian`."""

    value: Value
    hessian: Callable[[Float[Array, " p"]], Float[Array, "p p"]]

    def __call__(self, x: Float[Array, " p"]) -> Float[Array, ""]:
        """The loss."""
        return self.value(x)


class NewtonState(NamedTuple):
    """State of `newton`.

    Attributes:
        learning_rate: what share of the Newton step the last update took; 0 where it stayed, and before the first.
    """

    learning_rate: Float[Array, ""]


def newton() -> optax.GradientTransformationExtraArgs:
    """Newton's method for any smooth loss, convex or not.

    The step is −Σ vᵢ (vᵢ · gradient) / |λᵢ| over the eigenpairs of the Hessian, its diagonal scaled to ±1. With
    absolute values it descends where the loss bends downwards, too (Dauphin et al. 2014, "Identifying and attacking the
    saddle point problem"). An eigenvalue that is zero to within rounding is left out: what the loss does not determine
    does not wander. The step is halved until the loss falls by a share of what the slope predicts (Armijo 1966), or,
    where that is less than the loss can show, does not rise by more than its rounding: so the steps go on down to the
    rounding of the gradient. Where no share of the step is acceptable, as where the loss or its Hessian is not finite,
    the parameters stay.

    Its update takes one vector, and as keywords `value` and `grad`, loss and gradient there, and `value_fn`, the loss
    as a function of the vector, which has to be the same at every step, or as `WithHessian`. The loss is evaluated once
    a halving, and its Hessian once a step.
    """
    return optax.GradientTransformationExtraArgs(_init, _update)


def _init(params: Float[Array, " p"]) -> NewtonState:
    return NewtonState(jnp.zeros((), params.dtype))


def _update(
    updates: Float[Array, " p"],
    state: NewtonState,
    params: Float[Array, " p"],
    *,
    value: Float[Array, ""],
    grad: Float[Array, " p"],
    value_fn: Value,
    **_: Any,
) -> tuple[Float[Array, " p"], NewtonState]:
    del updates, state  # the gradient, which is `grad`; and nothing is remembered of the steps before
    curvature = value_fn.hessian(params) if isinstance(value_fn, WithHessian) else hessian(value_fn, params)
    step = _newton_step(curvature, grad)
    share = _share(value_fn, params, step, value, grad @ step)
    # A step that is not finite is never taken, but 0 times infinity would be NaN.
    return jnp.where(share > 0, share * step, 0.0), NewtonState(share)


def hessian(value_fn: Value, x: Float[Array, " p"]) -> Float[Array, "p p"]:
    """The Hessian, some columns at a time."""
    return jax.lax.map(
        lambda direction: hvp(value_fn, x, direction), jnp.eye(len(x), dtype=x.dtype), batch_size=COLUMNS
    )


def _newton_step(hessian: Float[Array, "p p"], gradient: Float[Array, " p"]) -> Float[Array, " p"]:
    """Where the gradient vanishes, by the quadratic with the absolute eigenvalues; zero along flat directions."""
    finite = jnp.all(jnp.isfinite(hessian))
    diagonal = jnp.abs(jnp.diag(hessian))
    # In units in which each parameter bends alike: a group of ten customers is not flat beside one of a million.
    units = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 1.0)
    scaled = hessian * units[:, None] * units
    eigenvalues, directions = jnp.linalg.eigh(jnp.where(finite, scaled, 0.0))
    sizes = jnp.abs(eigenvalues)
    zero = FLAT_WITHIN * len(gradient) * jnp.finfo(gradient.dtype).eps * jnp.max(sizes)
    curved = sizes > zero
    along = jnp.where(curved, -((units * gradient) @ directions) / jnp.where(curved, sizes, 1.0), 0.0)
    # Rounding of the eigenvectors must not move a parameter that plays no part at all.
    plays_a_part = jnp.any(hessian != 0, axis=1)
    return jnp.where(plays_a_part, units * (directions @ along), 0.0)


def _share(
    value_fn: Value, x: Float[Array, " p"], step: Float[Array, " p"], value: Float[Array, ""], slope: Float[Array, ""]
) -> Float[Array, ""]:
    """The largest of 1, 1/2, 1/4, … with which the step is acceptable; 0 if none is that makes a difference."""
    epsilon = jnp.finfo(x.dtype).eps
    rounding = LOSS_ROUNDING * epsilon * jnp.abs(value)

    def refused(share: Float[Array, ""]) -> Bool[Array, ""]:
        trial = value_fn(x + share * step)
        # Along a step that is not finite no slope is, so that nothing falls as far as it predicts.
        return ~(jnp.isfinite(trial) & (trial <= value + SUFFICIENT * share * slope + rounding))

    def unsettled(carry: tuple[Float[Array, ""], Bool[Array, ""]]) -> Bool[Array, ""]:
        share, is_refused = carry
        return is_refused & (share >= epsilon)

    def halved(carry: tuple[Float[Array, ""], Bool[Array, ""]]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
        share = carry[0] / 2
        return share, refused(share)

    whole = jnp.ones((), x.dtype)
    share, is_refused = jax.lax.while_loop(unsettled, halved, (whole, refused(whole)))
    return jnp.where(is_refused, 0.0, share)
