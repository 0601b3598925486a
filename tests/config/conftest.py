"""A small config to spoil, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.config.loading import load
from optim.config.schema import Config

CAKE = """\
data:
  simulate:
    segments:
      classic: {ideal: {butter: 1, eggs: 2, flour: 2, sugar: 1}}
  evaluation: {share: 0.2}
ingredients:
  butter: {min: 0.2, max: 3}
  eggs: {min: 0.5, max: 5}
  flour: {min: 0.5, max: 5}
  sugar: {min: 0.2, max: 4}
model:
  properties: {kind: bakery}
  utility: {kind: quadratic, features: [amounts]}
stages:
  fit:
    kind: fit
    length: 200
    optimizer: {name: adam, learning_rate: 0.1}
  bake:
    kind: bake
    length: 300
    optimizer: {name: sgd, learning_rate: 0.01}
    score: {kind: liking}
"""

Refused = Callable[..., list[str]]
Loaded = Callable[..., Config]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """Load a text (the cake unless told) with overrides."""

    def load_text(*overrides: str, text: str = CAKE) -> Config:
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, overrides)

    return load_text


@pytest.fixture
def refused(loaded: Loaded, tmp_path: Path) -> Refused:
    """What is said about a text that is refused: one string a problem, the folder left out."""

    def messages(*overrides: str, text: str = CAKE) -> list[str]:
        with pytest.raises(UserError) as caught:
            loaded(*overrides, text=text)
        return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return messages


@pytest.fixture
def spoilt(refused: Refused) -> Refused:
    """What is said about the cake with pieces of its text replaced: old, new, old, new …"""

    def messages(*pieces: str) -> list[str]:
        text = CAKE
        for old, new in zip(pieces[::2], pieces[1::2], strict=True):
            assert text.count(old) == 1
            text = text.replace(old, new)
        return refused(text=text)

    return messages
