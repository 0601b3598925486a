"""Numbers of an optimizer that have no effect, or make no sense, beside another of its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from optim.config.checks.effects import is_given
from optim.config.optimizers import Rprop
from optim.config.schema import Config, Stage
from optim.config.source import Finding, KeyPath


@dataclass(frozen=True)
class _Idle:
    """A number that changes no update where another is 0 or absent.

    Attributes:
        name: its keyword.
        other: the other's.
        reason: why, and what to do.
        only: the optimizer of which that is so; empty for every one that has both.
    """

    name: str
    other: str
    reason: str
    only: str = ""


_IDLE = (
    _Idle("nesterov", "momentum", "has no effect without momentum: give `momentum`, such as 0.9, or remove it"),
    _Idle("nesterov", "b1", "has no effect, as `b1` is 0 and there is no momentum: give `b1`, or remove it"),
    _Idle("gamma", "eta", "has no effect, as `eta` is 0 and there is no noise: remove it"),
    _Idle("bias_correction_mu", "b1", "has no effect, as `b1` is 0 and the mean has no bias: remove it"),
    _Idle("bias_correction_nu", "b2", "has no effect, as `b2` is 0 and the mean square has no bias: remove it"),
    _Idle("bias_correction", "decay", "has no effect, as `decay` is 0 and the mean square has no bias: remove it"),
    _Idle("initial_scale", "decay", "has no effect, as `decay` is 0 and the first update forgets it: remove it"),
    _Idle("eps_in_sqrt", "eps", "has no effect, as `eps` is 0: remove it"),
    _Idle("b2", "b1", "has no effect, as `b1` is 0 and the mean that is carried is not used: remove it", only="lion"),
)
"""Found by going through all pairs of numbers of all optimizers, as a test does."""


def idle(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """No number of an optimizer is without effect because of another."""
    optimizer = stage.optimizer
    given = optimizer.parameters()
    for one in _IDLE:
        has_both = one.name in given and one.other in given and one.only in ("", optimizer.name)
        if has_both and not given[one.other] and is_given(optimizer, one.name):
            yield (*path, "optimizer", one.name), one.reason


_DIVIDES = ("adam", "adamw", "nadam", "nadamw", "amsgrad", "adabelief", "radam", "rmsprop", "adan", "adamax", "adamaxw")
"""By a mean that a gradient of 0 lets decay to 0 (that of yogi stays)."""


def denominator(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A number whose gradient is 0 is divided by something else than 0, and by what it has varied by."""
    optimizer, place = stage.optimizer, (*path, "optimizer")
    given = optimizer.parameters()
    if optimizer.name in _DIVIDES and given["eps"] == 0 and not given.get("eps_root"):
        what = "0 (as is `eps_root`)" if "eps_root" in given else "0"
        yield (*place, "eps"), f"{what}: a gradient of 0 would be divided by 0; give a small positive number"
    if optimizer.name == "adabelief" and given["b1"] == 0:
        yield (
            (*place, "b1"),
            "is 0: the mean is the gradient itself, which never differs from it; give 0.9, or use adam",
        )
    if optimizer.name == "rmsprop" and given["centered"] and given["decay"] == 0:
        yield (*place, "centered"), "has nothing to divide by, as `decay` is 0 and nothing varies: give `decay`"


def rectified(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """RAdam's rectification takes the root of (ρ − 4)(ρ − 2), where ρ grows from 1 to 2 / (1 − b2) − 1 (Liu et al.
    2020); it acts from the threshold on."""
    if stage.optimizer.name != "radam":
        return
    given, place = stage.optimizer.parameters(), (*path, "optimizer", "threshold")
    most = 2 / (1 - given["b2"]) - 1
    if given["threshold"] < 4:
        yield place, "below 4 the first updates would divide by the root of a negative number: use 4 or more"
    elif given["threshold"] >= most:
        yield (
            place,
            f"{given['threshold']:g} is never reached: with `b2` {given['b2']:g} the certainty grows to {most:.4g}, so "
            "that the second moment would have no effect; lower it, or raise `b2`",
        )


def step_sizes(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """The step sizes of rprop have a range to move in, and begin inside it."""
    optimizer = stage.optimizer
    if not isinstance(optimizer, Rprop):
        return
    least, most, place = optimizer.min_step_size, optimizer.max_step_size, (*path, "optimizer")
    if least >= most:
        yield (*place, "min_step_size"), f"{least:g} is not below max_step_size {most:g}: lower it"
    elif not least <= optimizer.learning_rate <= most:
        yield (
            (*place, "learning_rate"),
            f"{optimizer.learning_rate:g} is outside the step sizes, {least:g} to {most:g}: move it inside",
        )


CHECKS = (idle, denominator, rectified, step_sizes)
