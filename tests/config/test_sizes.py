"""What cannot be laid out in memory is refused by the config's checks, before anything is."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from optim.config import schema
from optim.config.checks.sizes import MOST_NUMBERS
from optim.config.errors import UserError
from optim.config.loading import load
from optim.data.simulate import tastings
from optim.study import study
from optim.study.lengths import MOST_STEPS
from optim.study.study import build_study
from tests.conftest import Studies


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.bake.starts=25000001", "stages.bake.starts: 25,000,001 starts of 4 numbers each are more than the"),
        ("data.simulate.customers=3200000", "customers: 3,200,000 customers with 8 tastings of 4 amounts each are mo"),
        ("data.simulate.recipes=30000000", "data.simulate.recipes: 30,000,000 recipes of 4 amounts each are more"),
        ("model.utility={kind: mlp, hidden: [10001, 10000]}", "model.utility.hidden: 100,030,001 weights are more th"),
    ],
)
def test_a_slip_of_some_zeros_is_refused(small_file: Path, override: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        load(small_file, [override])
    assert message in str(refused.value)
    assert f"{MOST_NUMBERS:,} numbers that there is room for at once; " in str(refused.value)


def test_settings_count_and_the_most_is_accepted(small: Studies) -> None:
    oven = "settings={oven: {min: 150, max: 220}, mixer: {complex: true, min: -1, max: 1}}"
    refused = f"stages.bake.starts={MOST_NUMBERS // 7 + 1}"
    with pytest.raises(UserError, match=r"starts of 7 numbers each .*; 14,285,714 starts is the most"):
        small(oven, refused)
    block = small(f"stages.bake.starts={MOST_NUMBERS // 4}").stages["bake"]
    assert isinstance(block, schema.Bake)
    assert block.starts == MOST_NUMBERS // 4


def test_an_optimizer_that_remembers_too_much_is_refused(small: Studies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "MOST_IN_STATE", 5_000)
    build_study(small())
    config = small("stages.fit.batch=all", "stages.fit.optimizer={name: lbfgs, memory_size: 200}")
    with pytest.raises(
        UserError, match=r"stages\.fit: .* are 6,[\d,]+ numbers, more than the 5,000 that there is room"
    ):
        build_study(config)


def test_tastings_of_many_recipes_are_drawn_in_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tastings(9, 20, 3, np.random.default_rng(1))
    monkeypatch.setattr("optim.data.simulate.MOST_DRAWN", 50)
    assert (tastings(9, 20, 3, np.random.default_rng(1)) == whole).all()


def test_a_patience_beyond_32_bits_outlasts_every_stage(small: Studies) -> None:
    config = small("data.evaluation={share: 0.3}", "stages.fit.evaluate={every: 1, patience: 5000000000}")
    stage = build_study(config).stages[0]
    assert stage.patience == MOST_STEPS
    assert not bool(jnp.int32(MOST_STEPS - 1) >= stage.patience)
