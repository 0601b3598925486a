"""How many steps a run has room for."""

from __future__ import annotations

from collections.abc import Mapping

from optim.config.durations import steps
from optim.config.errors import UserError

MOST_STEPS = 2**31 - 1
"""Steps are counted in 32 bits with a sign, in the run's state and in optax's."""


def bounded_steps(duration: int | str, *, steps_per_epoch: int, total: int | None, place: str) -> int:
    """A duration in steps (`optim.config.durations.steps`).

    Args:
        duration: the duration.
        steps_per_epoch: steps in which every unit is seen once.
        total: the length that a percentage refers to; None where there is none.
        place: the key of the config that it stands at, or under.

    Raises:
        UserError: there are more than a run has room for.
    """
    count = steps(duration, steps_per_epoch=steps_per_epoch, total=total)
    if count > MOST_STEPS:
        asked = f"{count:,} steps" if isinstance(duration, int) else f"{duration} ({count:,} steps)"
        raise UserError(f"{place}: {asked} are more than the {MOST_STEPS:,} that a run has room for; {_REMEDY}")
    return count


def check_sum(lengths: Mapping[str, int]) -> None:
    """All stages together have no more steps than a run has room for.

    Args:
        lengths: steps of each stage, in the order in which they run.

    Raises:
        UserError: they have; it names the stage that goes beyond.
    """
    together = 0
    for name, length in lengths.items():
        together += length
        if together > MOST_STEPS:
            message = f"with this stage the run comes to {together:,} steps, and has room for {MOST_STEPS:,}"
            raise UserError(f"stages.{name}.length: {message}; {_REMEDY}")


_REMEDY = "make it shorter, or take larger batches"
