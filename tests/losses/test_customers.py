"""Each customer's own gradient, and their mean clipped by customer, against plain NumPy and the printed figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from optim.config import schema
from optim.config.schema import Aggregate
from optim.data.panel import Panel
from optim.losses import customers
from optim.losses.audience import Audience
from optim.losses.cake import CakeObjective
from optim.losses.customers import CustomerGradients, customer_gradients
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import Objective, Parameters, batch_loss
from optim.losses.scores import build_score
from optim.models.cake import Cake
from optim.models.functional import Functional

from .conftest import AGGREGATES, MOSTLY, START, model_of, panel_of, space_of, swept

RAGGED = (3, 0, 5, 1, 2, 4, 1)
PRINTED = np.array(
    [
        [-0.12741832, 0, 0.25483665, -5.096733],
        [-0.22741833, 0, 0.45483667, -9.096733],
        [-0.32741833, 0, 0.65483665, -13.096733],
        [-0.18741837, 0, 0.37483674, -7.4967346],
    ]
)
"""The recipe's gradient for customers whose sweetness targets are 9.5, 10, 10.5 and 9.8."""
Doubles = NDArray[np.float64]


def cake(targets: Sequence[float]) -> tuple[CakeObjective, Parameters, Parameters]:
    """Customers with their own target of sweetness; the objective, all parameters and the starting recipe."""
    model, parameters = model_of(None, ("butter", "eggs", "flour", "sugar"), properties={"kind": "bakery"})
    block = schema.DeliciousnessScore.model_validate(
        {"kind": "deliciousness", "targets": {"sweetness": {"column": "wish"}}, "cost_weight": 0}
    )
    count = len(targets)
    names = tuple(f"c{k}" for k in range(count))
    audience = Audience(np.zeros(count, int), {"wish": np.array(targets, float)}, np.ones(count), names)
    objective = CakeObjective(
        space_of(), model, Functional.split(Cake(jnp.zeros(4)))[0], build_score(block), audience, "mean_customers"
    )
    return objective, parameters, {"cake": {"amounts": jnp.asarray(START)}}


def fit(panel: Panel, aggregate: Aggregate = "sum", **more: Any) -> tuple[PanelObjective, Parameters, Parameters]:
    """A linear utility with weights that are not zero; the objective, all parameters and the trained ones."""
    model, parameters = model_of(panel, panel.ingredients, utility={"kind": "linear"})
    utility = {"weights": jnp.array([[0.5, -1.0, 0.8]]), "bias": jnp.array([-0.2])}
    parameters = {"model": {**parameters["model"], "utility": utility}}
    objective = PanelObjective(panel, np.zeros(len(panel.customers), int), model, ("utility",), None, aggregate, **more)
    return objective, parameters, {"model": {"utility": utility}}


def found(
    built: tuple[Objective, Parameters, Parameters], clip_norm: float | None = None, **more: Any
) -> CustomerGradients:
    objective, parameters, trained = built
    constants = objective.constants(parameters)
    run = lambda trained, constants: customer_gradients(objective, trained, constants, clip_norm=clip_norm, **more)
    return jax.jit(run)(trained, constants)


def of_responses(objective: PanelObjective, parameters: Parameters) -> tuple[Doubles, NDArray[np.bool_]]:
    """Gradient of each response's loss for the bias and the weights, by the formula; and which responses count."""
    panel, module = objective.panel, objective.model(parameters["model"])
    features = (panel.amounts - np.asarray(module.center[...])) / np.asarray(module.scale[...])
    rows = np.column_stack([np.ones(len(panel.recipe)), features[panel.recipe]])
    utility = rows @ np.concatenate([[-0.2], [0.5, -1.0, 0.8]])
    slopes = 1 / (1 + np.exp(-utility)) - panel.like
    return slopes[:, None] * rows, panel.held_out == objective.held_out


def by_hand(
    objective: PanelObjective, parameters: Parameters, clip_norm: float = np.inf
) -> tuple[Doubles, Doubles, float]:
    """Each customer's gradient, the mean of the clipped ones and the share of those, in plain loops."""
    rows, counted = of_responses(objective, parameters)
    gradients, counts = [], []
    for first, last in zip(objective.panel.offsets[:-1], objective.panel.offsets[1:], strict=True):
        own = rows[first:last][counted[first:last]]
        count = len(own) if objective.aggregate == "mean_customers" else 1
        gradients.append(own.sum(axis=0) / max(count, 1))
        counts.append(len(own))
    clipped = [gradient * min(1, clip_norm / max(np.linalg.norm(gradient), 1e-300)) for gradient in gradients]
    divisor = {"sum": 1, "mean_responses": sum(counts), "mean_customers": np.count_nonzero(counts)}
    share = np.mean([np.linalg.norm(gradient) > clip_norm for gradient in gradients])
    return np.array(gradients), np.sum(clipped, axis=0) / divisor[objective.aggregate], float(share)


