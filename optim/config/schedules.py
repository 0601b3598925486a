"""Schedules of optax, one typed block each, under optax's own names, keywords and defaults.

Step counts are durations; a percentage is one of the stage's length, also inside `join_schedules` and `sgdr_schedule`.
Every value is 0 or more, and every power above 0: a rate below 0 would train away from the optimum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, Tag

from optim.config.block import Block, from_table
from optim.config.durations import Duration, Offset

Resolve = Callable[[int | str], int]
"""Turns a duration into steps."""

Scales = dict[Duration, NonNegativeFloat] | None


class ScheduleBase(Block):
    """What every schedule can do."""

    def parameters(self, resolve: Resolve) -> dict[str, Any]:
        """Keyword arguments of the optax function, durations in steps; schedules joined in it are still blocks.

        Args:
            resolve: turns a duration into steps. It is not asked about 0.
        """
        own = [name for name in type(self).model_fields if name != "schedule"]
        return {name: _in_steps(name, getattr(self, name), resolve) for name in own}


def _in_steps(name: str, value: Any, resolve: Resolve) -> Any:
    """The value of a keyword as optax takes it."""
    if name in ("transition_steps", "transition_begin", "decay_steps", "warmup_steps"):
        return resolve(value) if value != 0 else 0
    if name == "boundaries":
        return [resolve(boundary) for boundary in value]
    if name == "boundaries_and_scales" and value is not None:
        return _scales(value, resolve)
    if name == "cosine_kwargs":
        return [cycle.parameters(resolve) for cycle in value]
    return value


def _scales(scales: dict[int | str, float], resolve: Resolve) -> dict[int, float]:
    """Boundaries in steps; factors that fall on one step are multiplied, as they would be one step apart."""
    resolved: dict[int, float] = {}
    for boundary, scale in scales.items():
        step = resolve(boundary)
        resolved[step] = resolved.get(step, 1.0) * scale
    return resolved


class Cycle(ScheduleBase):
    """A straight line up to a peak, then half a cosine wave down."""

    init_value: NonNegativeFloat
    """Value at the beginning."""
    peak_value: NonNegativeFloat
    """Value at the end of the warm-up."""
    warmup_steps: Offset
    """How long the warm-up takes."""
    decay_steps: Duration
    """How long warm-up and decay take together."""
    end_value: NonNegativeFloat = 0.0
    """Value at the end."""
    exponent: PositiveFloat = 1.0
    """Power to which the decay is raised."""


class Exponential(ScheduleBase):
    """An exponential decay."""

    init_value: NonNegativeFloat
    """Value at the beginning."""
    transition_steps: Duration
    """How long it takes to decay by `decay_rate`."""
    decay_rate: PositiveFloat
    """Factor per `transition_steps`."""
    transition_begin: Offset = 0
    """When the decay begins; after a warm-up, counted from its end."""
    staircase: bool = False
    """Decay in jumps instead of smoothly."""
    end_value: NonNegativeFloat | None = None
    """Value at which the decay stops. Absent: it goes on."""


class SgdrSchedule(ScheduleBase):
    """Cycles of warm-up and cosine decay, one after the other (stochastic gradient descent with warm restarts)."""

    schedule: Literal["sgdr_schedule"]
    """Schedule."""
    cosine_kwargs: list[Cycle] = Field(min_length=1)
    """The cycles."""


class JoinSchedules(ScheduleBase):
    """Schedules one after the other, each counting from its own beginning."""

    schedule: Literal["join_schedules"]
    """Schedule."""
    schedules: list[Schedule] = Field(min_length=1)
    """The schedules."""
    boundaries: list[Duration]
    """When each schedule but the first begins, counted from the start of the stage."""


KEYWORDS: dict[str, tuple[Any, str]] = {
    "alpha": (NonNegativeFloat, "The final value as a multiple of the initial one."),
    "boundaries_and_scales": (Scales, "When a piece ends, and the factor from there on: `{1000: 0.1, 50%: 0.1}`."),
    "decay_steps": (Duration, "How long the decay takes."),
    "div_factor": (PositiveFloat, "The initial value is the peak divided by this."),
    "end_value": (NonNegativeFloat, "Value at the end."),
    "exponent": (PositiveFloat, "Power to which the decay is raised."),
    "final_div_factor": (PositiveFloat, "The final value is the initial one divided by this."),
    "init_value": (NonNegativeFloat, "Value at the beginning."),
    "interpolate_type": (Literal["linear", "cosine"], "Form of the pieces."),
    "pct_final": (
        Annotated[float, Field(gt=0.0, lt=1.0)],
        "Share of the cycle after which the final descent begins.",
    ),
    "pct_start": (Annotated[float, Field(ge=0.0, lt=1.0)], "Share of the cycle that goes up."),
    "peak_value": (NonNegativeFloat, "Value at the peak."),
    "power": (PositiveFloat, "Power of the share of the transition that is left."),
    "transition_begin": (Offset, "When the transition begins."),
    "transition_steps": (Duration, "How long the transition takes."),
    "value": (NonNegativeFloat, "The value."),
    "warmup_steps": (Offset, "How long the warm-up takes."),
}
"""Each keyword's type with its bounds, and its meaning, where the schedule does not give it one of its own."""


