"""What a stage's learning rate will do, told before the stage is run.

The schedules are optax's own, evaluated in double precision whatever the run's: in single precision a cosine over
100,000 steps is 0 for its last 7 by rounding alone, and what is meant here is a rate that was set to 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from optim.config import schema
from optim.config.durations import steps
from optim.config.numbers import number
from optim.config.optimizers import Rated
from optim.config.schedules import JoinSchedules, Resolve, Schedule, ScheduleBase, SgdrSchedule
from optim.optimize.chains import build_schedule
from optim.study.idle_schedules import without_one_part
from optim.study.stage import Stage

ROUNDING = 4 * float(np.finfo(np.float64).eps)
"""A rate is 0 that is no larger than this times the largest: a line, once compiled, ends at 1e-17 and not at 0."""

POINTS = 1_000_000
"""At most so many steps are looked at at once, evenly spread over the stage, its first and its last among them."""


def rate_warnings(config: schema.Config, stage: Stage) -> tuple[str, ...]:
    """What is odd about the learning rate of a stage: 0 throughout or at the end, a warm-up that is cut short, a peak
    that is left out, a schedule that is constant, or parts of one that change no rate.

    Nothing for an optimizer that finds its steps by itself. Pure; a constant rate costs no JAX.

    Args:
        config: the config that the stage was built from.
        stage: the stage.

    Returns:
        One sentence each, with the place and the remedy.
    """
    optimizer = config.stages[stage.name].optimizer
    if not isinstance(optimizer, Rated):
        return ()
    place, rate = f"stages.{stage.name}.optimizer", optimizer.learning_rate
    if isinstance(rate, ScheduleBase):
        return _of_schedule(rate, place, stage)
    return (_never_trains(place),) if rate == 0 else ()


def _of_schedule(block: Schedule, place: str, stage: Stage) -> tuple[str, ...]:
    """The warnings of a rate that changes."""
    resolve = partial(steps, steps_per_epoch=stage.steps_per_epoch, total=stage.length)
    numbers = block.parameters(resolve)
    if block.schedule == "constant_schedule":
        return (_never_trains(place),) if numbers["value"] == 0 else ()
    falls = block.schedule == "cosine_decay_schedule" and numbers["init_value"] > 0
    if falls and numbers["decay_steps"] >= stage.length:
        return ()  # as nearly every schedule is: it falls to 0 at the end of the stage, and not before
    warm_ups = _warm_ups(block, resolve, f"{place}.learning_rate", 0, stage.length)
    cut = [warm_up for warm_up in warm_ups if warm_up.is_cut(stage.length)]
    looked_at = _spread(0, stage.length - 1)
    counts = np.concatenate([looked_at, np.array([warm_up.ends - 1 for warm_up in cut], int)])
    parts = dict(without_one_part(block, f"{place}.learning_rate"))
    rates, *changed = _rates([block, *parts.values()], resolve, counts)
    if not np.isfinite(rates).all():
        return (f"{place}.learning_rate is not finite at some of the {stage.length} steps: {_GROWS}",)
    floor = ROUNDING * float(np.abs(rates).max())
    moving = np.flatnonzero(np.abs(rates[: len(looked_at)]) > floor)
    if not len(moving):
        return (_never_trains(place),)
    cut_at = rates[len(looked_at) :]
    found = [warm_up.warning(float(last), stage.length) for warm_up, last in zip(cut, cut_at, strict=True)]
    kept = 1 + _last_moving(block, resolve, floor, looked_at, int(moving[-1]))
    if stage.length - kept > 1:
        found.append(_ends_still(block, place, kept, stage.length))
    is_whole = stage.length <= POINTS  # between the steps that are looked at anything may happen
    without = dict(zip(parts, changed, strict=True))
    idle = [part for part, other in without.items() if is_whole and (np.abs(rates - other) <= floor).all()]
    found += [_changes_nothing(part, stage.length) for part in idle]
    found += _left_out_peaks(block, resolve, f"{place}.learning_rate")
    if not found and is_whole and stage.length > 1 and np.ptp(rates[: len(looked_at)]) <= floor:
        found.append(_never_changes(place, float(rates[0]), stage.length))
    return tuple(found)


_GROWS = "a schedule must not grow without bound; lower its factor, or give it an end_value"


def _never_changes(place: str, rate: float, length: int) -> str:
    """What is told of a schedule that is a constant as long as its stage lasts."""
    return (
        f"{place}.learning_rate is {number(rate)} at every one of the {length} steps: the schedule has no effect; let "
        "it begin and change within the stage, or give that number"
    )


def _left_out_peaks(block: ScheduleBase, resolve: Resolve, place: str) -> Iterator[str]:
    """What is told of cycles so short that optax has no step for their peak: two of their corners fall on one."""
    if isinstance(block, JoinSchedules):
        for at, inner in enumerate(block.schedules):
            yield from _left_out_peaks(inner, resolve, f"{place}.schedules.{at}")
        return
    numbers = block.parameters(resolve)
    if "pct_final" not in numbers:
        return
    length = numbers["transition_steps"]
    if int(numbers["pct_start"] * length) == int(numbers["pct_final"] * length):  # as optax rounds them
        yield (
            f"{place}: in a cycle of {length} steps pct_start and pct_final are the same step, so that its peak is "
            "left out; make it longer, or move them apart"
        )


def _changes_nothing(place: str, length: int) -> str:
    """What is told of a part of a schedule without which every rate would be the same."""
    return f"{place} has no effect: no learning rate of the {length} steps depends on it; remove it, or mend its place"


def _never_trains(place: str) -> str:
    """What is told of a rate that is always 0."""
    return f"{place}.learning_rate is 0 throughout: nothing will be trained; give a positive rate"


@dataclass(frozen=True)
class _WarmUp:
    """A warm-up within a stage; its steps are counts of updates, from the start of the stage.

    Attributes:
        place: its schedule in the config.
        begins: its first step.
        length: how many steps it takes.
        ends: the step after the last one of its schedule, where the stage ends or the next schedule begins.
        peak: the rate that it leads to.
        remedy: the keys to shorten it by.
    """

    place: str
    begins: int
    length: int
    ends: int
    peak: float
    remedy: str

    def is_cut(self, stage_length: int) -> bool:
        """Whether its peak is never reached. (A schedule that follows may take over where the peak would be.)"""
        peak_at = self.begins + self.length
        return peak_at > self.ends or peak_at == self.ends == stage_length

    def warning(self, last: float, stage_length: int) -> str:
        """What is told of one that is cut: `last` is the last of its rates."""
        who, how = "the stage ends", "train longer"
        if self.ends < stage_length:
            who, how = "the next schedule begins", "move the boundary"
        return (
            f"{self.place}: the warm-up takes {self.length} steps, and {who} after {self.ends - self.begins} of them, "
            f"at a rate of {number(last)} instead of {number(self.peak)}; shorten {self.remedy}, or {how}"
        )


def _warm_ups(block: ScheduleBase, resolve: Resolve, place: str, begins: int, ends: int) -> Iterator[_WarmUp]:
    """The warm-ups of a schedule that runs from one step of the stage to before another; none of what never begins."""
    if begins >= ends:
        return
    numbers = block.parameters(resolve)
    if isinstance(block, JoinSchedules):
        cuts = [begins, *(min(begins + boundary, ends) for boundary in numbers["boundaries"]), ends]
        for at, (inner, (first, after)) in enumerate(zip(block.schedules, pairwise(cuts), strict=True)):
            yield from _warm_ups(inner, resolve, f"{place}.schedules.{at}", first, after)
    elif isinstance(block, SgdrSchedule):
        lengths = [cycle["decay_steps"] for cycle in numbers["cosine_kwargs"]]
        cuts = [begins, *(min(begins + int(step), ends) for step in np.cumsum(lengths[:-1])), ends]
        for at, (cycle, (first, after)) in enumerate(zip(block.cosine_kwargs, pairwise(cuts), strict=True)):
            yield from _warm_ups(cycle, resolve, f"{place}.cosine_kwargs.{at}", first, after)
    elif "warmup_steps" in numbers:
        if numbers["peak_value"] > numbers["init_value"]:
            yield _WarmUp(place, begins, numbers["warmup_steps"], ends, numbers["peak_value"], "warmup_steps")
    elif "pct_start" in numbers and numbers["div_factor"] > 1:
        length = int(numbers["pct_start"] * numbers["transition_steps"])  # as optax rounds it
        yield _WarmUp(place, begins, length, ends, numbers["peak_value"], "transition_steps or lower pct_start")


def _spread(first: int, last: int) -> Int[np.ndarray, " points"]:
    """Every step from one to another, or `POINTS` of them with both ends."""
    count = last - first + 1
    return np.arange(first, last + 1) if count <= POINTS else np.linspace(first, last, POINTS).round().astype(int)


def _rates(
    blocks: Sequence[Schedule], resolve: Resolve, counts: Int[np.ndarray, " points"]
) -> Float[np.ndarray, "blocks points"]:
    """Rates of some schedules after so many updates, in double precision."""
    schedules = [build_schedule(block, resolve) for block in blocks]
    with jax.enable_x64(True):
        rates = lambda count: jnp.stack([jnp.asarray(schedule(count), float) for schedule in schedules])
        return np.asarray(jax.jit(jax.vmap(rates, out_axes=1))(counts))


def _last_moving(
    block: Schedule, resolve: Resolve, floor: float, looked_at: Int[np.ndarray, " points"], at: int
) -> int:
    """The last step whose rate is above the floor, given which it is of those that were looked at."""
    if at == len(looked_at) - 1 or looked_at[at + 1] == looked_at[at] + 1:
        return int(looked_at[at])
    between = _spread(int(looked_at[at]), int(looked_at[at + 1]))
    return int(between[np.flatnonzero(np.abs(_rates([block], resolve, between)[0]) > floor)[-1]])


def _ends_still(block: Schedule, place: str, moving: int, length: int) -> str:
    """What is told of a rate that is 0 after its first `moving` steps."""
    durations = [name for name in ("decay_steps", "transition_steps") if name in type(block).model_fields]
    stretched = f"{durations[0]}: 100%" if durations else "percentages for its durations"
    return (
        f"{place}: the learning rate is 0 from step {moving + 1} of {length} on: those {length - moving} steps change "
        f"nothing; let the schedule last as long as the stage ({stretched}), or end the stage there (length: {moving})"
    )
