"""Parts of a config that do not fit together are refused, each with the remedy."""

from __future__ import annotations

import pytest

from tests.config.conftest import CAKE, Loaded, Refused

TABLES = """\
data: {recipes: r.csv, ratings: q.csv, like: {at_least: 6, scale: [1, 9]}}
ingredients:
  gin: {max: 1}
  lime: {max: 1}
  ice: {min: 0, max: 1, fixed: 0.2}
total: 1
model:
  properties: {kind: scheffe, columns: [sour, bitter]}
  utility: {kind: linear, features: [fractions]}
stages:
  measure: {kind: fit, length: 9, loss: {kind: property_error}, optimizer: {name: adam, learning_rate: 0.1}}
  fit: {kind: fit, length: 9, optimizer: {name: lbfgs}}
  bake: {kind: bake, length: 9, score: {kind: liking}, optimizer: {name: adam, learning_rate: 0.1}}
"""
PROPERTIES = "stages.bake.score={kind: deliciousness, cost: prices, targets: {sour: 1}}"
CYCLE = "schedule: warmup_cosine_decay_schedule, init_value: 0, peak_value: 1"
CONSTANT = "{schedule: constant_schedule, value: 1}"
RATE = "stages.bake.optimizer.learning_rate"


def test_the_examples_themselves_are_right(loaded: Loaded) -> None:
    loaded()
    loaded(text=TABLES)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        # Ingredients
        (["ingredients.milk={min: 1}"],
         "ingredients.milk.max: is missing: a free ingredient needs a greatest amount (or hold it with `fixed`)"),
        (["ingredients.gin={min: 3, max: 2}"], "ingredients.gin.min: min 3 is above max 2: lower min or raise max"),
        (["ingredients.ice.fixed=5"], "ingredients.ice.fixed: 5 is outside min 0 to max 1: move it inside, or "
         "remove min and max"),
        (["ingredients.ice={fixed: 1, min: 2}"], "ingredients.ice.fixed: 1 is outside min 2: move it inside, or "
         "remove"),
        (["total=2.5"], "total: 2.5 is out of reach: the amounts sum to from 0.2 (all at min) to 2.2 (all at max); "
         "change the total or the bounds"),
        (["total=0.1"], "total: 0.1 is out of reach"),
        (["ingredients={ice: {fixed: 0.2}, rum: {fixed: 0.2}}"],
         "total: 1 is out of reach: the amounts sum to 0.4, all being fixed; change the total or the bounds"),
        (["ingredients={ice: {fixed: 0.2}}", "total=0.2"],
         "stages.bake: has nothing to train, as every ingredient is fixed: give one of them min and max"),
        # Optimizers
        (["stages.bake.length=10%"],
         "stages.bake.length: expected steps (a positive integer) or epochs (`20 epochs`), got '10%'"),
        (["stages.bake.optimizer.limits={limee: 1}"],
         "stages.bake.optimizer.limits.limee: unknown ingredient `limee`; did you mean `lime`?"),
        (["stages.bake.optimizer.limits={zzz: 1}"],
         "stages.bake.optimizer.limits.zzz: unknown ingredient `zzz`: expected `gin`, `lime` or `ice`"),
        (["stages.bake.optimizer.limits.ice=1"],
         "stages.bake.optimizer.limits.ice: `ice` is fixed and has no gradient: remove its limit"),
        (["stages.measure.optimizer.limits.gin=1"],
         "stages.measure.optimizer.limits: name ingredients, and only a bake stage trains those: move them"),
        (["stages.fit.batch=32"], "stages.fit.batch: the line search of lbfgs needs the exact gradient of one "
         "fixed loss, "
         "and minibatches change the loss at every step: use `batch: all` or another optimizer"),
        (["stages.fit.optimizer.limits.gin=1"], "stages.fit.optimizer.limits: the line search of lbfgs needs the exact "
         "gradient of one fixed loss, and `limits` changes the gradient: remove it or use another optimizer"),
        (["stages.fit.optimizer.clip_global_norm=1"], "stages.fit.optimizer.clip_global_norm: the line search "
         "of lbfgs"),
        (["stages.fit.optimizer.clip_customer_norm=1"], "stages.fit.optimizer.clip_customer_norm: the line search of"),
        (["stages.bake.optimizer={name: lbfgs}"], "stages.bake.optimizer.name: lbfgs knows no bounds, and a recipe has "
         "them: use adam or sgd, which are projected after each update"),
        ([f"{RATE}={{{CYCLE}, warmup_steps: 20%, decay_steps: 10%}}"],
         f"{RATE}.warmup_steps: 20% is not before decay_steps 10%, which counts the warm-up too: shorten it"),
        ([f"{RATE}={{schedule: sgdr_schedule, cosine_kwargs: "
          "[{init_value: 0, peak_value: 1, warmup_steps: 9, decay_steps: 9}]}"],
         f"{RATE}.cosine_kwargs.0.warmup_steps: 9 is not before decay_steps 9"),
        ([f"{RATE}={{schedule: join_schedules, schedules: [{CONSTANT}, {CONSTANT}], boundaries: []}}"],
         f"{RATE}.boundaries: 2 schedules have 1 boundaries between them, got 0: one fewer than schedules"),
        ([f"{RATE}={{schedule: join_schedules, schedules: [{CONSTANT}, {CONSTANT}, {CONSTANT}], "
          "boundaries: [2 epochs, 1 epoch]}"],
         f"{RATE}.boundaries.1: 1 epoch does not come after 2 epochs: boundaries must ascend"),
        ([f"{RATE}={{schedule: linear_onecycle_schedule, transition_steps: 9, peak_value: 1, pct_start: 0.9}}"],
         f"{RATE}.pct_start: 0.9 is not before pct_final 0.85: lower it"),
        # Model
        (["model.utility.features=[amounts, fractions]"], "model.utility.features: `amounts` and `fractions` "
         "exclude each "
         "other: the one is the other times the total; keep one"),
        (["model.utility.features=[sourr]"], "model.utility.features.0: unknown feature `sourr`; did you mean `sour`?"),
        (["model.utility.features=[sour, sour]"], "model.utility.features.1: `sour` is given twice: remove one"),
        (["model.utility.features=[properties, sour]"], "model.utility.features.1: `sour` is already among "
         "`properties`"),
        (["model.utility.features=[sour]", "model.properties="], "model.utility.features.0: unknown feature `sour`: "
         "expected `amounts` or `fractions`; a property by its name needs a property model, `model.properties`"),
        (["model.utility.features=[properties]", "model.properties="],
         "model.utility.features.0: `properties` needs a property model: add `model.properties`"),
        (["model.utility.intercept=true"], "model.utility.intercept: cannot be told from `fractions`: they sum "
         "to 1, so a "
         "constant is already in their weights; remove `intercept: true`"),
        (["model.properties.columns=[sour, sour]"], "model.properties.columns.1: `sour` is given twice: remove one"),
        (["model.properties.columns=[sour, lime]"],
         "model.properties.columns.1: `lime` is also an ingredient: rename one of them"),
        (["model.properties={kind: bakery}"],
         "model.properties.kind: `bakery` needs the ingredient `butter`: add it to `ingredients`"),
        (["model.properties={kind: bakery}", "ingredients.egg={max: 3}"],
         "model.properties.kind: `bakery` needs the ingredient `eggs`: rename `egg`"),
        (["model.utility.groups=age"],
         "model.utility.groups: the column `age` needs a table of the customers: give `data.customers`"),
        # Data
        (["data.recipes="], "data.recipes: is missing: give the tables here or on the command line, `optim "
         "train CONFIG "
         "data.recipes=PATH data.ratings=PATH` (or use `data.simulate`)"),
        (["data.ratings="], "data.ratings: is missing: give the tables here or on the command line, `optim "
         "train CONFIG "
         "data.recipes=PATH data.ratings=PATH` (or use `data.simulate`)"),
        (["data.simulate={segments: {a: {ideal: {gin: 1, lime: 1}}}}"],
         "data.simulate: stands beside `recipes` and `ratings`: keep either simulated customers or tables"),
        (["data.like="], "data.like: is missing: say which rating is a like, as in `like: {column: liking, "
         "at_least: 6}`"),
        (["data.like.scale=[9, 1]"], "data.like.scale: expected the lowest rating and then the highest, got [9, 1]"),
        (["data.like.at_least=10"], "data.like.at_least: 10 is outside the scale, 1 to 9: mend one of them"),
        # Fit
        (["data="], "stages.fit: has nothing to fit to: add `data` with `recipes` and `ratings`, or with `simulate`"),
        (["model.properties="], "stages.measure.loss: property_error needs a property model with parameters: use "
         "`model.properties` of kind scheffe, mlp or own"),
        (["model.utility="], "stages.fit: fits responses, which needs a utility: add `model.utility`"),
        (["stages.fit.train=[]"], "stages.fit.train: is empty: name the parts to train, or remove it for the default"),
        (["stages.fit.train=[link]"], "stages.fit.train.0: `link` is a logit and has no parameters: remove it"),
        (["stages.fit.train=[utility, utility]"], "stages.fit.train.1: `utility` is given twice: remove one"),
        (["stages.measure.train=[utility]"],
         "stages.measure.train.0: `utility` plays no part in property_error: train `properties`"),
        (["stages.fit.train=[properties]", "model.properties="],
         "stages.fit.train.0: `properties` cannot be trained as there is no property model: add `model.properties`"),
        (["stages.fit.train=[utility, properties]"], "stages.fit.train.1: `properties` play no part in the utility, "
         "which sees none of them: remove it, or add one to its `features`"),
        (["stages.measure.evaluate.patience=3"], "stages.measure.evaluate.patience: is about the held-out loss, which "
         "a fit of properties has not: remove it"),
        (["stages.measure.evaluate.min_improvement=1"], "stages.measure.evaluate.min_improvement: is about the held-"),
        (["stages.measure.evaluate.every=3", "data.evaluation={share: 0.2}"],
         "stages.measure.evaluate.every: is about the held-out loss, which a fit of properties has not: remove it"),
        (["stages.fit.evaluate.every=3"], "stages.fit.evaluate.every: needs responses held out of the fit: add"),
        (["stages.fit.evaluate.min_improvement=0.1", "data.evaluation={share: 0.2}"],
         "stages.fit.evaluate.min_improvement: says when `patience` runs out, and there is none: add `patience`, or "
         "remove it"),
        (["stages.fit.evaluate.patience=3"], "stages.fit.evaluate.patience: needs responses held out of the fit: add "
         "`data: {evaluation: {share: 0.2}}`, or remove it"),
        # Bake
        (["model.utility="], "stages.bake.score: liking needs a utility: add `model.utility`"),
        (["stages.fit.train=[properties]"],
         "stages.bake.score: liking needs a utility that was fitted: put a fit stage that trains it before this one"),
        (["stages.measure.length=1", PROPERTIES, "model.properties="],
         "stages.bake.score: deliciousness is about properties: add `model.properties`, such as `kind: bakery`"),
        (["stages.measure={kind: fit, length: 1, optimizer: {name: lbfgs}}", PROPERTIES],
         "stages.bake.score: uses properties that nothing has fitted: put a fit stage with `loss: {kind: "
         "property_error}`"),
        (["stages.measure={kind: fit, length: 1, optimizer: {name: lbfgs}}", "model.utility.features=[sour]"],
         "stages.bake.score: uses properties that nothing has fitted"),
        ([PROPERTIES, "stages.bake.score.targets.bitterr=1"],
         "stages.bake.score.targets.bitterr: unknown property `bitterr`; did you mean `bitter`?"),
        ([PROPERTIES, "stages.bake.score.targets.sour=2*gim"],
         "stages.bake.score.targets.sour: unknown name `gim`; did you mean `gin`? (in the formula `2*gim`)"),
        ([PROPERTIES, "stages.bake.score.targets.sour=gin.x"],
         "stages.bake.score.targets.sour: `gin.x` is not allowed in a formula: expected numbers"),
        ([PROPERTIES, "stages.bake.score.targets.sour={column: age}"], "stages.bake.score.targets.sour.column: "
         "the column "
         "`age` needs a table of the customers: give `data.customers`"),
        (["stages.bake.score={kind: own, path: 'a.b:c', columns: [age]}"],
         "stages.bake.score.columns.0: the column `age` needs a table of the customers: give `data.customers`"),
        (["model.properties.columns=[cost]", "stages.measure.loss={kind: likelihood}",
          "stages.bake.score={kind: liking, cost: property, cost_weight: 1}"],
         "stages.bake.score: uses properties that nothing has fitted"),
        ([PROPERTIES, "stages.bake.score.cost=property"],
         "stages.bake.score.cost: there is no property `cost`: use `cost: prices`, or a model that has one"),
        (["stages.bake.score={kind: liking, cost: property, cost_weight: 1}"],
         "stages.bake.score.cost: there is no property `cost`"),
        (["stages.bake.starts=[{gin: 1}]"],
         "stages.bake.starts.0: lacks `lime`: give every ingredient that is not fixed"),
        (["stages.bake.starts=[{gin: 1, lime: 1, ice: 1}]"], "stages.bake.starts.0.ice: `ice` is fixed at 0.2: "
         "remove it here"),
        (["stages.bake.starts=[{gin: 1, lime: 1, rum: 1}]"],
         "stages.bake.starts.0.rum: unknown ingredient `rum`: expected `gin` or `lime`"),
        (["stages.bake.starts=[{gin: 1, lime: 2}]"],
         "stages.bake.starts.0.lime: 2 is outside its bounds, 0 to 1: move it inside"),
        (["stages.bake.starts=previous"], "stages.bake.starts: `previous` needs a bake stage before this one"),
        # Checkpoints
        (["checkpoint.best=loss"], "checkpoint.best: expected STAGE/eval/loss or STAGE/train/loss, got `loss`"),
        (["checkpoint.best=fitt/train/loss"], "checkpoint.best: unknown stage `fitt`; did you mean `fit`?"),
        (["checkpoint.best=bake/eval/loss"],
         "checkpoint.best: `bake` is a bake stage and has no held-out loss: use bake/train/loss"),
        (["checkpoint.best=fit/eval/loss"],
         "checkpoint.best: nothing is held out: add `data.evaluation`, or use fit/train/loss"),
        (["checkpoint.best=measure/eval/loss", "data.evaluation={share: 0.2}"],
         "checkpoint.best: `measure` fits properties and has no held-out loss: use measure/train/loss"),
    ],
)  # fmt: skip
def test_tables_and_cocktails(overrides: list[str], expected: str, refused: Refused) -> None:
    problems = refused(*overrides, text=TABLES)
    assert any(expected in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["data.simulate.tastings=61"], "data.simulate.tastings: 61 different recipes cannot be tasted where "
         "there are 60: "
         "raise `recipes` or lower `tastings`"),
        (["data.simulate.customers=500000000", "data.simulate.tastings=12"], "data.simulate.customers: 500,000,000 "
         "customers with 12 tastings each give more than the 2,147,483,647 responses that there is room for: lower one "
         "of them"),
        (["data.simulate.segments={}"], "data.simulate.segments: is empty: expected at least one entry"),
        (["data.simulate.segments.classic.ideal.eggz=1"],
         "data.simulate.segments.classic.ideal.eggz: unknown ingredient `eggz`; did you mean `eggs`?"),
        (["data.simulate.segments.classic.ideal={butter: 1, eggs: 1}"], "data.simulate.segments.classic.ideal: lacks "
         "`flour` and `sugar`: give the best amount of each ingredient"),
        (["ingredients.eggs={fixed: 2}"],
         "data.simulate.segments.classic.ideal.eggs: `eggs` is fixed, so no segment can wish for it: remove it here"),
        (["ingredients.eggs={min: 2, max: 2}"],
         "ingredients.eggs.max: min and max are both 2, which leaves no range to taste: use `fixed` instead"),
        (["data.like={at_least: 6}"],
         "data.like: is for tables of ratings, and simulated customers have none: remove it"),
        (["data.simulate.tastings=1"], "data.evaluation: `by: response` finds nothing to hold out, as everyone keeps "
         "the one recipe they taste: raise `tastings`, or use another `by`"),
        (["data.evaluation.by=recipe", "data.simulate.recipes=1", "data.simulate.tastings=1"],
         "data.evaluation: `by: recipe` finds nothing to hold out, as the fit needs the one recipe there is: raise "
         "`recipes`"),
        (["data.evaluation.by=customer", "data.simulate.customers=1"],
         "data.evaluation: `by: customer` finds nothing to hold out, as the fit needs the one customer there is: raise "
         "`customers`"),
        (["data.evaluation.by=recipes"],
         "data.evaluation.by: expected `response`, `recipe` or `customer`, got 'recipes'; did you mean `recipe`?"),
        (["model.utility.groups=age"],
         "model.utility.groups: simulated customers have no column `age`, only `segment`: use that"),
        (["stages.bake.score={kind: deliciousness, targets: {sweetness: {column: segment}}}"],
         "stages.bake.score.targets.sweetness.column: `segment` holds names, and a target is a number"),
        (["stages.bake.score={kind: deliciousness, targets: {sweetness: {column: age}}}"],
         "stages.bake.score.targets.sweetness.column: simulated customers have no column `age`: give a number"),
        (["stages.fit.loss={kind: property_error}"],
         "stages.fit.loss: property_error needs measured properties, and simulated recipes have none"),
        (["stages.fit.train=[properties]"],
         "stages.fit.train.0: `properties` are the bakery's formulas and have no parameters: remove it"),
    ],
)  # fmt: skip
def test_simulated_customers_and_cakes(overrides: list[str], expected: str, refused: Refused) -> None:
    problems = refused(*overrides)
    assert any(expected in problem for problem in problems), problems


