"""The curve of δ shows whether a fit settles; what a run warns of is said first, kept, and said again on resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optim.config.loading import load
from optim.data.simulate import simulate
from optim.runs.info import RunInfo
from optim.runs.observer import Silent
from optim.runs.run import resume, train
from tests.conftest import Studies
from tests.helpers import run
from tests.runs.conftest import TrainedOnce
from tests.runs.reading import points, texts
from tests.runs.test_resume import curves

LINEAR = "model.utility={kind: linear, features: [amounts]}"
FIT_ALONE = "stages={fit: {kind: fit, length: 40, batch: 16, optimizer: {name: adam, learning_rate: 0.05}}}"
NEWTON = "stages={fit: {kind: fit, length: 6, optimizer: {name: newton}}}"


class Listening(Silent):
    """Keeps what a run tells, in its order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def warn(self, text: str) -> None:
        self.told.append(("warn", text))

    def stage(self, name: str, steps: int, done: int) -> None:
        self.told.append(("stage", name))


def delta_curve(directory: Path, stage: str = "fit") -> list[tuple[int, float]]:
    return points(directory / "tensorboard").get(f"{stage}/delta", [])


def test_the_curve_stands_at_every_checkpoint_that_is_due_and_is_that_of_numpy(
    small: Studies, trained: TrainedOnce
) -> None:
    """δ² = gᵀ H⁻¹ g does not depend on the units of the coefficients: here from those that the answer gives."""
    config = small(LINEAR, FIT_ALONE)
    whole = trained(config)
    assert whole.outcome.result is not None
    curve = delta_curve(whole.path)
    assert [step for step, _ in curve] == [10, 20, 30, 40]
    panel, _ = simulate(config)
    found = whole.outcome.result["likelihood"]["parameters"]
    rows = np.column_stack([panel.amounts, np.ones(len(panel.amounts))])[panel.recipe]
    p = 1 / (1 + np.exp(-rows @ np.array([*(found["weights"][name] for name in panel.ingredients), found["bias"]])))
    gradient, hessian = rows.T @ (p - panel.like), (rows.T * (p * (1 - p))) @ rows
    assert curve[-1][1] == pytest.approx(np.sqrt(gradient @ np.linalg.solve(hessian, gradient)), rel=1e-3)
    assert whole.outcome.result["likelihood"]["certificate"]["delta"] == pytest.approx(curve[-1][1], rel=1e-6)


def test_the_curve_of_a_fit_that_settles_falls_and_run_json_says_how_it_ended(small: Studies, tmp_path: Path) -> None:
    listening = Listening()
    config = small(LINEAR, NEWTON, "checkpoint.every=1", "log.every=100%", "model.properties=")
    train(config, runs_dir=tmp_path, name="run", stem="run", observer=listening)
    assert listening.told == [("stage", "fit")]  # a study without fault is warned of nothing
    never = Listening()
    train(
        small(LINEAR, NEWTON, "model.properties=", "stop_after_steps=7"),
        runs_dir=tmp_path,
        name="never",
        stem="run",
        observer=never,
    )
    assert ("warn", "stop_after_steps has no effect: the run ends after 6 steps, before 7") in never.told
    curve = delta_curve(tmp_path / "run")
    assert [step for step, _ in curve] == [1, 2, 3, 4, 5, 6]
    above_rounding = [delta for _, delta in curve if delta > 1e-4]
    assert len(above_rounding) >= 2
    assert above_rounding == sorted(above_rounding, reverse=True)
    assert curve[-1][1] < 1e-4
    metrics = RunInfo.load(tmp_path / "run" / "run.json").metrics
    assert metrics["final/settled"] == 1.0
    assert metrics["final/delta"] == pytest.approx(curve[-1][1], rel=1e-6)
    ((step, text),) = texts(tmp_path / "run" / "tensorboard")["worth"]
    assert (step, text.splitlines()[2]) == (7, "| fit | computed and checked | |")
    assert "not settled" not in text


@pytest.mark.long
def test_the_curve_and_the_warnings_are_the_same_after_interruptions(
    small: Studies, trained: TrainedOnce, tmp_path: Path
) -> None:
    """Points that are not due, such as those of the checkpoints of the stops, are in neither."""
    config = (LINEAR, FIT_ALONE)
    whole = trained(small(*config)).path
    run(small(*config, "stop_after_steps=13"), tmp_path, "parts")
    assert resume(tmp_path / "parts", ["stop_after_steps=20"], observer=Silent()).step == 20
    resume(tmp_path / "parts", [], observer=Silent())
    assert [step for step, _ in delta_curve(tmp_path / "parts")] == [10, 20, 30, 40]
    assert curves(tmp_path / "parts") == curves(whole)
    ((step, text),) = texts(tmp_path / "parts" / "tensorboard")["worth"]
    assert step == 41
    assert "| fit | not settled | |" in text.splitlines()
    assert "| stages.fit | not settled | fit has not settled: off by up to" in text
    metrics = RunInfo.load(tmp_path / "parts" / "run.json").metrics
    assert metrics == RunInfo.load(whole / "run.json").metrics
    assert metrics["final/settled"] == 0.0
    assert metrics["final/delta"] > 0.1


