"""A stage is one program, and what it computes does not depend on how it is cut."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.analysis.idle_limits import idle_limits
from optim.config.schema import Config
from optim.losses.cake import CakeObjective
from optim.losses.customers import CustomerGradients, customer_gradients
from optim.losses.objective import unit_gradients
from optim.runs.scalars import worst_customers
from optim.study.stage import initial_state
from optim.study.state import State
from optim.study.study import Study, build_study
from optim.train import measure
from optim.train.loop import Loop
from tests.conftest import Studies
from tests.helpers import Recording, assert_same_bits, in_memory

FIT_ALONE = "stages={fit: {kind: fit, length: 40, batch: 16, optimizer: {name: adam, learning_rate: 0.05}}}"
BAKE_ALONE = (
    "stages={bake: {kind: bake, length: 30, starts: 2, score: {kind: deliciousness},"
    " optimizer: {name: adam, learning_rate: 0.05}}}"
)

Trained = tuple[Study, State, Loop, Recording]


class TrainedOnce:
    """Trains a study in memory, once for the same config and chunk."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, int | str | None], Trained] = {}

    def __call__(self, config: Config, chunk: int | str | None = None) -> Trained:
        key = (config.model_dump_json(), chunk)
        if key not in self._made:
            self._made[key] = in_memory(config, chunk)
        return self._made[key]


@pytest.fixture(scope="module")
def trained() -> TrainedOnce:
    """What a config trains, shared by the tests of this module."""
    return TrainedOnce()


def assert_compiled_once(loop: Loop) -> None:
    """Each of two stages."""
    assert [program.traces for program in loop.programs.values()] == [1, 1]
    assert [program._run._cache_size() for program in loop.programs.values()] == [1, 1]


def test_any_chunk_length_gives_the_same_bits(small: Studies) -> None:
    config = small("stages.fit.length=60", "stages.fit.optimizer.clip_global_norm=0.5", "log.every=60")
    config = config.model_copy(update={"checkpoint": config.checkpoint.model_copy(update={"every": 60})})
    study = build_study(config)

    def trained(chunk: int, halts: tuple[int, ...] = ()) -> State:
        loop = Loop(study.stages, chunk, halts=frozenset(halts))
        return loop.run(loop.begin(study.stages[0], initial_state(study.parameters)))

    whole = trained(60)
    assert_same_bits(whole, trained(60, halts=(7, 20)))  # 7 + 13 + 40
    assert_same_bits(whole, trained(1))


def test_logging_and_saving_cadences_change_neither_the_result_nor_what_is_compiled(
    small: Studies, trained: TrainedOnce
) -> None:
    _, rare, _, _ = trained(small())
    _, often, loop, _ = in_memory(small("log.every=1", "checkpoint.every=3"))
    assert_same_bits(rare, often)
    assert_compiled_once(loop)


def test_the_first_the_last_and_every_nth_step_are_logged(small: Studies, trained: TrainedOnce) -> None:
    _, _, _, sinks = trained(small())
    steps = [int(record.step) for record in sinks.records if record.logged]
    assert steps == [1, 7, 14, 21, 28, 35, 40, 41, 47, 54, 61, 68, 70]  # the second stage begins at step 40


def test_customer_statistics_are_those_of_the_customers_own_gradients(small: Studies) -> None:
    config = small(FIT_ALONE, "stages.fit.batch=all", "stages.fit.length=5", "log.every=5")
    study, state, _, sinks = in_memory(config, chunk=5)
    statistics = [record for record in sinks.records if record.logged][1].measured.customers
    assert statistics is not None
    stage = study.stages[0]
    constants = stage.objective.constants(jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), study.parameters))
    everyone = stage.objective.batch(constants, jnp.arange(40, dtype=jnp.int32), jnp.ones(40, bool))
    trained = jax.tree.map(lambda leaf: leaf[0], stage.trained(state.parameters))
    gradients, _, _ = unit_gradients(stage.objective, trained, everyone, constants)
    norms = np.linalg.norm(gradients, axis=1)
    np.testing.assert_allclose(statistics.quantiles, np.quantile(norms, [0.5, 0.9, 1.0]), rtol=1e-5)
    assert list(statistics.worst) == list(np.argsort(-norms)[:5])


