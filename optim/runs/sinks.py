"""The side effects of a run with a directory: curves, checkpoints, progress, requests to stop."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from optim.models.space import RecipeSpace
from optim.runs.checkpoints import Checkpoints
from optim.runs.curves import Curves
from optim.runs.observer import Observer
from optim.runs.scalars import best_member, scalars, worst_customers
from optim.runs.settling import SettlingCurve
from optim.runs.signals import StopSignal
from optim.study.stage import Stage, held_out_metric
from optim.study.state import State
from optim.train.program import ChunkRecord


@dataclass
class RunSinks:
    """Writes what the loop hands out.

    Attributes:
        ingredients: names of the ingredients, for tags.
        curves: TensorBoard.
        checkpoints: orbax.
        observer: who waits for the run.
        signal: whether the process was asked to stop.
        settling: how far a fit is from where it will settle.
        stop_after: stop after this step; None to go on to the end.
        step: updates known to be completed.
        left_out: starts of the running stage that are not finite any more, from 0.
    """

    space: RecipeSpace
    curves: Curves
    checkpoints: Checkpoints
    observer: Observer
    signal: StopSignal
    settling: SettlingCurve
    stop_after: int | None
    step: int
    left_out: set[int] = field(default_factory=set)

    def begin(self, stage: Stage, origin: int, step: int) -> None:
        self.left_out = set()
        self.observer.stage(stage.name, stage.length, step - origin)

    def record(self, stage: Stage, origin: int, record: ChunkRecord, steps_per_second: float) -> None:
        self.step = step = int(record.step)
        points = scalars(stage, record, self.space)
        if points:
            self.curves.scalars(step, points | {"perf/steps_per_second": steps_per_second})
        worst = worst_customers(stage, record)
        if worst:
            self.curves.text(step, f"{stage.name}/customers/worst", worst)
        self._tell_left_out(stage, record)
        self.observer.progress(step - origin, float(record.loss[best_member(record.loss)]))

    def _tell_left_out(self, stage: Stage, record: ChunkRecord) -> None:
        """Say once of each start that it is not finite any more."""
        gone = set(np.flatnonzero(np.isnan(record.loss)).tolist()) - self.left_out
        self.left_out |= gone
        for start in sorted(gone):
            text = f"start {start + 1} of {len(record.loss)} came to numbers that are not finite by then"
            self.observer.say(f"stage {stage.name}, step {self.step}: {text}: it is left out, the others go on")

    def is_best(self, stage: Stage, record: ChunkRecord) -> bool:
        return self.checkpoints.improves(held_out_metric(stage.name), float(record.held_out_loss))

    def save(
        self, stage: Stage, state: State, record: ChunkRecord | None, *, due: bool, for_best: bool = False
    ) -> None:
        metrics = {}
        if record is not None:
            metrics[f"{stage.name}/train/loss"] = float(record.loss[best_member(record.loss)])
            if record.evaluated:  # else the last held-out loss is that of other parameters
                metrics[held_out_metric(stage.name)] = float(record.held_out_loss)
        self.step = int(state.step)
        if due and record is not None:
            self.curves.scalars(self.step, self.settling.points(stage, state))
        # What the checkpoint covers must be on disk before it: points after it are hidden on resume, none is missing.
        self.curves.flush()
        description = {"stage": stage.index, "name": stage.name}
        self.checkpoints.save(self.step, state, description=description, metrics=metrics, due=due, for_best=for_best)

    def wanted_stop(self, step: int) -> str | None:
        if self.signal.name is not None:
            return self.signal.name
        return "stop_after_steps" if self.stop_after is not None and step >= self.stop_after else None