@pytest.mark.long
def test_networks_have_a_curve_by_products_with_the_hessian(small: Studies, tmp_path: Path) -> None:
    """Where the Hessian is positive in what bends; elsewhere there is no δ."""
    stages = "stages={fit: {kind: fit, length: 60, optimizer: {name: lbfgs}}}"
    network = "model.utility={kind: mlp, features: [amounts], hidden: [1]}"
    outcome = run(small(network, stages, "checkpoint.every=20"), tmp_path, "run")
    assert outcome.result is not None
    (first, middle, last) = delta_curve(tmp_path / "run")
    assert (first[0], middle[0], last[0]) == (20, 40, 60)
    assert first[1] > middle[1] > last[1]
    assert outcome.result["likelihood"]["certificate"]["delta"] == pytest.approx(last[1], rel=1e-3)


@pytest.mark.long
def test_property_fits_have_a_curve_that_falls_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "recipes.csv").write_text("recipe,a,b,sour\n1,1,0,3\n2,0,1,5\n3,0.5,0.5,4.5\n4,0.25,0.75,5\n")
    (tmp_path / "ratings.csv").write_text("customer,recipe,liking\nx,1,1\nx,2,0\nx,3,1\nx,4,0\n")
    (tmp_path / "study.yaml").write_text(
        "data: {recipes: recipes.csv, ratings: ratings.csv, like: {at_least: 1}}\n"
        "ingredients: {a: {max: 1}, b: {max: 1}}\n"
        "total: 1\n"
        "model: {properties: {kind: scheffe, columns: [sour], degree: 2}}\n"
        "stages: {measure: {kind: fit, length: 3, loss: {kind: property_error}, optimizer: {name: newton}}}\n"
        "checkpoint: {every: 1}\n"
    )
    run(load(tmp_path / "study.yaml"), tmp_path, "run")
    curve = delta_curve(tmp_path / "run", "measure")
    assert [step for step, _ in curve] == [1, 2, 3]
    assert curve[-1][1] < 1e-3  # least squares: one step arrives


def test_warnings_are_said_before_the_first_stage_and_again_on_resume(small: Studies, tmp_path: Path) -> None:
    idle = "stages.fit.optimizer.learning_rate=0"
    first, again = Listening(), Listening()
    config = small(LINEAR, FIT_ALONE, idle, "stages.fit.length=10", "stop_after_steps=3")
    train(config, runs_dir=tmp_path, name="run", stem="run", observer=first)
    resume(tmp_path / "run", [], observer=again)
    for listening in (first, again):
        said = [text for kind, text in listening.told if kind == "warn"]
        assert any("stages.fit.optimizer.learning_rate is 0 throughout: nothing will be trained" in one for one in said)
        kinds = [kind for kind, _ in listening.told]
        assert kinds.index("stage") == len(said)  # all of them before the stage


@pytest.mark.long
def test_a_longer_stage_whose_schedule_has_ended_says_that_its_steps_do_nothing(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(
        "def score(recipe, customer):\n    return -((recipe.amounts['flour'] - 2) ** 2)\n"
    )
    (tmp_path / "study.yaml").write_text(
        "ingredients: {flour: {min: 1, max: 3}}\n"
        "model: {}\n"
        "stages:\n"
        "  bake:\n"
        f"    {{kind: bake, length: 30, starts: 2, score: {{kind: own, path: '{tmp_path}/score.py:score'}},\n"
        "     optimizer: {name: adam, learning_rate:\n"
        "       {schedule: cosine_decay_schedule, init_value: 0.03, decay_steps: 30}}}\n"
    )
    first, again = Listening(), Listening()
    train(load(tmp_path / "study.yaml"), runs_dir=tmp_path, name="run", stem="run", observer=first)
    resume(tmp_path / "run", ["stages.bake.length=60"], observer=again)
    assert first.told == [("stage", "bake")]
    (warned,) = [text for kind, text in again.told if kind == "warn"]
    assert "the learning rate is 0 from step 31 of 60 on: those 30 steps change nothing" in warned
    assert again.told[0] == ("warn", warned)
