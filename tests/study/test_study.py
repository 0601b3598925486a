"""From a config to objects: what a user gets wrong only together with the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optim.config.errors import UserError
from optim.losses.cake import CakeObjective
from optim.study.study import build_study
from tests.conftest import Studies
from tests.helpers import in_memory

BAKE_ALONE = (
    "stages={bake: {kind: bake, length: 30, starts: 6, score: {kind: deliciousness},"
    " optimizer: {name: adam, learning_rate: 0.05}}}"
)


def test_a_fixed_ingredient_is_in_the_recipe_and_stays(small: Studies) -> None:
    ideals = "{classic: {ideal: {butter: 1.0, eggs: 3.0, sugar: 1.5}}}"
    config = small(BAKE_ALONE, "ingredients.flour={fixed: 2.0}", f"data.simulate.segments={ideals}")
    study, state, _, _ = in_memory(config)
    flour = study.space.names.index("flour")
    np.testing.assert_array_equal(state.parameters["cake"]["amounts"][:, flour], np.float32(2.0))


def test_a_total_is_kept_by_every_start(small: Studies) -> None:
    study, state, _, _ = in_memory(small(BAKE_ALONE, "total=7.5"))
    amounts = np.asarray(state.parameters["cake"]["amounts"], float)
    np.testing.assert_allclose(amounts.sum(axis=1), 7.5, rtol=1e-6)
    assert (amounts >= study.space.lower - 1e-7).all()
    assert (amounts <= study.space.upper + 1e-7).all()


def test_a_batch_beyond_the_customers_is_refused(small: Studies) -> None:
    with pytest.raises(UserError, match=r"stages.fit.batch: 41 is more than the 40 there are; use `batch: all`"):
        build_study(small("stages.fit.batch=41"))


def test_customers_who_are_alike_are_one_unless_each_is_clipped(small: Studies) -> None:
    merged = build_study(small()).stages[1].objective
    clipped = build_study(small("stages.bake.optimizer.clip_customer_norm=1.0")).stages[1].objective
    assert isinstance(merged, CakeObjective)
    assert (merged.units, clipped.units) == (1, 40)


def test_a_second_bake_goes_on_from_the_first(small: Studies) -> None:
    bake = "{kind: bake, length: 3, score: {kind: liking}, optimizer: {name: sgd, learning_rate: 0.0}"
    config = small(f"stages.polish={bake}, starts: previous}}")
    study, state, _, _ = in_memory(config)
    before = state.ended["bake"].cake
    assert before is not None
    np.testing.assert_array_equal(state.parameters["cake"]["amounts"], before["amounts"])
    assert [stage.name for stage in study.stages] == ["fit", "bake", "polish"]


def test_a_study_without_a_panel_bakes_by_formula(small_file: Path) -> None:
    from optim.config.loading import load

    small_file.write_text(
        "ingredients: {butter: {max: 4}, eggs: {max: 6}, flour: {max: 4}, sugar: {max: 4}}\n"
        "model: {properties: {kind: bakery}}\n"
        "stages:\n  bake:\n    kind: bake\n    length: 600\n    starts: 6\n    score: {kind: deliciousness}\n"
        "    optimizer: {name: adam, learning_rate: "
        "{schedule: cosine_decay_schedule, init_value: 0.05, decay_steps: 100%}}\n"
    )
    _, state, _, sinks = in_memory(load(small_file))
    best = float(sinks.records[-1].measured.loss.min())
    assert best == pytest.approx(_best_deliciousness(), abs=1e-4)
    assert state.parameters["cake"]["amounts"].shape == (6, 4)


def _best_deliciousness() -> float:
    """The least loss, by SciPy."""
    from scipy.optimize import minimize

    def loss(x: np.ndarray) -> float:
        butter, eggs, flour, sugar = np.maximum(x, 0)
        sweetness = 10 * np.log1p(sugar) + 0.1 * butter - 0.2 * flour
        fluffiness = 5 * eggs / 3 - 0.5 * (flour - 2) ** 2 + 0.2 * butter
        cost = 0.5 * (sugar**1.1 + flour**0.9 + butter**1.2 + eggs)
        return float((sweetness - 10) ** 2 + (fluffiness - 5) ** 2 + 0.5 * cost)

    bounds = [(0, 4), (0, 6), (0, 4), (0, 4)]
    starts = np.random.default_rng(0).uniform(0.1, 3, size=(10, 4))
    return min(minimize(loss, start, bounds=bounds, options={"ftol": 1e-13}).fun for start in starts)
