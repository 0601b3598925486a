"""What is known of a fit at its end: its certificate, the evidence for it, and what a reader should know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optim.analysis.design import Design
from optim.analysis.evidence import BlockEvidence
from optim.analysis.verdicts import Caveat, Status


@dataclass(frozen=True)
class FitCertificate:
    """Evidence for what a fit has found.

    Attributes:
        stage: its name.
        status: what its coefficients are worth.
        settled: whether training has come to its end, in what has one.
        delta: √(gᵀH⁻¹g) of the total objective; None for a loss that is no likelihood.
        gradient_norm: of the loss as it is trained, by the module's parameters.
        parameters: how many are trained.
        rank: of the Hessian.
        condition: of the Hessian, its diagonal scaled to 1, without what the data say nothing of; None without one.
        is_exact: whether all of the Hessian was looked at, and not the Krylov space of the gradient alone.
        text: what was found, and what to do about it.
        modifications: what bends training.
    """

    stage: str
    status: Status
    settled: bool
    delta: float | None
    gradient_norm: float
    parameters: int
    rank: int
    condition: float | None
    is_exact: bool
    text: str
    modifications: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Ready for result.json: what was not computed is absent."""
        found: dict[str, Any] = {"stage": self.stage, "status": self.status, "settled": self.settled}
        found |= {"delta": self.delta, "gradient_norm": self.gradient_norm, "parameters": self.parameters}
        found |= {"rank": self.rank, "condition": self.condition, "text": self.text}
        if not self.is_exact:
            found["hessian"] = "on the Krylov space of the gradient"
        if self.modifications:
            found["modifications"] = list(self.modifications)
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True, eq=False)
class FitFindings:
    """What is known of a fit at its end.

    Attributes:
        certificate: whether it has settled.
        design: None where the utility is not linear in its parameters, or is not all that was trained.
        blocks: evidence of each group's coefficients; empty without a design.
        caveats: what a reader should know.
        has_more_parameters_than_recipes: of a utility that is not linear in them.
        misfit: that the tasted recipes reject the form of the utility, in words; else empty.
        growth: why the utility only gets better by growing for ever, where no separation says so; else empty.
        is_penalised: a penalty is part of what was minimised.
    """

    certificate: FitCertificate
    design: Design | None
    blocks: tuple[BlockEvidence, ...]
    caveats: tuple[Caveat, ...]
    has_more_parameters_than_recipes: bool
    misfit: str
    growth: str
    is_penalised: bool
