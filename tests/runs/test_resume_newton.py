"""A fit by Newton's method with Firth's penalty that was interrupted ends like one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from optim.runs.observer import Silent
from optim.runs.run import resume
from tests.conftest import Studies
from tests.helpers import run
from tests.runs.conftest import TrainedOnce
from tests.runs.reading import points
from tests.runs.test_resume import assert_alike

FIT = (
    "stages.fit.batch=all",
    "stages.fit.optimizer={name: newton}",
    "stages.fit.length=6",
    "stages.fit.loss={kind: likelihood, penalty: {kind: firth}}",
    "stages.bake.length=3",
    "log.every=1",
)


@pytest.mark.long
def test_stopping_between_steps_changes_nothing(small: Studies, trained: TrainedOnce, tmp_path: Path) -> None:
    whole = trained(small(*FIT))
    assert run(small(*FIT, "stop_after_steps=2"), tmp_path, "parts").step == 2
    assert resume(tmp_path / "parts", [], observer=Silent()).result == whole.outcome.result
    assert_alike(whole.path, tmp_path / "parts", small(*FIT))
    rates = points(tmp_path / "parts" / "tensorboard")["fit/learning_rate"]
    assert [step for step, _ in rates] == [1, 2, 3, 4, 5, 6]
    assert {rate for _, rate in rates} == {1.0}
