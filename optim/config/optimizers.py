"""Optimizers, one typed block each. Those of optax have its real keywords with its real defaults.

Left out are only the keywords that no YAML can hold (dtypes, masks, line searches); a test compares the rest with
optax's signatures.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from optim.config import schedules
from optim.config.block import Block
from optim.config.schedules import Rate

Decay = Annotated[float, Field(ge=0.0, lt=1.0)]


class OptimizerBase(Block):
    """What the project adds to every optimizer."""

    clip_global_norm: PositiveFloat | None = None
    """Scale the whole gradient down to this norm where it is longer; in a bake, in units of score per range."""
    clip_customer_norm: PositiveFloat | None = None
    """Scale each customer's own gradient down to this norm before averaging; in a bake, in units of score per range of
    an ingredient or setting."""
    limits: dict[str, NonNegativeFloat] = Field({})
    """Greatest absolute gradient of an ingredient or setting, by name, in units of score per unit of it; before the
    bounds and the total are seen to; of a complex setting, of its real and of its imaginary part. It acts in training
    alone. Bake stages only."""

    def parameters(self) -> dict[str, Any]:
        """Keyword arguments of the optax function; a schedule is still a block."""
        own = [name for name in type(self).model_fields if name not in OptimizerBase.model_fields and name != "name"]
        return {name: getattr(self, name) for name in own}


class Rated(OptimizerBase):
    """An optimizer with a learning rate."""

    learning_rate: Rate
    """Learning rate: a number or a schedule."""


class Moments(Rated):
    """An optimizer with running means of the gradient and of its square."""

    b1: Decay = 0.9
    """Decay of the mean of the gradients."""
    b2: Decay = 0.999
    """Decay of the mean of their squares."""


class AdamBase(Moments):
    """An optimizer that divides by the root of the second moment."""

    eps: NonNegativeFloat = 1e-8
    """Added to the denominator, outside the root."""
    eps_root: NonNegativeFloat = 0.0
    """Added to the denominator, inside the root."""


class Sgd(Rated):
    """Stochastic gradient descent, with or without momentum."""

    name: Literal["sgd"]
    """Optimizer."""
    momentum: Decay | None = None
    """Decay of the momentum. Absent: none."""
    nesterov: bool = False
    """Nesterov momentum."""


class NoisySgd(Rated):
    """Stochastic gradient descent with added noise of variance eta / (1 + step)^gamma."""

    name: Literal["noisy_sgd"]
    """Optimizer."""
    eta: NonNegativeFloat = 0.01
    """Variance of the noise at the first step."""
    gamma: NonNegativeFloat = 0.55
    """How fast the variance falls."""
    key: int = Field(ge=0, lt=2**32)
    """Seed of the noise, beside the config's and the stage's name; each start has noise of its own. It has no default:
    optax asks for one."""


class Adam(AdamBase):
    """Adam."""

    name: Literal["adam"]
    """Optimizer."""
    nesterov: bool = False
    """Nesterov momentum."""


class AdamW(AdamBase):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"]
    """Optimizer."""
    weight_decay: NonNegativeFloat = 1e-4
    """Strength of the weight decay."""
    nesterov: bool = False
    """Nesterov momentum."""


class Adamax(Moments):
    """Adam with the infinity norm."""

    name: Literal["adamax"]
    """Optimizer."""
    eps: NonNegativeFloat = 1e-8
    """Added to the denominator."""


class AdamaxW(Moments):
    """Adamax with decoupled weight decay."""

    name: Literal["adamaxw"]
    """Optimizer."""
    eps: NonNegativeFloat = 1e-8
    """Added to the denominator."""
    weight_decay: NonNegativeFloat = 1e-4
    """Strength of the weight decay."""


class NAdam(AdamBase):
    """Adam with Nesterov momentum."""

    name: Literal["nadam"]
    """Optimizer."""
    nesterov: bool = True
    """Nesterov momentum."""


class NAdamW(AdamBase):
    """Adam with Nesterov momentum and decoupled weight decay."""

    name: Literal["nadamw"]
    """Optimizer."""
    weight_decay: NonNegativeFloat = 1e-4
    """Strength of the weight decay."""
    nesterov: bool = True
    """Nesterov momentum."""


class AmsGrad(AdamBase):
    """Adam with the greatest second moment so far."""

    name: Literal["amsgrad"]
    """Optimizer."""
    bias_correction_mu: bool = True
    """Correct the bias of the first moment."""
    bias_correction_nu: bool = True
    """Correct the bias of the second moment."""


class AdaBelief(Moments):
    """Adam with the variance around the mean gradient for a second moment."""

    name: Literal["adabelief"]
    """Optimizer."""
    eps: NonNegativeFloat = 1e-16
    """Added to the denominator, outside the root."""
    eps_root: NonNegativeFloat = 1e-16
    """Added to the denominator, inside the root."""
    nesterov: bool = False
    """Nesterov momentum."""


class RAdam(AdamBase):
    """Adam that holds back while its second moment is still uncertain."""

    name: Literal["radam"]
    """Optimizer."""
    threshold: NonNegativeFloat = 5.0
    """Certainty at which the second moment is used."""
    nesterov: bool = False
    """Nesterov momentum."""


class Lion(Moments):
    """Lion: steps along the sign of a mean of gradients."""

    name: Literal["lion"]
    """Optimizer."""
    b2: Decay = 0.99
    """Decay of the mean that is carried from step to step."""
    weight_decay: NonNegativeFloat = 1e-3
    """Strength of the weight decay."""


class RmsProp(Rated):
    """RMSProp."""

    name: Literal["rmsprop"]
    """Optimizer."""
    decay: Decay = 0.9
    """Decay of the mean of the squared gradients."""
    eps: NonNegativeFloat = 1e-8
    """Added to the denominator."""
    initial_scale: NonNegativeFloat = 0.0
    """Initial mean of the squared gradients."""
    eps_in_sqrt: bool = True
    """Add `eps` inside the root instead of outside."""
    centered: bool = False
    """Divide by the standard deviation instead of the root of the mean square."""
    momentum: Decay | None = None
    """Decay of the momentum. Absent: none."""
    nesterov: bool = False
    """Nesterov momentum."""
    bias_correction: bool = False
    """Correct the bias of the means."""


class AdaGrad(Rated):
    """AdaGrad."""

    name: Literal["adagrad"]
    """Optimizer."""
    initial_accumulator_value: NonNegativeFloat = 0.1
    """Initial sum of the squared gradients."""
    eps: NonNegativeFloat = 1e-7
    """Added to the denominator."""


class AdaDelta(Rated):
    """AdaDelta."""

    name: Literal["adadelta"]
    """Optimizer."""
    rho: Decay = 0.9
    """Decay of the means of the squared gradients and updates."""
    eps: NonNegativeFloat = 1e-6
    """Added to numerator and denominator."""
    weight_decay: NonNegativeFloat = 0.0
    """Strength of the weight decay."""


class Yogi(Moments):
    """Yogi: a second moment that changes by bounded amounts."""

    name: Literal["yogi"]
    """Optimizer."""
    eps: NonNegativeFloat = 1e-3
    """Added to the denominator."""


class Adan(Rated):
    """Adan: Nesterov momentum with a third running mean, of the change of the gradient."""

    name: Literal["adan"]
    """Optimizer."""
    b1: Decay = 0.98
    """Decay of the mean of the gradients."""
    b2: Decay = 0.92
    """Decay of the mean of their changes."""
    b3: Decay = 0.99
    """Decay of the mean of the squares."""
    eps: NonNegativeFloat = 1e-8
    """Added to the denominator, outside the root."""
    eps_root: NonNegativeFloat = 1e-8
    """Added to the denominator, inside the root."""
    weight_decay: NonNegativeFloat = 0.0
    """Strength of the weight decay."""


class Rprop(OptimizerBase):
    """Resilient propagation: step sizes that follow the signs of the gradients. For full batches."""

    name: Literal["rprop"]
    """Optimizer."""
    learning_rate: PositiveFloat
    """First step size, a number: this optimizer changes it by itself."""
    eta_minus: PositiveFloat = 0.5
    """Factor where the sign changed."""
    eta_plus: PositiveFloat = 1.2
    """Factor where the sign stayed."""
    min_step_size: PositiveFloat = 1e-6
    """Least step size."""
    max_step_size: PositiveFloat = 50.0
    """Greatest step size."""


class SignSgd(Rated):
    """Gradient descent along the sign of the gradient."""

    name: Literal["sign_sgd"]
    """Optimizer."""


class Lbfgs(OptimizerBase):
    """L-BFGS with a line search. Full batches and fit stages only: it searches one fixed loss and knows no bounds."""

    name: Literal["lbfgs"]
    """Optimizer."""
    learning_rate: PositiveFloat | None = None
    """Scales the direction before the line search. Absent: 1."""
    memory_size: PositiveInt = 10
    """How many updates approximate the curvature."""
    scale_init_precond: bool = True
    """Scale the first approximation of the curvature."""


class Newton(OptimizerBase):
    """Newton's method with the exact Hessian and a line search: nothing to tune, for up to a few thousand parameters.
    Full batches and fit stages only: it searches one fixed loss and knows no bounds. What the loss does not determine
    does not wander."""

    name: Literal["newton"]
    """Optimizer."""


Optimizer = Annotated[
    Sgd
    | NoisySgd
    | Adam
    | AdamW
    | Adamax
    | AdamaxW
    | NAdam
    | NAdamW
    | AmsGrad
    | AdaBelief
    | RAdam
    | Lion
    | RmsProp
    | AdaGrad
    | AdaDelta
    | Yogi
    | Adan
    | Rprop
    | SignSgd
    | Lbfgs
    | Newton,
    Field(discriminator="name"),
]
"""Any optimizer that the project lists."""

LineSearch = Lbfgs | Newton
"""An optimizer that searches one fixed loss, of which it sees the exact gradient, and that knows no bounds."""


def depends_on_length(optimizer: OptimizerBase) -> bool:
    """Whether the optimizer has a schedule with a percentage, and so changes with the length of its stage."""
    return schedules.depends_on_length(getattr(optimizer, "learning_rate", None))
