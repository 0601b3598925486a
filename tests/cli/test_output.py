"""Commands whose output nobody reads any more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BAKE_ALONE = (
    "stages={bake: {kind: bake, length: 2, starts: 2, score: {kind: own, path: 'mine.py:chatty'},"
    " optimizer: {name: sgd, learning_rate: 0.01}}}"
)
PRINTING = "def chatty(recipe, customer):\n    print('sweet')\n    return recipe.properties['sweetness']\n"


@pytest.fixture
def closed() -> Iterator[int]:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def call(folder: Path, *arguments: str, stdout: int, stderr: int) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", f"from optim.cli.main import main\nmain({list(arguments)!r})"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(program, stdout=stdout, stderr=stderr, text=True, cwd=folder, env=environment)


@pytest.mark.long
def test_training_goes_on_where_nobody_reads_what_it_prints(small_file: Path, closed: int) -> None:
    (small_file.parent / "mine.py").write_text(PRINTING)
    done = call(small_file.parent, "train", "small.yaml", BAKE_ALONE, stdout=closed, stderr=closed)
    assert done.returncode == 0
    run = small_file.parent / "runs" / "small"
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert json.loads((run / "result.json").read_text())["recipe"]
    # Here it is only the answer, printed at the end, that nobody reads.
    done = call(small_file.parent, "resume", str(run), stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, "Traceback" in done.stderr, "BrokenPipe" in done.stderr) == (0, False, False)


def test_a_mistake_keeps_its_exit_code_where_nobody_reads_the_message(tmp_path: Path, closed: int) -> None:
    assert call(tmp_path, "config", "check", "nowhere.yaml", stdout=closed, stderr=closed).returncode == 2


def test_a_command_whose_output_is_all_there_is_fails_without_a_traceback(tmp_path: Path, closed: int) -> None:
    done = call(tmp_path, "config", "schema", stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "")
