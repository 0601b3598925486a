"""Which checkpoint is best is said only where it is known; and a stage that was ended there does not go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optim.config.errors import UserError
from optim.runs.best import resume_best
from optim.runs.checkpoints import CheckpointError, Checkpoints
from optim.runs.directory import RunDirectory
from optim.runs.info import RunInfo
from optim.runs.observer import Silent
from optim.runs.run import resume, train
from tests.conftest import Studies
from tests.runs.conftest import TrainedOnce
from tests.runs.test_best import lowest

WATCHED = (
    "data.evaluation={share: 0.3}",
    "stages={fit: {kind: fit, length: 20, optimizer: {name: adam, learning_rate: 0.5}, evaluate: {every: 2}}}",
    "checkpoint={every: 20, keep: 1, best: fit/eval/loss}",
)


@pytest.fixture
def finished(trained: TrainedOnce, small: Studies, tmp_path: Path) -> Path:
    """A run of one's own, whose best checkpoint is not its last."""
    folder = trained(small(*WATCHED)).copy(tmp_path / "run")
    assert lowest(folder)[1] < 20
    return folder


def damage(checkpoint: Path) -> None:
    with (checkpoint / "record.json").open("r+b") as file:
        file.truncate(60)


@pytest.mark.long
def test_a_checkpoint_that_may_be_the_best_is_not_passed_over(finished: Path) -> None:
    best = finished / "checkpoints" / str(lowest(finished)[1])
    damage(best)
    message = rf"fit/eval/loss is not known, and one may be the best; put them back.*\n{best.name}: record\.json is "
    with pytest.raises(CheckpointError, match=message):
        resume_best(finished, name=None, observer=Silent())
    best.rename(best.with_name("set-aside-999"))  # where the run has not come by since
    assert resume_best(finished, name="beyond", observer=Silent()).step == 20
    (best.with_name("20")).rename(best.with_name("set-aside-20"))
    (best.with_name("set-aside-999")).rename(best.with_name("set-aside-3-2"))
    with pytest.raises(CheckpointError, match="set-aside-20: set aside earlier"):
        resume_best(finished, name=None, observer=Silent())
    best.with_name("set-aside-20").rename(best.with_name("20"))
    assert resume_best(finished, name="since", observer=Silent()).step == 20


def test_what_cannot_be_read_is_kept_where_it_may_be_the_best(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    with Checkpoints(folder, keep=1, keep_every=None, best="loss") as checkpoints:
        checkpoints.save(1, np.zeros(2), description={}, metrics={"loss": 1.0})
    damage(folder / "1")
    with Checkpoints(folder, keep=1, keep_every=None, best="loss") as checkpoints:
        for step in (2, 3):
            checkpoints.save(step, np.full(2, step), description={}, metrics={"loss": 2.0 + step})
    assert sorted(entry.name for entry in folder.iterdir()) == ["1", "2", "3"]


@pytest.mark.long
def test_a_stage_that_was_ended_at_its_best_checkpoint_becomes_no_longer(finished: Path) -> None:
    _, step = lowest(finished)
    new = resume_best(finished, name=None, observer=Silent()).directory.path
    before = (new / "run.json").read_bytes()
    with pytest.raises(UserError, match=rf"this stage was ended at step {step}, its best checkpoint in run; start a "):
        resume(new, ["stages.fit.length=40"], observer=Silent())
    assert (new / "run.json").read_bytes() == before


def test_a_run_beside_another_is_named_by_its_folder_and_lies_in_none(
    finished: Path, small: Studies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished / "checkpoints")
    new = resume_best(Path(".."), name=None, observer=Silent()).directory.path
    assert new == tmp_path / "run-best"
    best_of = RunInfo.load(new / "run.json").history[0].details["best_of"]
    assert best_of["run"] == "run"
    with pytest.raises(UserError, match="this folder is in a run, run, which is not to be written into"):
        train(small(*WATCHED), runs_dir=Path(), name="inside", stem="inside", observer=Silent())
    (tmp_path / "linked").symlink_to(finished, target_is_directory=True)
    assert RunDirectory.open(tmp_path / "linked").name == "linked"
    assert RunDirectory.open(tmp_path / "linked" / "checkpoints" / ".." / ".." / "run").path == finished
