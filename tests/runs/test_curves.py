"""One curve a tag, as TensorBoard's own reader sees it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import metadata as hparams_metadata

from optim.runs.curves import Curves, NoCurves, open_curves
from tests.runs.reading import accumulate, points, texts


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def log(curves: Curves, steps: range) -> None:
    for step in steps:
        curves.scalars(step, {"fit/train/loss": 1 / (1 + step), "fit/grad_norm": float(step)})


def whole(steps: range) -> dict[str, list[tuple[int, float]]]:
    """The curves of a run that nothing interrupted."""
    return {
        "fit/train/loss": [(step, pytest.approx(1 / (1 + step))) for step in steps],
        "fit/grad_norm": [(step, float(step)) for step in steps],
    }


def test_points_and_texts_are_read_as_written(tmp_path: Path) -> None:
    curves = open_curves(tmp_path / "new" / "tensorboard", resumed_at=None)
    curves.text(0, "config", "```yaml\nseed: 1  # Streusel ß\n```")
    log(curves, range(0, 30, 3))
    curves.scalars(30, {"bake/recipe/baking powder": 1e-30})
    curves.close()
    assert points(tmp_path / "new" / "tensorboard") == {
        **whole(range(0, 30, 3)),
        "bake/recipe/baking powder": [(30, pytest.approx(1e-30))],
    }
    assert texts(tmp_path / "new" / "tensorboard") == {"config": [(0, "```yaml\nseed: 1  # Streusel ß\n```")]}


def test_a_resumed_run_has_one_curve_without_gap_or_double(tmp_path: Path) -> None:
    last = None
    for stop, restored in [(17, 10), (13, 10), (40, 25), (60, None)]:
        curves = open_curves(tmp_path, resumed_at=last)
        log(curves, range(0 if last is None else last + 1, stop + 1))
        curves.close()
        last = restored
    assert points(tmp_path) == whole(range(61))


def test_points_of_another_cadence_do_not_survive_a_resume(tmp_path: Path) -> None:
    first = open_curves(tmp_path, resumed_at=None)
    log(first, range(20))
    first.text(0, "config", "every 1")
    first.text(15, "note", "rolled back later")
    first.close()
    second = open_curves(tmp_path, resumed_at=9)
    log(second, range(14, 40, 5))
    second.close()
    assert [step for step, _ in points(tmp_path)["fit/grad_norm"]] == [*range(10), *range(14, 40, 5)]
    assert texts(tmp_path) == {"config": [(0, "every 1")]}


def test_a_run_killed_before_its_first_checkpoint_starts_afresh(tmp_path: Path) -> None:
    killed = open_curves(tmp_path, resumed_at=None)
    log(killed, range(50))
    killed.close()
    (tmp_path / "notes.txt").touch()
    again = open_curves(tmp_path, resumed_at=None)
    log(again, range(3))
    again.close()
    assert points(tmp_path) == whole(range(3))
    assert names(tmp_path) == ["events.out.tfevents.000001", "notes.txt"]


def test_a_reader_that_saw_the_later_points_is_told_of_the_restart(tmp_path: Path) -> None:
    first = open_curves(tmp_path, resumed_at=None)
    log(first, range(20))
    first.flush()
    reader = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert len(reader.Scalars("fit/grad_norm")) == 20
    first.rewind(9)
    log(first, range(14, 40, 5))
    first.close()
    assert [point.step for point in reader.Reload().Scalars("fit/grad_norm")] == [*range(10), *range(14, 40, 5)]


def test_rewinding_removes_later_points_and_keeps_earlier_ones(tmp_path: Path) -> None:
    curves = open_curves(tmp_path, resumed_at=None)
    log(curves, range(30))
    curves.rewind(10)
    curves.text(10, "rollback", "fit/train/loss was not finite")
    log(curves, range(11, 21))
    curves.rewind(15)
    curves.close()
    assert points(tmp_path) == whole(range(16))
    assert texts(tmp_path) == {"rollback": [(10, "fit/train/loss was not finite")]}


def test_files_sort_in_the_order_of_opening_within_one_second(tmp_path: Path) -> None:
    for number in range(12):
        curves = open_curves(tmp_path, resumed_at=number if number else None)
        curves.scalars(number + 1, {"loss": float(number)})
        curves.close()
    assert len(names(tmp_path)) == 12
    assert points(tmp_path) == {"loss": [(number + 1, float(number)) for number in range(12)]}


WRITE = """
import os, signal, sys
from pathlib import Path
from optim.runs.curves import open_curves
curves = open_curves(Path(sys.argv[1]), resumed_at=None)
for step in range(2000):
    curves.scalars(step, {"loss": float(step), "recipe/sugar": step / 2})
