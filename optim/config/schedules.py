"""Schedules of optax, one typed block each, under optax's own names.

Step counts are durations; a percentage is one of the stage's length, also inside `join_schedules` and `sgdr_schedule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, Tag

from optim.config.block import Block, Expected
from optim.config.durations import Duration, Offset, is_percent

Resolve = Callable[[int | str], int]
"""Turns a duration into steps."""


_MARKS = tuple(mark for kind in (Duration, Offset) for mark in get_args(kind)[1:] if isinstance(mark, Expected))


class ScheduleBase(Block):
    """What every schedule can do."""

    def parameters(self, resolve: Resolve) -> dict[str, Any]:
        """Keyword arguments of the optax function, durations in steps; schedules inside it are still blocks.

        Args:
            resolve: turns a duration into steps. It is not asked about 0.
        """
        return {name: self._parameter(name, resolve) for name in type(self).model_fields if name != "schedule"}

    def durations(self) -> Iterator[int | str]:
        """Every duration in the schedule."""
        for name, field in type(self).model_fields.items():
            if _is_duration(field.metadata):
                yield getattr(self, name)

    def _parameter(self, name: str, resolve: Resolve) -> Any:
        value = getattr(self, name)
        if not _is_duration(type(self).model_fields[name].metadata):
            return value
        return resolve(value) if value != 0 else 0


def _is_duration(metadata: list[Any]) -> bool:
    return any(mark in metadata for mark in _MARKS)


class ConstantSchedule(ScheduleBase):
    """A constant."""

    schedule: Literal["constant_schedule"]
    """Schedule."""
    value: float
    """The value."""


class LinearSchedule(ScheduleBase):
    """A straight line from one value to another, flat before and after."""

    schedule: Literal["linear_schedule"]
    """Schedule."""
    init_value: float
    """Value at the beginning."""
    end_value: float
    """Value at the end."""
    transition_steps: Duration
    """How long the transition takes."""
    transition_begin: Offset = 0
    """When the transition begins."""


class PolynomialSchedule(ScheduleBase):
    """A power of the time left, from one value to another, flat before and after."""

    schedule: Literal["polynomial_schedule"]
    """Schedule."""
    init_value: float
    """Value at the beginning."""
    end_value: float
    """Value at the end."""
    power: float
    """Power of the share of the transition that is left."""
    transition_steps: Duration
    """How long the transition takes."""
    transition_begin: Offset = 0
    """When the transition begins."""


class ExponentialDecay(ScheduleBase):
    """Multiplies by a rate, once every so many steps."""

    schedule: Literal["exponential_decay"]
    """Schedule."""
    init_value: float
    """Value at the beginning."""
    transition_steps: Duration
    """How long it takes to decay by `decay_rate`."""
    decay_rate: PositiveFloat
    """Factor per `transition_steps`."""
    transition_begin: Offset = 0
    """When the decay begins."""
    staircase: bool = False
    """Decay in jumps instead of smoothly."""
    end_value: float | None = None
    """Value at which the decay stops. Absent: it goes on."""


class CosineDecaySchedule(ScheduleBase):
    """Half a cosine wave from the initial value down to `alpha` times it."""

    schedule: Literal["cosine_decay_schedule"]
    """Schedule."""
    init_value: float
    """Value at the beginning."""
    decay_steps: Duration
    """How long the decay takes."""
    alpha: float = 0.0
    """The final value as a multiple of the initial one."""
    exponent: float = 1.0
    """Power to which the decay is raised."""


class CosineOnecycleSchedule(ScheduleBase):
    """One cycle up to a peak and down again, along cosines."""

    schedule: Literal["cosine_onecycle_schedule"]
    """Schedule."""
    transition_steps: Duration
    """How long the cycle takes."""
    peak_value: float
    """Value at the peak."""
    pct_start: float = Field(0.3, ge=0.0, le=1.0)
    """Share of the cycle that goes up."""
    div_factor: PositiveFloat = 25.0
    """The initial value is the peak divided by this."""
    final_div_factor: PositiveFloat = 1e4
    """The final value is the initial one divided by this."""


class LinearOnecycleSchedule(ScheduleBase):
    """One cycle up to a peak and down again, along straight lines."""

    schedule: Literal["linear_onecycle_schedule"]
    """Schedule."""
    transition_steps: Duration
    """How long the cycle takes."""
    peak_value: float
    """Value at the peak."""
    pct_start: float = Field(0.3, ge=0.0, le=1.0)
    """Share of the cycle that goes up."""
    pct_final: float = Field(0.85, ge=0.0, le=1.0)
    """Share of the cycle after which the final descent begins."""
    div_factor: PositiveFloat = 25.0
    """The initial value is the peak divided by this."""
    final_div_factor: PositiveFloat = 1e4
    """The final value is the initial one divided by this."""


class PiecewiseConstantSchedule(ScheduleBase):
    """Constant pieces, each a multiple of the one before."""

    schedule: Literal["piecewise_constant_schedule"]
    """Schedule."""
    init_value: float
    """Value at the beginning."""
    boundaries_and_scales: dict[Duration, NonNegativeFloat] | None = None
    """When a piece ends, and the factor from there on: `{1000: 0.1, 50%: 0.1}`."""

    def parameters(self, resolve: Resolve) -> dict[str, Any]:
        """Keyword arguments of the optax function, boundaries in steps."""
        return super().parameters(resolve) | {"boundaries_and_scales": _scales(self.boundaries_and_scales, resolve)}

    def durations(self) -> Iterator[int | str]:
        """Every boundary."""
        yield from self.boundaries_and_scales or ()


class PiecewiseInterpolateSchedule(ScheduleBase):
    """Lines or cosines between values, each a multiple of the one before."""

    schedule: Literal["piecewise_interpolate_schedule"]
    """Schedule."""
    interpolate_type: Literal["linear", "cosine"]
    """Form of the pieces."""
    init_value: float
    """Value at the beginning."""
    boundaries_and_scales: dict[Duration, NonNegativeFloat] | None = None
    """When a piece ends, and its final value as a multiple of its first: `{1000: 0.1, 50%: 0.1}`."""

    def parameters(self, resolve: Resolve) -> dict[str, Any]:
        """Keyword arguments of the optax function, boundaries in steps."""
        return super().parameters(resolve) | {"boundaries_and_scales": _scales(self.boundaries_and_scales, resolve)}

    def durations(self) -> Iterator[int | str]:
        """Every boundary."""
        yield from self.boundaries_and_scales or ()


def _scales(scales: dict[int | str, float] | None, resolve: Resolve) -> dict[int, float] | None:
    """Boundaries in steps; factors that fall on one step are multiplied, as they would be one step apart."""
    if scales is None:
        return None
    resolved: dict[int, float] = {}
    for boundary, scale in scales.items():
        step = resolve(boundary)
        resolved[step] = resolved.get(step, 1.0) * scale
    return resolved


class WarmupConstantSchedule(ScheduleBase):
    """A straight line up to a value that is then held."""

    schedule: Literal["warmup_constant_schedule"]
    """Schedule."""
    init_value: float
    """Value at the beginning."""
    peak_value: float
    """Value held after the warm-up."""
    warmup_steps: Offset
    """How long the warm-up takes."""


class Cycle(ScheduleBase):
    """A straight line up to a peak, then half a cosine wave down."""

    init_value: float
    """Value at the beginning."""
    peak_value: float
    """Value at the end of the warm-up."""
    warmup_steps: Offset
    """How long the warm-up takes."""
    decay_steps: Duration
    """How long warm-up and decay take together."""
    end_value: float = 0.0
    """Value at the end."""
    exponent: float = 1.0
    """Power to which the decay is raised."""


class WarmupCosineDecaySchedule(Cycle):
    """A straight line up to a peak, then half a cosine wave down."""

    schedule: Literal["warmup_cosine_decay_schedule"]
    """Schedule."""


class WarmupExponentialDecaySchedule(ScheduleBase):
    """A straight line up to a peak, then an exponential decay."""

    schedule: Literal["warmup_exponential_decay_schedule"]
    """Schedule."""
    init_value: float
    """Value at the beginning."""
    peak_value: float
    """Value at the end of the warm-up."""
    warmup_steps: Offset
    """How long the warm-up takes."""
    transition_steps: Duration
    """How long it takes to decay by `decay_rate`."""
    decay_rate: PositiveFloat
    """Factor per `transition_steps`."""
    transition_begin: Offset = 0
    """When the decay begins, counted from the end of the warm-up."""
    staircase: bool = False
    """Decay in jumps instead of smoothly."""
    end_value: float | None = None
    """Value at which the decay stops. Absent: it goes on."""


class SgdrSchedule(ScheduleBase):
    """Cycles of warm-up and cosine decay, one after the other (stochastic gradient descent with warm restarts)."""

    schedule: Literal["sgdr_schedule"]
    """Schedule."""
    cosine_kwargs: list[Cycle] = Field(min_length=1)
    """The cycles."""

    def parameters(self, resolve: Resolve) -> dict[str, Any]:
        """Keyword arguments of the optax function, durations in steps."""
        return {"cosine_kwargs": [cycle.parameters(resolve) for cycle in self.cosine_kwargs]}

    def durations(self) -> Iterator[int | str]:
        """Every duration of every cycle."""
        for cycle in self.cosine_kwargs:
            yield from cycle.durations()


class JoinSchedules(ScheduleBase):
    """Schedules one after the other, each counting from its own beginning."""

    schedule: Literal["join_schedules"]
    """Schedule."""
    schedules: list[Schedule] = Field(min_length=1)
    """The schedules."""
    boundaries: list[Duration]
    """When each schedule but the first begins, counted from the start of the stage."""

    def parameters(self, resolve: Resolve) -> dict[str, Any]:
        """Keyword arguments of the optax function: boundaries in steps, the schedules still blocks."""
        return {"schedules": list(self.schedules), "boundaries": [resolve(boundary) for boundary in self.boundaries]}

    def durations(self) -> Iterator[int | str]:
        """Every boundary, and every duration inside the schedules."""
        yield from self.boundaries
        for schedule in self.schedules:
            yield from schedule.durations()


Schedule = Annotated[
    ConstantSchedule
    | LinearSchedule
    | PolynomialSchedule
    | ExponentialDecay
    | CosineDecaySchedule
    | CosineOnecycleSchedule
    | LinearOnecycleSchedule
    | PiecewiseConstantSchedule
    | PiecewiseInterpolateSchedule
    | WarmupConstantSchedule
    | WarmupCosineDecaySchedule
    | WarmupExponentialDecaySchedule
    | SgdrSchedule
    | JoinSchedules,
    Field(discriminator="schedule"),
]
"""Any schedule of optax."""

JoinSchedules.model_rebuild()


def _form(value: Any) -> str:
    return "schedule" if isinstance(value, dict | ScheduleBase) else "number"


Rate = Annotated[
    Annotated[NonNegativeFloat, Tag("number")] | Annotated[Schedule, Tag("schedule")], Discriminator(_form)
]
"""A number or a schedule."""


def depends_on_length(rate: float | ScheduleBase | None) -> bool:
    """Whether the rate uses a percentage, and so changes with the length of its stage."""
    return isinstance(rate, ScheduleBase) and any(is_percent(duration) for duration in rate.durations())
