"""Checkpoints come back bit for bit, or not at all."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from orbax.checkpoint import v1 as ocp

from optim.config.errors import UserError
from optim.runs import manifest as manifest_module
from optim.runs.checkpoints import CheckpointError, Checkpoints

Tree = Any
DESCRIPTION = {"stage": "fit", "finished": False}


class Auxiliary(NamedTuple):
    best: Tree
    patience: Tree


def state(step: int) -> Tree:
    """A state like that of a run, with every type that one may hold; nothing in it is zero by chance."""
    rng = np.random.default_rng(step)
    params = {"weights": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32), "a.b/c": jnp.float32(rng.normal())}
    return {
        "step": jnp.int32(step),
        "position": np.uint32(step + 7),
        "params": params,
        "optimizer": optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1)).init(params),
        "auxiliary": Auxiliary(best=np.float64(rng.normal()), patience=(np.int64(2**53 + 1), 3)),
        "flags": np.array([True, False]),
        "odd": np.array([np.nan, -0.0, np.inf, 5e-324]),
        "half": np.arange(3, dtype=ml_dtypes.bfloat16) + ml_dtypes.bfloat16(step),
        "nobody": np.zeros((0, 3), np.float32),
    }


def shapes(tree: Tree) -> Tree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), np.asarray(leaf).dtype), tree)


def expected(_: dict[str, Any]) -> Tree:
    return shapes(state(0))


def assert_same_bits(left: Tree, right: Tree) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for (path, one), other in zip(jax.tree.leaves_with_path(left), jax.tree.leaves(right), strict=True):
        one, other = np.asarray(one), np.asarray(other)
        where = jax.tree_util.keystr(path)
        assert (one.dtype, one.shape) == (other.dtype, other.shape), where
        assert one.tobytes() == other.tobytes(), where


def open_checkpoints(path: Path, **options: Any) -> Checkpoints:
    return Checkpoints(path, **({"keep": 100, "keep_every": None, "best": None} | options))


def save(path: Path, *steps: int, **options: Any) -> Path:
    with open_checkpoints(path, **options) as checkpoints:
        for step in steps:
            checkpoints.save(step, state(step), description=DESCRIPTION)
    return path


def test_every_type_comes_back_bit_for_bit(tmp_path: Path) -> None:
    save(tmp_path, 3, 5)
    with open_checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(expected)
    assert restored is not None
    assert (restored.step, restored.description, restored.set_aside) == (5, DESCRIPTION, [])
    assert_same_bits(restored.tree, state(5))


def test_float64_on_the_device_comes_back_bit_for_bit(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        tree = {"weights": jnp.arange(3.0) / 3, "count": jnp.int64(2**40 + 1)}
        assert tree["weights"].dtype == jnp.float64
        with open_checkpoints(tmp_path) as checkpoints:
            checkpoints.save(1, tree, description={})
            restored = checkpoints.restore(lambda _: shapes(tree))
    assert restored is not None
    assert_same_bits(restored.tree, tree)


def test_what_is_saved_is_the_state_at_the_call(tmp_path: Path) -> None:
    tree = {"amounts": np.arange(1000.0)}
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree, description={})
        tree["amounts"] += 1
        restored = checkpoints.restore(lambda _: shapes(tree))
    assert restored is not None
    assert_same_bits(restored.tree, {"amounts": np.arange(1000.0)})


def test_a_donated_buffer_does_not_reach_the_checkpoint(tmp_path: Path) -> None:
    update = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    amounts = jnp.arange(1000.0)
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"amounts": amounts}, description={})
        update(amounts)
        restored = checkpoints.restore(lambda _: {"amounts": jax.ShapeDtypeStruct((1000,), np.float32)})
    assert restored is not None
    assert_same_bits(restored.tree, {"amounts": np.arange(1000.0, dtype=np.float32)})


def test_the_description_tells_what_to_expect(tmp_path: Path) -> None:
    trees = {"fit": {"weights": np.arange(3.0)}, "bake": {"amounts": np.arange(4.0)}}
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, trees["fit"], description={"stage": "fit", "share": 0.1, "done": ["warm-up"]})
        checkpoints.save(2, trees["bake"], description={"stage": "bake"})
        for at_most, stage in [(None, "bake"), (2, "bake"), (1, "fit")]:
            restored = checkpoints.restore(lambda told: shapes(trees[told["stage"]]), at_most=at_most)
            assert restored is not None
            assert restored.description["stage"] == stage
            assert_same_bits(restored.tree, trees[stage])
    assert restored.description == {"stage": "fit", "share": 0.1, "done": ["warm-up"]}


def test_without_checkpoints_there_is_nothing_to_restore(tmp_path: Path) -> None:
    with open_checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.steps() == []
        assert checkpoints.restore(expected) is None
        checkpoints.save(4, state(4), description={})
        assert checkpoints.restore(expected, at_most=3) is None


def test_closing_waits_for_the_last_save(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path)
    checkpoints.save(1, state(1), description={})
    checkpoints.close()
    assert (tmp_path / "1").is_dir()
    assert checkpoints.steps() == [1]


def test_a_second_save_waits_for_the_first(tmp_path: Path) -> None:
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state(1), description={})
        checkpoints.save(2, state(2), description={})
        assert 1 in checkpoints.steps()
    assert checkpoints.steps() == [1, 2]


def test_saving_below_the_latest_step_is_not_dropped(tmp_path: Path) -> None:
    save(tmp_path, 10, 20)
    save(tmp_path, 15)
    assert open_checkpoints(tmp_path).steps() == [10, 15, 20]


def test_the_same_state_at_the_same_step_is_written_once(tmp_path: Path) -> None:
    save(tmp_path, 5)
    written = (tmp_path / "5" / "record.json").stat().st_mtime_ns
    with open_checkpoints(tmp_path) as checkpoints:
        assert not checkpoints.save(5, state(5), description=DESCRIPTION)
    assert (tmp_path / "5" / "record.json").stat().st_mtime_ns == written
    assert [entry.name for entry in tmp_path.iterdir()] == ["5"]


@pytest.mark.parametrize("damaged", [False, True])
def test_another_state_at_the_same_step_takes_its_place(tmp_path: Path, damaged: bool) -> None:
    save(tmp_path, 5)
    if damaged:
        (tmp_path / "5" / "record.json").write_text("garbage")
    with open_checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save(5, state(6), description=DESCRIPTION)
        restored = checkpoints.restore(expected)
    assert restored is not None
    assert_same_bits(restored.tree, state(6))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["5", "set-aside-5"]


def test_checkpoints_of_an_abandoned_future_are_discarded(tmp_path: Path) -> None:
    save(tmp_path, 10, 20, 25, 30)
    with open_checkpoints(tmp_path) as checkpoints:
        assert checkpoints.discard_after(20) == [25, 30]
        assert checkpoints.steps() == [10, 20]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["10", "20"]


# What is kept


def test_the_latest_are_kept(tmp_path: Path) -> None:
    save(tmp_path, 0, 10, 20, 30, keep=2)
    assert open_checkpoints(tmp_path).steps() == [20, 30]


def test_multiples_are_kept_beside_the_latest(tmp_path: Path) -> None:
    save(tmp_path, *range(0, 80, 10), keep=2, keep_every=30)
    assert open_checkpoints(tmp_path).steps() == [30, 60, 70]


def test_the_lowest_metric_is_kept_across_processes(tmp_path: Path) -> None:
    losses = {1: 5.0, 2: 1.5, 3: 2.0, 4: float("nan"), 5: 4.0, 6: None, 7: 1.75, 8: 3.0}
    for steps in ([1, 2, 3, 4], [5, 6, 7, 8]):
        with open_checkpoints(tmp_path, keep=1, best="loss") as checkpoints:
            for step in steps:
                loss = losses[step]
                metrics = {"other": -1.0} if loss is None else {"loss": loss}
                checkpoints.save(step, state(step), description={}, metrics=metrics)
    assert open_checkpoints(tmp_path).steps() == [2, 8]


def test_a_failed_save_surfaces_at_the_next_call_and_nothing_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    save(tmp_path, 1, keep=1)
    message = r"the checkpoint of step 2 could not be written: .*No space left"
    monkeypatch.setattr(ocp, "save", full)
    with open_checkpoints(tmp_path, keep=1) as checkpoints:
        for then in (checkpoints.wait, checkpoints.close):
            assert checkpoints.save(2, state(2), description={})
            with pytest.raises(CheckpointError, match=message):
                then()
            assert checkpoints.steps() == [1]


def test_a_description_that_is_not_json_is_an_error_at_once(tmp_path: Path) -> None:
    with open_checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match="not JSON compliant"):
        checkpoints.save(2, state(2), description={"loss": float("nan")})
    assert checkpoints.steps() == []


@pytest.mark.parametrize("name", ["old [1]", "back\\slash", "a*b?{c}#%20", "käse kuchen"])
def test_whatever_the_path_what_is_saved_can_be_read(tmp_path: Path, name: str) -> None:
    save(tmp_path / name, 1, 2)
    save(tmp_path / "plain", 3)
    (tmp_path / "plain" / "3").rename(tmp_path / name / "3")  # moved there
    with open_checkpoints(tmp_path / name) as checkpoints:
        for step in (3, 2):
            restored = checkpoints.restore(expected, at_most=step)
            assert restored is not None
            assert (restored.step, restored.set_aside) == (step, [])
            assert_same_bits(restored.tree, state(step))


def test_a_save_that_cannot_be_read_back_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)
    monkeypatch.setattr(ocp, "load", lambda *_: {})
    with pytest.raises(CheckpointError, match=r"step 2 could not be written: .*digest"):
        save(tmp_path, 2)
    assert not (tmp_path / "2").exists()
    monkeypatch.undo()
    with open_checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(expected)
    assert restored is not None
    assert restored.step == 1


def test_a_file_that_cannot_be_read_is_named_and_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 10, 20)
    digest = manifest_module.digest_of_file

    def refuse(path: Path) -> str:
        if path.parts[-3:] == ("20", "state", "manifest.ocdbt"):
            raise OSError(5, "Input/output error")
        return digest(path)

    monkeypatch.setattr(manifest_module, "digest_of_file", refuse)
    with open_checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(expected)
    assert restored is not None
    assert restored.set_aside == [
        "checkpoint 20: state/manifest.ocdbt cannot be read: Input/output error; set aside as set-aside-20"
    ]
    assert restored.step == 10


REFUSED = """
import shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_checkpoints import DESCRIPTION, open_checkpoints, state
path = Path(sys.argv[1])
with open_checkpoints(path) as checkpoints:
    checkpoints.save(1, state(1), description=DESCRIPTION)
    checkpoints.wait()
    path.rename(path.with_name("moved"))
    path.write_text("no folder")
    checkpoints.save(2, state(2), description=DESCRIPTION)
