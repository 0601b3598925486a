"""Settings that would change nothing are refused, unless they stand at their defaults; others are said."""

from __future__ import annotations

import pytest

from optim.config.dumping import dump
from optim.config.idle import idle
from optim.config.source import dotted
from tests.config.conftest import CAKE, Loaded, Refused
from tests.config.test_checks import DOUGH, TABLES, TARGET

SCORE = "stages.bake.score"
OPTIMIZER = "stages.bake.optimizer"
HELD = f"{TARGET}.maturity={{formula: FORMULA, hold: true}}"
START = "{butter: 1, eggs: 1, flour: 1, sugar: 1}"
PRICE = "ingredients.gin.price=2"
SIGNS = "follows the signs of the gradient, and they stay; remove it"


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        (CAKE, [f"{SCORE}.cost=property"],
         f"{SCORE}.cost: has no effect, as `cost_weight` is 0: give it a weight, or remove it"),
        (CAKE, [f"{SCORE}={{kind: deliciousness, cost: prices, cost_weight: 0}}"], f"{SCORE}.cost: has no effect, as"),
        (TABLES, [f"{SCORE}.cost_weight=0.1"], f"{SCORE}.cost_weight: has no effect, as no ingredient has a price: "
         "give `ingredients.NAME.price`, or remove it"),
        (DOUGH, [HELD.replace("FORMULA", "'40'")],
         f"{TARGET}.maturity.hold: has no effect, as nothing in the formula moves while the recipe is trained: remove"),
        (DOUGH, [HELD.replace("FORMULA", "2*temperature"), "settings.temperature.fixed=28"],
         f"{TARGET}.maturity.hold: has no effect, as nothing in the formula moves"),
        (CAKE, [f"stages.bake.starts=[{START}, {START.replace('1}', '2}')}, {START}]"],
         "stages.bake.starts.2: is the recipe of starts.0 again, and would end where it ends"),
        (TABLES, ["data.customers=c.csv", f"{SCORE}={{kind: own, path: 'm.py:score', columns: [age, age]}}"],
         f"{SCORE}.columns.1: `age` is given twice: remove one"),
        (CAKE, [f"{OPTIMIZER}.nesterov=true"], f"{OPTIMIZER}.nesterov: has no effect without momentum: give `momentum`,"
         " such as 0.9, or remove it"),
        (CAKE, [f"{OPTIMIZER}={{name: rmsprop, learning_rate: 0.1, nesterov: true, momentum: 0}}"],
         f"{OPTIMIZER}.nesterov: has no effect without momentum"),
        (CAKE, [f"{OPTIMIZER}={{name: noisy_sgd, learning_rate: 0.1, key: 1, eta: 0, gamma: 2}}"],
         f"{OPTIMIZER}.gamma: has no effect, as `eta` is 0 and there is no noise: remove it"),
        (CAKE, [f"{OPTIMIZER}={{name: sign_sgd, learning_rate: 0.1, clip_global_norm: 1}}"],
         f"{OPTIMIZER}.clip_global_norm: has no effect: sign_sgd {SIGNS}"),
        (CAKE, [f"{OPTIMIZER}={{name: rprop, learning_rate: 0.1, limits: {{eggs: 1}}}}"],
         f"{OPTIMIZER}.limits.eggs: has no effect: rprop {SIGNS}"),
        (CAKE, [f"{OPTIMIZER}={{name: radam, learning_rate: 0.1, threshold: 3}}"], f"{OPTIMIZER}.threshold: below 4 "
         "the first updates would divide by the root of a negative number: use 4 or more"),
        (DOUGH, ["total=9", f"{OPTIMIZER}={{name: rprop, learning_rate: 0.1, limits: {{temperature: 1}}}}"],
         f"{OPTIMIZER}.limits.temperature: has no effect: rprop {SIGNS}"),
    ],
)  # fmt: skip
def test_a_setting_that_would_change_nothing_is_refused(
    text: str, overrides: list[str], expected: str, refused: Refused
) -> None:
    (said,) = refused(*overrides, text=text)
    assert expected in said


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        (CAKE, []),
        (CAKE, [f"{SCORE}={{kind: deliciousness, cost_weight: 0}}"]),
        (TABLES, [PRICE, f"{SCORE}.cost_weight=0.1"]),
        (DOUGH, [HELD.replace("FORMULA", "temperature")]),
        (DOUGH, [HELD.replace("FORMULA", "smoothness")]),
        (CAKE, [f"{OPTIMIZER}={{name: sign_sgd, learning_rate: 0.1, limits: {{eggs: 0}}, clip_customer_norm: 1}}"]),
        (CAKE, ["total=7", f"{OPTIMIZER}={{name: sign_sgd, learning_rate: 0.1, limits: {{eggs: 1}}}}"]),
        (CAKE, [f"stages.bake.starts=[{START}, {START}]",
                f"{OPTIMIZER}={{name: noisy_sgd, learning_rate: 0.1, key: 1}}"]),
        (CAKE, [f"{OPTIMIZER}={{name: sgd, learning_rate: 0.1, nesterov: true, momentum: 0.9}}"]),
        (CAKE, ["stages.fit.evaluate={every: 10%, patience: 3, min_improvement: 0.1}"]),
    ],
)  # fmt: skip
def test_what_has_an_effect_is_accepted_and_so_is_its_resolved_config(
    text: str, overrides: list[str], loaded: Loaded
) -> None:
    config = loaded(*overrides, text=text)
    assert loaded(text=dump(config)) == config