def test_a_customer_whose_gradient_is_no_number_is_among_the_worst(
    small: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_is_none(*arguments: Any, **more: Any) -> CustomerGradients:
        result = customer_gradients(*arguments, **more)
        return result._replace(norms=result.norms.at[3].set(jnp.nan))

    monkeypatch.setattr(measure, "customer_gradients", one_is_none)
    _, _, _, sinks = in_memory(small(FIT_ALONE, "stages.fit.batch=all", "stages.fit.length=1", "log.every=1"))
    statistics = next(record for record in sinks.records if record.logged and record.measured.customers).measured
    assert (statistics.customers.worst[0], statistics.customers.worst_norms[0]) == (3, np.inf)


def test_clipping_customers_bounds_each_ones_influence(small: Studies) -> None:
    one_step = (FIT_ALONE, "stages.fit.length=1", "stages.fit.batch=all", "stages.fit.optimizer.name=sgd")
    _, free, _, _ = in_memory(small(*one_step))
    _, clipped, _, sinks = in_memory(
        small(
            *one_step,
            "stages.fit.optimizer.clip_customer_norm=0.1",
            "stages.fit.loss={kind: likelihood, aggregate: mean_customers}",
        )
    )
    moved = np.linalg.norm([np.linalg.norm(leaf) for leaf in jax.tree.leaves(clipped.parameters["model"])])
    assert moved <= 0.05 * 0.1 * (1 + 1e-5)  # learning rate × the norm allowed
    assert moved > 0
    assert np.linalg.norm([np.linalg.norm(leaf) for leaf in jax.tree.leaves(free.parameters["model"])]) > moved
    customers = sinks.records[0].measured.customers
    assert customers is not None
    assert 0 < customers.clipped_share <= 1


def test_an_ingredients_limit_acts_and_is_counted(small: Studies) -> None:
    study, state, _, sinks = in_memory(small(BAKE_ALONE, "stages.bake.optimizer.limits={sugar: 0.0}"))
    sugar = study.space.names.index("sugar")
    starts = study.stages[0].starts
    assert starts is not None
    np.testing.assert_array_equal(state.parameters["cake"]["amounts"][:, sugar], starts["amounts"][:, sugar])
    shares = sinks.records[-1].measured.clipped["limits"]
    assert shares[0, sugar] == 1.0
    assert shares[0, study.space.names.index("butter")] == 0.0


STOPPING = (
    "data.evaluation={share: 0.3}",
    "stages.fit.length=400",
    "stages.fit.optimizer.learning_rate=0.3",
    "stages.fit.evaluate={every: 2, patience: 3}",
    "stages.bake.length=5",
)


def test_early_stopping_goes_back_to_the_best_held_out_loss(small: Studies, trained: TrainedOnce) -> None:
    _, state, _, sinks = trained(small(*STOPPING), 400)
    fit = [record for record in sinks.records if record.evaluated]
    losses = [float(record.held_out_loss) for record in fit]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3  # three evaluations without improvement, then the stage is over
    assert int(fit[-1].step) < 400
    assert fit[-1].logged  # the last step of a stage is always logged
    stopped = f"stages.fit.length={2 * (best + 1)}"
    _, reference, _, _ = in_memory(small(*STOPPING, stopped, "stages.fit.evaluate={every: 2}"))
    assert_same_bits(state.parameters["model"], reference.parameters["model"])
    left = state.ended["fit"]
    assert (int(left.steps), int(left.kept)) == (int(fit[-1].step), 2 * (best + 1))


@pytest.mark.parametrize(
    ("every", "steps", "stale", "kept"),
    [(7, 60, 0, 60), (7, 60, 1, 56), (7, 60, 2, 49), (7, 42, 3, 21), (3_000_000_000, 60, 0, 60)],
)
def test_what_a_stage_went_back_to_is_told_whatever_the_cadence(
    small: Studies, every: int, steps: int, stale: int, kept: int
) -> None:
    """The last evaluation is at the end of the stage of 60 steps, on the cadence or not."""
    study = build_study(
        small(*STOPPING, "stages.fit.length=60", f"stages.fit.evaluate={{every: {every}, patience: 3}}")
    )
    stage = study.stages[0]
    state = Loop.begin(stage, initial_state(study.parameters))
    stopping = state.stopping._replace(stale=jnp.int32(stale))
    left = stage.finish(state._replace(step=jnp.int32(steps), stopping=stopping)).ended["fit"]
    assert (int(left.steps), int(left.kept)) == (steps, kept)


def test_places_of_a_short_batch_are_not_among_the_worst_customers(small: Studies) -> None:
    study, _, _, sinks = in_memory(small(FIT_ALONE, "stages.fit.batch=39", "stages.fit.length=2", "log.every=1"))
    short = sinks.records[1]  # the second batch of the epoch holds the last customer alone
    table = worst_customers(study.stages[0], short)
    assert table.count("customer-") == 1
    assert "-1" not in table.replace("---|---", "").replace("customer-", "")


def test_a_bakes_clipping_is_counted_on_the_gradient_that_is_clipped(small: Studies) -> None:
    clip = "stages.bake.optimizer={name: sgd, learning_rate: 0.01, clip_global_norm: 0.001}"
    bake = (BAKE_ALONE, clip, "log.every=1", "stages.bake.length=5", "stages.bake.starts=1")
    study, _, _, sinks = in_memory(small(*bake))
    recipes = [record.measured.recipes[0] for record in sinks.records[-5:]]
    moves = [np.linalg.norm((b - a) / study.space.ranges) for a, b in itertools.pairwise(recipes)]
    np.testing.assert_allclose(moves, 0.01 * 0.001, rtol=0.05)  # every step was clipped
    assert sinks.records[-1].measured.clipped["global"][0] == 1.0
    assert sinks.records[-1].measured.gradient_norm[0] > 0.001


def test_a_limit_acts_before_the_total_shares_out_what_is_left(small: Studies) -> None:
    limited = small(BAKE_ALONE, "total=7.5", "stages.bake.optimizer.limits={sugar: 0.0}")
    _, state, _, sinks = in_memory(limited)
    np.testing.assert_allclose(np.asarray(state.parameters["cake"]["amounts"], float).sum(1), 7.5, rtol=1e-6)
    assert sinks.records[-1].measured.clipped["limits"][0, 3] == 1.0


def test_the_score_that_is_logged_is_that_of_the_recipe_that_is_logged(small: Studies, trained: TrainedOnce) -> None:
    study, state, _, sinks = trained(small())
    stage = study.stages[1]
    assert isinstance(stage.objective, CakeObjective)
    constants = stage.constants(jax.tree.map(jnp.asarray, state.parameters)).objective
    scores = [
        stage.objective.mean_score({"amounts": recipe}, constants) for recipe in state.parameters["cake"]["amounts"]
    ]
    np.testing.assert_allclose(sinks.records[-1].measured.scores, scores, rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 3, pytest.param(50, marks=pytest.mark.long)])
