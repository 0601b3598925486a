"""The best checkpoint: saved where it is found, kept, whatever is saved besides, and gone on from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optim.runs.observer import Silent
from optim.runs.run import resume
from tests.conftest import Studies
from tests.helpers import run
from tests.runs.conftest import TrainedOnce
from tests.runs.reading import points

BEST = (
    "data.evaluation={share: 0.3}",
    "stages.fit={kind: fit, length: 60, batch: 8, optimizer: {name: adam, learning_rate: 0.3}, evaluate: {every: 4}}",
    "checkpoint={every: 25, keep: 1, best: fit/eval/loss}",
)


def kept(run_directory: Path) -> dict[int, dict[str, float]]:
    """Metrics of the checkpoints of a run, by their steps."""
    folders = sorted((run_directory / "checkpoints").iterdir(), key=lambda path: int(path.name))
    return {int(path.name): json.loads((path / "record.json").read_text())["metrics"] for path in folders}


def lowest(run_directory: Path) -> tuple[float, int]:
    """The lowest held-out loss that the curves of a run show, and its step; of equals the first."""
    return min((value, step) for step, value in points(run_directory / "tensorboard")["fit/eval/loss"])


@pytest.fixture
def whole(small: Studies, trained: TrainedOnce) -> Path:
    """A run that others share; not to be written into."""
    return trained(small(*BEST)).path


def test_the_lowest_held_out_loss_is_kept_whatever_the_cadence_of_saves(whole: Path) -> None:
    value, step = lowest(whole)
    assert step % 25 != 0
    assert step < 60
    assert list(kept(whole)) == [step, 90]
    assert kept(whole)[step]["fit/eval/loss"] == pytest.approx(value, rel=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("chunk", [3, "auto"])
def test_an_interrupted_run_keeps_the_same_best(small: Studies, tmp_path: Path, whole: Path, chunk: int | str) -> None:
    run(small(*BEST, f"chunk={chunk}", "stop_after_steps=4"), tmp_path, "parts")
    for stop in (6, 12, 27, 28):
        resume(tmp_path / "parts", [f"stop_after_steps={stop}"], observer=Silent())
    resume(tmp_path / "parts", [], observer=Silent())
    assert kept(tmp_path / "parts") == kept(whole)
    results = [(path / "result.json").read_bytes() for path in (whole, tmp_path / "parts")]
    assert results[0] == results[1]
