"""A file or a folder that cannot be read or written is named with its remedy; a mistake of ours keeps its traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from optim.cli.exits import exit_code_of
from optim.runs.checkpoints import Checkpoints
from optim.runs.files import placed
from tests.cli.test_main import call
from tests.conftest import Studies
from tests.runs.conftest import TrainedOnce

QUICK = ("stages.fit.length=4", "stages.bake.length=2", "stop_after_steps=2")


@pytest.fixture
def stopped(trained: TrainedOnce, small: Studies, tmp_path: Path) -> Path:
    """A run of one's own, stopped on its way."""
    return trained(small(*QUICK)).copy(tmp_path / "run")


def replaced_by_file(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.touch()


def replaced_by_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


IN_THE_WAY = "move it away, or choose another place"


@pytest.mark.parametrize(
    ("name", "spoil", "code", "message", "status"),
    [
        ("checkpoints", replaced_by_file, 1, "no checkpoints can be kept there: File exists", "interrupted"),
        (".lock.pid", replaced_by_folder, 2, "this run cannot be written to: Is a directory; make the", "interrupted"),
        ("tensorboard", replaced_by_file, 2, f"File exists; {IN_THE_WAY}", "failed"),
        ("tensorboard/events.out.tfevents.000001", replaced_by_folder, 2, f"Is a directory; {IN_THE_WAY}", "failed"),
    ],
)
def test_a_place_in_a_run_that_is_not_what_it_was(
    stopped: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    spoil: Callable[[Path], None],
    code: int,
    message: str,
    status: str,
) -> None:
    spoil(stopped / name)
    found, _, errors = call(capsys, "resume", str(stopped))
    assert found == code
    assert f"error: {stopped / name}: {message}" in errors
    assert json.loads((stopped / "run.json").read_text())["status"] == status


def test_leftovers_that_are_no_folders_are_in_no_ones_way(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / "checkpoints" / "saving-3").touch()
    (tmp_path / "checkpoints" / "deleting-1").symlink_to(tmp_path / "kept")
    with Checkpoints(tmp_path / "checkpoints", keep=1, keep_every=None, best=None) as checkpoints:
        assert checkpoints.steps() == []
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["checkpoints", "kept"]


@pytest.mark.parametrize(
    ("number", "code", "remedy"),
    [
        (errno.EACCES, 2, "change its permissions, or choose another place"),
        (errno.EROFS, 2, "choose a place that can be written to"),
        (errno.ENOSPC, 1, "make room there"),
        (errno.EIO, 1, "try again when that is mended"),
    ],
)
def test_what_the_system_says_of_a_place(
    capsys: pytest.CaptureFixture[str], number: int, code: int, remedy: str
) -> None:
    def command() -> int:
        with placed(Path("some/place")):
            raise OSError(number, os.strerror(number))

    assert exit_code_of(command) == code
    assert capsys.readouterr().err == f"error: some/place: {os.strerror(number)}; {remedy}\n"


def test_an_error_without_a_place_is_a_mistake_of_ours() -> None:
    def command() -> int:
        raise OSError("no place")

    with pytest.raises(OSError, match="no place"):
        exit_code_of(command)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_behind_the_output_is_named() -> None:
    program = "from optim.cli.main import main; main(['config', 'schema'])"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True)
    text = f"error: standard output: {os.strerror(errno.ENOSPC)}; make room there\n"
    assert (done.returncode, done.stderr) == (1, text)