def test_early_stopping_does_not_depend_on_the_chunk(small: Studies, trained: TrainedOnce, chunk: int) -> None:
    _, reference, _, _ = trained(small(*STOPPING), 400)
    _, state, loop, _ = in_memory(small(*STOPPING), chunk)
    assert_same_bits(reference, state)
    assert_compiled_once(loop)


@pytest.mark.long
def test_double_precision_reaches_the_whole_state(small: Studies, float64: None) -> None:
    _, state, _, _ = in_memory(small("precision=float64", "stages.fit.length=3", "stages.bake.length=3"))
    floats = [leaf for leaf in jax.tree.leaves(state) if np.issubdtype(leaf.dtype, np.floating)]
    assert {leaf.dtype for leaf in floats} == {np.dtype(np.float64)}


@pytest.mark.long
def test_what_a_stage_leaves_behind_is_kept_by_its_name(small: Studies, trained: TrainedOnce) -> None:
    bake = "{kind: bake, length: 3, starts: 2, score: {kind: liking}, optimizer: {name: sgd, learning_rate: 0.01}}"
    _, state, _, _ = in_memory(small(f"stages.polish={bake}"))
    _, first, _, _ = trained(small())
    assert set(state.ended) == {"fit", "bake", "polish"}
    assert_same_bits(state.ended["bake"].cake, first.parameters["cake"])
    assert_same_bits(state.ended["polish"].cake, state.parameters["cake"])
    assert state.ended["fit"].cake is None


@pytest.mark.long
def test_a_limit_that_never_acts_is_said(small: Studies) -> None:
    limits = "stages.bake.optimizer={name: sgd, learning_rate: 0.01, limits: {sugar: 0.0, flour: 1000.0}}"
    config = small(limits, "stages.fit.optimizer.clip_global_norm=1000", "stages.fit.optimizer.clip_customer_norm=0.01")
    study, state, _, _ = in_memory(config)
    idle = [caveat.about for caveat in idle_limits(study, state)]
    clipped = state.ended["fit"].clipped
    assert (clipped["global"][0], clipped["customers"][0]) == (0.0, 1.0)
    assert idle == ["stages.fit.optimizer.clip_global_norm", "stages.bake.optimizer.limits.flour"]