def vector(mean: Parameters) -> np.ndarray:
    utility = mean["model"]["utility"]
    return np.concatenate([np.ravel(utility["bias"]), np.ravel(utility["weights"])])


@pytest.mark.parametrize("times", [1, 5])
def test_the_printed_gradients_of_four_customers(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of each of them five times, in overlapping blocks: then there are more customers than properties."""
    monkeypatch.setattr(customers, "RESPONSES", 8)
    result = found(cake([9.5, 10.0, 10.5, 9.8] * times), clip_norm=8.0)
    np.testing.assert_allclose(result.gradients, np.tile(PRINTED, (times, 1)), rtol=2e-5, atol=1e-6)
    norms = np.linalg.norm(PRINTED, axis=1)
    np.testing.assert_allclose(result.norms, np.tile(norms, times), rtol=2e-5)
    mean = np.mean(PRINTED * np.minimum(1, 8.0 / norms)[:, None], axis=0)
    np.testing.assert_allclose(result.mean["cake"]["amounts"], mean, rtol=2e-5, atol=1e-6)
    assert result.clipped_share == 0.5
    misses = 8.862908 - np.array([9.5, 10.0, 10.5, 9.8])
    assert float(result.loss) == pytest.approx(np.mean(misses**2), rel=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("aggregate", "held_out"),
    swept(AGGREGATES, (False, True), by_default=[("sum", False), ("mean_responses", True), ("mean_customers", False)]),
)
def test_customers_with_unequal_numbers_of_responses_in_blocks(
    aggregate: Aggregate, held_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of two of seven customers: the last one overlaps. One has no response, others none that counts."""
    monkeypatch.setattr(customers, "RESPONSES", 10)
    kept_out = np.zeros(16, bool)
    kept_out[[1, 4, 6, 8, 9, 11, 13]] = True
    built = fit(replace(panel_of(RAGGED), held_out=kept_out), aggregate, held_out=held_out)
    gradients, mean, share = by_hand(*built[:2], clip_norm=0.4)
    assert 0 < share < 1
    assert np.count_nonzero(np.linalg.norm(gradients, axis=1) == 0) == 2
    result = found(built, clip_norm=0.4)
    np.testing.assert_allclose(result.gradients, gradients, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(result.norms, np.linalg.norm(gradients, axis=1), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(vector(result.mean), mean, rtol=1e-12)
    assert float(result.clipped_share) == pytest.approx(share)


@pytest.mark.parametrize("aggregate", MOSTLY)
def test_without_a_limit_it_is_the_gradient_of_the_loss(aggregate: Aggregate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customers, "RESPONSES", 10)
    objective, parameters, trained = built = fit(panel_of(RAGGED), aggregate)
    constants = objective.constants(parameters)
    whole = jax.jit(jax.value_and_grad(lambda t: batch_loss(objective, t, objective.everyone(constants), constants)))
    loss, gradient = whole(trained)
    limited = jax.jit(lambda limit: customer_gradients(objective, trained, constants, clip_norm=limit))
    for limit, result in ((None, found(built)), (np.inf, limited(np.inf)), (1e3, limited(1e3))):
        assert float(result.loss) == pytest.approx(float(loss), rel=1e-6)
        np.testing.assert_allclose(vector(result.mean), vector(gradient), rtol=1e-5, atol=1e-7)
        assert np.isnan(result.clipped_share) if limit is None else result.clipped_share == 0


@pytest.mark.usefixtures("float64")
def test_a_customer_is_clipped_as_a_whole_and_not_response_by_response() -> None:
    objective, parameters, _ = built = fit(panel_of((6, 3, 1)))
    rows, _ = of_responses(objective, parameters)
    each = rows * np.minimum(1, 0.5 / np.linalg.norm(rows, axis=1))[:, None]
    result = found(built, clip_norm=0.5)
    np.testing.assert_allclose(vector(result.mean), by_hand(objective, parameters, 0.5)[1], rtol=1e-12)
    assert np.linalg.norm(vector(result.mean)) <= 3 * 0.5
    assert np.linalg.norm(vector(result.mean) - each.sum(axis=0)) > 0.1


def test_a_limit_of_zero_leaves_nothing_and_a_gradient_of_zero_stays() -> None:
    result = found(fit(panel_of(RAGGED)), clip_norm=0.0)
    np.testing.assert_array_equal(vector(result.mean), np.zeros(4))
    assert result.norms[1] == 0.0  # no response
    assert float(result.clipped_share) == pytest.approx(6 / 7)


def test_one_customer_who_is_not_finite_shows_and_can_be_masked() -> None:
    built = cake([9.5, np.nan, 10.5, 9.8])
    result = found(built, clip_norm=8.0)
    np.testing.assert_array_equal(np.isnan(result.norms), [False, True, False, False])
    assert np.isnan(result.mean["cake"]["amounts"]).all()
    masked = found(built, clip_norm=8.0, mask=jnp.array([True, False, True, True]))
    np.testing.assert_array_equal(masked.gradients[1], np.zeros(4))
    assert np.isfinite(masked.mean["cake"]["amounts"]).all()
    assert np.isfinite(masked.loss)


def test_a_norm_beyond_the_type_is_not_clipped_to_nothing() -> None:
    """The gradient's square overflows: scaled by limit / inf = 0, the customer would vanish from the mean."""
    built = cake([9.5, 1e25])
    assert np.isnan(found(built, clip_norm=8.0).mean["cake"]["amounts"][3])
    unlimited = found(built)
    assert np.isinf(unlimited.norms[1])
    assert np.isfinite(unlimited.mean["cake"]["amounts"]).all()


def test_some_customers_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customers, "RESPONSES", 10)
    objective, parameters, _ = built = fit(panel_of(RAGGED), "mean_customers")
    index, mask = jnp.array([4, 0, 1, 2, 0], jnp.int32), jnp.array([True, False, True, True, True])
    result = found(built, 0.3, index=index, mask=mask)
    gradients = by_hand(objective, parameters)[0][np.asarray(index)] * np.asarray(mask)[:, None]
    np.testing.assert_allclose(result.gradients, gradients, rtol=1e-5, atol=1e-7)
    norms = np.linalg.norm(gradients, axis=1)
    clipped = gradients * np.minimum(1, 0.3 / np.maximum(norms, 1e-30))[:, None]
    np.testing.assert_allclose(vector(result.mean), clipped.sum(axis=0) / 3, rtol=1e-5)  # customer 1 has no response
    assert float(result.clipped_share) == pytest.approx(np.sum(norms > 0.3) / 4)
    least = found(built, 0.3, index=index, mask=mask, keep_gradients=False)
    assert least.gradients is None
    np.testing.assert_array_equal(least.norms, result.norms)
    np.testing.assert_array_equal(vector(least.mean), vector(result.mean))


PANELS: dict[tuple[int, ...], Aggregate] = {
    RAGGED: "sum",
    (0, 7, 1, 1): "mean_customers",
    (2, 2, 2): "mean_responses",
}
Compiled = Callable[[Any, Any, Any], CustomerGradients]


@cache
def prepared(lengths: tuple[int, ...]) -> tuple[Compiled, Doubles, Doubles]:
    """Gradients for a limit, an index and a mask; each customer's gradient by hand, and their numbers of responses."""
    objective, parameters, trained = fit(panel_of(lengths, seed=1), PANELS[lengths])
    constants = objective.constants(parameters)
    run = lambda limit, index, mask: customer_gradients(
        objective, trained, constants, clip_norm=limit, index=index, mask=mask
    )
    return jax.jit(run), by_hand(objective, parameters)[0], np.array(lengths, float)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.sampled_from(list(PANELS)),
    clip_norm=st.floats(0, 3) | st.sampled_from([0.0, 1e-30, 1e30, np.inf]),
    seed=st.integers(0, 2**16),
)
def test_any_customers_with_any_limit_are_clipped_as_by_numpy(
    lengths: tuple[int, ...], clip_norm: float, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    index, mask = draw.integers(0, len(lengths), 6).astype(np.int32), draw.random(6) < 0.7
    with jax.enable_x64(True):
        run, gradients, counts = prepared(lengths)
        result = run(jnp.float64(clip_norm), jnp.asarray(index), jnp.asarray(mask))
    gradients, counts = gradients[index] * mask[:, None], counts[index] * mask
    norms = np.linalg.norm(gradients, axis=1)
    clipped = gradients * np.minimum(1, clip_norm / np.where(norms > 0, norms, 1.0))[:, None]
    divisors = {"sum": 1.0, "mean_responses": counts.sum(), "mean_customers": np.count_nonzero(counts)}
    mean = clipped.sum(axis=0) / max(divisors[PANELS[lengths]], 1)
    np.testing.assert_allclose(result.gradients, gradients, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(result.norms, norms, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(vector(result.mean), mean, rtol=1e-11, atol=1e-14 * min(1, clip_norm) + 1e-300)
    share = np.sum(norms > clip_norm) / mask.sum() if mask.any() else np.nan
    np.testing.assert_allclose(result.clipped_share, share, rtol=1e-12)


def test_members_side_by_side() -> None:
    objective, parameters, trained = fit(panel_of(RAGGED))
    constants = objective.constants(parameters)
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), trained)
    one = jax.jit(lambda trained: customer_gradients(objective, trained, constants, clip_norm=0.7))
    together = jax.vmap(one)(both)
    apart = [one(jax.tree.map(lambda leaf, k=k: leaf[k], both)) for k in range(2)]
    for k in range(2):
        same = jax.tree.map(lambda leaf, k=k: leaf[k], together)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), same, apart[k])


