"""Modules whose names the user's own code puts together while it runs are digested as those are that it imports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.config.loading import load
from optim.runs.info import RunInfo
from optim.runs.observer import Silent
from optim.runs.run import resume
from tests.helpers import run

STUDY = """\
ingredients: {sugar: {min: 0.5, max: 2.5}}
model: {}
stages:
  bake:
    kind: bake
    length: 9
    starts: 1
    score: {kind: own, path: "mine.py:sweet"}
    optimizer: {name: sgd, learning_rate: 1}
stop_after_steps: 1
"""
OWN = """\
import importlib, importlib.util, pathlib
by_name = importlib.import_module("{by_name}")
path = pathlib.Path(__file__).with_name("by_path.py")
spec = importlib.util.spec_from_file_location("not_registered", path)
by_path = importlib.util.module_from_spec(spec)
spec.loader.exec_module(by_path)

def sweet(recipe, customer):
    return by_name.factor() * by_path.FACTOR * recipe.amounts["sugar"]
"""
BY_NAME = """\
import importlib

def factor():
    return importlib.import_module("{late}").FACTOR
"""


class Listening(Silent):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)


def stopped(folder: Path, name: str) -> tuple[Path, list[Path]]:
    """A stopped run, and the files that its score needs beside its own; a `name` gives them names of their own."""
    (folder / "study.yaml").write_text(STUDY)
    (folder / "mine.py").write_text(OWN.format(by_name=f"{name}_by_name"))
    files = [folder / f"{name}_by_name.py", folder / "by_path.py", folder / f"{name}_late.py"]
    for file, text in zip(
        files, [BY_NAME.format(late=f"{name}_late"), "FACTOR = 1.0\n", "FACTOR = 1.0\n"], strict=True
    ):
        file.write_text(text)
    return run(load(folder / "study.yaml"), folder, "run").directory.path, files


def test_a_change_is_refused_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))  # one is imported when the score is traced
    folder, files = stopped(tmp_path, "refused")
    imports = RunInfo.load(folder / "run.json").imports
    assert set(imports or {}) == set(map(str, files))
    for file in files:
        before = file.read_text()
        file.write_text(before + "# another\n")
        with pytest.raises(UserError, match=rf"{file.name} has changed: the SHA-256 was .*; put it back"):
            resume(folder, [], observer=Silent())
        file.write_text(before)
    # In this process the late one is loaded already, and is not seen to be loaded: what is known is not forgotten.
    assert resume(folder, ["stop_after_steps=2"], observer=Silent()).reason == "stop_after_steps"
    assert RunInfo.load(folder / "run.json").imports == imports


def test_files_that_the_run_does_not_know_of_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    folder, (by_name, by_path, late) = stopped(tmp_path, "unknown")
    record = json.loads((folder / "run.json").read_text())
    del record["imports"][str(by_name)]
    (folder / "run.json").write_text(json.dumps(record))
    observer = Listening()
    resume(folder, ["stop_after_steps=2"], observer=observer)
    assert any(
        f"imports {by_name}, of which the run so far has no SHA-256: whether" in text for text in observer.warned
    )
    assert set(RunInfo.load(folder / "run.json").imports or {}) == {str(by_name), str(by_path), str(late)}
