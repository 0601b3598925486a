"""The curve that shows whether a fit is settling: δ at every checkpoint that is due."""

from __future__ import annotations

from optim.analysis.fit_findings import Examiners
from optim.models.arrays import first_member
from optim.study.stage import Stage
from optim.study.state import State


class SettlingCurve:
    """δ = √(gᵀH⁻¹g) of a fit's objective, in standard errors (`optim.analysis.curvature_of_fit`)."""

    def __init__(self, examiners: Examiners) -> None:
        self._examiners = examiners

    def points(self, stage: Stage, state: State) -> dict[str, float]:
        """The point of a checkpoint by its tag; none for a bake, nor where δ is not to be had."""
        if stage.bakes:
            return {}
        model = first_member(state.parameters["model"])
        delta = self._examiners(stage).delta(model)
        return {} if delta is None else {f"{stage.name}/delta": delta}
