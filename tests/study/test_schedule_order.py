"""Durations in unlike units that come in the wrong order are refused once they are steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.config.loading import load
from optim.study.study import build_study
from tests.study.test_rates import STUDY, cosine, rate

PLACE = "stages.bake.optimizer.learning_rate"
CYCLE = "init_value: 0, peak_value: 0.1, warmup_steps: 50, decay_steps: 10%"
JOINED = rate("join_schedules", schedules=f"[{cosine(9)}, {cosine(9)}, {cosine(9)}]", boundaries="[FIRST, 10%]")
LATE = "50 (50 steps) is not before decay_steps 10% (30 steps), which counts the warm-up too: shorten it"


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (f"{{schedule: warmup_cosine_decay_schedule, {CYCLE}}}", f"warmup_steps: {LATE}"),
        (f"{{schedule: sgdr_schedule, cosine_kwargs: [{{{CYCLE}}}]}}", f"cosine_kwargs.0.warmup_steps: {LATE}"),
        (JOINED.replace("FIRST", "50"), "boundaries.1: 10% (step 30) does not come after 50 (step 50): boundaries must "
         "ascend"),
    ],
)  # fmt: skip
def test_durations_in_the_wrong_order_are_refused_with_their_steps(schedule: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    with pytest.raises(UserError) as caught:
        build_study(load(path, [f"{PLACE}={schedule}"]))
    assert str(caught.value) == f"{PLACE}.{said}"
    build_study(load(path, [f"{PLACE}={JOINED.replace('FIRST', '29')}"]))