"""


def test_no_save_begins_on_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 5000, 5000))
    message = r"step 2 could not be written: .*No space left on device \(5,000 bytes are free\).*`optim resume` goes on"
    with open_checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match=message):
        checkpoints.save(2, state(2), description={})
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]


def test_orbax_itself_ends_at_once_where_a_folder_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = open_checkpoints(tmp_path / "checkpoints")
    monkeypatch.setattr("optim.runs.checkpoints._refuse_unwritable", lambda partial, size: None)  # it was fine, then
    (tmp_path / "checkpoints").rmdir()
    (tmp_path / "checkpoints").write_text("")
    checkpoints.save(1, state(1), description={})
    with pytest.raises(CheckpointError, match="step 1 could not be written"):
        checkpoints.close()
    deadline = time.monotonic() + 10
    while waiting := [thread for thread in threading.enumerate() if thread.name.startswith("asyncio_")]:
        assert time.monotonic() < deadline, waiting  # they keep the process from its end
        time.sleep(0.05)


def test_a_folder_that_refuses_new_entries_ends_the_process_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", REFUSED, str(tmp_path / "run"), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert "CheckpointError: the checkpoint of step 2 could not be written" in done.stderr


# What is damaged


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("saved"), 10, 20)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_the_last_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) * 2 // 3] ^= 0x10
    path.write_bytes(bytes(content))


def garble(path: Path) -> None:
    path.write_bytes(b"\x00garbage\xff" * 40)


@pytest.mark.parametrize("damage", [Path.unlink, cut_in_half, cut_the_last_byte, empty, flip_a_byte, garble])
def test_a_damaged_file_never_yields_wrong_data(tmp_path: Path, saved: Path, damage: Callable[[Path], None]) -> None:
    files = [path.relative_to(saved) for path in sorted((saved / "20").rglob("*")) if path.is_file()]
    assert len(files) > 5
    fell_back = 0
    for number, file in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(saved, copy)
        before = (copy / file).read_bytes()
        damage(copy / file)
        with open_checkpoints(copy) as checkpoints:
            restored = checkpoints.restore(expected)
            assert restored is not None, file
            assert_same_bits(restored.tree, state(restored.step))
            if (copy / "20").exists():  # an empty file cannot be cut; the last byte of the record is a line feed
                assert restored.step == 20
                assert restored.set_aside == []
                assert before == b"" or file.name == "record.json"
                continue
            fell_back += 1
            assert restored.step == 10
            assert len(restored.set_aside) == 1
            name = re.escape(str(file.relative_to("20")))
            why = "(is missing|is truncated or damaged)"
            assert re.fullmatch(f"checkpoint 20: {name} {why}; set aside as set-aside-20", restored.set_aside[0])
            assert sorted(entry.name for entry in copy.iterdir()) == ["10", "set-aside-20"]
    assert fell_back >= len(files) - 2
    # The run reaches step 20 again.
    with open_checkpoints(copy) as checkpoints:
        assert checkpoints.save(20, state(20), description=DESCRIPTION)
        again = checkpoints.restore(expected)
    assert again is not None
    assert_same_bits(again.tree, state(20))


def alter(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["description"].update(finished=True),
        lambda record: record["metrics"].update(loss=-1.0),
        lambda record: record["leaves"].reverse(),
        lambda record: record["leaves"][0].update(path="['other']"),
    ],
)
def test_a_record_that_reads_well_but_is_not_what_was_saved_is_found_out(
    tmp_path: Path, saved: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    alter(tmp_path / "20" / "record.json", change)
    with open_checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(expected)
    assert restored is not None
    assert restored.step == 10
    assert re.match("checkpoint 20: record.json is truncated or damaged", restored.set_aside[0])


def test_several_damaged_checkpoints_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path, 10, 20, 30)
    (tmp_path / "set-aside-30").mkdir()
    for step in ("20", "30"):
        garble(tmp_path / step / "record.json")
    with open_checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(expected)
    assert restored is not None
    assert restored.step == 10
    assert restored.set_aside == [
        "checkpoint 30: record.json is truncated or damaged; set aside as set-aside-30-2",
        "checkpoint 20: record.json is truncated or damaged; set aside as set-aside-20",
    ]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "10",
        "set-aside-20",
        "set-aside-30",
        "set-aside-30-2",
    ]


def test_without_a_readable_checkpoint_restoring_is_refused_and_nothing_is_renamed(tmp_path: Path) -> None:
    save(tmp_path, 10, 20)
    garble(tmp_path / "20" / "record.json")
    (tmp_path / "10" / "state" / "manifest.ocdbt").unlink()
    with open_checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError) as error:
        checkpoints.restore(expected)
    assert error.value.exit_code == 1
    assert str(error.value).splitlines() == [
        f"{tmp_path}: no checkpoint can be used",
        "checkpoint 20: record.json is truncated or damaged",
        "checkpoint 10: state/manifest.ocdbt is missing",
    ]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["10", "20"]


def test_a_run_whose_checkpoints_are_all_set_aside_does_not_start_again_in_silence(tmp_path: Path) -> None:
    (tmp_path / "set-aside-20").mkdir()
    with (
        open_checkpoints(tmp_path) as checkpoints,
        pytest.raises(CheckpointError, match="set-aside-20: set aside earlier"),
    ):
        checkpoints.restore(expected)


# What has another structure


def refusal(path: Path, tree: Tree) -> list[str]:
    with open_checkpoints(path) as checkpoints, pytest.raises(UserError) as error:
        checkpoints.restore(lambda _: shapes(tree))
    assert all(problem.place == str(path / "20") for problem in error.value.problems)
    assert sorted(entry.name for entry in path.iterdir()) == ["10", "20"]
    return [problem.message for problem in error.value.problems]


def test_a_structure_that_differs_is_refused_with_the_paths(tmp_path: Path, saved: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    tree = state(0)
    tree["params"]["weights"] = np.zeros((3, 5), np.float32)
    tree["params"]["bias"] = np.zeros((), np.float32)
    tree["step"] = np.int64(0)
    del tree["flags"]
    assert refusal(tmp_path, tree) == [
        "['flags']: saved bool[2], not in this config",
        "['params']['weights']: saved float32[3,4], float32[3,5] in this config",
        "['step']: saved int32[], int64[] in this config",
        "['params']['bias']: not saved, float32[] in this config",
    ]


def test_another_optimizer_is_refused_with_the_paths(tmp_path: Path, saved: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    tree = state(0)
    tree["optimizer"] = optax.sgd(0.1, momentum=0.9).init(tree["params"])
    messages = refusal(tmp_path, tree)
    assert "['optimizer'][1][0].mu['weights']: saved float32[3,4], not in this config" in messages
    assert "['optimizer'][0].trace['weights']: not saved, float32[3,4] in this config" in messages


def test_a_newest_checkpoint_of_another_structure_is_set_aside(tmp_path: Path) -> None:
    save(tmp_path, 10)
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(20, {"weights": np.arange(3.0)}, description={})
        restored = checkpoints.restore(expected)
    assert restored is not None
    assert restored.step == 10
    assert restored.set_aside[0].startswith("checkpoint 20: ['weights']: saved float64[3], not in this config\n")
    assert (tmp_path / "set-aside-20").is_dir()


# What is killed

SAVE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_checkpoints import DESCRIPTION, open_checkpoints, state
directory, left, armed = sys.argv[1], int(sys.argv[3]), False

def kill(event, arguments):
    global left
    here = armed and event in TOUCHES and isinstance(arguments[0], str | Path) and directory in str(arguments[0])
    if here:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
sys.addaudithook(kill)
with open_checkpoints(Path(directory), keep=2) as checkpoints:
    step = max(checkpoints.steps(), default=0)
    while True:
        step += 1
        checkpoints.save(step, state(step), description=DESCRIPTION)
        print(step, flush=True)
        if not armed:
            checkpoints.wait()
            armed = True
"""


