"""Durations of a schedule that have to come one after the other, once all of them are steps.

Those of one unit are compared where the config is read; steps, epochs and percentages only here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from optim.config.errors import UserError
from optim.config.schedules import Cycle, JoinSchedules, Resolve, ScheduleBase, SgdrSchedule


def check_order(schedule: object, resolve: Resolve, place: str) -> None:
    """Every warm-up is shorter than its cycle, and the boundaries of joined schedules ascend.

    Args:
        schedule: a schedule, or a number or nothing, which are in order.
        resolve: its durations → steps.
        place: its key in the config.

    Raises:
        UserError: they do not.
    """
    if isinstance(schedule, ScheduleBase):
        for key, message in _disorder(schedule, resolve, place):
            raise UserError(f"{key}: {message}")


def _disorder(schedule: ScheduleBase, resolve: Resolve, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(schedule, Cycle):
        warm_up, whole = (
            resolve(duration) if duration != 0 else 0 for duration in (schedule.warmup_steps, schedule.decay_steps)
        )
        if warm_up >= whole:
            message = f"{schedule.warmup_steps} ({warm_up} steps) is not before decay_steps {schedule.decay_steps}"
            yield f"{place}.warmup_steps", f"{message} ({whole} steps), which counts the warm-up too: shorten it"
    elif isinstance(schedule, SgdrSchedule):
        for at, cycle in enumerate(schedule.cosine_kwargs):
            yield from _disorder(cycle, resolve, f"{place}.cosine_kwargs.{at}")
    elif isinstance(schedule, JoinSchedules):
        begins = [resolve(boundary) for boundary in schedule.boundaries]
        for at, (one, other) in enumerate(pairwise(begins), 1):
            if one >= other:
                given = schedule.boundaries[at]
                yield (
                    f"{place}.boundaries.{at}",
                    f"{given} (step {other}) does not come after {schedule.boundaries[at - 1]} (step {one}): "
                    "boundaries must ascend",
                )
        for at, inner in enumerate(schedule.schedules):
            yield from _disorder(inner, resolve, f"{place}.schedules.{at}")
