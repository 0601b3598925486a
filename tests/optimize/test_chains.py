"""Every optimizer and schedule of the config, in the form in which a stage drives it; most are optax's own."""

from __future__ import annotations

import zlib
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array
from pydantic import TypeAdapter

from optim.config.anatomy import tag_of
from optim.config.durations import steps
from optim.config.optimizers import Optimizer
from optim.config.schedules import Schedule
from optim.optimize.chains import OWN, build_chain, build_schedule, initialise, learning_rate

TARGET = jnp.array([1.0, -2.0, 0.5])
STARTS = jnp.array([[0.0, 0.0, 0.0], [3.0, 1.0, -1.0]])
NAMES = tuple(tag[1] for block in get_args(get_args(Optimizer)[0]) if (tag := tag_of(block)))
MINIMAL: dict[str, dict[str, Any]] = {
    "adadelta": {"learning_rate": 1.0},
    "lbfgs": {},
    "newton": {},
    "noisy_sgd": {"learning_rate": 0.05, "key": 3},
    "rprop": {"learning_rate": 0.05},
    "sgd": {"learning_rate": 0.05},
}
UPDATES = {"adadelta": 400}
"""It starts slowly by design: its first steps are of the size of the root of `eps`."""

resolve = partial(steps, steps_per_epoch=10, total=100)


def block_of(name: str, **arguments: Any) -> Any:
    given = MINIMAL.get(name, {"learning_rate": 0.05}) | arguments
    return TypeAdapter(Optimizer).validate_python({"name": name, **given})


def loss(x: Array) -> Array:
    return jnp.sum(jnp.array([1.0, 0.5, 2.0]) * (x - TARGET) ** 2)


def update_of(optimizer: optax.GradientTransformationExtraArgs, state: Any, x: Array) -> tuple[Array, Any]:
    value, gradient = jax.value_and_grad(loss)(x)
    updates, state = optimizer.update(gradient, state, x, value=value, grad=gradient, value_fn=loss)
    return optax.apply_updates(x, updates), state


def train(optimizer: optax.GradientTransformationExtraArgs, x: Array, state: Any, count: int) -> tuple[Array, Any]:
    """As a stage does: members under vmap, steps in a loop whose length is given at run time."""

    @jax.jit
    def run(x: Array, state: Any, count: Array) -> tuple[Array, Any]:
        def step(carry: tuple[Array, Array, Any]) -> tuple[Array, Array, Any]:
            k, x, state = carry
            x, state = jax.vmap(partial(update_of, optimizer))(state, x)
            return k + 1, x, state

        return jax.lax.while_loop(lambda carry: carry[0] < count, step, (jnp.int32(0), x, state))[1:]

    return run(x, state, jnp.int32(count))


def types(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype), leaf.weak_type), tree)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_goes_downhill_for_every_member(name: str) -> None:
    optimizer = build_chain(block_of(name), resolve, "noise")()
    before = initialise(optimizer, STARTS)
    x, after = train(optimizer, STARTS, before, UPDATES.get(name, 60))
    for start, end in zip(STARTS, x, strict=True):
        assert loss(end) < 0.9 * loss(start)
    assert types(after) == types(before)  # a state of another type would compile the stage again


@pytest.mark.parametrize("name", NAMES)
def test_the_state_is_of_plain_numbers(name: str) -> None:
    """Whatever goes into a checkpoint is an array that NumPy knows, of a definite type."""
    for leaf in jax.tree.leaves(initialise(build_chain(block_of(name), resolve, "noise")(), STARTS)):
        assert np.asarray(leaf).dtype.kind in "fiub"
        assert not leaf.weak_type
        assert leaf.shape[0] == len(STARTS)


def test_lbfgs_finds_the_bottom() -> None:
    optimizer = build_chain(block_of("lbfgs"), resolve, "noise")()
    x, _ = train(optimizer, STARTS, initialise(optimizer, STARTS), 15)
    np.testing.assert_allclose(x, jnp.tile(TARGET, (2, 1)), atol=1e-4)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OWN])
