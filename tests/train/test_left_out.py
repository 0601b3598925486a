"""A start that comes to numbers that are not finite is left out; the others go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optim.analysis.answer import answer
from optim.config.loading import load
from optim.config.schema import Config
from optim.runs.run import train
from optim.runs.session import DivergedError
from tests.helpers import assert_same_bits, in_memory, run

SCORES = """\
import jax.numpy as jnp


def score(recipe, customer):  # no number below 0.3; the best is 1.3
    x = recipe.amounts["flour"] - 0.3
    return jnp.log(x) - x


def hidden(recipe, customer):  # a number again for what is no number
    x = recipe.amounts["flour"]
    return jnp.where(jnp.isnan(x), 9.0, score(recipe, customer))
"""

Studies = Callable[..., Config]


@pytest.fixture
def study_of(tmp_path: Path) -> Studies:
    (tmp_path / "scores.py").write_text(SCORES)
    path = tmp_path / "study.yaml"
    path.write_text(
        "ingredients: {flour: {max: 2}, water: {max: 2}}\n"
        "stages: {bake: {kind: bake, length: 300, score: {kind: own, path: 'scores.py:score'},\n"
        "  optimizer: {name: adam, learning_rate: 0.02},\n"
        "  starts: [{flour: 0.1, water: 1}, {flour: 1.5, water: 1}, {flour: 0.6, water: 1}]}}\n"
    )
    return lambda *overrides: load(path, overrides)


class Listening:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(text)

    def stage(self, name: str, steps: int, done: int) -> None: ...

    def progress(self, done: int, loss: float) -> None:
        assert np.isfinite(loss)


@pytest.mark.long
@pytest.mark.parametrize("score", ["score", "hidden"])
def test_the_others_come_to_the_best_recipe_and_it_is_said(study_of: Studies, score: str) -> None:
    config = study_of(f"stages.bake.score.path={study_of().stages['bake'].score.path.replace(':score', f':{score}')}")
    study, state, _, sinks = in_memory(config)
    result = answer(study, state)
    assert result["recipe"]["flour"] == pytest.approx(1.3, abs=1e-3)
    assert result["score"] == pytest.approx(-1.0, abs=1e-6)
    certificate = result["certificate"]
    assert (certificate["starts"], certificate["agreeing"], certificate["left_out"]) == (3, 2, 1)
    assert any("1 of 3 starts came to numbers that are not finite" in one["text"] for one in result["warnings"])
    assert not any("starts agree: the best recipe may not" in one["text"] for one in result["warnings"])
    assert np.isnan(sinks.records[-1].loss[0])
    assert np.isnan(sinks.records[-1].measured.scores[0])


def test_the_others_are_as_they_are_alone(study_of: Studies) -> None:
    _, state, _, _ = in_memory(study_of())
    two = "stages.bake.starts=[{flour: 1.5, water: 1}, {flour: 0.6, water: 1}]"
    _, alone, _, _ = in_memory(study_of(two))
    assert_same_bits(state.parameters["cake"]["amounts"][1:], alone.parameters["cake"]["amounts"])


def test_a_run_says_which_start_it_was_and_finishes(study_of: Studies, tmp_path: Path) -> None:
    listening = Listening()
    outcome = train(study_of(), runs_dir=tmp_path / "runs", name="one", stem="one", observer=listening)
    assert outcome.result is not None
    assert [text for text in listening.said if "start 1 of 3 came to numbers that are not finite" in text]


def test_a_bake_without_a_finite_start_has_diverged(study_of: Studies, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="the loss is not finite"):
        run(study_of("stages.bake.starts=[{flour: 0.1, water: 1}, {flour: 0.2, water: 1}]"), tmp_path / "runs", "none")
