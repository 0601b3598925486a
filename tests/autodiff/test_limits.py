"""The gradient limit clips what goes backward, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array

from optim.autodiff import Labelled, limit_gradient

START = (1.0, 3.0, 2.0, 1.5)  # butter, eggs, flour, sugar
PLAIN = (-0.1525816, -0.91666603, -0.66476905, 8.810353)
BUTTER_LIMITED = (-0.1, -0.91666603, -0.66476905, 8.810353)
BUTTER = (0.1, np.inf, np.inf, np.inf)


def deliciousness(recipe: Array) -> Array:
    butter, eggs, flour, sugar = recipe
    sweetness = 10 * jnp.log(1 + sugar) + 0.1 * butter - 0.2 * flour
    fluffiness = 5 * eggs / 3 - 0.5 * (flour - 2) ** 2 + 0.2 * butter
    cost = 0.5 * (sugar**1.1 + flour**0.9 + butter**1.2 + eggs)
    return -((sweetness - 10) ** 2) - (fluffiness - 5) ** 2 - 0.5 * cost


def limited(recipe: Array, limit: object = BUTTER, tally: Array | None = None) -> Array:
    return deliciousness(limit_gradient(recipe, jnp.asarray(limit), tally))


gradient_of = jax.jit(jax.grad(limited))


def test_without_a_limit_the_gradient_is_the_printed_one() -> None:
    gradient = gradient_of(jnp.array(START), np.full(4, np.inf))
    np.testing.assert_allclose(gradient, PLAIN, rtol=2e-6)


def test_the_butter_component_is_clipped_and_the_others_are_not() -> None:
    gradient = gradient_of(jnp.array(START), np.array(BUTTER))
    np.testing.assert_allclose(gradient, BUTTER_LIMITED, rtol=2e-6)
    assert gradient[0] == np.float32(-0.1)


@pytest.mark.usefixtures("float64")
def test_it_works_in_double_precision() -> None:
    gradient = gradient_of(jnp.array(START), np.array(BUTTER))
    assert gradient.dtype == jnp.float64
    assert gradient[0] == -0.1
    np.testing.assert_allclose(gradient, BUTTER_LIMITED, rtol=2e-6)


def test_the_value_is_unchanged() -> None:
    recipe = jnp.array([1e-30, -3.0, 2e30, 1.5])
    assert jnp.array_equal(limit_gradient(recipe, 1e-9), recipe)


def test_a_scalar_limits_every_component() -> None:
    gradient = jax.grad(lambda x: limit_gradient(x, 2.0) @ jnp.array([-5.0, 1.0, 3.0]))(jnp.zeros(3))
    np.testing.assert_array_equal(gradient, [-2.0, 1.0, 2.0])


def test_an_array_of_limits_broadcasts() -> None:
    slopes = jnp.array([[4.0, -4.0], [1.0, 4.0]])
    gradient = jax.grad(lambda x: jnp.sum(limit_gradient(x, jnp.array([3.0, 2.0])) * slopes))(jnp.zeros((2, 2)))
    np.testing.assert_array_equal(gradient, [[3.0, -2.0], [1.0, 2.0]])


def test_a_tree_takes_one_limit_or_a_tree_of_them() -> None:
    tree = {"cream": jnp.zeros(2), "salt": jnp.zeros(())}

    def loss(tree: dict[str, Array], limit: object) -> Array:
        held = limit_gradient(tree, limit)
        return jnp.sum(9.0 * held["cream"]) - 9.0 * held["salt"]

    one = jax.grad(loss)(tree, 4.0)
    np.testing.assert_array_equal(one["cream"], [4.0, 4.0])
    assert one["salt"] == -4.0
    several = jax.grad(loss)(tree, {"cream": jnp.array([1.0, np.inf]), "salt": 2.0})
    np.testing.assert_array_equal(several["cream"], [1.0, 9.0])
    assert several["salt"] == -2.0


def test_limits_for_other_names_are_refused() -> None:
    with pytest.raises(ValueError, match="salt"):
        limit_gradient({"cream": jnp.zeros(2)}, {"salt": 1.0})


def test_under_vmap_each_row_is_limited_by_itself() -> None:
    recipes = jnp.stack([jnp.array(START), jnp.array(START).at[0].set(0.9)])
    batched = jax.jit(jax.vmap(jax.grad(limited)))(recipes)
    for row, recipe in zip(batched, recipes, strict=True):
        np.testing.assert_allclose(row, gradient_of(recipe, np.array(BUTTER)), rtol=1e-6)


def test_under_vmap_limits_can_differ() -> None:
    gradients = jax.jit(jax.vmap(jax.grad(limited), in_axes=(None, 0)))(jnp.array(START), jnp.array([0.05, 0.1, 1.0]))
    np.testing.assert_allclose(gradients[:, 0], [-0.05, -0.1, -0.1525816], rtol=2e-6)


def test_inside_scan_every_step_is_limited() -> None:
    def descend(recipe: Array, _: None) -> tuple[Array, Array]:
        gradient = jax.grad(limited)(recipe)
        return recipe + 0.01 * gradient, gradient

    _, gradients = jax.jit(lambda recipe: jax.lax.scan(descend, recipe, length=5))(jnp.array(START))
    assert bool(jnp.all(jnp.abs(gradients[:, 0]) <= 0.1))
    np.testing.assert_allclose(gradients[0], BUTTER_LIMITED, rtol=2e-6)


def test_the_gradient_through_a_scan_is_limited_at_every_use() -> None:
    def loss(x: Array) -> Array:
        total, _ = jax.lax.scan(lambda sum_, slope: (sum_ + slope * limit_gradient(x, 2.0), None), 0.0, SLOPES)
        return total

    assert jax.grad(loss)(jnp.array(1.0)) == 1.0 + 2.0 + 2.0 - 2.0


# Named limits, below, are tested so by default.
EAGER = pytest.param(lambda f: f, marks=pytest.mark.long)
SLOPES = jnp.array([1.0, 3.0, 4.0, -5.0])


def test_what_follows_the_limit_is_still_differentiated() -> None:
    """Through a transform of the parameters: the limit acts on the amounts, the chain rule goes on."""
    gradient = jax.jit(jax.grad(lambda z: limited(jnp.exp(z))))(jnp.log(jnp.array(START)))
    np.testing.assert_allclose(gradient, np.array(BUTTER_LIMITED) * START, rtol=2e-5)


@pytest.mark.parametrize("transform", [EAGER, jax.jit], ids=["eager", "jit"])
def test_the_tally_counts_what_was_clipped(transform: Callable[..., Callable[..., Array]]) -> None:
    tally = transform(jax.grad(limited, argnums=2))(jnp.array(START), jnp.array([0.1, 0.9, 0.9, 9.0]), jnp.zeros(4))
    np.testing.assert_array_equal(tally, [1.0, 1.0, 0.0, 0.0])


def test_the_tally_adds_up_over_steps_and_rows() -> None:
    def loss(tally: Array, x: Array) -> Array:
        total, _ = jax.lax.scan(lambda sum_, slope: (sum_ + slope * limit_gradient(x, 2.0, tally), None), 0.0, SLOPES)
        return total

    assert jax.grad(loss)(jnp.zeros(()), jnp.array(1.0)) == 3.0
    rows = jax.grad(lambda tally: jnp.sum(jax.vmap(loss, in_axes=(None, 0))(tally, jnp.ones(5))))(jnp.zeros(()))
    assert rows == 15.0


def test_a_gradient_just_at_the_limit_is_not_counted() -> None:
    _, pull_back = jax.vjp(lambda x, tally: limit_gradient(x, 2.0, tally), jnp.zeros(2), jnp.zeros(2))
    gradient, tally = pull_back(jnp.array([2.0, -2.0]))
    np.testing.assert_array_equal(gradient, [2.0, -2.0])
    np.testing.assert_array_equal(tally, [0.0, 0.0])


def test_nan_is_not_hidden_and_an_infinite_gradient_is_clipped() -> None:
    _, pull_back = jax.vjp(lambda x, tally: limit_gradient(x, 2.0, tally), jnp.zeros(3), jnp.zeros(3))
    gradient, tally = pull_back(jnp.array([np.nan, np.inf, -np.inf]))
    np.testing.assert_array_equal(gradient, [np.nan, 2.0, -2.0])
    np.testing.assert_array_equal(tally, [0.0, 1.0, 1.0])


def test_a_limit_of_zero_holds_a_component() -> None:
    gradient = gradient_of(jnp.array(START), np.array([np.inf, 0.0, np.inf, np.inf]))
    assert gradient[1] == 0.0
    assert gradient[3] > 8.0


def test_limits_may_name_some_entries_of_a_mapping() -> None:
    tree = {"cream": {"fresh": jnp.zeros(2), "sour": jnp.zeros(())}, "salt": jnp.zeros(()), "milk": jnp.zeros(3)}
    limits = {"cream": {"sour": 2.0}, "milk": jnp.array([1.0, 5.0, np.inf])}
    _, pull_back = jax.vjp(lambda tree: limit_gradient(tree, limits), tree)
    (gradient,) = pull_back(jax.tree.map(lambda leaf: jnp.full_like(leaf, 9.0), tree))
    expected = {"cream": {"fresh": [9.0, 9.0], "sour": 2.0}, "salt": 9.0, "milk": [1.0, 5.0, 9.0]}
    assert jax.tree.map(lambda leaf: leaf.tolist(), gradient) == expected


def test_named_limits_count_in_their_own_tally() -> None:
    tree = {"butter": jnp.ones(()), "sugar": jnp.ones(())}
    tally = jax.grad(
        lambda tally: sum(jax.tree.leaves(limit_gradient(tree, {"butter": 0.5}, tally))),
    )(jax.tree.map(jnp.zeros_like, tree))
    assert (tally["butter"], tally["sugar"]) == (1.0, 0.0)


def in_rows(f: Callable[..., object]) -> Callable[..., dict[str, Array]]:
    return jax.jit(jax.vmap(f))


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, in_rows], ids=["eager", "jit", "rows"])
def test_named_limits_act_through_a_transform_of_the_parameters(
    transform: Callable[[Callable[..., object]], Callable[..., dict[str, Array]]],
) -> None:
    def score(logarithms: dict[str, Array]) -> Array:
        amounts = limit_gradient(jax.tree.map(jnp.exp, logarithms), {"butter": 0.1})
        return deliciousness(jnp.stack([amounts[name] for name in ("butter", "eggs", "flour", "sugar")]))

    logarithms = dict(zip(("butter", "eggs", "flour", "sugar"), jnp.log(jnp.array([START, START])).T, strict=True))
    if transform is not in_rows:
        logarithms = {name: pair[0] for name, pair in logarithms.items()}
    gradient = transform(jax.grad(score))(logarithms)
    for name, slope, amount in zip(("butter", "eggs", "flour", "sugar"), BUTTER_LIMITED, START, strict=True):
        np.testing.assert_allclose(gradient[name], slope * amount, rtol=2e-5)


@pytest.mark.parametrize("wrong", [-0.1, np.nan, np.array([1.0, -2.0, 1.0, 1.0]), jnp.array(np.nan)], ids=str)
def test_a_limit_that_is_negative_or_nan_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="it must be 0 or greater"):
        limit_gradient(jnp.array(START), wrong)
    with pytest.raises(ValueError, match="it must be 0 or greater"):
        jax.jit(lambda x: limit_gradient(x, wrong))(jnp.array(START))


def test_a_name_that_does_not_exist_is_refused_with_the_nearest() -> None:
    tree = {"butter": jnp.zeros(()), "sugar": jnp.zeros(())}
    with pytest.raises(ValueError, match=r"unknown name `buter`; did you mean `butter`\?"):
        limit_gradient(tree, {"buter": 0.1})
    with pytest.raises(ValueError, match=r"\['butter'\], but what they limit has no names"):
        limit_gradient(jnp.zeros(2), {"butter": 0.1})


def named(values: Array) -> Labelled:
    return Labelled.vector(("butter", "eggs", "flour", "sugar"), values)


@pytest.mark.parametrize("transform", [EAGER, jax.jit], ids=["eager", "jit"])
def test_the_entries_of_a_labelled_vector_are_limited_by_name(transform: Callable[..., Callable[..., object]]) -> None:
    def score(recipe: Labelled, limit: Array, tally: Labelled) -> Array:
        held = limit_gradient(recipe, {"butter": limit}, tally)
        assert held.labels == recipe.labels
        return deliciousness(held.values)

    start = named(jnp.array(START))
    gradient, tally = transform(jax.grad(score, argnums=(0, 2)))(start, jnp.array(0.1), named(jnp.zeros(4)))
    np.testing.assert_allclose(gradient.values, BUTTER_LIMITED, rtol=2e-6)
    np.testing.assert_array_equal(tally.values, [1.0, 0.0, 0.0, 0.0])


def test_a_labelled_vector_may_stand_in_a_tree_and_have_axes_in_front() -> None:
    cakes = {"cake": Labelled(jnp.ones((2, 4)), (("butter", "eggs", "flour", "sugar"),)), "salt": jnp.ones(())}
    limits = {"cake": {"sugar": 2.0, "butter": 3}}
    _, pull_back = jax.vjp(lambda tree: limit_gradient(tree, limits), cakes)
    (gradient,) = pull_back(jax.tree.map(lambda leaf: jnp.full_like(leaf, 9.0), cakes))
    np.testing.assert_array_equal(gradient["cake"].values, [[3.0, 9.0, 9.0, 2.0]] * 2)
    assert gradient["salt"] == 9.0


TREE = {"cake": named(np.ones(4, np.float32)), "salt": np.ones(2, np.float32)}


@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        ({"cake": {"buter": 0.1}}, ValueError, "limit for `cake`: unknown name `buter`; did you mean `butter`?"),
        ({"cake": {"butter": -0.1}}, ValueError, "limit for `cake.butter` is -0.1: it must be 0 or greater"),
        ({"cake": {"butter": None}}, ValueError, "limit for `cake.butter` is None: it must be a number"),
        ({"cake": {"butter": [1.0]}}, ValueError, r"limit for `cake.butter` is \[1.0\]: it must be a number"),
        ({"cake": {"butter": np.ones(3)}}, ValueError, r"limit for `cake.butter` has shape \(3,\), .* the shape \(\)"),
        ({"salt": np.ones(3)}, ValueError, r"limit for `salt` has shape \(3,\), .* broadcast to the shape \(2,\)"),
        ({"salt": np.ones((1, 2))}, ValueError, r"limit for `salt` has shape \(1, 2\), .* to the shape \(2,\)"),
        ({"salt": "0.1"}, TypeError, "limit for `salt` is '0.1': it must be a real number"),
        ({"salt": 1j}, TypeError, "limit for `salt` is 1j: it must be a real number"),
        ({"salt": True}, TypeError, "limit for `salt` is True: it must be a real number"),
        (None, ValueError, r"limit is None: it must be a number, .* structure of what it limits, {cake: Labelled\("),
        ([1.0, 2.0], ValueError, r"limit is \[1.0, 2.0\]: .* or a tree with the structure of what it limits"),
    ],
)
def test_a_limit_that_does_not_fit_is_refused_with_its_place(
    limit: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        limit_gradient(TREE, limit)


def test_the_place_of_a_wrong_limit_in_a_tree_of_limits_is_told() -> None:
    with pytest.raises(ValueError, match=r"limit for `1` is -2\.0: it must be 0 or greater"):
        limit_gradient([jnp.ones(2), jnp.ones(3)], [1.0, -2.0])
    with pytest.raises(ValueError, match=r"the structure and shapes of `x`, float32\[2\]: it is float32\[3\]"):
        limit_gradient(jnp.ones(2), 1.0, jnp.ones(3))


@pytest.mark.parametrize("wrong", [-1.0, np.nan])
def test_a_limit_that_turns_out_negative_or_nan_gives_nan_and_no_gradient_of_the_other_sign(wrong: float) -> None:
    gradient = gradient_of(jnp.array(START), np.array([wrong, np.inf, 1.0, 1.0]))
    np.testing.assert_allclose(gradient, [np.nan, PLAIN[1], PLAIN[2], 1.0], rtol=2e-6)


@jax.jit
def pulled_back(x: Array, limit: Array, tally: Array, cotangent: Array) -> tuple[Array, Array, Array]:
    value, pull_back = jax.vjp(lambda x, tally: limit_gradient(x, limit, tally), x, tally)
    return value, *pull_back(cotangent)


# Compiled programs take subnormal numbers for 0.
WIDE = st.floats(width=32, allow_subnormal=False) | st.sampled_from([0.0, np.inf, -np.inf, np.nan, 1.0, -1.0])


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from([((), np.float64), ((3,), np.float32), ((2, 3), np.float64)]),
    numbers=st.lists(WIDE, min_size=12, max_size=12),
    limits=st.lists(WIDE, min_size=3, max_size=3),
)
def test_what_goes_backward_is_what_numpy_clips(
    kind: tuple[tuple[int, ...], type[np.floating]], numbers: list[float], limits: list[float]
) -> None:
    shape, dtype = kind
    size = int(np.prod(shape))
    x, cotangent = (np.array(part, dtype).reshape(shape) for part in (numbers[:size], numbers[6 : 6 + size]))
    limit = np.array(limits if shape else limits[0], dtype)
    with jax.enable_x64(True):
        value, gradient, tally = pulled_back(x, limit, np.zeros(shape, dtype), cotangent)
    assert value.dtype == gradient.dtype == tally.dtype == dtype
    np.testing.assert_array_equal(value, x)
    sensible, bound = limit >= 0, np.where(limit >= 0, limit, 0)
    clipped = np.minimum(np.maximum(cotangent, -bound), bound)
    np.testing.assert_array_equal(gradient, np.where(sensible, clipped, np.nan))
    np.testing.assert_array_equal(tally, np.abs(cotangent) > limit)


@pytest.mark.parametrize("x", [jnp.arange(3), jnp.ones(2, bool), jnp.ones((), complex), 2], ids=str)
def test_only_real_floating_numbers_are_accepted(x: object) -> None:
    with pytest.raises(TypeError, match=r"for real floating numbers only, not for (int32|bool|complex64)"):
        limit_gradient({"cream": x}, 1.0)


def test_a_limit_does_not_change_the_precision() -> None:
    with jax.enable_x64(True):
        for dtype in (jnp.float32, jnp.float64):
            value, gradient = jax.value_and_grad(lambda x: 3.0 * limit_gradient(x, np.float64(0.5)))(dtype(1.0))
            assert value.dtype == gradient.dtype == dtype
            assert gradient == 0.5


def test_it_is_compiled_once_for_all_limits() -> None:
    traces = []

    @jax.jit
    def gradient(recipe: Array, limit: Array) -> Array:
        traces.append(limit)
        return jax.grad(limited)(recipe, limit)

    slopes = [gradient(jnp.array(START), jnp.full(4, limit))[0] for limit in (0.05, 0.1, 1.0)]
    np.testing.assert_allclose(slopes, [-0.05, -0.1, -0.1525816], rtol=2e-6)
    assert len(traces) == 1