def test_updates_are_those_of_optax(name: str) -> None:
    block = block_of(name)
    parameters = block.parameters()
    if "key" in parameters:
        key = jax.random.key(zlib.crc32(f"noise/{parameters['key']}".encode()))
        parameters["key"] = jax.random.fold_in(key, 0)
    own, theirs = build_chain(block, resolve, "noise")(), getattr(optax, name)(**parameters)
    state, their_state = jax.tree.map(lambda leaf: leaf[0], initialise(own, STARTS[:1])), theirs.init(STARTS[0])
    x = their_x = STARTS[1]
    ours_once, theirs_once = (jax.jit(partial(update_of, one)) for one in (own, optax.with_extra_args_support(theirs)))
    for _ in range(3):
        x, state = ours_once(state, x)
        their_x, their_state = theirs_once(their_state, their_x)
    np.testing.assert_allclose(x, their_x, rtol=2e-6, atol=1e-6)


@pytest.mark.long
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["adam", "lion", "lbfgs", "newton", "noisy_sgd"])
def test_in_double_precision_everything_is_double(name: str) -> None:
    optimizer = build_chain(block_of(name), resolve, "noise")()
    starts = jnp.asarray(np.asarray(STARTS), jnp.float64)
    x, state = train(optimizer, starts, initialise(optimizer, starts), 3)
    assert x.dtype == jnp.float64
    assert not any(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state))


def test_every_member_has_noise_of_its_own() -> None:
    optimizer = build_chain(block_of("noisy_sgd"), resolve, "noise")()
    same = jnp.tile(STARTS[:1], (3, 1))
    ends, _ = train(optimizer, same, initialise(optimizer, same), 3)
    assert len({float(end[0]) for end in ends}) == 3
    fewer, _ = train(optimizer, same[:2], initialise(optimizer, same[:2]), 3)
    np.testing.assert_array_equal(fewer, ends[:2])


def test_the_noise_is_that_of_a_named_stream() -> None:
    keys = [initialise(build_chain(block_of("noisy_sgd"), resolve, name)(), STARTS) for name in ("one", "other")]
    assert str(keys[0]) != str(keys[1])


def test_members_are_trained_apart() -> None:
    optimizer = build_chain(block_of("adam"), resolve, "noise")()
    both, _ = train(optimizer, STARTS, initialise(optimizer, STARTS), 10)
    alone, _ = train(optimizer, STARTS[1:], initialise(optimizer, STARTS[1:]), 10)
    np.testing.assert_allclose(both[1], alone[0], rtol=1e-6)


def test_the_gradient_is_clipped_before_the_optimizer_sees_it() -> None:
    optimizer = build_chain(block_of("sgd", learning_rate=1.0, clip_global_norm=0.5), resolve, "noise")()
    state = optimizer.init(jnp.zeros(2))
    long, _ = optimizer.update(jnp.array([3.0, -4.0]), state, jnp.zeros(2))
    short, _ = optimizer.update(jnp.array([0.3, -0.4]), state, jnp.zeros(2))
    np.testing.assert_allclose(long, [-0.3, 0.4], rtol=1e-6)
    np.testing.assert_allclose(short, [-0.3, 0.4], rtol=1e-6)


# Schedules

