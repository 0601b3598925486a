"""What TensorBoard shows of a run."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import Studies
from tests.runs.conftest import TrainedOnce
from tests.runs.reading import accumulate, points, texts
from tests.runs.test_resume import EVALUATED


def test_a_run_writes_the_tags_of_the_architecture(small: Studies, trained: TrainedOnce) -> None:
    whole = trained(small(*EVALUATED))
    fit = {"train/loss", "eval/loss", "grad_norm", "learning_rate", "clipped/global_norm", "delta"}
    fit |= {f"customers/grad_norm_{quantile}" for quantile in (50, 90, 100)}
    ingredients = ("butter", "eggs", "flour", "sugar")
    bake = {"train/loss", "grad_norm", "learning_rate", "score"}
    bake |= {f"{kind}/{name}" for kind in ("recipe", "clipped") for name in ingredients}
    final = {"score", "liking", "log_likelihood", "held_out_log_likelihood", "delta", "settled"}
    expected = {f"fit/{tag}" for tag in fit} | {f"bake/{tag}" for tag in bake} | {f"final/{tag}" for tag in final}
    found = points(whole.path / "tensorboard")
    assert set(found) == expected | {"perf/steps_per_second"}
    assert [step for step, _ in found["fit/eval/loss"]] == [9, 18, 27, 36, 40]
    assert [step for step, _ in found["bake/recipe/butter"]] == [41, 47, 54, 61, 68, 70]
    assert all(0 <= share <= 1 for _, share in found["fit/clipped/global_norm"])
    assert found["fit/clipped/global_norm"][0][1] == 1.0


def test_the_last_point_of_a_recipe_is_the_answer(small: Studies, trained: TrainedOnce) -> None:
    whole = trained(small())
    assert whole.outcome.result is not None
    found = points(whole.path / "tensorboard")
    for name, amount in whole.outcome.result["recipe"].items():
        assert found[f"bake/recipe/{name}"][-1] == (70, pytest.approx(amount, rel=1e-6))


def test_the_learning_rate_is_the_one_of_the_schedule(small: Studies, trained: TrainedOnce) -> None:
    steps, rates = zip(*points(trained(small()).path / "tensorboard")["bake/learning_rate"], strict=True)
    assert len(steps) > 5
    expected = 0.05 * 0.5 * (1 + np.cos(np.pi * (np.array(steps) - 41) / 30))  # the first step of the bake is the 41st
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


def test_texts_hold_the_config_and_the_worst_customers(small: Studies, trained: TrainedOnce) -> None:
    found = texts(trained(small()).path / "tensorboard")
    assert set(found) == {"config", "fit/customers/worst", "worth"}
    assert found["config"][0][0] == 0
    assert "kind: quadratic" in found["config"][0][1]
    assert "customer-00" in found["fit/customers/worst"][0][1]


def test_hparams_are_written_once_with_the_final_metrics(small: Studies, trained: TrainedOnce) -> None:
    folder = trained(small()).path / "tensorboard"
    assert len(list(folder.glob("*.final"))) == 1
    assert [path for path in folder.iterdir() if path.is_dir()] == []  # no run within the run
    hparams = [tag for tag in accumulate(folder).Tags()["tensors"] if tag.startswith("_hparams_/")]
    content = accumulate(folder).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert len(hparams) <= 3
    assert b"stages.fit.optimizer.learning_rate" in content
