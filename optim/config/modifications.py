"""What a stage declares to do to the gradients that it trains by, beside following them."""

from __future__ import annotations

from optim.config.schema import Bake, Config, DeliciousnessScore, held_targets


def modifications(config: Config, name: str) -> tuple[str, ...]:
    """The declared modifications of a stage's gradients, each in a few words.

    They act in training alone: certificates and gradient checks look at the plain loss or score, and name them.
    """
    stage = config.stages[name]
    optimizer = stage.optimizer
    declared = [f"gradient of {_parts(config, name)} limited to ±{limit:g}" for name, limit in optimizer.limits.items()]
    if optimizer.clip_customer_norm is not None:
        declared.append(f"each customer's gradient clipped to the norm {optimizer.clip_customer_norm:g}")
    if optimizer.clip_global_norm is not None:
        declared.append(f"whole gradient clipped to the norm {optimizer.clip_global_norm:g}")
    if isinstance(stage, Bake) and isinstance(stage.score, DeliciousnessScore):
        declared += [f"target of {name} held" for name in held_targets(stage.score)]
    return tuple(declared)


def _parts(config: Config, name: str) -> str:
    is_complex = name in config.settings and config.settings[name].complex
    return f"each part of {name}" if is_complex else name
