"""An optimizer that searches one fixed loss is refused where the loss is another at every step, or bounded."""

from __future__ import annotations

import pytest

from tests.config.conftest import Loaded, Refused

BOTH = pytest.mark.parametrize("name", ["lbfgs", "newton"])


@BOTH
def test_a_line_search_knows_no_bounds(name: str, refused: Refused) -> None:
    (said,) = refused(f"stages.bake.optimizer={{name: {name}}}")
    assert said.endswith(
        f"stages.bake.optimizer.name: {name} knows no bounds, and a recipe has them: use adam or sgd, which are "
        "projected after each update"
    )


@BOTH
def test_a_line_search_takes_everyone(name: str, refused: Refused) -> None:
    (said,) = refused(f"stages.fit.optimizer={{name: {name}}}", "stages.fit.batch=8")
    assert said.endswith(
        f"stages.fit.batch: the line search of {name} needs the exact gradient of one fixed loss, and minibatches "
        "change the loss at every step: use `batch: all` or another optimizer"
    )


@BOTH
@pytest.mark.parametrize("key", ["clip_global_norm", "clip_customer_norm"])
def test_a_line_search_clips_nothing(name: str, key: str, refused: Refused) -> None:
    (said,) = refused(f"stages.fit.optimizer={{name: {name}, {key}: 1}}")
    assert said.endswith(
        f"stages.fit.optimizer.{key}: the line search of {name} needs the exact gradient of one fixed loss, and "
        f"`{key}` changes the gradient: remove it or use another optimizer"
    )


@BOTH
def test_a_line_search_limits_nothing(name: str, refused: Refused) -> None:
    said = refused(f"stages.fit.optimizer={{name: {name}, limits: {{eggs: 1}}}}")
    assert any("and `limits` changes the gradient: remove it or use another optimizer" in one for one in said)


def test_newton_has_no_learning_rate(refused: Refused) -> None:
    (said,) = refused("stages.fit.optimizer={name: newton, learning_rate: 0.1}")
    assert "stages.fit.optimizer.learning_rate: unknown key" in said


def test_newton_is_accepted_for_a_fit(loaded: Loaded) -> None:
    assert loaded("stages.fit.optimizer={name: newton}").stages["fit"].optimizer.name == "newton"
