"""Compiled programs kept between processes: private, bounded, and without any say in a number."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from optim.runs import compilation_cache
from optim.runs.compilation_cache import cache_place

PROGRAM = """
import jax, jax.numpy as jnp
from optim.runs.compilation_cache import compiled_programs_kept
with compiled_programs_kept():
    print(float(jax.jit(lambda x: jnp.sin(x) @ jnp.cos(x))(jnp.arange(100.0))).hex())
"""
FIT_ALONE = "stages={fit: {kind: fit, length: 5, batch: 16, optimizer: {name: adam, learning_rate: 0.05}}}"
TRAIN = "import sys; from optim.cli.main import main; main(sys.argv[1:])"


def begin(cache: Path, *words: str, **more: str) -> subprocess.Popen[str]:
    """Start Python, with an environment in which nothing but the place of caches is set."""
    without = ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.Popen(
        [sys.executable, "-c", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"XDG_CACHE_HOME": str(cache)} | more,
    )


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a program prints, and what it says on standard error, if it ends well."""
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return printed, errors


def run(cache: Path, **more: str) -> str:
    """What the small program prints; on standard error nothing is said."""
    printed, errors = end(begin(cache, PROGRAM, **more))
    assert errors == ""
    return printed


def programs(cache: Path) -> dict[str, int]:
    """The programs that are kept, with their sizes."""
    return {path.name: path.stat().st_size for path in cache.glob("optim/compiled/*/*-cache")}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A cache that two processes have filled at once, and what they printed."""
    cache = tmp_path_factory.mktemp("kept")
    both = [begin(cache, PROGRAM) for _ in range(2)]
    ((printed, errors),) = {end(process) for process in both}
    assert errors == ""
    return cache, printed


def test_two_processes_keep_programs_at_once_for_their_user_alone(kept: tuple[Path, str]) -> None:
    cache, _ = kept
    assert programs(cache)
    for folder in (cache / "optim", cache / "optim/compiled", *(cache / "optim/compiled").iterdir()):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_what_is_damaged_is_compiled_anew_in_silence(kept: tuple[Path, str]) -> None:
    """Truncated, emptied."""
    cache, printed = kept
    whole = programs(cache)
    for number, path in enumerate(sorted(cache.glob("optim/compiled/*/*-cache"))):
        path.write_bytes(path.read_bytes()[: (0, 40)[number % 2]])
    assert run(cache) == printed
    assert programs(cache).keys() == whole.keys()
    assert min(programs(cache).values()) > 40


@pytest.mark.long
def test_a_place_that_cannot_be_used_is_passed_over_in_silence(kept: tuple[Path, str], tmp_path: Path) -> None:
    _, printed = kept
    (tmp_path / "file").write_text("")
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "compiled").write_text("")
    for place in (tmp_path / "file", tmp_path):
        assert run(place) == printed
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["compiled", "file", "optim"]


@pytest.mark.long
def test_a_setting_of_the_users_own_wins(kept: tuple[Path, str], tmp_path: Path) -> None:
    _, printed = kept
    own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    assert run(tmp_path / "ours", **own) == printed
    assert list((tmp_path / "own").glob("*-cache"))
    assert not (tmp_path / "ours").exists()


@pytest.mark.long
def test_a_run_has_the_same_bits_with_and_without_and_the_second_compiles_nothing(
    small_file: Path, tmp_path: Path
) -> None:
    def train(name: str, *options: str) -> subprocess.Popen[str]:
        words = ("train", str(small_file), "--runs-dir", str(tmp_path), "--name", name, *options)
        return begin(tmp_path / "cache", TRAIN, *words, FIT_ALONE)

    for process in [train("without", "--no-cache"), train("cold")]:  # at once
        end(process)
    before = programs(tmp_path / "cache")
    assert before
    end(train("warm"))
    assert programs(tmp_path / "cache") == before
    without, cold, warm = (left_by(tmp_path / name) for name in ("without", "cold", "warm"))
    assert without == cold == warm


def left_by(run: Path) -> tuple[bytes, dict[str, str]]:
    """The answer of a run, and the digest of each of its checkpoints' arrays."""
    manifests = {path.parent.name: json.loads(path.read_text()) for path in run.glob("checkpoints/*/record.json")}
    assert manifests
    return (run / "result.json").read_bytes(), {step: manifest["digest"] for step, manifest in manifests.items()}


def test_the_place_is_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_place() == tmp_path / "optim"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_place() == Path("/home/ada/.cache/optim")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_place() == Path("/home/ada/Library/Caches/optim")


def test_programs_used_longest_ago_make_room_for_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compilation_cache, "MOST_BYTES", 400)
    folder = compilation_cache._own_folder(tmp_path)
    assert folder is not None
    for number in range(4):
        path = folder / f"jit_{number}-cache"
        path.write_bytes(bytes(100))
        used = 1000 + (9 if number == 0 else number)  # the first was written first, and read last
        os.utime(path, (used, 1000 + number))
    assert compilation_cache._own_folder(tmp_path) == folder
    assert len(list(folder.iterdir())) == 4  # there is room
    (folder / "jit_4-cache").write_bytes(bytes(100))
    compilation_cache._own_folder(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["jit_0-cache", "jit_3-cache", "jit_4-cache"]


def test_programs_of_other_processors_cores_and_versions_lie_elsewhere_and_the_oldest_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = []
    for number in range(compilation_cache.FOLDERS_KEPT + 1):
        monkeypatch.setattr(compilation_cache, "_processor", lambda model=number: (f"model {model}",))
        folder = compilation_cache._own_folder(tmp_path)
        assert folder is not None
        os.utime(folder, (time.time() - 100 + number,) * 2)
        folders.append(folder)
    assert len(set(folders)) == len(folders)
    assert [folder.exists() for folder in folders] == [False] + [True] * compilation_cache.FOLDERS_KEPT
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(77), raising=False)
    assert compilation_cache._own_folder(tmp_path) not in folders
