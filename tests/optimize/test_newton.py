"""Newton's method: the maximum of a likelihood in a few steps, and nothing done to what the loss does not determine."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from optim.autodiff import log1pexp
from optim.optimize.newton import NewtonState, newton

Loss = Callable[[Array], Array]
OPTIMIZER = newton()


def update(loss: Loss, x: Array, state: NewtonState) -> tuple[Array, NewtonState]:
    value, gradient = jax.value_and_grad(loss)(x)
    step, state = OPTIMIZER.update(gradient, state, x, value=value, grad=gradient, value_fn=loss)
    return x + step, state


@lru_cache(maxsize=4)
def compiled(loss: Loss) -> tuple[Callable[..., tuple[Array, NewtonState]], Loss]:
    """A step and the loss."""
    return jax.jit(partial(update, loss)), jax.jit(loss)


def trained(loss: Loss, start: Any, steps: int) -> tuple[np.ndarray, list[float], list[float]]:
    """Where so many steps from a start end, with the loss before each step and at the end, and the steps' shares."""
    x = jnp.asarray(start, jnp.zeros(()).dtype)
    state, (once, value) = OPTIMIZER.init(x), compiled(loss)
    losses, shares = [float(value(x))], []
    for _ in range(steps):
        x, state = once(x, state)
        losses.append(float(value(x)))
        shares.append(float(state.learning_rate))
    return np.asarray(x), losses, shares


def logit(features: np.ndarray, likes: np.ndarray) -> Loss:
    """Mean negative log-likelihood of a logit."""
    signs, x = jnp.asarray(1.0 - 2.0 * likes), jnp.asarray(features)
    return lambda weights: jnp.mean(log1pexp(signs * (x @ weights)))