SCHEDULES: list[tuple[dict[str, Any], optax.Schedule]] = [
    ({"schedule": "constant_schedule", "value": 0.1}, optax.constant_schedule(0.1)),
    (
        {"schedule": "linear_schedule", "init_value": 1.0, "end_value": 0.1, "transition_steps": "50%"},
        optax.linear_schedule(1.0, 0.1, 50),
    ),
    (
        {
            "schedule": "polynomial_schedule",
            "init_value": 1.0,
            "end_value": 0.1,
            "power": 2.0,
            "transition_steps": "3 epochs",
            "transition_begin": 5,
        },
        optax.polynomial_schedule(1.0, 0.1, 2.0, 30, 5),
    ),
    (
        {
            "schedule": "exponential_decay",
            "init_value": 1.0,
            "transition_steps": "1 epochs",
            "decay_rate": 0.7,
            "staircase": True,
            "end_value": 0.2,
        },
        optax.exponential_decay(1.0, 10, 0.7, staircase=True, end_value=0.2),
    ),
    (
        {"schedule": "cosine_decay_schedule", "init_value": 1.0, "decay_steps": "100%", "alpha": 0.1},
        optax.cosine_decay_schedule(1.0, 100, 0.1),
    ),
    (
        {"schedule": "cosine_onecycle_schedule", "transition_steps": "100%", "peak_value": 1.0},
        optax.cosine_onecycle_schedule(100, 1.0),
    ),
    (
        {"schedule": "linear_onecycle_schedule", "transition_steps": "100%", "peak_value": 1.0},
        optax.linear_onecycle_schedule(100, 1.0),
    ),
    (
        {
            "schedule": "piecewise_constant_schedule",
            "init_value": 1.0,
            "boundaries_and_scales": {"20%": 0.5, 70: 0.1},
        },
        optax.piecewise_constant_schedule(1.0, {20: 0.5, 70: 0.1}),
    ),
    (
        {
            "schedule": "piecewise_interpolate_schedule",
            "interpolate_type": "cosine",
            "init_value": 1.0,
            "boundaries_and_scales": {"20%": 0.5, 70: 0.1},
        },
        optax.piecewise_interpolate_schedule("cosine", 1.0, {20: 0.5, 70: 0.1}),
    ),
    (
        {"schedule": "warmup_constant_schedule", "init_value": 0.0, "peak_value": 1.0, "warmup_steps": "10%"},
        optax.warmup_constant_schedule(0.0, 1.0, 10),
    ),
    (
        {
            "schedule": "warmup_cosine_decay_schedule",
            "init_value": 0.0,
            "peak_value": 1.0,
            "warmup_steps": "10%",
            "decay_steps": "100%",
            "end_value": 0.1,
        },
        optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100, 0.1),
    ),
    (
        {
            "schedule": "warmup_exponential_decay_schedule",
            "init_value": 0.0,
            "peak_value": 1.0,
            "warmup_steps": 10,
            "transition_steps": "20%",
            "decay_rate": 0.5,
        },
        optax.warmup_exponential_decay_schedule(0.0, 1.0, 10, 20, 0.5),
    ),
    (
        {
            "schedule": "sgdr_schedule",
            "cosine_kwargs": [
                {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 5, "decay_steps": "50%"},
                {"init_value": 0.0, "peak_value": 0.5, "warmup_steps": 5, "decay_steps": "50%"},
            ],
        },
        optax.sgdr_schedule(
            [
                {"init_value": 0.0, "peak_value": peak, "warmup_steps": 5, "decay_steps": 50, "end_value": 0.0}
                for peak in (1.0, 0.5)
            ]
        ),
    ),
    (
        {
            "schedule": "join_schedules",
            "schedules": [
                {"schedule": "linear_schedule", "init_value": 0.0, "end_value": 1.0, "transition_steps": "20%"},
                {"schedule": "cosine_decay_schedule", "init_value": 1.0, "decay_steps": "80%"},
            ],
            "boundaries": ["20%"],
        },
        optax.join_schedules([optax.linear_schedule(0.0, 1.0, 20), optax.cosine_decay_schedule(1.0, 80)], [20]),
    ),
]


@pytest.mark.parametrize(("given", "theirs"), SCHEDULES, ids=[given["schedule"] for given, _ in SCHEDULES])
def test_schedules_are_those_of_optax(given: dict[str, Any], theirs: optax.Schedule) -> None:
    ours = build_schedule(TypeAdapter(Schedule).validate_python(given), resolve)
    at = jnp.array([0, 1, 7, 19, 20, 21, 50, 75, 99, 100, 150])
    np.testing.assert_allclose(jax.jit(jax.vmap(ours))(at), jax.jit(jax.vmap(theirs))(at), rtol=1e-6)