def _schedule(name: str, about: str, base: type[ScheduleBase] = ScheduleBase, /, **defaults: Any) -> type[ScheduleBase]:
    return from_table(base, ("schedule", name), about, KEYWORDS, defaults)


# fmt: off
TABLE = (
    _schedule("constant_schedule", "A constant.", value=...),
    _schedule("linear_schedule", "A straight line from one value to another, flat before and after.",
              init_value=..., end_value=..., transition_steps=..., transition_begin=0),
    _schedule("polynomial_schedule", "A power of the time left, from one value to another, flat before and after.",
              init_value=..., end_value=..., power=..., transition_steps=..., transition_begin=0),
    _schedule("exponential_decay", "Multiplies by a rate, once every so many steps.", Exponential),
    _schedule("cosine_decay_schedule", "Half a cosine wave from the initial value down to `alpha` times it.",
              init_value=..., decay_steps=..., alpha=0.0, exponent=1.0),
    _schedule("cosine_onecycle_schedule", "One cycle up to a peak and down again, along cosines.",
              transition_steps=Field(description="How long the cycle takes."),
              peak_value=..., pct_start=0.3, div_factor=25.0, final_div_factor=1e4),
    _schedule("linear_onecycle_schedule", "One cycle up to a peak and down again, along straight lines.",
              transition_steps=Field(description="How long the cycle takes."),
              peak_value=..., pct_start=0.3, pct_final=0.85, div_factor=25.0, final_div_factor=1e4),
    _schedule("piecewise_constant_schedule", "Constant pieces, each a multiple of the one before.",
              init_value=..., boundaries_and_scales=None),
    _schedule("piecewise_interpolate_schedule", "Lines or cosines between values, each a multiple of the one before.",
              interpolate_type=..., init_value=..., boundaries_and_scales=Field(None, description=
                  "When a piece ends, and its final value as a multiple of its first: `{1000: 0.1, 50%: 0.1}`.")),
    _schedule("warmup_constant_schedule", "A straight line up to a value that is then held.",
              init_value=..., peak_value=Field(description="Value held after the warm-up."), warmup_steps=...),
    _schedule("warmup_cosine_decay_schedule", "A straight line up to a peak, then half a cosine wave down.", Cycle),
    _schedule("warmup_exponential_decay_schedule", "A straight line up to a peak, then an exponential decay.",
              Exponential, peak_value=Field(description="Value at the end of the warm-up."), warmup_steps=...),
)
# fmt: on

if TYPE_CHECKING:

    class Schedule(ScheduleBase):
        schedule: str
else:
    Schedule = Annotated[Union[(*TABLE, SgdrSchedule, JoinSchedules)], Field(discriminator="schedule")]
    """Any schedule of optax."""

JoinSchedules.model_rebuild()


def _form(value: Any) -> str:
    return "schedule" if isinstance(value, dict | ScheduleBase) else "number"


Rate = Annotated[
    Annotated[NonNegativeFloat, Tag("number")] | Annotated[Schedule, Tag("schedule")], Discriminator(_form)
]
"""A number or a schedule."""