def responses(count: int = 300, weights: tuple[float, ...] = (1.0, -0.5, 0.3)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    features = np.concatenate([random.normal(size=(count, len(weights) - 1)), np.ones((count, 1))], axis=1)
    return features, random.random(count) < 1 / (1 + np.exp(-features @ weights))


@pytest.mark.usefixtures("float64")
def test_a_logit_is_fitted_like_statsmodels_in_eight_steps() -> None:
    from statsmodels.api import Logit

    features, likes = responses()
    found, losses, shares = trained(logit(features, likes), np.zeros(3), 8)
    theirs = Logit(likes.astype(float), features).fit(disp=0, tol=1e-14)
    np.testing.assert_allclose(found, theirs.params, rtol=1e-9)
    assert -losses[-1] * len(likes) == pytest.approx(theirs.llf, abs=1e-10)
    assert shares == [1.0] * 8


def test_the_gradient_falls_to_its_rounding_from_any_start() -> None:
    """In single precision, where the last steps change the loss by less than it can show."""
    loss = logit(*responses())
    slope = jax.jit(jax.grad(loss))
    expected, _, _ = trained(loss, np.zeros(3), 16)
    for start in (1.0, 10.0, 100.0):
        found, losses, _ = trained(loss, start * np.array([-1.0, 2.0, 1.0]), 16)
        np.testing.assert_allclose(found, expected, rtol=3e-6)
        assert float(jnp.linalg.norm(slope(jnp.asarray(found)))) < 3e-7
        assert all(after <= before * (1 + 1e-5) for before, after in pairwise(losses))


def test_a_step_is_minus_the_inverse_hessian_times_the_gradient() -> None:
    hessian = np.array([[4.0, 1.0], [1.0, 3.0]])
    loss = lambda x: 0.5 * x @ jnp.asarray(hessian) @ x - jnp.array([1.0, 2.0]) @ x
    found, _, shares = trained(loss, [5.0, -7.0], 1)
    np.testing.assert_allclose(found, np.linalg.solve(hessian, [1.0, 2.0]), rtol=1e-5)
    assert shares == [1.0]


@pytest.mark.usefixtures("float64")
def test_a_loss_that_is_not_convex_is_descended() -> None:
    """x⁴/4 − x²/2 near its maximum at 0: steps that solved for the gradient would climb to it."""
    found, losses, _ = trained(lambda x: jnp.sum(x**4 / 4 - x**2 / 2), [0.1, -0.2], 12)
    np.testing.assert_allclose(found, [1.0, -1.0], rtol=1e-12)
    assert losses == sorted(losses, reverse=True)


@pytest.mark.usefixtures("float64")
def test_a_curved_valley_is_followed_to_its_end() -> None:
    rosenbrock = lambda x: jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    found, losses, shares = trained(rosenbrock, [-1.2, 1.0], 60)
    np.testing.assert_allclose(found, np.ones(2), rtol=1e-9)
    assert losses == sorted(losses, reverse=True)
    assert min(shares) < 1.0


def test_what_a_collinear_design_does_not_determine_does_not_wander() -> None:
    """Shares that sum to 1 beside a constant, in single precision: w + c, b − c is the same for any number c."""
    shares = np.random.default_rng(1).dirichlet(np.ones(3), size=2000)
    features, likes = np.concatenate([shares, np.ones((2000, 1))], axis=1), shares[:, 0] > 0.4
    loss, start, null = logit(features, likes ^ (np.arange(2000) % 5 == 0)), [0.5, 0.25, -0.5, 0.75], [0.5] * 3 + [-0.5]
    short, long = (trained(loss, start, steps)[0].astype(float) for steps in (6, 200))
    np.testing.assert_allclose(null @ long, null @ short, atol=1e-6)
    np.testing.assert_allclose(short, long, atol=2e-5)


def test_what_few_responses_say_is_not_flat_beside_what_a_million_say() -> None:
    """Curvatures of 1 and 1e-6, in single precision, neither of whose coefficients is near 0."""
    found, _, _ = trained(
        lambda x: 0.5 * (x[0] - 3) ** 2 + 0.5e-6 * (x[1] - 2) ** 2 + 1e-4 * x[0] * x[1], np.zeros(2), 3
    )
    hessian = np.array([[1.0, 1e-4], [1e-4, 1e-6]])
    np.testing.assert_allclose(found, np.linalg.solve(hessian, [3.0, 2e-6]), rtol=1e-3)


def test_a_parameter_that_plays_no_part_keeps_its_bits() -> None:
    features, likes = responses()
    loss = logit(features, likes)
    found, _, _ = trained(lambda x: loss(x[jnp.array([0, 2, 3])]), [0.0, 0.1, 0.0, 0.0, 1e-30], 6)
    np.testing.assert_array_equal(found[[1, 4]], np.array([0.1, 1e-30], np.float32))
    np.testing.assert_allclose(found[[0, 2, 3]], trained(loss, np.zeros(3), 6)[0], rtol=1e-5)


def test_separated_likes_stay_finite() -> None:
    features = np.stack([np.linspace(-1.0, 1.0, 20), np.ones(20)], axis=1)
    found, losses, _ = trained(logit(features, features[:, 0] > 0), np.zeros(2), 150)
    assert np.isfinite(found).all()
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-30


@pytest.mark.parametrize(
    ("loss", "start"),
    [
        (lambda x: jnp.sum(jnp.sqrt(x)), [0.0]),  # an infinite slope
        (lambda x: jnp.sum(jnp.where(x == 2.0, 1.0 * x, jnp.nan)), [2.0]),  # no number anywhere else
        (lambda x: jnp.sum(jnp.abs(x) ** 1.5), [0.0]),  # an infinite second derivative
        (lambda x: jnp.sum(3.0 * x), [1.0]),  # no curvature at all
        (lambda x: jnp.sum(jnp.where(x == 2.0, x**2, -jnp.inf)), [2.0]),  # minus infinity is no minimum
        (lambda x: jnp.sum(jnp.where(x > -1e38, 1e30 * x + 1e-9 * x**2, -1.0)), [1.0]),  # a step beyond all numbers
    ],
)
def test_where_no_step_is_acceptable_the_parameters_stay(loss: Loss, start: list[float]) -> None:
    found, _, _ = trained(loss, start, 3)
    np.testing.assert_array_equal(found, np.asarray(start, np.float32))


def test_a_trial_that_is_no_number_is_not_taken() -> None:
    """x − log x has its minimum at 1; the whole Newton step from 4 leads to −8, where there is no logarithm."""
    loss = lambda x: jnp.sum(x - jnp.log(x))
    found, losses, shares = trained(loss, [4.0], 8)
    assert shares[0] < 1.0
    np.testing.assert_allclose(found, [1.0], rtol=1e-6)
    assert np.isfinite(losses).all()


def test_members_are_trained_as_each_alone() -> None:
    """Under vmap one member's halvings must not touch another's."""
    starts = jnp.array([[0.0, 0.0, 0.0], [10.0, -20.0, 5.0], [-2.0, 1.0, 3.0]])
    loss = logit(*responses())

    @jax.jit
    def together(x: Array) -> tuple[Array, Array]:
        step = lambda _, carry: jax.vmap(partial(update, loss))(*carry)
        x, state = jax.lax.fori_loop(0, 4, step, (x, jax.vmap(OPTIMIZER.init)(x)))
        return x, state.learning_rate

    found, shares = together(starts)
    for member, start in enumerate(starts):
        alone, _, own = trained(loss, start, 4)
        np.testing.assert_allclose(found[member], alone, rtol=1e-4, atol=1e-5)
        assert float(shares[member]) == own[-1]


def test_more_parameters_than_columns_at_once_are_differentiated_alike() -> None:
    scale = np.linspace(1.0, 2.0, 150)
    loss = lambda x: jnp.sum(jnp.cosh(jnp.asarray(scale) * x - 0.1))
    found, _, _ = trained(loss, np.zeros(150), 4)
    np.testing.assert_allclose(found, 0.1 / scale, rtol=1e-5)
