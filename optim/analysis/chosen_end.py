"""A stage that was ended where one of its losses was lowest, not where its optimizer had got to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ChosenEnd:
    """Where a stage was ended by hindsight.

    Attributes:
        run: the run whose checkpoint was chosen.
        metric: what was lowest: `STAGE/eval/loss` or `STAGE/train/loss`.
        step: updates completed there.
        value: of the metric.
    """

    run: str
    metric: str
    step: int
    value: float

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.metric.partition("/")[0]

    @property
    def by_held_out(self) -> bool:
        """Whether the held-out responses have chosen, which are no measure of quality then."""
        return self.metric.endswith("/eval/loss")

    @property
    def text(self) -> str:
        """In words."""
        loss = "held-out loss" if self.by_held_out else "loss"
        return f"stage {self.stage} stopped at step {self.step}, where its {loss} was lowest ({self.value:.5g})"


def declared(result: dict[str, Any], end: ChosenEnd, *, held_out_chose: bool) -> dict[str, Any]:
    """A result that says so: beside what else bends the fit or the bake, and of the held-out responses.

    Args:
        result: the result.
        end: where the stage was ended.
        held_out_chose: the held-out responses had a choice of several evaluations.
    """
    likelihood = result.get("likelihood", {})
    of_fit, of_bake = likelihood.get("certificate"), result.get("certificate")
    is_said = of_fit is not None and of_fit["stage"] == end.stage  # as of every fit that was ended (`FitExaminer`)
    if of_bake is not None and not is_said:
        of_bake["modifications"] = [*of_bake.get("modifications", ()), end.text]
    if held_out_chose and "held_out" in likelihood:
        chose = likelihood["held_out"].get("chose_where_to_stop", ())
        likelihood["held_out"]["chose_where_to_stop"] = list(dict.fromkeys([*chose, end.stage]))
    step = {"metric": end.metric, "step": end.step, "value": end.value}
    return {**result, "stopped_at_best": step}
