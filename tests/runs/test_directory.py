"""A run directory is never shared, never overwritten, and known when it is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.runs.directory import RunDirectory


def make(runs: Path, name: str) -> RunDirectory:
    """A run that has started."""
    return create(runs, name=name)


def create(runs: Path, *, name: str | None, stem: str = "cake") -> RunDirectory:
    """A run directory that holds no more than it must."""
    return RunDirectory.create(runs, name=name, stem=stem, files=lambda name: {"run.json": "{}"})


def test_a_named_run_has_its_place_for_everything(tmp_path: Path) -> None:
    run = create(tmp_path / "runs", name="first")
    assert run.path == tmp_path / "runs" / "first"
    assert run.path.is_dir()
    assert [run.config.name, run.info.name, run.truth.name, run.result.name] == [
        "config.yaml",
        "run.json",
        "truth.json",
        "result.json",
    ]
    assert [run.checkpoints.name, run.tensorboard.name, run.recipes.name] == [
        "checkpoints",
        "tensorboard",
        "recipes.csv",
    ]


def test_the_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = create(Path("runs"), name="first")
    made.info.write_text("{}")
    assert made.path.is_absolute()
    assert RunDirectory.open(Path("runs/first")) == made


def test_runs_without_a_name_are_numbered(tmp_path: Path) -> None:
    names = [create(tmp_path, name=None).name for _ in range(3)]
    assert names == ["cake", "cake-2", "cake-3"]


def test_two_processes_never_share_a_run(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create(tmp_path, name=None).name, range(16)))
    assert len(set(made)) == 16


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("my cake!", "my-cake-"),
        ("..", "run"),
        ("", "run"),
        (".hidden", "hidden"),
        ("Käse", "K-se"),
        ("x" * 300, "x" * 90),
    ],
)
def test_a_stem_is_turned_into_an_allowed_name(tmp_path: Path, stem: str, name: str) -> None:
    run = create(tmp_path, name=None, stem=stem)
    assert run.name == name
    assert run.path.parent == tmp_path


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/etc", "-v", ".lock", "a b", "a\n", "ß", "x" * 101])
def test_a_name_that_is_not_allowed_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot name a run: use letters, digits") as error:
        create(tmp_path / "runs", name=name)
    assert str(error.value).startswith("--name: ")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_run_is_left_alone(tmp_path: Path) -> None:
    run = make(tmp_path, "first")
    before = {entry.name: entry.stat().st_mtime_ns for entry in run.path.iterdir()}
    with pytest.raises(UserError) as error:
        create(tmp_path, name="first")
    assert f"optim resume {tmp_path / 'first'}" in str(error.value)
    assert "another --name" in str(error.value)
    assert {entry.name: entry.stat().st_mtime_ns for entry in run.path.iterdir()} == before


@pytest.mark.parametrize("target", ["elsewhere", "missing"])
def test_a_link_does_not_lead_out_of_the_runs_folder(tmp_path: Path, target: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").touch()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "first").symlink_to(tmp_path / target)
    with pytest.raises(UserError, match="it is not a run: choose another --name"):
        create(tmp_path / "runs", name="first")
    assert create(tmp_path / "runs", name=None, stem="first").name == "first-2"
    assert [entry.name for entry in (tmp_path / "elsewhere").iterdir()] == ["mine.txt"]


def test_a_runs_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(UserError, match="runs: the folder cannot be made: File exists"):
        create(tmp_path / "runs", name=None)


def test_opening_a_run_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    make(tmp_path, "lemon-cake")
    make(tmp_path, "bread")
    with pytest.raises(UserError) as error:
        RunDirectory.open(tmp_path / "lemon-cke")
    assert f"there is no such run directory; the nearest is {tmp_path / 'lemon-cake'}" in str(error.value)


def test_opening_a_run_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no such run directory$"):
        RunDirectory.open(tmp_path / "nowhere" / "cake")


def test_opening_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"this is not a run directory: it holds no run\.json"):
        RunDirectory.open(tmp_path)


def test_a_run_killed_while_its_directory_was_made_has_taken_no_name(tmp_path: Path) -> None:
    def killed(name: str) -> dict[str, str]:
        raise SystemExit

    with pytest.raises(SystemExit):
        RunDirectory.create(tmp_path, name="half", stem="cake", files=killed)
    assert create(tmp_path, name="half").info.read_text() == "{}"


HOLD = """
import sys, time
from pathlib import Path
from optim.runs.directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_frees_the_run(tmp_path: Path) -> None:
    run = make(tmp_path, "first")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=rf"run first is being written by another process \(pid {holder.pid}\)"),
            run.lock(),
        ):
            pytest.fail("the lock was given twice")
        os.kill(holder.pid, signal.SIGKILL)
    with run.lock():
        pass


def test_a_lock_is_free_again_after_use(tmp_path: Path) -> None:
    run = make(tmp_path, "first")
    for _ in range(2):
        with run.lock(), pytest.raises(UserError, match=f"pid {os.getpid()}"), run.lock():
            pytest.fail("the lock was given twice")