DOUGH = """\
ingredients: {flour: {min: 1, max: 9}, sugar: {max: 2}, yeast: {max: 1}}
settings:
  temperature: {min: 20, max: 38}
  vibration: {complex: true, min: -2, max: 2}
model: {properties: {kind: sourdough}}
stages:
  bake:
    kind: bake
    length: 9
    score: {kind: deliciousness, cost: prices, targets: {maturity: 40}}
    optimizer: {name: adam, learning_rate: 0.1}
"""
TARGET = "stages.bake.score.targets"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["settings.temperature.min=50"], "settings.temperature.min: min 50 is above max 38: lower min or raise max"),
        (["settings.temperature.fixed=50"], "settings.temperature.fixed: 50 is outside its bounds, 20 to 38: move"),
        (["settings.temperature.fixed=[25, 0]"],
         "settings.temperature.fixed: expected a number, as the setting is not `complex`, got two"),
        (["settings.vibration.fixed=[1, 3]"],
         "settings.vibration.fixed: its imaginary part 3 is outside its bounds, -2 to 2: move it inside"),
        (["settings.temperature={max: 30}"],
         "settings.temperature.min: is missing: a free setting needs bounds (or hold it with `fixed`)"),
        (["settings.vibration.complex=false"],
         "settings.vibration: `sourdough` needs a complex `vibration`: set `complex: true`"),
        (["settings={temperature: {min: 20, max: 38}, vibraton: {min: 0, max: 1}}"],
         "model.properties.kind: `sourdough` needs the complex setting `vibration`: rename `vibraton`"),
        (["settings.maturity={min: 0, max: 1}"], "settings.maturity: `maturity` is also a property: rename one of"),
        (["settings.flour={min: 0, max: 1}"], "settings.flour: `flour` is also an ingredient: rename one of them"),
        (["settings.temprature.max=30"], "settings.temprature: there is no `temprature`; did you mean `temperature`?"),
        (["ingredients={flour: {max: 9}, sugar: {max: 2}, yeest: {max: 1}}"],
         "model.properties.kind: `sourdough` needs the ingredient `yeast`: rename `yeest`"),
        ([f"{TARGET}.maturity=2*vibration"], f"{TARGET}.maturity: `vibration` is complex, and formulas are of real "
         "numbers: use a property that depends on it"),
        ([f"{TARGET}.maturity={{formula: 2*temprature}}"],
         f"{TARGET}.maturity.formula: unknown name `temprature`; did you mean `temperature`? (in the formula"),
        ([f"{TARGET}.maturity={{formula: 40, hold: true}}"], f"{TARGET}.maturity.formula: expected text, got 40"),
        ([f"{TARGET}.maturity={{formla: '40', hold: true}}"], f"{TARGET}.maturity.formla: unknown key; did you mean"),
        ([f"{TARGET}.maturity={{colunm: wish}}"], f"{TARGET}.maturity.colunm: unknown key; did you mean `column`?"),
        ([f"{TARGET}.maturity={{formula: flour, hold: yes please}}"],
         f"{TARGET}.maturity.hold: expected true or false, got 'yes please'"),
        (["stages.bake.starts=[{flour: 2, sugar: 1, yeast: 1, temperature: 25}]"],
         "stages.bake.starts.0: lacks `vibration`: give every ingredient and setting that is not fixed"),
        (["stages.bake.starts=[{flour: 2, sugar: 1, yeast: 1, temperature: 25, vibration: 9}]"],
         "stages.bake.starts.0.vibration: 9 is outside its bounds, -2 to 2: move it inside"),
        (["stages.bake.starts=[{flour: 2, sugar: 1, yeast: 1, temprature: 25, vibration: 1}]"],
         "stages.bake.starts.0.temprature: unknown ingredient or setting `temprature`; did you mean `temperature`?"),
        (["stages.bake.starts=[{flour: [1, 2], sugar: 1, yeast: 1, temperature: 25, vibration: [1, 0]}]"],
         "stages.bake.starts.0.flour: expected a number, got two: amounts are real"),
        (["stages.bake.optimizer.limits={temprature: 1}"],
         "limits.temprature: unknown ingredient or setting `temprature`; did you mean `temperature`?"),
        (["stages.bake.optimizer.limits={temperature: -1}"],
         "stages.bake.optimizer.limits.temperature: expected a number of at least 0, got -1"),
        (["data={recipes: r.csv, ratings: q.csv, like: {at_least: 6}}",
          "model.utility={kind: linear, features: [maturity]}"],
         "model.utility.features.0: `maturity` depends on settings, which are not known of the recipes that were "
         "tasted: use `amounts` or `fractions`"),
        (["settings.humidity={min: 0, max: 1}"],
         "settings.humidity: nothing reads `humidity`, so nothing can be said about it: remove it, or use it in"),
        (["settings.vibration_real={min: 0, max: 1}", f"{TARGET}.maturity=vibration_real"],
         "settings.vibration: its part `vibration_real` is also a setting: rename one of them"),
        (["model.properties={kind: own, path: 'm.py:P', settings: [heat]}"],
         "model.properties.settings.0: unknown setting `heat`: expected `temperature` or `vibration`"),
    ],
)  # fmt: skip
def test_settings_processes_and_held_targets(overrides: list[str], expected: str, refused: Refused) -> None:
    problems = refused(*overrides, text=DOUGH)
    assert any(expected in problem for problem in problems), problems


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        [f"{TARGET}.maturity={{formula: 40 + 0*temperature, hold: true}}"],
        ["settings.temperature={fixed: 28}", "settings.vibration={fixed: 1, complex: true}"],
        ["settings.vibration.fixed=[1, 0]", "stages.bake.starts=[{flour: 2, sugar: 1, yeast: 1, temperature: 25}]"],
        ["ingredients={flour: {fixed: 9}, sugar: {fixed: 2}, yeast: {fixed: 1}}"],
        ["stages.bake.optimizer.limits={temperature: 1, vibration: 0}"],
        ["settings.humidity={min: 0, max: 1}", f"{TARGET}.maturity=40*humidity"],
        ["settings.humidity={min: 0, max: 1}", "stages.bake.score={kind: own, path: 'm.py:score'}"],
    ],
)
def test_what_fits_together_of_a_dough_is_accepted(overrides: list[str], loaded: Loaded) -> None:
    loaded(*overrides, text=DOUGH)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.utility.groups=segment"],
        ["data.evaluation.by=recipe"],
        ["data.evaluation.by=customer", "data.simulate.tastings=1"],
        ["stages.fit.evaluate.patience=3", "checkpoint.best=fit/eval/loss"],
        ["stages.bake.score={kind: deliciousness, targets: {fluffiness: 2 + 0.5*butter + eggs - 0.1*flour}}"],
        ["ingredients.eggs.price=-3"],
        ["stages.bake.score.cost=property", "stages.bake.score.cost_weight=1"],
        ["total=7", "ingredients.salt={fixed: 0.1}"],
        ["total=1.4"],
        ["stages.more={kind: bake, length: 2 epochs, score: {kind: liking}, starts: previous, "
         "optimizer: {name: adam, learning_rate: 0.1}}"],
        [f"{RATE}={{{CYCLE}, warmup_steps: 0, decay_steps: 100%}}"],
        [f"{RATE}={{{CYCLE}, warmup_steps: 1 epoch, decay_steps: 100%}}"],
        ["model.properties={kind: own, path: 'm.py:P'}", "model.utility.features=[anything]"],
    ],
)  # fmt: skip
def test_what_fits_together_is_accepted(overrides: list[str], loaded: Loaded) -> None:
    loaded(*overrides)


