"""Runs side by side come to what each comes to alone, and none changes a bit of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np
import pytest

from optim.config.schema import Config
from optim.study.stage import initial_state
from optim.study.state import State
from optim.study.study import Study, build_study
from optim.train import block
from optim.train.block import Block, stacked, taken
from optim.train.endings import NonFiniteError, StopError
from optim.train.program import ChunkRecord
from tests.conftest import Studies
from tests.helpers import Recording, assert_same_bits, in_memory

CLOSE = {"rtol": 2e-4, "atol": 2e-5}
"""What is promised: the sums of the same numbers are taken in another order."""

SEEDS = ("seed=1", "seed=2", "seed=3")
HELD_OUT = "data.evaluation={by: response, share: 0.3}"
COSINE = "stages.fit.optimizer.learning_rate={schedule: cosine_decay_schedule, init_value: %s, decay_steps: %s}"
DELICIOUS = "stages.bake.score={kind: deliciousness, targets: {sweetness: %s, fluffiness: 5}, cost_weight: %s}"
FULL = ("stages.fit.batch=all", "stages.fit.length=12")

VARIED: dict[str, tuple[tuple[str, ...], ...]] = {
    "seeds, rates and splits": tuple(
        (seed, HELD_OUT, f"stages.fit.optimizer.learning_rate={rate}")
        for seed, rate in zip(SEEDS, (0.01, 0.05, 0.2), strict=True)
    ),
    "schedules": tuple((COSINE % numbers,) for numbers in ((0.1, 40), (0.02, 25), (0.05, 10))),
    "moments": tuple(
        (f"stages.fit.optimizer={{name: adam, learning_rate: 0.05, b1: {b1}, eps: {b1}}}",) for b1 in (0.5, 0.9)
    ),
    "targets, prices and bounds": (
        (DELICIOUS % (9, 0.1), "ingredients.sugar.max=2.5", "ingredients.sugar.price=1"),
        (DELICIOUS % (6, 0.3), "ingredients.sugar.max=1.2", "ingredients.sugar.price=4"),
    ),
    "totals": (("total=7",), ("total=8",)),
    "early stopping": tuple(
        (seed, HELD_OUT, "stages.fit.evaluate={every: 3, patience: 2}", "stages.fit.optimizer.learning_rate=0.5")
        for seed in SEEDS
    ),
    "clipping by customer": tuple(
        (seed, f"stages.fit.optimizer.clip_customer_norm={norm}")
        for seed, norm in zip(SEEDS, (0.1, 0.5, 2), strict=True)
    ),
    "clipping and limits": tuple(
        (
            f"stages.fit.optimizer.clip_global_norm={norm}",
            f"stages.bake.optimizer.limits={{sugar: {norm}}}",
            DELICIOUS % (9, 0.1),
        )
        for norm in (0.02, 0.2)
    ),
    "penalties": tuple(
        (f"stages.fit.loss={{kind: likelihood, penalty: {{kind: ridge, strength: {strength}}}}}",)
        for strength in (0.1, 10)
    ),
    "lbfgs": tuple((seed, *FULL, "stages.fit.optimizer={name: lbfgs}") for seed in SEEDS),
    "newton": tuple((seed, *FULL, "stages.fit.optimizer={name: newton}") for seed in SEEDS),
    "noise": tuple((seed, "stages.fit.optimizer={name: noisy_sgd, learning_rate: 0.1, key: 1}") for seed in SEEDS),
}


class Sweep:
    """Some configs, trained side by side."""

    def __init__(self, configs: Sequence[Config], chunk: int = 100) -> None:
        self.studies: list[Study] = [build_study(config) for config in configs]
        self.sinks = [Recording() for _ in configs]
        self.saved: list[State] = []
        self.block = Block([study.stages for study in self.studies], self.sinks, chunk, self.saved.append)

    def first(self) -> State:
        """The joint state with which the first stage starts."""
        return self.block.begin(0, stacked([initial_state(study.parameters) for study in self.studies]))

    def run(self) -> State:
        """The joint state at the end."""
        return self.block.run(self.first())


def numbers(record: ChunkRecord) -> ChunkRecord:
    """A record without what follows from which customer is the worst of several that are almost alike."""
    customers = record.measured.customers
    return (
        record
        if customers is None
        else record._replace(measured=record.measured._replace(customers=customers._replace(worst=customers.worst[:0])))
    )


def assert_close(a: object, b: object) -> None:
    left, right = jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b)
    for (path, x), y in zip(left, right, strict=True):
        np.testing.assert_allclose(x, y, **CLOSE, err_msg=jax.tree_util.keystr(path))


IN_EVERY_RUN = ("seeds, rates and splits",)


@pytest.mark.parametrize(
    "varied", [pytest.param(name, marks=[pytest.mark.long] * (name not in IN_EVERY_RUN)) for name in VARIED]
)
def test_each_run_ends_as_it_would_alone(small: Studies, varied: str) -> None:
    configs = [small(*overrides) for overrides in VARIED[varied]]
    sweep = Sweep(configs)
    joint = sweep.run()
    for number, config in enumerate(configs):
        _, alone, _, recording = in_memory(config, 100)
        assert_close(alone, taken(joint, number))
        assert len(recording.records) == len(sweep.sinks[number].records)
        for one, other in zip(recording.records, sweep.sinks[number].records, strict=True):
            assert_close(numbers(one), numbers(other))
    assert sweep.block.faults == [None] * len(configs)
    assert [program.traces for program in sweep.block.programs.values()] == [1, 1]
    assert [program._run._cache_size() for program in sweep.block.programs.values()] == [1, 1]


def bits_of(sweep: Sweep, joint: State, number: int) -> list[object]:
    """All that a run leaves behind."""
    return [taken(joint, number), sweep.sinks[number].records]


@pytest.fixture
def varied(small: Studies) -> Callable[..., Config]:
    """The small study with early stopping, by seed and rate."""
    held_out = (HELD_OUT, "stages.fit.evaluate={every: 5, patience: 2}")
    return lambda seed, rate=0.05, *more: small(
        f"seed={seed}", *held_out, f"stages.fit.optimizer={{name: sgd, learning_rate: {rate}}}", *more
    )


def test_no_bit_depends_on_the_place_on_the_neighbours_or_on_how_they_fare(varied: Callable[..., Config]) -> None:
    mine = varied(1)
    early, diverging = varied(2, 3.0), varied(3, 1e38)
    first = Sweep([mine, varied(4), varied(5, 0.1)])
    middle, last = Sweep([early, mine, diverging]), Sweep([diverging, early, mine])
    ends = [sweep.run() for sweep in (first, middle, last)]
    assert [fault is not None for fault in middle.block.faults] == [False, False, True]
    stopped = [int(taken(ends[1], number).ended["fit"].steps) for number in range(2)]
    assert stopped[0] < stopped[1]
    expected = bits_of(first, ends[0], 0)
    assert_same_bits(expected, bits_of(middle, ends[1], 1))
    assert_same_bits(expected, bits_of(last, ends[2], 2))


def test_one_that_diverges_is_told_where_it_would_be_alone_and_keeps_its_curves(varied: Callable[..., Config]) -> None:
    diverging = varied(3, 1e38)
    with pytest.raises(NonFiniteError) as alone:
        in_memory(diverging)
    sweep = Sweep([varied(1), diverging])
    sweep.run()
    fault = sweep.block.faults[1]
    assert fault is not None
    assert (fault.step, fault.metric, fault.position) == (alone.value.step, alone.value.metric, alone.value.position)
    assert [int(record.step) for record in sweep.sinks[1].records] == [step for step in (1, 5, 7) if step < fault.step]
    assert len(sweep.sinks[0].records) > len(sweep.sinks[1].records)


@pytest.mark.long
def test_any_chunk_length_and_any_stop_give_the_same_bits(varied: Callable[..., Config]) -> None:
    configs = [varied(1), varied(2, 3.0)]
    whole = Sweep(configs)
    end = whole.run()
    assert_same_bits(end, Sweep(configs, chunk=1).run())
    steps = iter(range(1, 100))
    stopped = Sweep(configs, chunk=4)
    stopped.block.wanted_stop = lambda: "asked" if next(steps) == 5 else None
    with pytest.raises(StopError, match="asked"):
        stopped.run()
    resumed = Sweep(configs)
    assert_same_bits(end, resumed.block.run(stopped.saved[-1]))
    for before, after, both in zip(stopped.sinks, resumed.sinks, whole.sinks, strict=True):
        whole_curve = {int(record.step): record for record in both.records}
        for record in before.records + after.records:
            if record.logged and int(record.step) in whole_curve:
                assert_same_bits(whole_curve[int(record.step)], record)


@pytest.mark.long
def test_a_table_that_all_share_is_not_copied(small: Studies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "SHARED_FROM", 200)
    configs = [small(f"stages.fit.optimizer.learning_rate={rate}") for rate in (0.05, 0.1)]
    sweep = Sweep(configs)
    constants, varying = sweep.block.constants(0, sweep.first())
    assert varying.objective.responses is None
    assert constants.objective.responses.ndim == 2
    assert constants.optimizer.arguments["b1"].shape == (2,)
    joint = sweep.run()
    for number, config in enumerate(configs):
        assert_close(in_memory(config)[1], taken(joint, number))
