"""What one program serves: runs that differ in numbers, whatever they are called; found by tracing."""

from __future__ import annotations

import pytest

from optim.config.schema import Config
from optim.study.stage import initial_state
from optim.study.study import build_study
from optim.train.alike import programs_of
from optim.train.loop import Loop
from optim.train.program import Program
from tests.conftest import Studies
from tests.helpers import Recording, assert_same_bits, in_memory

RESPONSES, CUSTOMERS = ("data.evaluation={by: %s, share: 0.3}" % by for by in ("response", "customer"))  # noqa: UP031
PATIENT = "stages.fit.evaluate={every: 5, patience: 2, min_improvement: %s}"
RIDGE = "stages.fit.loss={kind: likelihood, penalty: {kind: ridge, strength: %s}}"
DELICIOUS = "stages.bake.score={kind: deliciousness, targets: {sweetness: %s}, cost_weight: %s}"
NOISY = "stages.fit.optimizer={name: noisy_sgd, learning_rate: 0.1, eta: %s, key: %s}"
LINEAR = (
    "stages.bake.optimizer.learning_rate={schedule: polynomial_schedule, init_value: %s, end_value: %s, power: %s, "
    "transition_steps: %s}"
)
UNTASTED = "data.simulate.segments={classic: {share: 1, ideal: {eggs: 3.0, flour: 2.0, sugar: 1.5}}}"

CLIPPED = (
    "stages.fit.optimizer={name: adam, learning_rate: %s, b1: %s, b2: %s, eps: %s, clip_global_norm: %s, "
    "clip_customer_norm: %s}"
)
LIMITS = "stages.bake.optimizer.limits={butter: %s}"

NUMBERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "seed, optimizer, clipping, schedule, penalty, target, weight and limit": (
        (
            "seed=1",
            CLIPPED % (0.1, 0.9, 0.99, 1e-8, 1, 1),
            LINEAR % (0.1, 0.01, 0.5, 20),
            RIDGE % 1,
            DELICIOUS % (9, 0.1),
            LIMITS % 1,
        ),
        (
            "seed=2",
            CLIPPED % (0.2, 0.5, 0.9, 0.1, 2, 3),
            LINEAR % (0.2, 0.05, 1.5, 12),
            RIDGE % 2,
            DELICIOUS % (8, 0.2),
            LIMITS % 2,
        ),
    ),
    "split, noise, least improvement, price, bound and total": (
        (
            "seed=1",
            RESPONSES,
            PATIENT % 0.001,
            NOISY % (0.1, 1),
            "ingredients.eggs.price=1",
            "total=7",
            "ingredients.sugar.max=2",
        ),
        (
            "seed=2",
            RESPONSES,
            PATIENT % 0.01,
            NOISY % (0.2, 2),
            "ingredients.eggs.price=2",
            "total=8",
            "ingredients.sugar.max=2.4",
        ),
    ),
    "fixed amounts and the share of a split": (
        (UNTASTED, "ingredients.butter.fixed=1", "data.evaluation={by: response, share: 0.3}"),
        (UNTASTED, "ingredients.butter.fixed=1.5", "data.evaluation={by: response, share: 0.2}"),
    ),
}
"""Two configs that differ in numbers that are arguments of the programs."""

PROGRAMS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[bool, bool]]] = {
    "the batch": ((), ("stages.fit.batch=8",), (False, True)),
    "an optimizer's name": ((), ("stages.bake.optimizer.name=nadam",), (True, False)),
    "how many starts": ((), ("stages.bake.starts=5",), (True, False)),
    "how many customers": ((), ("data.simulate.customers=50",), (False, True)),
    "what is climbed": ((), (DELICIOUS % (9, 0.1),), (True, False)),
    "a split": ((), (CUSTOMERS,), (False, True)),
}
"""Two configs of which the programs of the fit or of the bake are not the same, and which of the two are."""


FOUND: dict[str, tuple[str, ...]] = {}
"""What was traced, by config: several cases begin with the same."""


def of(config: Config) -> tuple[str, ...]:
    key = config.model_dump_json()
    if key not in FOUND:
        study = build_study(config)
        FOUND[key] = programs_of(study.stages, study.parameters)
    return FOUND[key]


@pytest.mark.parametrize("varied", NUMBERS)
def test_numbers_are_arguments(small: Studies, varied: str) -> None:
    one, other = NUMBERS[varied]
    assert of(small(*one)) == of(small(*other))


def test_one_compiled_program_gives_each_run_the_bits_that_it_has_alone(small: Studies) -> None:
    configs = [
        small(f"seed={seed}", RESPONSES, f"stages.fit.optimizer.learning_rate={rate}", DELICIOUS % (target, 0.1))
        for seed, rate, target in ((1, 0.05, 9), (2, 0.1, 8))
    ]
    programs: dict[int, Program] = {}
    for config in configs:
        study, alone, _, recording = in_memory(config, 100)
        sinks = Recording()
        loop = Loop(study.stages, 100, sinks, programs=programs)
        assert_same_bits(alone, loop.run(loop.begin(study.stages[0], initial_state(study.parameters))))
        assert_same_bits(recording.records, sinks.records)
    assert [program.traces for program in programs.values()] == [1, 1]


@pytest.mark.parametrize("varied", PROGRAMS)
def test_what_changes_the_program_is_seen(small: Studies, varied: str) -> None:
    one, other, same = PROGRAMS[varied]
    assert tuple(a == b for a, b in zip(of(small(*one)), of(small(*other)), strict=True)) == same