@pytest.mark.usefixtures("float64")
def test_parameters_in_single_precision_stay_so_in_double_precision() -> None:
    objective, parameters, trained = fit(panel_of(RAGGED))
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), trained)
    for point, dtype in ((single, jnp.float32), (trained, jnp.float64)):
        result = found((objective, parameters, point), clip_norm=0.7)
        assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(dtype)}


def test_another_limit_needs_no_other_program() -> None:
    objective, parameters, trained = fit(panel_of((2, 2)))
    constants = objective.constants(parameters)
    traces = 0

    @jax.jit
    def mean(trained: Parameters, limit: Any) -> Parameters:
        nonlocal traces
        traces += 1
        return customer_gradients(objective, trained, constants, clip_norm=limit).mean

    assert np.isfinite(vector(mean(trained, 0.1))).all()
    assert np.linalg.norm(vector(mean(trained, 0.2))) > np.linalg.norm(vector(mean(trained, 0.1)))
    assert np.isnan(vector(mean(trained, -1.0))).all()
    assert traces == 1


def test_gradients_are_written_over_those_of_the_last_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customers, "RESPONSES", 10)
    built = fit(panel_of(RAGGED))
    result = found(built, clip_norm=0.5, out=jnp.full((len(RAGGED), 4), jnp.nan))
    for one, other in zip(jax.tree.leaves(result), jax.tree.leaves(found(built, clip_norm=0.5)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_mistakes_are_refused() -> None:
    objective, parameters, trained = fit(panel_of((2, 2)))
    constants = objective.constants(parameters)
    for limit in (-1.0, np.float32(-1.0), np.nan):
        with pytest.raises(ValueError, match=r"clip_norm is (-1.0|nan): a norm is at least 0; give None for no limit"):
            customer_gradients(objective, trained, constants, clip_norm=limit)
    with pytest.raises(ValueError, match="the mask has 3 entries for 2 units: give one for each"):
        customer_gradients(objective, trained, constants, mask=jnp.ones(3, bool))
    with pytest.raises(ValueError, match=r"out is float32\[2, 3\]: the gradients are float32\[2, 4\]"):
        customer_gradients(objective, trained, constants, out=jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="there is no unit to take a gradient of"):
        customer_gradients(objective, trained, constants, index=jnp.zeros(0, jnp.int32))
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match=f"there is no unit {wrong}: the 2 units are numbered from 0 to 1"):
            customer_gradients(objective, trained, constants, index=jnp.array([0, wrong], jnp.int32))
    for limits in (np.ones(5), jnp.ones(5)):
        with pytest.raises(ValueError, match=r"clip_norm has shape \(5,\): it is one number, the same for every unit"):
            customer_gradients(objective, trained, constants, clip_norm=limits)
    with pytest.raises(ValueError, match=r"clip_norm has shape \(1,\)"):
        jax.jit(lambda limit: customer_gradients(objective, trained, constants, clip_norm=limit))(jnp.ones(1))


def test_memory_beyond_the_result_does_not_grow_with_the_customers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customers, "RESPONSES", 128)

    def temporary(count: int) -> tuple[int, int]:
        """Bytes beyond arguments and result, and bytes of the result that lie in an array handed back."""
        objective, parameters, trained = fit(panel_of((1,) * count))
        constants = objective.constants(parameters)

        def run(spent: Any, trained: Parameters, constants: Any) -> CustomerGradients:
            return customer_gradients(objective, trained, constants, clip_norm=0.5, out=spent)

        compiled = jax.jit(run, donate_argnums=0).lower(jnp.zeros((count, 4)), trained, constants)
        memory = compiled.compile().memory_analysis()
        return memory.temp_size_in_bytes, memory.alias_size_in_bytes

    (few, _), (many, reused) = temporary(1_000), temporary(10_000)
    assert reused == 10_000 * 4 * 4
    assert many - few < 9_000 * 4  # not even a number a customer