def test_a_check_is_silent_about_values_that_are_wrong_by_themselves(refused: Refused) -> None:
    problems = refused(text=CAKE.replace("sugar: {min: 0.2, max: 4}", "sugar: {min: 0.2, max: x}") + "total: 99\n")
    assert problems == ["study.yaml:10: ingredients.sugar.max: expected a number of at least 0, got 'x'"]


LATE = "stages.late={kind: fit, length: 9, optimizer: {name: lbfgs}}"
AGAIN = "stages.again={kind: bake, length: 9, score: {kind: liking}, optimizer: {name: sgd, learning_rate: 0.1}}"


@pytest.mark.parametrize("stages", [[LATE], [LATE, AGAIN]])
def test_a_fit_after_a_bake_is_refused(stages: list[str], refused: Refused) -> None:
    """Whether or not another bake follows: the first is reported as well."""
    reason = "comes after `bake`, which was baked for the model before; no fit depends on a bake: put it before that"
    (said,) = refused(*stages)
    assert f"command line: stages.late: {reason}" in said


STAGES = """\
data: {recipes: r.csv, ratings: q.csv, like: {at_least: 6}}
ingredients: {gin: {max: 1}, lime: {max: 1}}
model:
  properties: {kind: scheffe, columns: [sour]}
  utility: {kind: linear, features: [properties]}
stages:
"""
PARTS = {
    "measure": "loss: {kind: property_error}",
    "fit": "train: [utility]",
    "tune": "train: [properties]",
    "both": "train: [utility, properties]",
}


