"""Numbers that are not finite: named, gone round where there is data to skip, and given up where there is none."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from optim.config.loading import load
from optim.config.schema import Config
from optim.losses.likelihood import PanelObjective
from optim.runs.checkpoints import Checkpoints
from optim.runs.info import RunInfo
from optim.runs.observer import Silent
from optim.runs.run import resume
from optim.runs.session import DivergedError
from optim.study.stage import initial_state
from optim.study.study import build_study
from optim.train.endings import NonFiniteError
from optim.train.loop import Loop
from tests.conftest import Studies
from tests.helpers import run
from tests.runs.conftest import TrainedOnce
from tests.runs.poison import write_poisoned_study
from tests.runs.reading import points, texts
from tests.runs.test_resume import assert_alike, curves


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The poisoned study, shared by all tests; not to be changed."""
    return write_poisoned_study(tmp_path_factory.mktemp("poison"))


def study(folder: Path, *overrides: str) -> Config:
    return load(folder / "study.yaml", overrides)


FIT_ALONE = "stages={fit: {kind: fit, length: 14, batch: 4, optimizer: {name: adam, learning_rate: 0.05}}}"


def fit_alone(folder: Path, *overrides: str) -> Config:
    """Where what comes after the fit adds nothing."""
    return study(folder, FIT_ALONE, *overrides)


def test_a_poisoned_batch_is_skipped_and_recorded(folder: Path, trained: TrainedOnce) -> None:
    whole = trained(study(folder))
    info = RunInfo.load(whole.path / "run.json")
    assert whole.outcome.step == 17  # skipped data does not shorten the training
    assert len(info.skips) >= 2  # six batches an epoch, one of them poisoned
    for skip in info.skips:
        assert skip.at % 3 == 0  # a checkpoint was due there
        assert skip.steps[0] == skip.at + 1
        assert skip.reason == f"the loss of stage fit was not finite at step {skip.steps[1]}"
    assert [event.event for event in info.history].count("rollback") == len(info.skips)
    told = texts(whole.path / "tensorboard")["rollback"]
    assert [step for step, _ in told] == [skip.at + 1 for skip in info.skips]
    assert "not finite" in told[0][1]
    curve = points(whole.path / "tensorboard")["fit/train/loss"]
    assert [step for step, _ in curve] == list(range(1, 15))  # points beyond a restored step are purged
    assert np.isfinite([value for _, value in curve]).all()


