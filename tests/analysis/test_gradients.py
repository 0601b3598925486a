"""`check-gradients`: right rules pass, wrong ones are named, declared modifications are left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from optim.analysis.gradients import check_study
from optim.config.loading import load
from tests.cli.test_main import call
from tests.conftest import Studies

SOURDOUGH = Path(__file__).parent.parent.parent / "configs" / "sourdough.yaml"
BAKE = "score liking, of amounts and settings in units of their ranges"
FIT_ALONE = "stages={fit: {kind: fit, length: 4, batch: 16, optimizer: {name: adam, learning_rate: 0.05}}}"
BAKE_ALONE = (
    "stages={bake: {kind: bake, length: 30, starts: 4, score: {kind: deliciousness},"
    " optimizer: {name: adam, learning_rate: 0.05}}}"
)
WRONG = """\
import jax


@jax.custom_jvp
def square(x):
    return x * x


@square.defjvp
def rule(primals, tangents):
    return square(primals[0]), 2.002 * primals[0] * tangents[0]


def score(recipe, customer):
    return recipe.properties["sweetness"] - square(recipe.amounts["eggs"])
"""


@pytest.fixture(autouse=True)
def single_precision_again() -> Iterator[None]:
    yield
    jax.config.update("jax_enable_x64", False)


def test_the_derivatives_of_a_fit_and_a_bake_are_right(small: Studies) -> None:
    checks = list(check_study(small()))
    assert [(check.stage, check.function) for check in checks] == [("fit", "loss likelihood"), ("bake", BAKE)]
    for check in checks:
        assert check.report.passed, str(check.report)
        assert len(check.report.rows) == 7
        assert check.modifications == ()


@pytest.mark.long
def test_limits_and_held_targets_are_left_out_and_named(small: Studies) -> None:
    score = (
        "stages.bake.score={kind: deliciousness, targets: {fluffiness: {formula: 2 + 0.5*butter + eggs, hold: true}}}"
    )
    (check,) = check_study(small(BAKE_ALONE, score, "stages.bake.optimizer.limits={sugar: 0.01}"))
    assert check.report.passed, str(check.report)
    assert check.modifications == ("gradient of sugar limited to ±0.01", "target of fluffiness held")


COMPLEX = """\
import jax
import jax.numpy as jnp
from flax import nnx


@jax.custom_jvp
def square(x):
    return x * x


square.defjvp(lambda primals, tangents: (square(primals[0]), 4.0 * primals[0] * tangents[0]))


class Turning(nnx.Module):
    def __init__(self, features, groups, rngs):
        self.turn = nnx.Param(jnp.full(len(features), 0.1 + 0j))

    def __call__(self, features, group):
        return jnp.sum(features * (self.turn[...].real + square(self.turn[...].imag)))
"""


@pytest.mark.long
def test_a_rule_that_looks_right_on_the_real_axis_is_found_wrong(
    small: Studies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "turning.py").write_text(COMPLEX)
    config = small('model.utility={kind: own, path: "turning.py:Turning", features: [amounts]}')
    fit = next(check_study(config))
    assert not fit.report.passed
    assert "turn" in fit.report.worst.entry
    assert fit.report.worst.entry.count(".imag") >= 1


@pytest.mark.long
def test_a_study_of_customers_may_have_settings(small: Studies) -> None:
    """Which its customers know nothing of: they tasted amounts."""
    score = "stages.bake.score={kind: deliciousness, targets: {sweetness: 9 + temperature}}"
    (bake,) = check_study(small(BAKE_ALONE, "settings.temperature={min: 0, max: 1}", score))
    assert bake.report.passed
    assert bake.recipe["temperature"] < 1


def test_a_kink_at_a_start_that_is_given_is_found(
    small: Studies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kink.py").write_text("def score(recipe, customer):\n    return -abs(recipe.amounts['eggs'] - 3)\n")
    start = "stages.bake.starts=[{butter: 1, eggs: 3, flour: 2, sugar: 1.5}]"
    (bake,) = check_study(small(BAKE_ALONE, 'stages.bake.score={kind: own, path: "kink.py:score"}', start))
    assert bake.recipe == {"butter": 1, "eggs": 3, "flour": 2, "sugar": 1.5}
    assert not bake.report.passed


@pytest.mark.long
def test_the_sourdoughs_gradient_is_right_end_to_end() -> None:
    """Through yeast, starter, dough and mixer, first and second order, in both modes."""
    (check,) = check_study(load(SOURDOUGH))
    assert check.report.passed, str(check.report)
    assert "7 components" in str(check.report)  # four amounts, the temperature, both parts of the vibration


@pytest.mark.long
def test_a_wrong_rule_is_named_and_the_exit_code_is_1(
    small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(WRONG)
    own = 'stages.bake.score={kind: own, path: "mine.py:score"}'
    code, output, _ = call(capsys, "check-gradients", "small.yaml", BAKE_ALONE, own)
    assert code == 1
    assert "a derivative is wrong, or the function has a kink or a jump there, in: bake" in output
    wrong = [line.split() for line in output.splitlines() if line.endswith("WRONG")]
    assert wrong
    assert all("eggs" in words for words in wrong if words[0] == "reverse")
    code, output, _ = call(capsys, "check-gradients", "small.yaml", FIT_ALONE)
    assert code == 0
    assert "WRONG" not in output