FIT_ALONE = "stages={fit: {kind: fit, length: 9, optimizer: {name: lbfgs}}}"
BAKE_ALONE = (
    "stages={bake: {kind: bake, length: 9, starts: 1, score: SCORE, optimizer: {name: sgd, learning_rate: 0.1}}}"
)
DELICIOUS = BAKE_ALONE.replace("SCORE", "{kind: deliciousness}")
BY_COLUMN = BAKE_ALONE.replace("SCORE", "{kind: own, path: 'm.py:score', columns: [age]}")
ONE_LEFT = ["ingredients.butter.fixed=1", "ingredients.flour.fixed=1", "total=4"]
ALONE = {"stages.bake": "the bounds and the total leave a single recipe, and nothing to train"}
MEASURED = "model.properties={kind: scheffe, columns: [sour]}"
OF_TABLES = "data={recipes: r.csv, ratings: q.csv, customers: c.csv, like: {at_least: 6}, evaluation: {share: 0.5}}"


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        (CAKE, [], {}),
        (TABLES, [], {}),
        (DOUGH, [], {}),
        (TABLES, ["seed=3"], {}),
        (TABLES, ["seed=3", "stages.bake.starts=1"],
         {"seed": "nothing in this study is drawn at random, so that every seed gives the same answer"}),
        (CAKE, ["data.simulate.segments.classic.share=2"],
         {"data.simulate.segments.classic.share": "is a size relative to other segments, and there is no other: "
          "everyone belongs to this one"}),
        (CAKE, [FIT_ALONE, "ingredients.eggs.price=2", "total=7"],
         {"ingredients.eggs.price": "no stage bakes a cake that would cost anything",
          "model.properties": "nothing reads the properties: no feature, no fit and no bake"}),
        (TABLES, [FIT_ALONE], {"model.properties": "nothing reads the properties: no feature, no fit and no bake"}),
        (TABLES, [FIT_ALONE, "model={utility: {kind: linear}}"],
         {"total": "no stage bakes a cake that would have it"}),
        (CAKE, [DELICIOUS],
         {"model.utility": "no stage fits it, so that nothing is known of what is liked",
          "data": "no stage is fitted to it, and no score reads a column of the customers"}),
        (TABLES, [OF_TABLES, BY_COLUMN, "model={}"],
         {"data.evaluation": "no stage is fitted, so that there is nothing to hold responses out of"}),
        (TABLES, ["max_rollbacks=1"],
         {"max_rollbacks": "every step sees all the data (`batch: all`), so that there is no window to leave out and "
          "nothing to go back for"}),
        (CAKE, ["max_rollbacks=1", "stages.fit.batch=9"], {}),
        (TABLES, [OF_TABLES, MEASURED, "stages={fit: {kind: fit, length: 9, loss: {kind: property_error}, "
                  "optimizer: {name: newton}}}"],
         {"model.utility": "no stage fits it, so that nothing is known of what is liked"}),  # recipes are left out, too
        (CAKE, [DELICIOUS, "model.utility=null", "data=null", "ingredients.eggs.max=0.5", *ONE_LEFT], ALONE),
        (CAKE, [DELICIOUS, "model.utility=null", "data=null", "total=1.4"], ALONE),
        (CAKE, [DELICIOUS, "model.utility=null", "data=null", "total=17"], ALONE),
        (CAKE, [DELICIOUS, "model.utility=null", "data=null", "total=2"], {}),
        (CAKE, [f"{OPTIMIZER}.momentum=0"], {f"{OPTIMIZER}.momentum": "0 is none, as without it"}),
        (CAKE, [f"{OPTIMIZER}={{name: noisy_sgd, learning_rate: 0.1, eta: 0, key: 1}}"],
         {f"{OPTIMIZER}.key": "`eta` is 0, so that there is no noise to draw; sgd does the same"}),
    ],
)  # fmt: skip
def test_what_may_well_change_nothing_is_said(
    text: str, overrides: list[str], expected: dict[str, str], loaded: Loaded
) -> None:
    assert {dotted(path): reason for path, reason in idle(loaded(*overrides, text=text))} == expected