@pytest.mark.long
@pytest.mark.parametrize("stops", [(2, 3), pytest.param((4, 5, 6, 7, 8, 9, 10, 11, 12, 13), marks=pytest.mark.long)])
def test_an_interrupted_run_goes_round_the_same_data(
    folder: Path, trained: TrainedOnce, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    whole = trained(fit_alone(folder))
    run(fit_alone(folder, f"stop_after_steps={stops[0]}"), tmp_path, "parts")
    for stop in stops[1:]:
        resume(tmp_path / "parts", [f"stop_after_steps={stop}"], observer=Silent())
    resume(tmp_path / "parts", [], observer=Silent())
    assert_alike(whole.path, tmp_path / "parts", fit_alone(folder), stage=0)
    skips = [RunInfo.load(path / "run.json").skips for path in (whole.path, tmp_path / "parts")]
    assert skips[0] == skips[1]


@pytest.mark.long
@pytest.mark.parametrize("interrupted", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_run_killed_in_the_middle_of_a_rollback_takes_the_same_way(
    folder: Path, trained: TrainedOnce, tmp_path: Path, interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(fit_alone(folder))
    skips = RunInfo.load(whole.path / "run.json").skips
    # Interrupted: with a checkpoint beyond the one that the rollback goes to.
    beyond = next(skip.steps[1] - 1 for skip in skips if skip.steps[1] - 1 > skip.at)

    def killed(self: Checkpoints, step: int) -> list[int]:
        raise SystemExit("killed")

    if interrupted:
        run(fit_alone(folder, f"stop_after_steps={beyond}"), tmp_path, "parts")
    go = partial(run, fit_alone(folder), tmp_path, "parts")
    if interrupted:
        go = partial(resume, tmp_path / "parts", [], observer=Silent())
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "discard_after", killed)
        with pytest.raises(SystemExit):
            go()
    resume(tmp_path / "parts", [], observer=Silent())
    assert_alike(whole.path, tmp_path / "parts", fit_alone(folder), stage=0)
    assert RunInfo.load(tmp_path / "parts" / "run.json").skips == skips


@pytest.mark.long
def test_after_the_allowed_rollbacks_the_run_has_diverged_until_more_are_allowed(
    folder: Path, trained: TrainedOnce, tmp_path: Path
) -> None:
    whole = trained(study(folder))
    with pytest.raises(DivergedError, match=r"loss is not finite at step \d+, after 1 rollbacks") as caught:
        run(study(folder, "max_rollbacks=1"), tmp_path, "run")
    assert caught.value.exit_code == 3
    info = RunInfo.load(tmp_path / "run" / "run.json")
    assert info.status == "diverged"
    assert [event.event for event in info.history] == ["start", "rollback", "diverge"]
    resume(tmp_path / "run", ["max_rollbacks=20"], observer=Silent())
    assert (whole.path / "result.json").read_bytes() == (tmp_path / "run" / "result.json").read_bytes()
    assert curves(whole.path)[0] == curves(tmp_path / "run")[0]


def test_with_all_the_data_in_every_step_there_is_nothing_to_skip(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="the loss is not finite at step 1; every step sees all the data"):
        run(fit_alone(folder, "stages.fit.batch=all"), tmp_path, "run")
    info = RunInfo.load(tmp_path / "run" / "run.json")
    assert info.status == "diverged"
    assert info.skips == []


@pytest.mark.long
@pytest.mark.parametrize(("stops", "keep"), [((2,), 1), pytest.param((1, 2, 4, 5, 7), 2, marks=pytest.mark.long)])
def test_saves_at_stops_do_not_push_out_what_a_rollback_needs(
    folder: Path, trained: TrainedOnce, tmp_path: Path, stops: tuple[int, ...], keep: int
) -> None:
    kept = f"checkpoint.keep={keep}"
    whole = trained(fit_alone(folder, kept))
    run(fit_alone(folder, kept, f"stop_after_steps={stops[0]}"), tmp_path, "parts")
    for stop in stops[1:]:
        resume(tmp_path / "parts", [f"stop_after_steps={stop}"], observer=Silent())
    resume(tmp_path / "parts", [], observer=Silent())
    assert_alike(whole.path, tmp_path / "parts", fit_alone(folder, kept), stage=0)


@pytest.mark.long
def test_a_rollback_after_a_change_of_cadence_goes_to_what_is_there(folder: Path, tmp_path: Path) -> None:
    run(fit_alone(folder, "checkpoint.keep=1", "stop_after_steps=2"), tmp_path, "run")
    outcome = resume(tmp_path / "run", ["checkpoint.every=4"], observer=Silent())
    assert outcome.result is not None
    skips = RunInfo.load(tmp_path / "run" / "run.json").skips
    assert {skip.at % 4 for skip in skips} == {0}


def test_a_held_out_loss_that_is_not_finite_is_a_fault_that_no_skip_mends(small: Studies) -> None:
    study = build_study(small("data.evaluation={share: 0.3}", "stages.fit.evaluate={every: 4, patience: 3}"))
    fit, bake = study.stages
    assert isinstance(fit.evaluation, PanelObjective)
    broken = replace(fit.evaluation, response_loss=lambda utility, like: utility * jnp.nan)
    loop = Loop((replace(fit, evaluation=broken), bake))
    with pytest.raises(NonFiniteError, match="stage fit: the held-out loss is not finite at step 4") as caught:
        loop.run(loop.begin(fit, initial_state(study.parameters)))
    assert caught.value.held_out
