"""What a run stands on beside its config and its tables: the user's own code, and the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.runs.environment import arithmetic_flags, usable_cores
from optim.runs.info import RunInfo
from optim.runs.observer import Silent
from optim.runs.run import resume
from tests.conftest import Studies
from tests.helpers import run

OWN = "def sweet(recipe, customer):\n    from {helper} import FACTOR\n    return FACTOR * recipe.amounts['sugar']\n"
QUICK = ("stages.fit.length=2", "stages.bake.length=2", "stop_after_steps=1")


def edit(path: Path, **changes: object) -> None:
    """Change keys of a run.json; None takes one away, as in a run of before."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.mark.long
def test_a_changed_module_that_own_code_imports_is_named_and_refused(
    small: Studies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "factors_of_mine.py"
    helper.write_text("FACTOR = 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))  # it is imported when the score is traced
    own = tmp_path / "mine.py"
    own.write_text(OWN.format(helper=helper.stem))
    run(small(*QUICK, f"stages.bake.score={{kind: own, path: '{own}:sweet'}}"), tmp_path, "run")
    info = RunInfo.load(tmp_path / "run" / "run.json")
    assert set(info.digests) == {"simulated", f"{own}:sweet"}
    assert set(info.imports or {}) == {str(helper)}
    helper.write_text("FACTOR = 2.0\n")
    with pytest.raises(UserError, match=r"factors_of_mine\.py has changed: the SHA-256 was .*; put it back"):
        resume(tmp_path / "run", [], observer=Silent())
    edit(tmp_path / "run" / "run.json", imports=None)
    assert resume(tmp_path / "run", [], observer=Silent()).result is not None
    assert set(RunInfo.load(tmp_path / "run" / "run.json").imports or {}) == {str(helper)}


class Listening(Silent):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)


def resumed(folder: Path, overrides: list[str]) -> tuple[list[str], RunInfo]:
    """Warnings of the environment, and run.json after it."""
    observer = Listening()
    resume(folder, overrides, observer=observer)
    warnings = [text for text in observer.warned if "environment" in text]
    return warnings, RunInfo.load(folder / "run.json")


def test_another_environment_is_said_and_noted(small: Studies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    fit_alone = "stages={fit: {kind: fit, length: 3, optimizer: {name: adam, learning_rate: 0.05}}}"
    run(small(fit_alone, "stop_after_steps=1"), tmp_path, "run")
    record = tmp_path / "run" / "run.json"
    info = RunInfo.load(record)
    assert (info.cores, info.flags) == (usable_cores(), arithmetic_flags(os.environ))
    edit(record, cores=512, device="tpu: v9", versions=info.versions | {"jax": "0.1", "of_a_later_version": "3"})
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true --xla_dump_to=/tmp/x")
    warnings, after = resumed(tmp_path / "run", ["stop_after_steps=2"])
    flag = "--xla_cpu_enable_fast_math=true"
    assert after.history[-2].details["environment"] == {
        "jax": ["0.1", info.versions["jax"]],
        "device": ["tpu: v9", info.device],
        "cores": [512, info.cores],
        "XLA_FLAGS": [None, flag],
    }
    assert warnings == [
        f"the run goes on in another environment (jax was 0.1, now {info.versions['jax']}; device was tpu: v9, now "
        f"{info.device}; cores was 512, now {info.cores}; XLA_FLAGS was absent, now {flag}): its answer may differ "
        "from that of an uninterrupted run"
    ]
    # From now on the new one is what the run knows; and a run of before knows neither cores nor flags.
    edit(record, cores=None, flags=None)
    warnings, again = resumed(tmp_path / "run", [])
    assert (warnings, "environment" in again.history[-2].details) == ([], False)
    assert (again.status, again.cores, again.flags) == ("finished", info.cores, after.flags)


def test_flags_are_those_that_shape_arithmetic() -> None:
    kept = {
        "JAX_ENABLE_X64": "1",
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_THREEFRY_PARTITIONABLE": "0",
        "NPROC": "3",
    }
    places = {
        "JAX_COMPILATION_CACHE_DIR": "/home/me/cache",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DUMP_IR_TO": "/tmp/ir",
        "JAX_COORDINATOR_ADDRESS": "10.0.0.1:1",
        "JAX_OVEN_API_KEY": "secret",
        "JAX_LOG_COMPILES": "1",
        "HOME": "/home/me",
    }
    flags = "--xla_gpu_deterministic_ops=true  --xla_dump_to=/tmp/x --xla_gpu_per_fusion_autotune_cache_dir=/tmp/y"
    assert arithmetic_flags(kept | places | {"XLA_FLAGS": flags}) == kept | {
        "XLA_FLAGS": "--xla_gpu_deterministic_ops=true"
    }
    assert arithmetic_flags({"XLA_FLAGS": "--xla_dump_to=/tmp/x"}) == {}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are not bound to cores here")
def test_cores_are_those_that_the_process_may_use() -> None:
    one = min(os.sched_getaffinity(0))
    program = f"import os\nos.sched_setaffinity(0, [{one}])\nfrom optim.runs.environment import usable_cores\n"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program + "print(usable_cores())"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout == "1\n"
