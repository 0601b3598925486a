"""What each stage's optimizer can and cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from optim.config.durations import is_percent
from optim.config.naming import unknown
from optim.config.optimizers import LineSearch
from optim.config.schedules import Cycle, JoinSchedules, SgdrSchedule
from optim.config.schema import Bake, Config, Fit, Ingredient, Setting, Stage
from optim.config.source import Finding, KeyPath


def limits(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """Gradient limits name ingredients or settings that the stage trains."""
    given = stage.optimizer.limits
    if given and isinstance(stage, Fit):
        yield (
            (*path, "optimizer", "limits"),
            "name ingredients, and only a bake stage trains those: move them to a bake stage, or use clip_global_norm",
        )
        return
    known: dict[str, Ingredient | Setting] = {**config.ingredients, **config.settings}
    for name in given:
        if name not in known:
            what = "ingredient or setting" if config.settings else "ingredient"
            yield (*path, "optimizer", "limits", name), unknown(what, name, known)
        elif known[name].fixed is not None:
            yield (*path, "optimizer", "limits", name), f"`{name}` is fixed and has no gradient: remove its limit"


def decay_in_bake(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A weight decay would pull the amounts towards 0, by more the further a bound is from it in ranges."""
    if isinstance(stage, Bake) and getattr(stage.optimizer, "weight_decay", 0.0) > 0:
        yield (
            (*path, "optimizer", "weight_decay"),
            "pulls every amount towards 0, whatever the score: remove it (a bake runs without weight decay); to make "
            "less of something pay, give it a price and the score a cost_weight",
        )


def line_search_in_bake(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A line search knows no bounds."""
    if isinstance(stage.optimizer, LineSearch) and isinstance(stage, Bake):
        yield (
            (*path, "optimizer", "name"),
            f"{stage.optimizer.name} knows no bounds, and a recipe has them: use adam or sgd, which are projected "
            "after each update",
        )


def line_search_batches(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A line search sees everyone at every step."""
    if isinstance(stage.optimizer, LineSearch) and stage.batch != "all":
        changes = "minibatches change the loss at every step: use `batch: all` or another optimizer"
        yield (*path, "batch"), f"{_needs(stage.optimizer)}, and {changes}"


def line_search_clipping(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """A line search sees the gradient as it is."""
    optimizer = stage.optimizer
    if not isinstance(optimizer, LineSearch):
        return
    for name in ("clip_global_norm", "clip_customer_norm", "limits"):
        if getattr(optimizer, name):
            changes = f"`{name}` changes the gradient: remove it or use another optimizer"
            yield (*path, "optimizer", name), f"{_needs(optimizer)}, and {changes}"


def _needs(optimizer: LineSearch) -> str:
    return f"the line search of {optimizer.name} needs the exact gradient of one fixed loss"


def schedules(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """Schedules that optax would refuse or misread."""
    rate = getattr(stage.optimizer, "learning_rate", None)
    yield from _schedule(rate, (*path, "optimizer", "learning_rate"))


def _schedule(schedule: Any, path: KeyPath) -> Iterator[Finding]:
    if isinstance(schedule, Cycle):
        yield from _warmup(schedule, path)
    elif isinstance(schedule, SgdrSchedule):
        for index, cycle in enumerate(schedule.cosine_kwargs):
            yield from _warmup(cycle, (*path, "cosine_kwargs", index))
    elif isinstance(schedule, JoinSchedules):
        yield from _joined(schedule, path)
    elif hasattr(schedule, "pct_final") and schedule.pct_start >= schedule.pct_final:
        message = f"{schedule.pct_start:g} is not before pct_final {schedule.pct_final:g}: lower it"
        yield (*path, "pct_start"), message


def _warmup(cycle: Cycle, path: KeyPath) -> Iterator[Finding]:
    if not _before(cycle.warmup_steps, cycle.decay_steps):
        message = f"{cycle.warmup_steps} is not before decay_steps {cycle.decay_steps}, which counts the warm-up too"
        yield (*path, "warmup_steps"), f"{message}: shorten it"


def _joined(joined: JoinSchedules, path: KeyPath) -> Iterator[Finding]:
    count = len(joined.schedules)
    if len(joined.boundaries) != count - 1:
        message = f"{count} schedules have {count - 1} boundaries between them, got {len(joined.boundaries)}"
        yield (*path, "boundaries"), f"{message}: one fewer than schedules"
    for index, (one, other) in enumerate(pairwise(joined.boundaries), 1):
        if not _before(one, other):
            yield (*path, "boundaries", index), f"{other} does not come after {one}: boundaries must ascend"
    for index, schedule in enumerate(joined.schedules):
        yield from _schedule(schedule, (*path, "schedules", index))


def _before(one: int | str, other: int | str) -> bool:
    """Whether one duration is shorter, as far as that can be told without data: only like units compare."""
    first, second = _measure(one), _measure(other)
    return first[1] != second[1] or first[0] < second[0] if one != 0 else True


def _measure(duration: int | str) -> tuple[float, str]:
    if isinstance(duration, int):
        return float(duration), "steps"
    if is_percent(duration):
        return float(duration.removesuffix("%")), "percent"
    return float(duration.split()[0]), "epochs"


CHECKS = (limits, decay_in_bake, line_search_in_bake, line_search_batches, line_search_clipping, schedules)
