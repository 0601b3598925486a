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
ADAM = "stages.fit.optimizer={name: adam, learning_rate: 0.1, b1: %s, b2: %s, eps: %s}"
NOISY = "stages.fit.optimizer={name: noisy_sgd, learning_rate: 0.1, eta: %s, key: %s}"
LINEAR = (
    "stages.bake.optimizer.learning_rate={schedule: polynomial_schedule, init_value: %s, end_value: %s, power: %s, "
    "transition_steps: %s}"
)
UNTASTED = "data.simulate.segments={classic: {share: 1, ideal: {eggs: 3.0, flour: 2.0, sugar: 1.5}}}"

NUMBERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "seed": (("seed=1",), ("seed=2",)),
    "seed of a split of responses": ((RESPONSES, "seed=1"), (RESPONSES, "seed=2")),
    "share of a split": (
        ("data.evaluation={by: response, share: 0.3}",),
        ("data.evaluation={by: response, share: 0.2}",),
    ),
    "constants of an optimizer": ((ADAM % (0.9, 0.99, 1e-8),), (ADAM % (0.5, 0.9, 0.1),)),
    "noise": ((NOISY % (0.1, 1),), (NOISY % (0.2, 2),)),
    "a schedule": ((LINEAR % (0.1, 0.01, 0.5, 20),), (LINEAR % (0.2, 0.05, 1.5, 12),)),
    "global clipping": (("stages.fit.optimizer.clip_global_norm=1",), ("stages.fit.optimizer.clip_global_norm=2",)),
    "clipping by customer": (
        ("stages.fit.optimizer.clip_customer_norm=1",),
        ("stages.fit.optimizer.clip_customer_norm=2",),
    ),
    "limits": (("stages.bake.optimizer.limits={butter: 1}",), ("stages.bake.optimizer.limits={butter: 2}",)),
    "least improvement": ((RESPONSES, PATIENT % 0.001), (RESPONSES, PATIENT % 0.01)),
    "penalties": ((RIDGE % 1, RESPONSES), (RIDGE % 2, RESPONSES, "seed=7")),
    "prices and weights": (
        (DELICIOUS % (9, 0.1), "ingredients.eggs.price=1"),
        (DELICIOUS % (9, 0.2), "ingredients.eggs.price=2"),
    ),
    "targets": ((DELICIOUS % (9, 0.1),), (DELICIOUS % (8, 0.1),)),
    "bounds and totals": (("total=7", "ingredients.sugar.max=2"), ("total=8", "ingredients.sugar.max=2.4")),
    "fixed amounts": ((UNTASTED, "ingredients.butter.fixed=1"), (UNTASTED, "ingredients.butter.fixed=1.5")),
}
"""Two configs that differ in numbers that are arguments of the programs."""

PROGRAMS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[bool, bool]]] = {
    "the batch": ((), ("stages.fit.batch=8",), (False, True)),
    "an optimizer's name": ((), ("stages.bake.optimizer.name=nadam",), (True, False)),
    "how many starts": ((), ("stages.bake.starts=5",), (True, False)),
    "how many customers": ((), ("data.simulate.customers=50",), (False, True)),
    "a formula": ((DELICIOUS % (9, 0.1),), (DELICIOUS % ("{formula: 2 * sugar}", 0.1),), (True, False)),
    "a split": ((), (CUSTOMERS,), (False, True)),
    "who is split off": ((CUSTOMERS, "seed=1"), (RESPONSES, "seed=1"), (False, True)),
}
"""Two configs of which the programs of the fit or of the bake are not the same, and which of the two are."""


def of(config: Config) -> tuple[str, ...]:
    study = build_study(config)
    return programs_of(study.stages, study.parameters)


@pytest.mark.parametrize("varied", NUMBERS)
def test_numbers_are_arguments(small: Studies, varied: str) -> None:
    one, other = NUMBERS[varied]
    assert of(small(*one)) == of(small(*other))


def test_one_compiled_program_gives_each_run_the_bits_that_it_has_alone(small: Studies) -> None:
    configs = [
        small(f"seed={seed}", RESPONSES, f"stages.fit.optimizer.learning_rate={rate}", DELICIOUS % (target, 0.1))
        for seed, rate, target in ((1, 0.05, 9), (2, 0.1, 8), (3, 0.01, 7))
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
