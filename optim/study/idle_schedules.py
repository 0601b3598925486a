"""What of a schedule changes no rate of its stage: a boundary beyond the end, a floor that is never reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from optim.config.schedules import JoinSchedules, Schedule, SgdrSchedule


def without_one_part(block: Schedule, place: str) -> Iterator[tuple[str, Schedule]]:
    """The schedule with each optional part left out in turn: a field that is not at its default, a boundary with its
    factor, the schedules or cycles after the first.

    Args:
        block: the schedule.
        place: its place in the config.

    Returns:
        The place of what is left out, and the schedule without it.
    """
    if "boundaries_and_scales" in type(block).model_fields:
        scales = block.model_dump()["boundaries_and_scales"] or {}
        for boundary in scales:
            rest = {key: scale for key, scale in scales.items() if key != boundary}
            yield f"{place}.boundaries_and_scales.{boundary}", _with(block, boundaries_and_scales=rest)
    elif isinstance(block, JoinSchedules):
        for at in range(1, len(block.schedules)):
            first = _with(block, schedules=block.schedules[:at], boundaries=block.boundaries[: at - 1])
            yield f"{place}.schedules.{at}", first
        for at, inner in enumerate(block.schedules):
            for inside, changed in without_one_part(inner, f"{place}.schedules.{at}"):
                yield inside, _with(block, schedules=_replaced(block.schedules, at, changed))
    elif isinstance(block, SgdrSchedule):
        for at in range(1, len(block.cosine_kwargs)):
            yield f"{place}.cosine_kwargs.{at}", _with(block, cosine_kwargs=block.cosine_kwargs[:at])
        for at, cycle in enumerate(block.cosine_kwargs):
            for inside, changed in _at_defaults(cycle, f"{place}.cosine_kwargs.{at}"):
                yield inside, _with(block, cosine_kwargs=_replaced(block.cosine_kwargs, at, changed))
    else:
        yield from _at_defaults(block, place)


def _at_defaults(block: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The block with each of its fields at its default that is not there."""
    for name, field in type(block).model_fields.items():
        if not field.is_required() and getattr(block, name) != field.default:
            yield f"{place}.{name}", _with(block, **{name: field.default})


def _with(block: Any, **fields: Any) -> Any:
    return block.model_copy(update=fields)


def _replaced(items: list[Any], at: int, item: Any) -> list[Any]:
    return [*items[:at], item, *items[at + 1 :]]
