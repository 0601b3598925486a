"""run.json and result.json."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.runs.directory import RunDirectory
from optim.runs.git import current_commit
from optim.runs.info import RunInfo, Skip, load_result, write_result


@pytest.fixture
def info() -> RunInfo:
    return RunInfo.create(
        name="cake",
        config_text="seed: 1\n",
        seed=1,
        digests={"data.recipes": "ab"},
        imports={},
        device="cpu",
        command=["optim", "train", "cake.yaml"],
    )


def test_a_new_run_knows_what_it_runs_on(info: RunInfo) -> None:
    assert info.status == "running"
    assert len(info.config_hash) == 64
    assert set(info.versions) == {
        "python",
        "optim",
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "orbax-checkpoint",
        "numpy",
        "tensorboardX",
    }
    assert info.versions["optim"] != "not installed"


def test_what_is_saved_is_loaded(tmp_path: Path, info: RunInfo) -> None:
    info = info.with_event("start", step=0).with_event("resume", step=40, changes={"log.every": [10, 20]})
    info = info.with_skip(Skip(at=40, position=52, reason="fit/train/loss", steps=(51, 52))).with_status("diverged")
    info = info.model_copy(update={"metrics": {"final/log_likelihood": -974.3173}})
    info.save(tmp_path / "run.json")
    assert RunInfo.load(tmp_path / "run.json") == info


def test_events_keep_their_order_step_time_and_details(info: RunInfo) -> None:
    before = info
    after = info.with_event("start", step=0).with_event("rollback", step=40, metric="bake/loss", steps=[51, 60])
    assert before.history == []
    assert [(event.event, event.step) for event in after.history] == [("start", 0), ("rollback", 40)]
    assert after.history[1].details == {"metric": "bake/loss", "steps": [51, 60]}
    assert after.history[1].time.endswith("+00:00")


def test_keys_that_a_later_version_added_are_kept(tmp_path: Path, info: RunInfo) -> None:
    path = tmp_path / "run.json"
    info.with_event("start", step=0).save(path)
    content = json.loads(path.read_text())
    content["sweep"] = {"axis": "price"}
    content["history"][0]["host"] = "oven"
    path.write_text(json.dumps(content))
    RunInfo.load(path).with_status("finished").save(path)
    again = json.loads(path.read_text())
    assert again["sweep"] == {"axis": "price"}
    assert again["history"][0]["host"] == "oven"


def test_a_final_metric_that_is_not_finite_is_refused(tmp_path: Path, info: RunInfo) -> None:
    path = tmp_path / "run.json"
    info.save(path)
    path.write_text(path.read_text().replace('"metrics": {}', '"metrics": {"loss": NaN}'))
    with pytest.raises(UserError, match=r"run\.json: metrics\.loss: .*finite"):
        RunInfo.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{\n"name": "cake",\n"status": run}', r"run\.json:3: this is not JSON"),
        ("", r"run\.json:1: this is not JSON"),
        ("[]", "a JSON object was expected"),
        (b"\xff", "not text in UTF-8"),
        (None, r"run\.json: this file is missing"),
        ('{"status": "running"}', r"run\.json: seed: Field required"),
    ],
)
def test_a_broken_run_json_is_refused_with_the_place(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    path = tmp_path / "run.json"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=message):
        RunInfo.load(path)


def test_every_mistake_of_a_run_json_is_named_at_once(tmp_path: Path, info: RunInfo) -> None:
    path = tmp_path / "run.json"
    content = json.loads(info.model_dump_json()) | {"seed": "one", "status": "asleep"}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as error:
        RunInfo.load(path)
    assert [problem.key for problem in error.value.problems] == ["status", "seed"]


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def test_the_commit_is_recorded_and_whether_files_differ_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    assert current_commit() is None  # nothing is committed yet
    Path("cake.yaml").write_text("seed: 1\n")
    git("add", ".")
    git("commit", "-qm", "cake")
    Path("notes.txt").touch()
    clean = current_commit()
    assert clean is not None
    assert (len(clean.commit), clean.dirty) == (40, False)
    Path("cake.yaml").write_text("seed: 2\n")
    dirty = current_commit()
    assert dirty is not None
    assert (dirty.commit, dirty.dirty) == (clean.commit, True)


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert current_commit() is None


def test_a_result_keeps_its_order_and_every_digit(tmp_path: Path) -> None:
    result = {"score": -0.1, "recipe": {"sugar": 1.5, "butter": 1 / 3}}
    for name in ("a.json", "b.json"):
        write_result(tmp_path / name, result)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    read = load_result(tmp_path / "a.json")
    assert read == result
    assert list(read) == ["score", "recipe"]
    assert list(read["recipe"]) == ["sugar", "butter"]


def test_a_result_that_is_not_finite_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(tmp_path / "result.json", {"score": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_run_directory_with_its_record_is_a_run(tmp_path: Path, info: RunInfo) -> None:
    run = RunDirectory.create(tmp_path, name="cake", stem="cake", files=lambda name: {"run.json": info.text})
    assert RunDirectory.open(run.path) == run
