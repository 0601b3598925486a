"""A run that was interrupted and resumed ends like one that was not: same bits, same answer, same curves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.config.loading import load
from optim.runs.checkpoints import Checkpoints
from optim.runs.directory import RunDirectory
from optim.runs.info import RunInfo
from optim.runs.observer import Silent
from optim.runs.run import resume
from tests.conftest import Studies
from tests.helpers import assert_same_bits, last_checkpoint, run
from tests.runs.conftest import TrainedOnce
from tests.runs.reading import points, texts

EVALUATED = (
    "data.evaluation={share: 0.2}",
    "stages.fit.evaluate.every=9",
    "stages.fit.optimizer.clip_global_norm=0.01",
    "stages.bake.optimizer.limits={butter: 0.1}",
)


class Listening(Silent):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def curves(directory: Path) -> tuple[object, object]:
    scalars = {tag: found for tag, found in points(directory / "tensorboard").items() if not tag.startswith("perf/")}
    return scalars, texts(directory / "tensorboard")


def assert_alike(a: Path, b: Path, config: object, stage: int = 1) -> None:
    assert (a / "result.json").read_bytes() == (b / "result.json").read_bytes()
    assert curves(a) == curves(b)
    assert_same_bits(last_checkpoint(a, config, stage), last_checkpoint(b, config, stage))


# In the first stage, at a checkpoint, between the stages, in the second stage, and just before the end.
@pytest.mark.parametrize(
    "stops",
    [
        (10, 39, 69),
        pytest.param((1, 10), marks=pytest.mark.long),
        pytest.param((13, 40), marks=pytest.mark.long),
        pytest.param((40, 41), marks=pytest.mark.long),
        pytest.param((39, 57, 69), marks=pytest.mark.long),
    ],
)
def test_stopping_anywhere_changes_nothing(
    small: Studies, trained: TrainedOnce, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    whole = trained(small(*EVALUATED))
    first = run(small(*EVALUATED, f"stop_after_steps={stops[0]}"), tmp_path, "parts")
    assert (first.result, first.step, first.reason) == (None, stops[0], "stop_after_steps")
    for stop in stops[1:]:
        assert resume(tmp_path / "parts", [f"stop_after_steps={stop}"], observer=Silent()).step == stop
    last = resume(tmp_path / "parts", [], observer=Silent())
    assert last.result == whole.outcome.result
    assert_alike(whole.path, tmp_path / "parts", small(*EVALUATED))
    info = RunInfo.load(tmp_path / "parts" / "run.json")
    assert info.status == "finished"
    assert [event.event for event in info.history] == ["start", *["stop", "resume"] * len(stops), "finish"]


@pytest.mark.long
def test_early_stopping_survives_an_interruption(small: Studies, trained: TrainedOnce, tmp_path: Path) -> None:
    overrides = (
        "data.evaluation={share: 0.3}",
        "stages.fit.length=200",
        "stages.fit.optimizer.learning_rate=0.3",
        "stages.fit.evaluate={every: 4, patience: 3}",
        "stages.bake.length=5",
    )
    whole = trained(small(*overrides))
    assert whole.outcome.result is not None
    held_out = whole.outcome.result["likelihood"]["held_out"]
    assert (held_out["by"], held_out["chose_where_to_stop"]) == ("response", ["fit"])
    run(small(*overrides, "stop_after_steps=10"), tmp_path, "parts")
    resume(tmp_path / "parts", [], observer=Silent())
    assert_alike(whole.path, tmp_path / "parts", small(*overrides))


@pytest.mark.long
def test_a_curve_has_each_step_once_after_many_resumes(small: Studies, tmp_path: Path) -> None:
    run(small("log.every=2", "stop_after_steps=5"), tmp_path, "run")
    for stop in (6, 13, 14, 29, 44, 51):
        resume(tmp_path / "run", [f"stop_after_steps={stop}"], observer=Silent())
    resume(tmp_path / "run", [], observer=Silent())
    fit = [step for step, _ in points(tmp_path / "run" / "tensorboard")["fit/train/loss"]]
    assert fit == [1, *range(2, 41, 2)]
    bake = [step for step, _ in points(tmp_path / "run" / "tensorboard")["bake/recipe/butter"]]
    assert bake == [41, *range(42, 71, 2)]


def test_a_finished_run_prints_its_answer_and_writes_nothing(
    small: Studies, trained: TrainedOnce, tmp_path: Path
) -> None:
    whole = trained(small())
    whole.copy(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    again = resume(tmp_path / "run", [], observer=Silent())
    assert again.result == whole.outcome.result
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def _without_checkpoints(directory: Path) -> None:
    shutil.rmtree(directory / "checkpoints")


@pytest.mark.long
def test_a_run_killed_before_its_first_checkpoint_starts_at_step_0_and_says_so(
    small: Studies, trained: TrainedOnce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(small())

    def killed(self: object, *arguments: object, **named: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", killed)
        with pytest.raises(SystemExit):
            run(small(), tmp_path, "parts")
    report = Listening()
    assert resume(tmp_path / "parts", [], observer=report).result == whole.outcome.result
    assert "the run had no checkpoint yet: starting at step 0" in report.said
    assert_alike(whole.path, tmp_path / "parts", small())


def test_a_run_whose_checkpoints_are_gone_does_not_start_again_in_silence(
    small: Studies, trained: TrainedOnce, tmp_path: Path
) -> None:
    trained(small("stop_after_steps=12")).copy(tmp_path / "run")
    _without_checkpoints(tmp_path / "run")
    with pytest.raises(UserError, match="the run had reached step 12, but no checkpoint is left"):
        resume(tmp_path / "run", [], observer=Silent())


def test_the_users_own_code_may_not_change_on_the_way(small: Studies, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("def score(recipe, customer):\n    return recipe.properties['sweetness']\n")
    own = f"stages.bake.score={{kind: own, path: '{mine}:score'}}"
    run(small(own, "stop_after_steps=2"), tmp_path, "run")
    mine.write_text("def score(recipe, customer):\n    return -recipe.properties['sweetness']\n")
    with pytest.raises(UserError, match=r"mine\.py:score has changed: the SHA-256 was"):
        resume(tmp_path / "run", [], observer=Silent())


def test_a_changed_table_is_refused_and_a_moved_one_is_not(tmp_path: Path) -> None:
    recipes = "recipe,butter,sugar\n1,1.0,2.0\n2,2.0,1.0\n3,1.5,1.8\n4,1.2,1.1\n"
    ratings = "customer,recipe,liking\na,1,1\na,2,0\nb,3,1\nb,4,0\nb,1,0\n"
    (tmp_path / "recipes.csv").write_text(recipes)
    (tmp_path / "ratings.csv").write_text(ratings)
    (tmp_path / "study.yaml").write_text(
        "data: {recipes: recipes.csv, ratings: ratings.csv, like: {at_least: 1}}\n"
        "ingredients: {butter: {max: 3}, sugar: {max: 3}}\n"
        "model: {utility: {kind: linear}}\n"
        "stages: {fit: {kind: fit, length: 6, optimizer: {name: adam, learning_rate: 0.1}}}\n"
    )
    run(load(tmp_path / "study.yaml", ["stop_after_steps=3"]), tmp_path, "run")
    (tmp_path / "ratings.csv").write_text(ratings.replace("b,1,0", "b,1,1"))
    with pytest.raises(UserError, match="ratings has changed: the SHA-256 was"):
        resume(tmp_path / "run", [], observer=Silent())
    (tmp_path / "elsewhere.csv").write_text(ratings)
    moved = [f"data.ratings={tmp_path}/elsewhere.csv"]
    assert resume(tmp_path / "run", moved, observer=Silent()).result is not None


@pytest.mark.long
def test_a_change_noted_but_not_yet_written_is_written_by_the_next_resume(
    small: Studies, trained: TrainedOnce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = trained(small("stages.fit.length=50"))
    trained(small("stop_after_steps=12")).copy(tmp_path / "parts")

    def killed(path: Path, content: str) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("optim.runs.session.write_atomically", killed)
        with pytest.raises(SystemExit):
            resume(tmp_path / "parts", ["stages.fit.length=50"], observer=Silent())
    assert resume(tmp_path / "parts", [], observer=Silent()).result == longer.outcome.result
    assert (tmp_path / "parts" / "config.yaml").read_text() == (longer.path / "config.yaml").read_text()


def test_an_unreadable_checkpoint_is_set_aside_and_the_one_before_is_used(
    small: Studies, trained: TrainedOnce, tmp_path: Path
) -> None:
    whole = trained(small())
    trained(small("stop_after_steps=12")).copy(tmp_path / "parts")
    files = [path for path in (tmp_path / "parts" / "checkpoints" / "12").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-7])
    report = Listening()
    assert resume(tmp_path / "parts", [], observer=report).result == whole.outcome.result
    assert any(text.startswith("checkpoint 12: ") and "set aside" in text for text in report.said)
    assert "resuming at step 10" in report.said
    history = RunInfo.load(tmp_path / "parts" / "run.json").history
    assert "set_aside" in history[2].details


@pytest.mark.long
def test_cadences_may_change_and_the_answer_stays(small: Studies, trained: TrainedOnce, tmp_path: Path) -> None:
    whole = trained(small())
    trained(small("stop_after_steps=12")).copy(tmp_path / "parts")
    changes = ["log.every=5", "checkpoint={every: 6, keep: 2}", "chunk=4", "max_rollbacks=1"]
    assert resume(tmp_path / "parts", changes, observer=Silent()).result == whole.outcome.result
    details = RunInfo.load(tmp_path / "parts" / "run.json").history[2].details
    assert details["changes"]["log.every"] == [7, 5]


@pytest.mark.long
def test_a_change_holds_for_later_resumes(small: Studies, trained: TrainedOnce, tmp_path: Path) -> None:
    longer = trained(small("stages.fit.length=50"))
    trained(small("stop_after_steps=12")).copy(tmp_path / "parts")
    resume(tmp_path / "parts", ["stages.fit.length=50", "stop_after_steps=20"], observer=Silent())
    assert resume(tmp_path / "parts", [], observer=Silent()).result == longer.outcome.result


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(
        "def score(recipe, customer):\n    return -((recipe.amounts['flour'] - 2) ** 2)\n"
    )
    (tmp_path / "study.yaml").write_text(
        "ingredients: {flour: {min: 1, max: 3}}\n"
        "stages:\n"
        f"  bake: {{kind: bake, length: 30, starts: 2, score: {{kind: own, path: '{tmp_path}/score.py:score'}},\n"
        "    optimizer: {name: adam, learning_rate: 0.01}}\n"
    )
    longer = run(load(tmp_path / "study.yaml", ["stages.bake.length=45"]), tmp_path, "longer")
    run(load(tmp_path / "study.yaml"), tmp_path, "parts")
    assert resume(tmp_path / "parts", ["stages.bake.length=45"], observer=Silent()).result == longer.result
    final = points(tmp_path / "parts" / "tensorboard")["final/score"]
    assert [step for step, _ in final] == [45]


@pytest.mark.parametrize(
    ("stop", "override", "message"),
    [
        (12, "seed=4", "seed: was 3, now 4: it shapes what was trained so far; start a new run"),
        (12, "stages.fit.optimizer.learning_rate=0.1", "stages.fit.optimizer.learning_rate: was 0.05, now 0.1"),
        (12, "model.utility.kind=linear", "model.utility.kind: was quadratic, now linear"),
        (12, "stages.fit.length=30", "stages.fit.length: was 40, now 30: a stage may only become longer"),
        (70, "stages.fit.length=60", "stages.fit.length: was 40, now 60: this stage is over"),
        (
            12,
            "stages.bake.length=60",
            "stages.bake.length: was 30, now 60: its schedule, or its early stopping, depends",
        ),
        (12, "data.simulate.customers=50", "data.simulate.customers: was 40, now 50"),
    ],
)
def test_a_change_that_would_falsify_the_run_is_refused(
    small: Studies, trained: TrainedOnce, tmp_path: Path, stop: int, override: str, message: str
) -> None:
    run_to = [f"stop_after_steps={stop}"] if stop < 70 else []  # 70: it has finished
    trained(small(*run_to)).copy(tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(UserError) as caught:
        resume(tmp_path / "run", [override], observer=Silent())
    assert any(message in str(problem) for problem in caught.value.problems)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_an_edited_config_is_refused(small: Studies, trained: TrainedOnce, tmp_path: Path) -> None:
    trained(small("stop_after_steps=12")).copy(tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text().replace("seed: 3", "seed: 4"))
    with pytest.raises(UserError, match="not as the run wrote it"):
        resume(tmp_path / "run", [], observer=Silent())


def test_a_second_process_on_a_run_is_refused(small: Studies, trained: TrainedOnce, tmp_path: Path) -> None:
    trained(small("stop_after_steps=12")).copy(tmp_path / "run")
    with (
        RunDirectory.open(tmp_path / "run").lock(),
        pytest.raises(UserError, match="is being written by another process"),
    ):
        resume(tmp_path / "run", [], observer=Silent())


def test_train_into_an_existing_run_changes_nothing(small: Studies, trained: TrainedOnce, tmp_path: Path) -> None:
    trained(small("stop_after_steps=12")).copy(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    with pytest.raises(UserError, match="optim resume"):
        run(small(), tmp_path, "run")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


@pytest.mark.long
def test_the_resolved_config_of_a_run_is_itself_a_study(small: Studies, tmp_path: Path) -> None:
    first = run(small("stop_after_steps=5"), tmp_path, "first")
    assert first.result is None
    resumed = resume(tmp_path / "first", [], observer=Silent())
    assert run(load(tmp_path / "first" / "config.yaml"), tmp_path, "second").result == resumed.result


def test_run_json_tells_what_ran(small: Studies, trained: TrainedOnce) -> None:
    whole = trained(small())
    content = json.loads((whole.path / "run.json").read_text())
    assert content["status"] == "finished"
    assert content["seed"] == 3
    assert set(content["digests"]) == {"simulated"}
    assert {"python", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint"} <= set(content["versions"])
    assert content["device"].startswith("cpu")
    assert whole.outcome.result is not None
    assert content["metrics"]["final/score"] == whole.outcome.result["score"]
    truth = json.loads((whole.path / "truth.json").read_text())
    assert len(truth["customers"]) == 40
