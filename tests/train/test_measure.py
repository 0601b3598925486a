"""Quantiles of what a logging step measures."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from optim.train.measure import quantiles

SHARES = (0.0, 0.25, 0.5, 0.9, 1.0)


@pytest.mark.parametrize("number", [1, 2, 7, 1000])
def test_quantiles_are_those_of_numpy_over_the_values_that_count(number: int) -> None:
    rng = np.random.default_rng(number)
    values = np.concatenate([rng.exponential(size=number), rng.exponential(1e30, size=number)])
    values = rng.permutation(values).astype(np.float32)
    counts = rng.random(2 * number) < 0.6
    counts[0] = True
    found = quantiles(jnp.asarray(values), jnp.asarray(counts), jnp.array(SHARES))
    np.testing.assert_allclose(found, np.quantile(values[counts], SHARES), rtol=1e-5)


@pytest.mark.usefixtures("float64")
def test_quantiles_in_double_precision() -> None:
    values = np.random.default_rng(0).exponential(size=99)
    found = quantiles(jnp.asarray(values), jnp.ones(99, bool), jnp.array(SHARES, float))
    np.testing.assert_allclose(found, np.quantile(values, SHARES), rtol=1e-14)


def test_infinite_values_are_the_last_and_leave_the_others_as_they_are() -> None:
    of = lambda *values: quantiles(jnp.array(values), jnp.ones(len(values), bool), jnp.array((0.0, 0.5, 0.75, 1.0)))
    np.testing.assert_array_equal(of(3.0, 0.0, jnp.inf), [0.0, 3.0, np.inf, np.inf])
    np.testing.assert_array_equal(of(jnp.inf, jnp.inf), [np.inf] * 4)


def test_where_nothing_counts_there_are_none() -> None:
    assert jnp.isnan(quantiles(jnp.arange(3.0), jnp.zeros(3, bool), jnp.array(SHARES))).all()