@pytest.mark.long
def test_a_process_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """Killed when it touches a file for so many times since its first save: a moment of the work, not of a clock."""
    reached = 0
    # While orbax writes, while what it wrote is digested, before the last renaming, while an older one is deleted.
    for touches in (3, 15, 23, 26):
        command = [sys.executable, "-c", SAVE, str(tmp_path), str(Path(__file__).parent), str(touches)]
        killed = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        assert killed.returncode == -signal.SIGKILL
        started = int(killed.stdout.split()[-1])
        with open_checkpoints(tmp_path, keep=2) as checkpoints:
            assert all(entry.name.isdigit() for entry in tmp_path.iterdir())
            restored = checkpoints.restore(expected)
        assert restored is not None
        assert started - 1 <= restored.step <= started + 1  # the line may be lost, the save before it may not
        assert restored.step > reached
        reached = restored.step
        assert restored.set_aside == []
        assert_same_bits(restored.tree, state(restored.step))


LOUD = """
import logging, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO)
sys.path.insert(0, sys.argv[2])
from test_checkpoints import expected, garble, open_checkpoints, save
path = save(Path(sys.argv[1]), 1, 2)
garble(path / "2" / "record.json")
logging.getLogger("jax").setLevel(logging.WARNING)
print("begin", file=sys.stderr)
with open_checkpoints(path) as checkpoints:
    assert checkpoints.restore(expected).step == 1
    checkpoints.save(3, checkpoints.restore(expected).tree, description={})
print("end", file=sys.stderr)
"""


def test_nothing_is_printed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOUD, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if "orbax" in line or "absl" in line]
    assert lines == []
    between = done.stderr.split("begin\n")[1]
    assert between == "end\n"