@pytest.mark.parametrize("power", [0.5, 0.9, 1.5])
def test_a_power_of_what_is_left_is_a_number_after_the_end_too(power: float) -> None:
    """Where optax's own is not: compiled, the share that is left is a little below 0 for some lengths."""
    for steps_of_it in (30, 158, 224, 255):
        given = {"schedule": "polynomial_schedule", "init_value": 1.0, "end_value": 0.1, "power": power}
        block = TypeAdapter(Schedule).validate_python(given | {"transition_steps": steps_of_it, "transition_begin": 5})
        rates = jax.jit(jax.vmap(build_schedule(block, resolve)))(jnp.arange(steps_of_it + 20))
        shares = 1 - np.clip(np.arange(steps_of_it + 20) - 5, 0, steps_of_it) / steps_of_it
        np.testing.assert_allclose(rates, 0.1 + 0.9 * shares**power, rtol=1e-5)


def test_every_schedule_is_compared() -> None:
    listed = {tag[1] for block in get_args(get_args(Schedule)[0]) if (tag := tag_of(block))}
    assert {given["schedule"] for given, _ in SCHEDULES} == listed


@pytest.mark.parametrize("given", [SCHEDULES[4][0], SCHEDULES[13][0]], ids=["cosine", "joined"])
def test_a_schedule_trains_like_the_numbers_it_gives(given: dict[str, Any]) -> None:
    scheduled = build_chain(block_of("sgd", learning_rate=given), resolve, "noise")()
    state, x = scheduled.init(STARTS[1]), STARTS[1]
    by_hand, rates = np.asarray(x, float), [SCHEDULES[4][1], SCHEDULES[13][1]][given["schedule"] == "join_schedules"]
    for k in range(4):
        by_hand = by_hand - float(rates(k)) * np.asarray(jax.grad(loss)(jnp.asarray(by_hand)))
        x, state = update_of(scheduled, state, x)
    np.testing.assert_allclose(x, by_hand, rtol=1e-4)


# The learning rate that is reported


@pytest.mark.parametrize("clip", [None, 1.0])
def test_the_rate_of_the_last_update_is_reported(clip: float | None) -> None:
    given = {"schedule": "linear_schedule", "init_value": 0.1, "end_value": 0.0, "transition_steps": 10}
    optimizer = build_chain(block_of("adam", learning_rate=given, clip_global_norm=clip), resolve, "noise")()
    x, state = train(optimizer, STARTS, initialise(optimizer, STARTS), 1)
    np.testing.assert_allclose(learning_rate(state), [0.1, 0.1], rtol=1e-6)
    _, state = train(optimizer, x, state, 3)
    np.testing.assert_allclose(learning_rate(state), [0.07, 0.07], rtol=1e-6)


def test_a_constant_rate_is_reported() -> None:
    optimizer = build_chain(block_of("lion", learning_rate=0.25), resolve, "noise")()
    np.testing.assert_array_equal(learning_rate(initialise(optimizer, STARTS)), [0.25, 0.25])


@pytest.mark.parametrize("name", ["lbfgs", "newton"])
def test_the_rate_of_a_line_search_is_its_step(name: str) -> None:
    optimizer = build_chain(block_of(name), resolve, "noise")()
    _, state = train(optimizer, STARTS, initialise(optimizer, STARTS), 2)
    rate = learning_rate(state)
    assert rate is not None
    assert rate.shape == (2,)
    assert bool(jnp.all(rate > 0))


def test_an_optimizer_that_sizes_its_own_steps_has_no_rate() -> None:
    assert learning_rate(initialise(build_chain(block_of("rprop"), resolve, "noise")(), STARTS)) is None


def test_the_rate_is_an_array_of_the_state_and_can_be_replaced() -> None:
    """Not a constant of the program: another rate needs no other program."""
    optimizer = build_chain(block_of("sgd", learning_rate=0.1), resolve, "noise")()
    state = initialise(optimizer, STARTS)
    state.hyperparams["learning_rate"] = jnp.array([0.0, 0.1])
    x, _ = train(optimizer, STARTS, state, 1)
    np.testing.assert_array_equal(x[0], STARTS[0])
    assert not np.array_equal(x[1], STARTS[1])