def stages(*order: str) -> str:
    """A study whose stages train these parts; `fit2` trains what `fit` does."""
    line = "  {0}: {{kind: fit, length: 9, {1}, optimizer: {{name: lbfgs}}}}\n"
    return STAGES + "".join(line.format(name, PARTS[name.rstrip("2")]) for name in order)


@pytest.mark.parametrize(
    ("order", "place", "reason"),
    [
        (["fit", "measure"], "fit", "fits the utility on properties that `measure` fits afterwards, and it would be"),
        (["measure", "fit", "measure2"], "fit", "on properties that `measure2` fits afterwards"),
        (["both", "measure"], "both", "on properties that `measure` fits afterwards"),
        (["measure", "fit", "tune", "measure2"], "fit", "properties that `tune` and `measure2` fit afterwards"),
        (["measure", "fit", "fit2", "tune"], "fit2", "on properties that `tune` fits afterwards"),
        (["fit"], "fit", "fits the utility on properties that nothing has fitted: put a fit stage with `loss: {kind"),
        (["fit", "both"], "fit", "fits the utility on properties that nothing has fitted"),
        (["fit", "measure", "fit2"], "fit", "fits the utility on properties that nothing has fitted"),
        (["tune", "both"], "tune.train", "fits properties to responses through a utility that nothing has fitted"),
    ],
)
def test_a_utility_fitted_on_properties_that_are_still_to_be_fitted_is_refused(
    order: list[str], place: str, reason: str, refused: Refused
) -> None:
    (said,) = refused(text=stages(*order))
    assert f": stages.{place}: " in said
    assert reason in said


@pytest.mark.parametrize(
    "order",
    [
        ["measure", "fit"],
        ["both"],
        ["measure", "both"],
        ["measure", "measure2", "fit"],
        ["measure", "fit", "tune", "fit2"],
        ["measure", "fit", "both"],
    ],
)
def test_a_utility_fitted_on_properties_that_stay_is_accepted(order: list[str], loaded: Loaded) -> None:
    loaded(text=stages(*order))


def test_properties_that_no_feature_shows_may_be_fitted_in_any_order(loaded: Loaded) -> None:
    loaded("model.utility.features=[amounts]", text=stages("fit", "measure"))


@pytest.mark.parametrize("kind", ["{kind: mlp, columns: [sour]}", "{kind: own, path: 'm.py:P'}"])
def test_the_order_holds_for_every_property_model_that_can_be_fitted(kind: str, refused: Refused) -> None:
    (said,) = refused(f"model.properties={kind}", text=stages("fit", "measure"))
    assert "on properties that `measure` fits afterwards" in said


def test_an_own_property_model_may_need_no_fit(loaded: Loaded) -> None:
    loaded("model.properties={kind: own, path: 'm.py:P'}", text=stages("fit"))
