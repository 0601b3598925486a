"""Where the chunks of a stage end: a function of the config alone, whatever was interrupted or cut shorter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from optim.study.stage import Stage

MOST = 64
"""Most chunks in a call."""


@dataclass(frozen=True)
class Chunk:
    """Steps that are run in one compiled loop, up to and including `until`.

    Attributes:
        until: last step.
        log: it is a logging step.
        evaluate: the held-out loss is computed at it.
        save: a checkpoint is due at it.
        compare: the host looks at its held-out loss, because the state with the lowest is kept.
    """

    until: int
    log: bool
    evaluate: bool
    save: bool
    compare: bool

    @property
    def acts(self) -> bool:
        """The host has to act after it, or may have to."""
        return self.save or self.compare


def calls(
    stage: Stage, origin: int, step: int, longest: Callable[[], int], halts: frozenset[int]
) -> Iterator[tuple[Chunk, ...]]:
    """The chunks of a stage from a step to its end, gathered into compiled calls.

    Between two calls the host has to act: to save, to compare, or to halt. What is only to be written down
    can wait for the end of the call: a call for each logging step would cost as much as hundreds of steps of a small
    model.

    Args:
        stage: the stage.
        origin: step at which it began.
        step: step from which to go on.
        longest: most steps that a call may have now.
        halts: steps at which a call must end for another reason.
    """
    while step < origin + stage.length:
        latest = step + longest()
        call: list[Chunk] = []
        while not call or (step < latest and len(call) < MOST and not call[-1].acts and step not in halts):
            call.append(_chunk(stage, origin, step, latest, halts))
            step = call[-1].until
        yield tuple(call)


def _chunk(stage: Stage, origin: int, step: int, latest: int, halts: frozenset[int]) -> Chunk:
    """The chunk that begins at a step, and ends at `latest` if not before."""
    end = origin + stage.length
    until = min(latest, end, *(_next(stage, origin, step)), *(halt for halt in halts if halt > step))
    local = until - origin
    evaluate = stage.evaluation is not None and (local % stage.evaluate_every == 0 or until == end)
    kept = stage.keep_every is not None and until % stage.keep_every == 0
    return Chunk(
        until=until,
        log=local == 1 or local % stage.log_every == 0 or until == end,
        evaluate=evaluate,
        save=local % stage.save_every == 0 or kept or until == end,
        compare=evaluate and stage.keep_best,
    )


def _next(stage: Stage, origin: int, step: int) -> Iterator[int]:
    """The next step of each cadence."""
    cadences = [stage.log_every, stage.save_every]
    if stage.evaluation is not None:
        cadences.append(stage.evaluate_every)
    for every in cadences:
        yield origin + ((step - origin) // every + 1) * every
    if stage.keep_every is not None:
        yield (step // stage.keep_every + 1) * stage.keep_every
    if step == origin:
        yield origin + 1  # the first step is logged


class Pace:
    """How many steps a call may have.

    With `auto` about a third of a second's worth, so that a signal is answered within a second though one call is
    always running while another is settled. The results do not depend on it.
    """

    SECONDS = 0.3

    def __init__(self, chunk: int | str) -> None:
        self._fixed = chunk if isinstance(chunk, int) else None
        self._steps = 1 if self._fixed is None else self._fixed

    def __call__(self) -> int:
        """Most steps of the next call."""
        return self._steps

    def observe(self, steps: int, seconds: float) -> None:
        """Learn from a call that took so long; grow gently, because the first one is compiled as well."""
        if self._fixed is None and steps > 0:
            fitting = int(self.SECONDS * steps / max(seconds, 1e-6))
            self._steps = max(1, min(fitting, 4 * max(self._steps, steps)))
