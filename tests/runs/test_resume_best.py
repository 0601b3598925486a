"""A new run goes on from the best checkpoint of another, which is not touched; its answer says where that was."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.config.schema import Config
from optim.runs.best import resume_best
from optim.runs.checkpoints import CheckpointError, Checkpoints
from optim.runs.info import RunInfo
from optim.runs.observer import Silent
from optim.runs.restore import expected
from optim.runs.run import resume
from optim.runs.session import Outcome
from optim.runs.signals import StopSignal
from optim.study.study import build_study
from tests.conftest import Studies
from tests.helpers import assert_same_bits, last_checkpoint, run
from tests.runs.conftest import TrainedOnce
from tests.runs.reading import points
from tests.runs.test_best import BEST, kept, lowest
from tests.runs.test_resume import Listening, assert_alike

METRIC = "fit/eval/loss"


@pytest.fixture
def config(small: Studies) -> Config:
    return small(*BEST)


@pytest.fixture
def finished(config: Config, trained: TrainedOnce, tmp_path: Path) -> Path:
    """A finished run of one's own."""
    return trained(config).copy(tmp_path / "whole")


def test_it_is_baked_in_a_new_run_and_the_answer_says_so(finished: Path) -> None:
    value, step = lowest(finished)
    before = {path: path.stat().st_mtime_ns for path in sorted(finished.rglob("*"))}
    report = Listening()
    outcome = resume_best(finished, name=None, observer=report)
    assert {path: path.stat().st_mtime_ns for path in sorted(finished.rglob("*"))} == before
    new = finished.parent / "whole-best"
    assert outcome.directory.path == new
    assert outcome.step == step + 30
    text = f"stage fit stopped at step {step}, where its held-out loss was lowest ({value:.5g})"
    assert any(text in said for said in report.said)

    start = RunInfo.load(new / "run.json").history[0]
    assert (start.event, start.step) == ("start", step)
    assert start.details["best_of"] == {"run": "whole", "metric": METRIC, "step": step, "value": value}
    for name in ("config.yaml", "truth.json"):
        assert (new / name).read_bytes() == (finished / name).read_bytes()

    assert outcome.result is not None
    likelihood = outcome.result["likelihood"]
    assert likelihood["held_out"]["loss_per_response"] == pytest.approx(value, rel=1e-5)
    assert likelihood["held_out"]["chose_where_to_stop"] == ["fit"]
    assert text in likelihood["certificate"]["modifications"]
    assert outcome.result["stopped_at_best"] == {"metric": METRIC, "step": step, "value": value}
    assert outcome.result != json.loads((finished / "result.json").read_text())

    drawn = points(new / "tensorboard")
    assert "fit/train/loss" not in drawn
    assert drawn["bake/train/loss"][0][0] == step + 1
    assert kept(new)[step][METRIC] == value


def stopped_at_once(finished: Path, name: str | None) -> Outcome:
    """A new run that is told to stop when its first stage begins."""
    signal = StopSignal()

    class Impatient(Silent):
        def stage(self, name: str, steps: int, done: int) -> None:
            signal.name = "SIGTERM"

    return resume_best(finished, name=name, observer=Impatient(), signal=signal)


@pytest.mark.long
def test_the_new_run_is_an_ordinary_one(config: Config, finished: Path) -> None:
    resume_best(finished, name="straight", observer=Silent())
    assert stopped_at_once(finished, name="parts").reason == "SIGTERM"
    parts = finished.parent / "parts"
    assert resume(parts, [], observer=Silent()).result is not None
    assert_alike(finished.parent / "straight", parts, config)
    again = [stopped_at_once(finished, name=None).directory.name for _ in range(2)]
    assert again == ["whole-best", "whole-best-2"]


@pytest.mark.long
def test_early_stopping_leaves_the_parameters_of_the_kept_checkpoint(small: Studies, tmp_path: Path) -> None:
    # By itself it would go back to the first evaluation: none beats that by so much.
    config = small(*BEST, "stages.fit.evaluate={every: 4, patience: 100, min_improvement: 0.5}")
    directory = run(config.model_copy(update={"stop_after_steps": 40}), tmp_path, "run").directory.path
    value, step = lowest(directory)
    outcome = resume_best(directory, name="new", observer=Silent())
    assert outcome.result is not None
    assert outcome.result["likelihood"]["held_out"]["loss_per_response"] == pytest.approx(value, rel=1e-5)
    with Checkpoints(directory / "checkpoints", keep=9, keep_every=None, best=METRIC) as checkpoints:
        best = checkpoints.restore(partial(expected, build_study(config)), at_most=step)
    assert best is not None
    assert_same_bits(last_checkpoint(tmp_path / "new", config, 1).parameters["model"], best.tree.parameters["model"])


def test_without_a_best_checkpoint_that_can_be_read_there_is_nothing_to_go_on_from(
    config: Config, finished: Path, small: Studies, trained: TrainedOnce, tmp_path: Path
) -> None:
    barely_begun = run(config.model_copy(update={"stop_after_steps": 2}), tmp_path, "begun").directory.path
    with pytest.raises(UserError, match=r"no checkpoint with fit/eval/loss is kept yet"):
        resume_best(barely_begun, name=None, observer=Silent())
    plain = trained(small("stop_after_steps=12")).copy(tmp_path / "plain")
    with pytest.raises(UserError, match=r"keeps no best checkpoint: train with checkpoint\.best=STAGE/eval/loss"):
        resume_best(plain, name=None, observer=Silent())
    _, step = lowest(finished)
    files = [path for path in (finished / "checkpoints" / str(step)).rglob("*") if path.is_file()]
    max(files, key=lambda path: path.name != "record.json" and path.stat().st_size).write_bytes(b"")
    with pytest.raises(CheckpointError, match="is truncated or damaged"):
        resume_best(finished, name=None, observer=Silent())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["begun", "plain", "small.yaml", "whole"]