curves.flush()
curves.scalars(2000, {"loss": 2000.0})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITE, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert points(tmp_path)["loss"][:2000] == [(step, float(step)) for step in range(2000)]


@pytest.mark.parametrize("missing", [1, 10, 40])
def test_a_record_cut_off_by_a_kill_does_not_hide_what_follows(tmp_path: Path, missing: int) -> None:
    curves = open_curves(tmp_path, resumed_at=None)
    log(curves, range(20))
    curves.close()
    cut = tmp_path / "events.out.tfevents.000001"
    cut.write_bytes(cut.read_bytes()[:-missing])
    curves = open_curves(tmp_path, resumed_at=10)
    log(curves, range(11, 31))
    curves.close()
    assert points(tmp_path) == whole(range(31))


HPARAMS = {"seed": 1, "stages.bake.optimizer.name": "adam", "data.like.at_least": 6.0, "model.intercept": False}


def final(curves: Curves, step: int, value: float) -> None:
    curves.final(step, HPARAMS, {"final/log_likelihood": value})


def test_hparams_belong_to_the_one_run(tmp_path: Path) -> None:
    curves = open_curves(tmp_path, resumed_at=None)
    log(curves, range(5))
    final(curves, 5, -974.25)
    curves.close()
    assert points(tmp_path) == {**whole(range(5)), "final/log_likelihood": [(5, -974.25)]}
    runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    assert list(runs.Runs()) == ["."]
    start = runs.SummaryMetadata(".", hparams_metadata.SESSION_START_INFO_TAG)
    read = hparams_metadata.parse_session_start_info_plugin_data(start.plugin_data.content).hparams
    assert {name: getattr(value, value.WhichOneof("kind")) for name, value in read.items()} == HPARAMS
    experiment = runs.SummaryMetadata(".", hparams_metadata.EXPERIMENT_TAG)
    infos = hparams_metadata.parse_experiment_plugin_data(experiment.plugin_data.content).metric_infos
    assert [info.name.tag for info in infos] == ["final/log_likelihood"]


def test_a_second_end_replaces_the_first(tmp_path: Path) -> None:
    curves = open_curves(tmp_path, resumed_at=None)
    log(curves, range(6))
    final(curves, 5, -1000.0)
    curves.close()
    # killed before it was marked as finished, and then once more
    killed = open_curves(tmp_path, resumed_at=5)
    final(killed, 5, -1000.0)
    killed.close()
    longer = open_curves(tmp_path, resumed_at=5)
    log(longer, range(6, 11))
    final(longer, 10, -974.25)
    longer.close()
    assert points(tmp_path) == {**whole(range(11)), "final/log_likelihood": [(10, -974.25)]}
    assert sum(name.endswith(".final") for name in names(tmp_path)) == 1
    assert names(tmp_path)[-1].endswith(".final")
    tags = accumulate(tmp_path).PluginTagToContent(hparams_metadata.PLUGIN_NAME)
    assert len(tags) == 3


def test_a_run_without_a_directory_has_no_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    curves: Curves = NoCurves()
    assert isinstance(curves, Curves)
    log(curves, range(3))
    curves.text(0, "config", "")
    curves.rewind(1)
    curves.flush()
    final(curves, 3, 0.0)
    curves.close()
    assert list(tmp_path.iterdir()) == []


def test_the_writer_is_imported_only_when_it_writes() -> None:
    code = (
        "import sys, optim.runs.curves; print([m for m in ('tensorboardX', 'tensorboard', 'jax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
