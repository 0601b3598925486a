"""Eigenvalues, directions and the verdict: peak, valley, saddle or flat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array

from optim.autodiff.curvature import Curvature, curvature
from optim.autodiff.matrices import hessian
from tests.autodiff.bakery import ORDER, assert_transforms, deliciousness, start

HESSIAN = (
    (-0.16000001, -0.6666667, 0.04, -0.8),
    (-0.6666667, -5.555556, 0, 0),
    (0.04, 0, 0.33049622, 1.6),
    (-0.8, 0, 1.6, -35.657787),
)


def test_the_start_is_on_a_saddle() -> None:
    found = jax.jit(curvature(deliciousness))(start())
    np.testing.assert_allclose(found.eigenvalues, scipy.linalg.eigvalsh(HESSIAN), rtol=2e-5, atol=2e-5)
    assert found.verdict == "saddle"
    assert found.directions.labels == (None, ORDER)
    assert found.directions[0, "sugar"] > 0.99  # the score bends most strongly along sugar
    assert found.directions[3, "flour"] > 0.99  # and upwards along flour alone


@pytest.mark.usefixtures("float64")
def test_the_directions_are_unit_eigenvectors_that_point_one_way() -> None:
    found = jax.jit(curvature(deliciousness))(start())
    assert found.eigenvalues.dtype == jnp.float64
    rows, matrix = found.directions.values, jax.jit(hessian(deliciousness))(start()).values
    np.testing.assert_allclose(rows @ rows.T, np.eye(4), atol=1e-14)
    np.testing.assert_allclose(rows @ matrix, found.eigenvalues[:, None] * rows, atol=1e-12)
    assert bool(jnp.all(jnp.max(rows, axis=1) == jnp.max(jnp.abs(rows), axis=1)))


@jax.jit
def bowl(matrix: Array) -> Curvature:
    return curvature(lambda x: x @ matrix @ x / 2)(jnp.zeros(len(matrix), matrix.dtype))


SHAPES = {
    "peak": [(-3.0, -1.0, -0.5), (-2.0, -2.0, -2.0), (-1e20, -1e19, -1e19), (-2e-20, -1e-20, -1e-20)],
    "valley": [(0.5, 1.0, 3.0), (1.0, 1.0, 1.0), (1e-3, 1.0, 1.0)],
    "saddle": [(-3.0, -1.0, 0.5), (-1.0, 0.0, 1.0), (-1e-3, 1.0, 2.0)],
    "flat": [(0.0, 0.0, 0.0), (-1.0, -1.0, 0.0), (-5.0, 0.0, 0.0), (0.0, 1.0, 3.0), (0.0, 0.0, 7.0)],
}


@settings(max_examples=25, deadline=None)
@given(
    case=st.sampled_from([(verdict, values) for verdict, cases in SHAPES.items() for values in cases]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**16),
)
def test_the_verdict_holds_in_any_rotation(case: tuple[str, tuple[float, ...]], dtype: Any, seed: int) -> None:
    verdict, eigenvalues = case
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    with jax.enable_x64(True):
        found = bowl(((rotation * eigenvalues) @ rotation.T).astype(dtype))
        assert found.eigenvalues.dtype == dtype
        assert found.verdict == verdict
    scale = max(map(abs, eigenvalues))
    np.testing.assert_allclose(found.eigenvalues, eigenvalues, atol=30 * np.finfo(dtype).eps * scale, rtol=0)


@pytest.mark.parametrize(("verdict", "values"), [(name, cases[1]) for name, cases in SHAPES.items()])
def test_it_prints_the_verdict_and_a_line_for_each_direction(verdict: str, values: tuple[float, ...]) -> None:
    lines = str(bowl(np.diag(np.float32(values)))).splitlines()
    assert lines[0] == verdict
    assert lines[1].split() == ["eigenvalue", "0", "1", "2"]
    assert [float(line.split()[0]) for line in lines[2:]] == sorted(values)


@pytest.mark.long
@pytest.mark.usefixtures("float64")
def test_it_works_under_transformations() -> None:
    assert_transforms(curvature(deliciousness))


@pytest.mark.usefixtures("float64")
def test_equal_eigenvalues_still_have_a_sum_with_a_gradient() -> None:
    """The directions of equal eigenvalues have no derivative, and must not spoil that of the eigenvalues."""
    f = lambda x: jnp.sum(x**4) / 12
    total = lambda x: jnp.sum(curvature(f)(x).eigenvalues)
    found = jax.jit(jax.grad(total))(jnp.array([1.0, 1.0]))
    np.testing.assert_allclose(found, [2.0, 2.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: bowl(jnp.full((2, 2), jnp.nan)).verdict, ValueError, "no verdict: the eigenvalues are .*nan"),
        (lambda: jax.vmap(bowl)(jnp.ones((5, 2, 2))).verdict, ValueError, r"points of shape \(5,\): take one of them"),
        (lambda: curvature(jnp.sin)(jnp.ones(2)), ValueError, r"one number, of shape \(\): it gave float32\[2\]"),
        (lambda: curvature(jnp.sin)(2), TypeError, "point must hold floating numbers, and is int32"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_no_digit_is_printed_that_rounding_decides() -> None:
    printed = str(bowl(np.diag(np.float32([-35.7, -0.061165, 2.0]))))
    assert [line.split()[0] for line in printed.splitlines()[2:]] == ["-35.7", "-0.0612", "2"]
    assert all(len(cell.partition(".")[2]) <= 4 for line in printed.splitlines()[2:] for cell in line.split()[1:])
