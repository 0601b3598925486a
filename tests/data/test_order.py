"""The data order: true permutations, no memory, and no more regularity than chance allows.

Statistical thresholds: a chi-square or a rate is compared with its exact expectation in units of its own standard
deviation. Seeds are fixed, so a test passes always or never; five deviations is far from what a right generator shows
and near to nothing of what a broken one shows (one round: hundreds).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optim.data import order
from optim.data.order import batch_at, domain_of, steps_per_epoch

EPOCHS = 1500
FIRST_OF_10 = [6, 5, 3, 7, 1, 0, 2, 9, 4, 8]
FIRST_OF_400 = [300, 329, 287, 75, 307, 79, 339, 261]
FIRST_OF_997 = [893, 775, 540, 829, 751, 218, 168, 842]
FIRST_OF_4096 = [4058, 813, 2898, 3083, 2476, 3438, 2345, 1121]
FIRST_OF_20_000_000 = [12742923, 14451320, 5699982, 15725431, 14723207, 1399247, 2314435, 4195811]
MOST = 2**31 - 1


@functools.lru_cache
def compiled(units: int, batch: int):
    """Indices and masks of many batches at once."""
    return jax.jit(jax.vmap(lambda seed, position: batch_at(seed, position, units, batch), in_axes=(None, 0)))


# One batch alone, compiled: operation by operation takes seconds.
alone = jax.jit(batch_at, static_argnames=("units", "batch"))


def also(*units: int) -> list[Any]:
    """Numbers of units that take the same way through the code as some that are tested always."""
    return [pytest.param(number, marks=pytest.mark.long) for number in units]


def epochs_of(units: int, batch: int, seed: int = 0, first: int = 0, count: int = 1) -> np.ndarray:
    """The units of some epochs in the order of visit, (epochs, units), without the padding."""
    steps = steps_per_epoch(units, batch)
    positions = jnp.arange(first * steps, (first + count) * steps, dtype=jnp.int32)
    index, mask = compiled(units, batch)(jnp.uint32(seed), positions)
    flat = np.asarray(index).reshape(count, -1)
    assert (np.asarray(mask).reshape(count, -1) == (np.arange(steps * batch) < units)).all()
    assert (flat[:, units:] == 0).all()
    return flat[:, :units]


def is_permutation(visits: np.ndarray) -> bool:
    return bool((np.sort(visits, axis=1) == np.arange(visits.shape[1])).all())


@pytest.mark.parametrize(
    "units", [1, 3, 64, 65, 128, 997, 4096, *also(2, 5, 16, 63, 66, 97, 100, 127, 200, 257, 1000, 4001, 6000)]
)
def test_every_epoch_visits_each_unit_exactly_once(units):
    assert is_permutation(epochs_of(units, batch=min(units, 97), seed=units, count=3))


@pytest.mark.parametrize("units", [1_000_003, 1 << 20, *also(99_991, 100_000, 1_000_000)])
def test_an_epoch_of_a_great_many_units_is_a_permutation(units):
    assert is_permutation(epochs_of(units, batch=units, seed=7, first=2))


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    units=st.integers(1, 3000),
    batch=st.integers(1, 400),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 10_000),
)
def test_any_units_batch_seed_and_epoch_give_a_permutation(units, batch, seed, epoch):
    assert is_permutation(epochs_of(units, batch, seed, first=epoch))


def test_a_short_last_batch_is_padded_with_index_0_and_masked():
    index, mask = alone(jnp.uint32(1), jnp.int32(2), units=10, batch=4)
    assert mask.tolist() == [True, True, False, False]
    assert index.tolist()[2:] == [0, 0]
    assert steps_per_epoch(10, 4) == 3


def test_a_batch_larger_than_everyone_holds_everyone():
    index, mask = alone(jnp.uint32(1), jnp.int32(5), units=3, batch=8)
    assert int(mask.sum()) == 3
    assert sorted(index[:3].tolist()) == [0, 1, 2]


@pytest.mark.long
@pytest.mark.parametrize("units", [50, 400, 997])
def test_a_batch_is_the_same_alone_in_a_loop_and_in_a_vmap(units):
    together, _ = compiled(units, 32)(jnp.uint32(9), jnp.arange(100, dtype=jnp.int32))

    def visit(position, table):
        return table.at[position].set(batch_at(jnp.uint32(9), position, units, 32)[0])

    looped = jax.jit(lambda start, stop: jax.lax.fori_loop(start, stop, visit, jnp.zeros((100, 32), jnp.int32)))
    assert (looped(0, 100) == together).all()
    assert (looped(0, 37) + looped(37, 100) == together).all()
    assert (alone(jnp.uint32(9), jnp.int32(61), units, 32)[0] == together[61]).all()


def test_the_order_is_the_same_in_either_precision():
    single = epochs_of(1000, 100, seed=4, count=5)
    with jax.enable_x64(True):
        index, _ = compiled(1000, 100)(jnp.uint32(4), jnp.arange(50, dtype=jnp.int32))
    assert (np.asarray(index).reshape(5, 1000) == single).all()


def test_the_order_of_a_seed_never_changes():
    """A change of these figures breaks the exact resumption of every run made before it."""
    assert epochs_of(10, 10, seed=42)[0].tolist() == FIRST_OF_10
    assert epochs_of(400, 8, seed=42)[0, :8].tolist() == FIRST_OF_400
    assert epochs_of(997, 8, seed=42)[0, :8].tolist() == FIRST_OF_997
    assert epochs_of(4096, 8, seed=42)[0, :8].tolist() == FIRST_OF_4096
    assert alone(jnp.uint32(42), jnp.int32(0), 20_000_000, 8)[0].tolist() == FIRST_OF_20_000_000


@pytest.mark.parametrize("units", [60, 997, *also(400, 4096)])
def test_epochs_and_seeds_give_unrelated_orders(units):
    visits = [epochs_of(units, units, seed, epoch)[0] for seed in range(12) for epoch in range(12)]
    agreeing = [(one == other).sum() for k, one in enumerate(visits) for other in visits[:k]]
    # Two random permutations agree in one place on average, with variance one, whatever their length.
    assert abs(np.mean(agreeing) - 1) < 5 / np.sqrt(len(agreeing))
    assert max(agreeing) < 10


def deviation_of_positions(visits: np.ndarray) -> float:
    """Chi-square of where units come in their epoch, over the first units, in standard deviations."""
    epochs, units = visits.shape
    bins = 16
    place = np.argsort(visits, axis=1)[:, :64] * bins // units
    expected = np.bincount(np.arange(units) * bins // units, minlength=bins) / units * epochs
    squares = [((np.bincount(column, minlength=bins) - expected) ** 2 / expected).sum() for column in place.T]
    freedom = (bins - 1) * len(squares)
    return float(abs(sum(squares) - freedom) / np.sqrt(2 * freedom))


def deviations_of_pairs(visits: np.ndarray, batch: int) -> np.ndarray:
    """How often pairs of units share a batch, at several distances, in standard deviations of each distance's mean."""
    units = visits.shape[1]
    step = np.argsort(visits, axis=1) // batch
    sizes = np.bincount(np.arange(units) // batch)
    rate = (sizes * (sizes - 1)).sum() / (units * (units - 1))
    found = []
    for distance in (1, 2, 4, 8, 16, 25, units // 3, units // 2):
        pairs = np.arange(0, units - distance, 2 * distance)  # disjoint pairs: nearly independent
        shared = step[:, pairs] == step[:, pairs + distance]
        found.append((shared.mean() - rate) / np.sqrt(rate * (1 - rate) / shared.size))
    return np.array(found)


@pytest.mark.long
@pytest.mark.parametrize("units", [100, 997, 1000, 1024, *also(256, 400)])
def test_a_unit_comes_anywhere_in_its_epoch_and_shares_a_batch_with_another_as_chance_has_it(units):
    visits = epochs_of(units, units, seed=12, count=EPOCHS)
    assert deviation_of_positions(visits) < 5
    assert (abs(deviations_of_pairs(visits, batch=max(5, units // 16))) < 5).all()


def chi_square(numbers: np.ndarray, bins: int) -> float:
    """How far counts of numbers below `bins`, in rows, are from equal ones, in standard deviations."""
    expected = numbers.shape[1] / bins
    squares = sum(((np.bincount(row, minlength=bins) - expected) ** 2 / expected).sum() for row in numbers)
    freedom = (bins - 1) * len(numbers)
    return float(abs(squares - freedom) / np.sqrt(2 * freedom))


@pytest.mark.parametrize("units", [20_000_000, MOST, *also(10**8, 15 * 10**8)])
def test_batches_of_very_many_units_are_as_random_as_chance_has_it(units):
    """Where the units of a batch lie, and where each lies with respect to the one before it."""
    batch, steps = 2**14, steps_per_epoch(units, 2**14)
    positions = jnp.asarray([epoch * steps + step for epoch in range(8) for step in (0, 1, steps // 2, steps - 2)])
    index = np.asarray(compiled(units, batch)(jnp.uint32(5), positions)[0]).astype(np.int64)
    bins = index * 64 // units
    assert chi_square(bins, 64) < 5
    assert chi_square(bins[:, ::2] // 4 * 16 + bins[:, 1::2] // 4, 256) < 5
    assert chi_square((index[:, 1::2] - index[:, ::2]) % units * 64 // units, 64) < 5
    assert chi_square(index % 64, 64) < 5
    # The units of all these batches differ: within an epoch always, and else as chance has it.
    assert all(len(np.unique(rows)) == rows.size for rows in index.reshape(8, -1))


def test_the_batch_that_ends_an_epoch_of_the_most_units_is_padded():
    """Places after the last unit are beyond the largest number of 32 bits with a sign."""
    batch = 100_000
    index, mask = alone(jnp.uint32(1), jnp.int32(steps_per_epoch(MOST, batch) - 1), MOST, batch)
    last = MOST % batch
    assert mask.tolist() == [True] * last + [False] * (batch - last)
    assert int(index.min()) >= 0
    assert not index[last:].any()


def test_these_statistics_see_a_network_of_too_few_rounds(monkeypatch):
    monkeypatch.setattr(order.Domain, "rounds", 1)
    few_rounds = jax.jit(jax.vmap(lambda position: batch_at(jnp.uint32(12), position, 1024, 1024)[0]))
    visits = np.asarray(few_rounds(jnp.arange(EPOCHS, dtype=jnp.int32)))
    assert deviation_of_positions(visits) > 50
    assert (abs(deviations_of_pairs(visits, batch=64)) > 50).any()


@pytest.mark.parametrize(
    ("units", "exact"), [(128, True), (400, True), (1000, True), (4096, True), (10**6, True), (997, False)]
)
def test_the_domain_is_exact_where_balanced_halves_allow_it(units, exact):
    domain = domain_of(units)
    assert (domain.size == units) == exact
    assert units <= domain.size < units + 2**domain.bits


def test_no_domain_is_too_lopsided_to_mix_or_too_large_to_scale():
    for units in [*range(65, 3000), 10**5, 10**6, 10**7 + 19, 2 * 10**7 + 1, 10**8, 15 * 10**8, 2**30 + 1, MOST]:
        domain = domain_of(units)
        assert min(domain.high, 1 << domain.bits) ** 4 > units
        assert max(domain.high, 1 << domain.bits) <= 2**16
