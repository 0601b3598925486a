"""Real processes: SIGTERM, Ctrl-C and SIGKILL."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from optim.config.loading import load
from optim.runs.info import RunInfo
from tests.helpers import run
from tests.runs.test_resume import assert_alike

# Long enough to be met in the middle.
HUNDREDS = ("stages.fit.length=1000", "stages.bake.length=60", "log.every=10", "checkpoint.every=100", "chunk=20")
# And again and again: thousands of chunks.
LONG = ("stages.fit.length=15000", "stages.bake.length=3000", "log.every=5", "checkpoint.every=150", "chunk=20")


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from optim.cli.main import main; main()", *arguments]
    # With the compiled programs of this session a process begins sooner.
    compiled = str(jax.config.jax_compilation_cache_dir)
    kept = {"JAX_COMPILATION_CACHE_DIR": compiled, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **kept})


def wait_for_training(run_directory: Path, process: subprocess.Popen[str]) -> None:
    """Until a checkpoint after step 0 is there."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        steps = [entry.name for entry in run_directory.glob("checkpoints/*") if entry.name.isdigit()]
        if any(int(step) > 0 for step in steps):
            return
        time.sleep(0.02)
    raise AssertionError(f"no training seen: {process.communicate()}")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_signal_saves_the_state_and_says_how_to_go_on(small_file: Path, tmp_path: Path, number: int) -> None:
    run(load(small_file, HUNDREDS), tmp_path, "whole")
    process = start("train", str(small_file), *HUNDREDS, "--name", "parts", "--runs-dir", ".", cwd=tmp_path)
    wait_for_training(tmp_path / "parts", process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "optim resume parts" in output
    info = RunInfo.load(tmp_path / "parts" / "run.json")
    assert info.status == "interrupted"
    assert info.history[-1].details["reason"] == signal.Signals(number).name
    stopped_at = info.history[-1].step
    assert (tmp_path / "parts" / "checkpoints" / str(stopped_at)).is_dir()
    resumed = start("resume", "parts", cwd=tmp_path)
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    assert f"resuming at step {stopped_at}" in errors
    assert_alike(tmp_path / "whole", tmp_path / "parts", load(small_file, HUNDREDS))


@pytest.mark.long
def test_a_second_signal_leaves_at_once(small_file: Path, tmp_path: Path) -> None:
    endless = ["stages.fit.length=100000000", "chunk=100000000", "log.every=100000000", "checkpoint.every=100000000"]
    process = start("train", str(small_file), *endless, "--name", "run", "--runs-dir", ".", cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "checkpoints" / "0").is_dir():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 75


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_kills_at_random_moments_change_nothing(small_file: Path, tmp_path: Path) -> None:
    run(load(small_file, LONG), tmp_path, "whole")
    moments = random.Random(5)
    process = start("train", str(small_file), *LONG, "--name", "parts", "--runs-dir", ".", cwd=tmp_path)
    kills = 0
    while kills < 10:
        if kills % 2 == 0:  # any time from the first import on
            time.sleep(moments.uniform(0.2, 2.5))
        elif (tmp_path / "parts" / "run.json").exists():  # while it trains
            wait_for_training(tmp_path / "parts", process)
            time.sleep(moments.uniform(0.0, 0.4))
        if process.poll() == 0:  # it was quicker: all that was to be interrupted has been
            break
        process.kill()
        process.communicate()
        kills += 1
        arguments = ["resume", "parts"]
        if not (tmp_path / "parts" / "run.json").exists():  # killed before it had begun
            arguments = ["train", str(small_file), *LONG, "--name", "parts", "--runs-dir", "."]
            if (tmp_path / "parts").exists():
                (tmp_path / "parts").rename(tmp_path / f"never-started-{kills}")
        process = start(*arguments, cwd=tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert kills == 10
    assert_alike(tmp_path / "whole", tmp_path / "parts", load(small_file, LONG))
