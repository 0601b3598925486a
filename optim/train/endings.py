"""How training ends before it is done."""

from __future__ import annotations

from optim.study.stage import Stage
from optim.study.state import GRADIENT_FAULT, HELD_OUT_FAULT, LOSS_FAULT


class NonFiniteError(Exception):
    """A loss, a gradient or the parameters are no longer finite.

    Attributes:
        stage: the stage.
        metric: what is not finite.
        step: the update at which it was seen.
        position: index of its batch in the data order.
        held_out: it is the loss on held-out data, which no other training data can mend.
    """

    def __init__(self, stage: Stage, fault: int, step: int, position: int) -> None:
        self.stage, self.metric, self.step, self.position = stage, _metric(fault), step, position
        self.held_out = bool(fault & HELD_OUT_FAULT)
        super().__init__(f"stage {stage.name}: the {self.metric} is not finite at step {step}")


class StopError(Exception):
    """The run was asked to stop; its state is saved.

    Attributes:
        step: updates completed.
        reason: who asked.
    """

    def __init__(self, step: int, reason: str) -> None:
        self.step, self.reason = step, reason
        super().__init__(f"stopped at step {step}: {reason}")


def _metric(fault: int) -> str:
    if fault & LOSS_FAULT:
        return "loss"
    if fault & GRADIENT_FAULT:
        return "gradient"
    return "held-out loss" if fault & HELD_OUT_FAULT else "parameters"
