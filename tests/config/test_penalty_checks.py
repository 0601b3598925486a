"""What a penalty asks of its stage, and what a stage declares of it."""

from __future__ import annotations

import pytest

from optim.config.modifications import modifications, modifications_of_updates
from optim.config.schema import Fit, LikelihoodLoss
from tests.config.conftest import Loaded, Refused
from tests.config.test_checks import TABLES

RIDGE = "stages.fit.loss={kind: likelihood, penalty: {kind: ridge, strength: 2}}"
FIRTH = "stages.fit.loss={kind: likelihood, penalty: {kind: firth}}"
NETWORK = "model.utility={kind: mlp, features: [fractions]}"
OWN = "model.utility={kind: own, features: [fractions], path: 'mine.py:Utility'}"
LINEAR = "firth needs a utility that is linear in its parameters, and one of kind"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["stages.fit.loss={kind: likelihood, penalty: {kind: ridge, strength: -1}}"],
         "stages.fit.loss.penalty.strength: expected a number above 0, got -1"),
        (["stages.fit.loss={kind: likelihood, penalty: {kind: ridge, strength: 0}}"],
         "stages.fit.loss.penalty.strength: expected a number above 0, got 0"),
        (["stages.fit.loss={kind: likelihood, penalty: {kind: ridge}}"],
         "stages.fit.loss.penalty.strength: is missing: expected a number above 0"),
        (["stages.fit.loss={kind: likelihood, penalty: {kind: frth}}"],
         "stages.fit.loss.penalty.kind: expected `ridge` or `firth`, got 'frth'; did you mean `firth`?"),
        (["stages.fit.penalty={kind: firth}"],
         "stages.fit.penalty: unknown key; it belongs at `stages.NAME.loss.penalty`"),
        (["stages.measure.loss={kind: property_error, penalty: {kind: ridge, strength: 1}}"],
         "stages.measure.loss.penalty: unknown key"),
        (["stages.fit.loss={kind: own, path: 'mine.py:loss', penalty: {kind: ridge, strength: 1}}"],
         "stages.fit.loss.penalty: unknown key"),
        ([RIDGE, "stages.fit.train=[properties]"], "stages.fit.loss.penalty: is on the weights of the utility, which "
         "this stage does not train: remove it, or train `utility`"),
        ([FIRTH, NETWORK], f"stages.fit.loss.penalty: {LINEAR} mlp is not: use `model.utility` of kind linear or "
         "quadratic, or use `kind: ridge`"),
        ([FIRTH, OWN], f"stages.fit.loss.penalty: {LINEAR} own is not: use `model.utility` of kind linear or"),
        ([FIRTH, "stages.fit.train=[utility, properties]", "model.utility.features=[sour]"],
         "stages.fit.loss.penalty: firth needs features that stay as they are, and this stage trains the properties "
         "behind them: train `utility` alone, or use `kind: ridge`"),
        ([FIRTH, "stages.fit.batch=9", "stages.fit.optimizer={name: adam, learning_rate: 0.1}"],
         "stages.fit.loss.penalty: firth needs the Fisher information of all responses, which minibatches do not have: "
         "use `batch: all`, or use `kind: ridge`"),
    ],
)  # fmt: skip
def test_a_penalty_that_does_not_fit_is_refused(overrides: list[str], expected: str, refused: Refused) -> None:
    problems = refused(*overrides, text=TABLES)
    assert any(expected in problem for problem in problems), problems


@pytest.mark.parametrize(
    "overrides",
    [
        [RIDGE],
        [RIDGE, NETWORK],
        [RIDGE, OWN, "stages.fit.batch=9", "stages.fit.optimizer={name: adam, learning_rate: 0.1}"],
        [RIDGE, "stages.fit.train=[utility, properties]", "model.utility.features=[sour]"],
        [FIRTH],
        [FIRTH, "model.utility.kind=quadratic", "stages.fit.optimizer={name: newton}"],
        [FIRTH, "model.utility.features=[sour]", "stages.fit.train=[utility]"],
    ],
)
def test_a_penalty_that_fits_is_accepted(overrides: list[str], loaded: Loaded) -> None:
    fit = loaded(*overrides, text=TABLES).stages["fit"]
    assert isinstance(fit, Fit)
    assert isinstance(fit.loss, LikelihoodLoss)
    assert fit.loss.penalty is not None


@pytest.mark.parametrize(
    ("overrides", "loss", "updates"),
    [
        ([], (), ()),
        ([RIDGE], ("ridge penalty of strength 2 on the scaled weights",), ()),
        ([FIRTH], ("Firth's penalty (Jeffreys prior)",), ()),
        (["stages.fit.optimizer={name: adamw, learning_rate: 0.1}"], (), ("weight decay 0.0001 a step",)),
        (["stages.fit.optimizer={name: adamw, learning_rate: 0.1, weight_decay: 0}"], (), ()),
        (["stages.fit.optimizer={name: adan, learning_rate: 0.1}"], (), ()),
        (
            [RIDGE, "stages.fit.optimizer={name: lion, learning_rate: 0.1, clip_customer_norm: 2}"],
            ("ridge penalty of strength 2 on the scaled weights",),
            ("each customer's gradient clipped to the norm 2", "weight decay 0.001 a step"),
        ),
    ],
)
def test_what_modifies_a_fit_is_declared(
    overrides: list[str], loss: tuple[str, ...], updates: tuple[str, ...], loaded: Loaded
) -> None:
    """A penalty is part of the loss whose gradient is checked; the rest acts on the updates alone."""
    config = loaded(*overrides, text=TABLES)
    assert modifications(config, "fit") == loss + updates
    assert modifications_of_updates(config, "fit") == updates
