"""Where each setting changes something, and the few settings that may change no number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from optim.config import schema
from optim.config.block import Block
from optim.config.optimizers import OptimizerBase
from optim.config.schema import Config
from tests.settings.fingerprints import (
    of_evaluations,
    of_model,
    of_panel,
    of_precision,
    of_score,
    of_space,
    of_study,
    of_update,
)
from tests.settings.studies import BAR, CAKE, DOUGH, OVEN, WISHES
from tests.settings.studies import FIT as LIKES


@dataclass(frozen=True)
class Case:
    """A change that is seen.

    Attributes:
        study: the config.
        change: the override that changes the setting.
        first: overrides that make the setting count, with and without the change.
        seen: what it changes, as bytes.
    """

    study: str
    change: str
    first: tuple[str, ...] = ()
    seen: Callable[[Config], bytes] = of_study


@dataclass(frozen=True)
class Refusal:
    """A change that is refused, once the data are read.

    Attributes:
        study: the config.
        change: the override that changes the setting.
        says: how the message ends.
    """

    study: str
    change: str
    says: str


Setting = tuple[type[Block], str]
FIT, BAKE, SCORE = "stages.fit", "stages.bake", "stages.bake.score"
TRAINABLE = ("model.properties={kind: own, path: 'own.py:Sharp'}", "model.utility.features=[properties]")
LOSS, MEASURE = "stages.fit.loss", "stages.measure"
UTILITY, PROPERTIES = "model.utility", "model.properties"
GROUPED = (f"{UTILITY}.groups=segment",)
SEEN = (f"{UTILITY}.features=[properties]",)
QUADRATIC, NETWORK = f"{UTILITY}.kind=quadratic", f"{UTILITY}={{kind: mlp, features: [amounts], hidden: [2]}}"
OWN_UTILITY = f"{UTILITY}={{kind: own, features: [amounts], path: 'own.py:Taste'}}"
LEARNT = f"{PROPERTIES}={{kind: mlp, columns: [sour, cost], hidden: [2]}}"
MIXTURE = f"{PROPERTIES}={{kind: scheffe, columns: [sour, cost]}}"
OWN_PROPERTIES = f"{PROPERTIES}={{kind: own, path: 'own.py:Bar'}}"
WITHOUT_BAKE = "stages={measure: {kind: fit, length: 9, loss: {kind: property_error}, optimizer: {name: newton}}}"
UNFITTED = f"{MEASURE}.loss={{kind: likelihood}}"
RIDGE, FIRTH = f"{LOSS}.penalty={{kind: ridge, strength: 2}}", f"{LOSS}.penalty={{kind: firth}}"
FULL = f"{FIT}.batch=all"
OWN_LOSS = f"{LOSS}={{kind: own, path: 'own.py:loss'}}"
DELICIOUS = f"{SCORE}={{kind: deliciousness, targets: {{sour: 3}}, cost: property}}"
OWN_SCORE = f"{SCORE}={{kind: own, path: 'own.py:score', columns: [wish]}}"
TARGET = f"{SCORE}.targets.sour"
STEP = f"{BAKE}.optimizer"

CASES: dict[Setting, Case | Refusal] = {
    (schema.Config, "seed"): Case(CAKE, "seed=2", seen=of_panel),
    (schema.Config, "precision"): Case(CAKE, "precision=float64", seen=of_precision),
    (schema.Config, "total"): Case(CAKE, "total=6", seen=of_space),
    (schema.Ingredient, "min"): Case(CAKE, "ingredients.eggs.min=0.5", seen=of_space),
    (schema.Ingredient, "max"): Case(CAKE, "ingredients.eggs.max=4", seen=of_space),
    (schema.Ingredient, "price"): Case(CAKE, "ingredients.eggs.price=4", seen=of_space),
    (schema.Ingredient, "fixed"): Case(OVEN, "ingredients.flour.fixed=2", seen=of_space),
    (schema.Setting, "min"): Case(OVEN, "settings.heat.min=20", seen=of_space),
    (schema.Setting, "max"): Case(OVEN, "settings.heat.max=20", seen=of_space),
    (schema.Setting, "complex"): Case(OVEN, "settings.whisk.complex=false", seen=of_space),
    (schema.Setting, "fixed"): Case(OVEN, "settings.heat.fixed=20", seen=of_space),
    (schema.Like, "column"): Case(BAR, "data.like.column=second", seen=of_panel),
    (schema.Like, "at_least"): Case(BAR, "data.like.at_least=3", seen=of_panel),
    (schema.Like, "scale"): Refusal(BAR, "data.like.scale=[1, 9]", "liking: 0 is not allowed: the scale is 1 to 9"),
    (schema.Segment, "share"): Case(CAKE, "data.simulate.segments.sweet.share=2", seen=of_panel),
    (schema.Segment, "ideal"): Case(CAKE, "data.simulate.segments.sweet.ideal.eggs=5", seen=of_panel),
    (schema.Simulate, "customers"): Case(CAKE, "data.simulate.customers=9", seen=of_panel),
    (schema.Simulate, "recipes"): Case(CAKE, "data.simulate.recipes=7", seen=of_panel),
    (schema.Simulate, "tastings"): Case(CAKE, "data.simulate.tastings=5", seen=of_panel),
    (schema.Simulate, "spread"): Case(CAKE, "data.simulate.spread=0.2", seen=of_panel),
    (schema.Simulate, "tolerance"): Case(CAKE, "data.simulate.tolerance=1", seen=of_panel),
    (schema.Simulate, "appeal"): Case(CAKE, "data.simulate.appeal=3", seen=of_panel),
    (schema.Split, "share"): Case(CAKE, "data.evaluation.share=0.6", seen=of_panel),
    (schema.Split, "by"): Case(CAKE, "data.evaluation.by=customer", seen=of_panel),
    (schema.Data, "recipes"): Case(BAR, "data.recipes=recipes2.csv", seen=of_panel),
    (schema.Data, "ratings"): Case(BAR, "data.ratings=ratings2.csv", seen=of_panel),
    (schema.Data, "customers"): Case(BAR, "data.customers=customers2.csv", GROUPED, seen=of_panel),
    # Properties
    (schema.Bakery, "kind"): Case(CAKE, f"{PROPERTIES}={{kind: own, path: 'own.py:Oven'}}", SEEN, seen=of_model),
    (schema.Sourdough, "kind"): Case(
        DOUGH, f"{PROPERTIES}={{kind: own, path: 'own.py:Dough', settings: [temperature, vibration]}}", seen=of_model
    ),
    (schema.Scheffe, "kind"): Case(BAR, LEARNT, seen=of_model),
    (schema.Scheffe, "degree"): Case(BAR, f"{PROPERTIES}.degree=2", seen=of_model),
    (schema.Scheffe, "columns"): Case(BAR, f"{PROPERTIES}.columns=[cost, sour]", seen=of_model),
    (schema.PropertyNetwork, "kind"): Case(BAR, MIXTURE, (LEARNT,), seen=of_model),
    (schema.PropertyNetwork, "hidden"): Case(BAR, f"{PROPERTIES}.hidden=[3]", (LEARNT,), seen=of_model),
    (schema.PropertyNetwork, "columns"): Case(BAR, f"{PROPERTIES}.columns=[cost, sour]", (LEARNT,), seen=of_model),
    (schema.OwnProperties, "kind"): Case(BAR, LEARNT, (OWN_PROPERTIES,), seen=of_model),
    (schema.OwnProperties, "path"): Case(OVEN, f"{PROPERTIES}.path='own.py:Grill'", seen=of_model),
    (schema.OwnProperties, "arguments"): Case(OVEN, f"{PROPERTIES}.arguments={{power: 2}}", seen=of_model),
    (schema.OwnProperties, "settings"): Case(OVEN, f"{PROPERTIES}.settings=[]", seen=of_model),
    # Utilities
    (schema.LinearUtility, "kind"): Case(CAKE, QUADRATIC, seen=of_model),
    (schema.LinearUtility, "features"): Case(CAKE, f"{UTILITY}.features=[fractions]", seen=of_model),
    (schema.LinearUtility, "groups"): Case(CAKE, f"{UTILITY}.groups=segment", seen=of_model),
    (schema.LinearUtility, "intercept"): Case(CAKE, f"{UTILITY}.intercept=false", seen=of_model),
    (schema.QuadraticUtility, "kind"): Case(CAKE, f"{UTILITY}.kind=linear", (QUADRATIC,), seen=of_model),
    (schema.QuadraticUtility, "features"): Case(CAKE, f"{UTILITY}.features=[fractions]", (QUADRATIC,), seen=of_model),
    (schema.QuadraticUtility, "groups"): Case(CAKE, f"{UTILITY}.groups=segment", (QUADRATIC,), seen=of_model),
    (schema.QuadraticUtility, "intercept"): Case(CAKE, f"{UTILITY}.intercept=false", (QUADRATIC,), seen=of_model),
    (schema.NetworkUtility, "kind"): Case(CAKE, f"{UTILITY}={{kind: linear}}", (NETWORK,), seen=of_model),
    (schema.NetworkUtility, "features"): Case(CAKE, f"{UTILITY}.features=[sweetness]", (NETWORK,), seen=of_model),
    (schema.NetworkUtility, "groups"): Case(CAKE, f"{UTILITY}.groups=segment", (NETWORK,), seen=of_model),
    (schema.NetworkUtility, "hidden"): Case(CAKE, f"{UTILITY}.hidden=[2, 2]", (NETWORK,), seen=of_model),
    (schema.OwnUtility, "kind"): Case(CAKE, f"{UTILITY}={{kind: linear}}", (OWN_UTILITY,), seen=of_model),
    (schema.OwnUtility, "features"): Case(CAKE, f"{UTILITY}.features=[sweetness]", (OWN_UTILITY,), seen=of_model),
    (schema.OwnUtility, "groups"): Case(CAKE, f"{UTILITY}.groups=segment", (OWN_UTILITY,), seen=of_model),
    (schema.OwnUtility, "path"): Case(CAKE, f"{UTILITY}.path='own.py:Habit'", (OWN_UTILITY,), seen=of_model),
    (schema.OwnUtility, "arguments"): Case(CAKE, f"{UTILITY}.arguments={{power: 2}}", (OWN_UTILITY,), seen=of_model),
    # Losses
    (schema.LikelihoodLoss, "kind"): Case(LIKES, OWN_LOSS),
    (schema.LikelihoodLoss, "aggregate"): Case(LIKES, f"{LOSS}.aggregate=sum"),
    (schema.Ridge, "kind"): Case(LIKES, FIRTH, (FULL, RIDGE)),
    (schema.Ridge, "strength"): Case(LIKES, f"{LOSS}.penalty.strength=3", (RIDGE,)),
    (schema.Firth, "kind"): Case(LIKES, RIDGE, (FULL, FIRTH)),
    (schema.PropertyLoss, "kind"): Case(BAR, UNFITTED, (WITHOUT_BAKE,)),
    (schema.OwnLoss, "kind"): Case(LIKES, f"{LOSS}={{kind: likelihood}}", (OWN_LOSS,)),
    (schema.OwnLoss, "path"): Case(LIKES, f"{LOSS}.path='own.py:other_loss'", (OWN_LOSS,)),
    (schema.OwnLoss, "aggregate"): Case(LIKES, f"{LOSS}.aggregate=sum", (OWN_LOSS,)),
    # Scores
    (schema.Column, "column"): Case(BAR, f"{TARGET}.column=age", (f"{TARGET}={{column: wish}}",), seen=of_score),
    (schema.HeldTarget, "formula"): Case(BAR, f"{TARGET}.formula=lime", (f"{TARGET}={{formula: gin}}",), seen=of_score),
    (schema.HeldTarget, "hold"): Case(BAR, f"{TARGET}.hold=true", (f"{TARGET}={{formula: gin}}",), seen=of_score),
    (schema.LikingScore, "kind"): Case(BAR, DELICIOUS, (f"{SCORE}={{kind: liking}}",), seen=of_score),
    (schema.LikingScore, "cost_weight"): Case(CAKE, f"{SCORE}.cost_weight=0.3", seen=of_score),
    (schema.LikingScore, "cost"): Case(CAKE, f"{SCORE}.cost=property", seen=of_score),
    (schema.DeliciousnessScore, "kind"): Case(BAR, f"{SCORE}={{kind: liking}}", seen=of_score),
    (schema.DeliciousnessScore, "targets"): Case(BAR, f"{SCORE}.targets.sour=2*lime", seen=of_score),
    (schema.DeliciousnessScore, "cost_weight"): Case(BAR, f"{SCORE}.cost_weight=0.3", seen=of_score),
    (schema.DeliciousnessScore, "cost"): Case(BAR, f"{SCORE}.cost=prices", seen=of_score),
    (schema.OwnScore, "kind"): Case(BAR, f"{SCORE}={{kind: liking}}", (OWN_SCORE,), seen=of_score),
    (schema.OwnScore, "path"): Case(BAR, f"{SCORE}.path='own.py:other_score'", (OWN_SCORE,), seen=of_score),
    (schema.OwnScore, "columns"): Case(BAR, f"{SCORE}.columns=[age]", (OWN_SCORE,), seen=of_score),
    # Stages
    (schema.Evaluate, "every"): Case(LIKES, f"{FIT}.evaluate.every=3"),
    (schema.Evaluate, "patience"): Case(LIKES, f"{FIT}.evaluate.patience=1", seen=of_evaluations),
    (schema.Evaluate, "min_improvement"): Case(LIKES, f"{FIT}.evaluate.min_improvement=0.1", seen=of_evaluations),
    (schema.Fit, "length"): Case(LIKES, f"{FIT}.length=2 epochs"),
    (schema.Fit, "batch"): Case(LIKES, f"{FIT}.batch=4"),
    (schema.Fit, "train"): Case(LIKES, f"{FIT}.train=[utility, properties]", TRAINABLE),
    (schema.Bake, "length"): Case(WISHES, f"{BAKE}.length=21"),
    (schema.Bake, "batch"): Case(WISHES, f"{BAKE}.batch=2"),
    (schema.Bake, "starts"): Case(WISHES, f"{BAKE}.starts=3"),
    # What is done to a gradient before any optimizer sees it
    (OptimizerBase, "clip_customer_norm"): Case(OVEN, f"{STEP}.clip_customer_norm=0.1", (), of_update),
    (OptimizerBase, "limits"): Case(OVEN, f"{STEP}.limits={{flour: 0.1}}", (), of_update),
}  # fmt: skip
"""For each setting a change of it that is seen."""

NO_NUMBER: dict[Setting, str] = {
    (schema.Ingredient, "unit"): "it is shown beside the amounts, which are in it already",
    (schema.Setting, "unit"): "it is shown beside the values, which are in it already",
    (schema.Config, "chunk"): "it cuts the same steps into calls",
    (schema.Config, "stop_after_steps"): "it says when to stop; a resume goes on to the same end",
    (schema.Config, "max_rollbacks"): "it says when to give up; a run that comes to an end has its numbers",
    (schema.Log, "every"): "it says when scalars are written",
    (schema.Checkpoint, "every"): "it says when the run is saved",
    (schema.Checkpoint, "keep"): "it says what is kept of what was saved",
    (schema.Checkpoint, "keep_every"): "it says what is kept of what was saved",
    (schema.Checkpoint, "best"): "it says what is kept of what was saved",
    (schema.Fit, "kind"): "it says what the other fields are; a bake has others",
    (schema.Bake, "kind"): "it says what the other fields are; a fit has others",
    (schema.Logit, "kind"): "there is no other link yet",
}
"""Settings whose contract is to change no number, each with the reason. Think twice before you add one."""

OF_WHAT_IS_HELD: dict[str, tuple[float, float]] = {
    "ingredients.flour.min": (1.5, 3),
    "ingredients.flour.max": (3, 1.5),
    "settings.heat.min": (15, 30),
    "settings.heat.max": (30, 15),
}
"""Bounds beside `fixed` (flour at 2, heat at 20), with a value that changes no number and one that refuses what is
held: they are a check of it, and stay where they are while one override holds an ingredient."""
