"""Runs that many tests compare with, or go on from: each is trained once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from optim.config.schema import Config
from optim.runs.session import Outcome
from tests.helpers import run


@dataclass(frozen=True)
class Trained:
    """A run that tests share.

    Attributes:
        path: its folder, which is read and never written to.
        outcome: how it ended.
    """

    path: Path
    outcome: Outcome

    def copy(self, path: Path) -> Path:
        """The same run in a new folder, to go on from."""
        shutil.copytree(self.path, path)
        return path


class TrainedOnce:
    """Trains each distinct config once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trained: dict[str, Trained] = {}

    def __call__(self, config: Config) -> Trained:
        key = config.model_dump_json()
        if key not in self._trained:
            name = f"run-{len(self._trained)}"
            self._trained[key] = Trained(self._folder / name, run(config, self._folder, name))
        return self._trained[key]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedOnce:
    """The run of a config, shared by all tests of this process."""
    return TrainedOnce(tmp_path_factory.mktemp("trained"))
