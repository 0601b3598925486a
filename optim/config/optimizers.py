"""Optimizers, one typed block each. Those of optax have its real keywords with its real defaults.

Left out are only the keywords that no YAML can hold (dtypes, masks, line searches); a test compares the rest with
optax's signatures, which are not read at run time: what a config means must not change with the version of optax.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from optim.config.block import Block, from_table
from optim.config.schedules import Rate

Decay = Annotated[float, Field(ge=0.0, lt=1.0)]


class OptimizerBase(Block):
    """What the project adds to every optimizer."""

    name: str
    """Optimizer."""
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
        own = [name for name in type(self).model_fields if name not in OptimizerBase.model_fields]
        return {name: getattr(self, name) for name in own}


class Rated(OptimizerBase):
    """An optimizer with a learning rate."""

    learning_rate: Rate
    """Learning rate: a number or a schedule."""


class Rprop(OptimizerBase):
    """Resilient propagation: step sizes that follow the signs of the gradients. For full batches."""

    name: Literal["rprop"]
    """Optimizer."""
    learning_rate: PositiveFloat
    """First step size, a number: this optimizer changes it by itself."""
    eta_minus: float = Field(0.5, gt=0.0, lt=1.0)
    """Factor where the sign changed."""
    eta_plus: float = Field(1.2, gt=1.0)
    """Factor where the sign stayed."""
    min_step_size: PositiveFloat = 1e-6
    """Least step size."""
    max_step_size: PositiveFloat = 50.0
    """Greatest step size."""


class LineSearch(OptimizerBase):
    """An optimizer that searches one fixed loss, of which it sees the exact gradient, and that knows no bounds."""


class Lbfgs(LineSearch):
    """L-BFGS with a line search. Full batches and fit stages only: it searches one fixed loss and knows no bounds."""

    name: Literal["lbfgs"]
    """Optimizer."""
    learning_rate: PositiveFloat | None = None
    """Scales the direction before the line search. Absent: 1."""
    memory_size: PositiveInt = 10
    """How many updates approximate the curvature."""
    scale_init_precond: bool = True
    """Scale the first approximation of the curvature."""


class Newton(LineSearch):
    """Newton's method with the exact Hessian and a line search: nothing to tune, for up to a few thousand parameters.
    Full batches and fit stages only: it searches one fixed loss and knows no bounds. What the loss does not determine
    does not wander."""

    name: Literal["newton"]
    """Optimizer."""


KEYWORDS: dict[str, tuple[Any, str]] = {
    "b1": (Decay, "Decay of the mean of the gradients."),
    "b2": (Decay, "Decay of the mean of their squares."),
    "b3": (Decay, "Decay of the mean of the squares."),
    "bias_correction": (bool, "Correct the bias of the means."),
    "bias_correction_mu": (bool, "Correct the bias of the first moment."),
    "bias_correction_nu": (bool, "Correct the bias of the second moment."),
    "centered": (bool, "Divide by the standard deviation instead of the root of the mean square."),
    "decay": (Decay, "Decay of the mean of the squared gradients."),
    "eps": (NonNegativeFloat, "Added to the denominator."),
    "eps_in_sqrt": (bool, "Add `eps` inside the root instead of outside."),
    "eps_root": (NonNegativeFloat, "Added to the denominator inside the root, where `eps` is outside."),
    "eta": (NonNegativeFloat, "Variance of the noise at the first step."),
    "gamma": (NonNegativeFloat, "How fast the variance falls."),
    "initial_accumulator_value": (NonNegativeFloat, "Initial sum of the squared gradients."),
    "initial_scale": (NonNegativeFloat, "Initial mean of the squared gradients."),
    "key": (
        Annotated[int, Field(ge=0, lt=2**32)],
        "Seed of the noise, beside the config's and the stage's name; each start has noise of its own. optax has no "
        "default for it.",
    ),
    "momentum": (Decay | None, "Decay of the momentum. Absent: none."),
    "nesterov": (bool, "Nesterov momentum."),
    "rho": (Decay, "Decay of the means of the squared gradients and updates."),
    "threshold": (NonNegativeFloat, "Certainty at which the second moment is used."),
    "weight_decay": (NonNegativeFloat, "Strength of the weight decay."),
}
"""Each keyword's type with its bounds, and its meaning, where the optimizer does not give it one of its own."""

MOMENTS = {"b1": 0.9, "b2": 0.999}
ADAM = {**MOMENTS, "eps": 1e-8, "eps_root": 0.0}


def _rated(name: str, about: str, **defaults: Any) -> type[Rated]:
    return from_table(Rated, ("name", name), about, KEYWORDS, defaults)


# fmt: off
RATED = (
    _rated("sgd", "Stochastic gradient descent, with or without momentum.", momentum=None, nesterov=False),
    _rated("noisy_sgd", "Stochastic gradient descent with added noise of variance eta / (1 + step)^gamma.",
           eta=0.01, gamma=0.55, key=...),
    _rated("adam", "Adam.", **ADAM, nesterov=False),
    _rated("adamw", "Adam with decoupled weight decay.", **ADAM, weight_decay=1e-4, nesterov=False),
    _rated("adamax", "Adam with the infinity norm.", **MOMENTS, eps=1e-8),
    _rated("adamaxw", "Adamax with decoupled weight decay.", **MOMENTS, eps=1e-8, weight_decay=1e-4),
    _rated("nadam", "Adam with Nesterov momentum.", **ADAM, nesterov=True),
    _rated("nadamw", "Adam with Nesterov momentum and decoupled weight decay.",
           **ADAM, weight_decay=1e-4, nesterov=True),
    _rated("amsgrad", "Adam with the greatest second moment so far.",
           **ADAM, bias_correction_mu=True, bias_correction_nu=True),
    _rated("adabelief", "Adam with the variance around the mean gradient for a second moment.",
           **MOMENTS, eps=1e-16, eps_root=1e-16, nesterov=False),
    _rated("radam", "Adam that holds back while its second moment is still uncertain.",
           **ADAM, threshold=5.0, nesterov=False),
    _rated("lion", "Lion: steps along the sign of a mean of gradients.",
           b1=0.9, b2=Field(0.99, description="Decay of the mean that is carried from step to step."),
           weight_decay=1e-3),
    _rated("rmsprop", "RMSProp.", decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, centered=False,
           momentum=None, nesterov=False, bias_correction=False),
    _rated("adagrad", "AdaGrad.", initial_accumulator_value=0.1, eps=1e-7),
    _rated("adadelta", "AdaDelta.",
           rho=0.9, weight_decay=0.0, eps=Field(
               1e-6, gt=0.0, description="Added to numerator and denominator: without it every update would be 0.")),
    _rated("yogi", "Yogi: a second moment that changes by bounded amounts.", **MOMENTS, eps=1e-3),
    _rated("adan", "Adan: Nesterov momentum with a third running mean, of the change of the gradient.",
           b1=0.98, b2=Field(0.92, description="Decay of the mean of their changes."), b3=0.99,
           eps=1e-8, eps_root=1e-8, weight_decay=0.0),
    _rated("sign_sgd", "Gradient descent along the sign of the gradient."),
)
# fmt: on

if TYPE_CHECKING:
    Optimizer = OptimizerBase
else:
    Optimizer = Annotated[Union[(*RATED, Rprop, Lbfgs, Newton)], Field(discriminator="name")]
    """Any optimizer that the project lists."""


def depends_on_length(optimizer: OptimizerBase) -> bool:
    """Whether the optimizer has a schedule with a percentage, and so changes with the length of its stage."""
    return "%" in optimizer.model_dump_json(include={"learning_rate"})
