"""What a stage declares to do beside following the gradient of its plain loss or score."""

from __future__ import annotations

from optim.config.optimizers import OptimizerBase
from optim.config.schema import Bake, Config, DeliciousnessScore, Fit, LikelihoodLoss, Ridge, held_targets


def modifications(config: Config, name: str) -> tuple[str, ...]:
    """The declared modifications of a stage, each in a few words: of its loss, and of what is made of the gradient."""
    return (*_of_the_loss(config, name), *modifications_of_updates(config, name))


def modifications_of_updates(config: Config, name: str) -> tuple[str, ...]:
    """Those which act in training alone: gradient checks look at the plain loss or score, and name them."""
    stage = config.stages[name]
    optimizer = stage.optimizer
    declared = [f"gradient of {_parts(config, name)} limited to ±{limit:g}" for name, limit in optimizer.limits.items()]
    if optimizer.clip_customer_norm is not None:
        declared.append(f"each customer's gradient clipped to the norm {optimizer.clip_customer_norm:g}")
    if optimizer.clip_global_norm is not None:
        declared.append(f"whole gradient clipped to the norm {optimizer.clip_global_norm:g}")
    weight_decay = getattr(optimizer, "weight_decay", 0.0)
    if isinstance(stage, Fit) and weight_decay > 0:
        declared.append(f"weight decay {weight_decay:g} a step")
    if isinstance(stage, Bake):
        declared += _decay_left_out(optimizer)
    given = optimizer.parameters()
    if optimizer.name == "noisy_sgd" and given["eta"] > 0:
        declared.append(f"noise of variance {given['eta']:g} / (1 + step)^{given['gamma']:g} added to the gradient")
    if isinstance(stage, Bake) and isinstance(stage.score, DeliciousnessScore):
        declared += [f"target of {name} held" for name in held_targets(stage.score)]
    return tuple(declared)


def _decay_left_out(optimizer: OptimizerBase) -> list[str]:
    """A default of optax's that a bake does not take over."""
    field = type(optimizer).model_fields.get("weight_decay")
    if field is None or not field.default:
        return []
    return [f"weight decay 0, not optax's default of {field.default:g}, which would pull the amounts towards 0"]


def _of_the_loss(config: Config, name: str) -> tuple[str, ...]:
    """Its penalty, which is part of the loss that is trained, checked and followed, but not of the log-likelihood."""
    stage = config.stages[name]
    if not isinstance(stage, Fit) or not isinstance(stage.loss, LikelihoodLoss) or stage.loss.penalty is None:
        return ()
    if isinstance(stage.loss.penalty, Ridge):
        return (f"ridge penalty of strength {stage.loss.penalty.strength:g} on the scaled weights",)
    return ("Firth's penalty (Jeffreys prior)",)


def _parts(config: Config, name: str) -> str:
    is_complex = name in config.settings and config.settings[name].complex
    return f"each part of {name}" if is_complex else name
