"""What has no fixed point is flagged or raised, and what can't have one is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.autodiff.fixed_points import NotConvergedError, fixed_point

DOUGH = (0.75, 10.0)
Function = Callable[..., Any]


def knead(params: Any, m: Any) -> Any:
    return params[0] * m + params[1]


RUNAWAYS = [
    pytest.param(lambda _, x: 2.0 * x + 1.0, id="doubles"),
    pytest.param(lambda _, x: x * x + 3.0, id="squares", marks=pytest.mark.long),
    pytest.param(lambda _, x: jnp.log(x - 5.0), id="leaves the domain"),
    pytest.param(lambda _, x: 2.0 - x, id="swings"),
]


@pytest.mark.parametrize("update", RUNAWAYS)
def test_what_does_not_converge_is_flagged_or_raised(update: Function) -> None:
    value, convergence = fixed_point(update, None, 0.0, max_iterations=400)
    assert not convergence.converged
    if not jnp.isfinite(value):
        assert convergence.iterations < 400  # it does not go on once the numbers have run off
    with pytest.raises(NotConvergedError, match=rf"no fixed point after {convergence.iterations} iterations: the res"):
        fixed_point(update, None, 0.0, max_iterations=400, on_failure="raise")


@pytest.mark.parametrize(
    ("update", "tol"),
    [
        (lambda p, x: x + p, 1e-3),
        pytest.param(lambda p, x: x + p / (1.0 + x), 1e-3, marks=pytest.mark.long),
        (lambda p, x: 0.99999 * x + 10 * p, None),
    ],
    ids=["line", "root", "beyond the precision"],
)
def test_short_steps_far_from_any_fixed_point_do_not_converge(update: Function, tol: float | None) -> None:
    settings = {"tol": tol, "max_iterations": 600_000}
    _, convergence = fixed_point(update, 1.0, 0.0, **settings)
    assert convergence.residual <= (tol or 1e-5)
    assert not convergence.error < 0.01
    assert not convergence.converged
    with pytest.raises(NotConvergedError, match=r"steps met the tolerance .*, but the error is estimated as (inf|\d)"):
        fixed_point(update, 1.0, 0.0, on_failure="raise", **settings)


@pytest.mark.long
def test_a_large_state_that_walks_away_is_flagged() -> None:
    walk = lambda p, x: fixed_point(lambda p, x: x + p, p, x, tol=1e-3, max_iterations=2000)
    _, convergence = jax.jit(walk)(jnp.ones(200), jnp.zeros(200))
    assert convergence.residual <= 1e-3
    assert not convergence.converged


@pytest.mark.long
def test_the_error_says_what_to_do_and_is_raised_in_compiled_code() -> None:
    raising = lambda a: fixed_point(knead, (a, 10.0), 0.0, max_iterations=50, on_failure="raise")[0]
    text = r"after 50 iterations: .* 7.63e-06. The update may be no contraction; .* more iterations or a larger"
    with pytest.raises(NotConvergedError, match=text):
        raising(0.99)
    for transform in (jax.jit, jax.vmap, lambda f: jax.jit(jax.grad(f))):
        retention = jnp.full(2, 0.99) if transform is jax.vmap else 0.99
        with pytest.raises((jax.errors.JaxRuntimeError, ValueError), match=text):
            jax.block_until_ready(transform(raising)(retention))
    slope = jax.jit(jax.grad(lambda a: fixed_point(knead, (a, 10.0), 0.0, on_failure="raise")[0]))
    np.testing.assert_allclose(slope(0.75), 160.0, rtol=1e-6)


def test_wrong_settings_are_refused() -> None:
    for tol in (0.0, -1e-3, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"tol is .*: it must be greater than 0 and finite"):
            fixed_point(knead, DOUGH, 0.0, tol=tol)
    with pytest.raises(TypeError, match=r"tol is traced .*: it must be a number that is known before the function"):
        jax.jit(lambda tol: fixed_point(knead, DOUGH, 0.0, tol=tol)[0])(1e-3)
    for iterations in (1.5, True):
        with pytest.raises(TypeError, match=rf"max_iterations is {iterations}: it must be a whole number"):
            fixed_point(knead, DOUGH, 0.0, max_iterations=iterations)
    with pytest.raises(ValueError, match="max_iterations is 0: it must be at least 1"):
        fixed_point(knead, DOUGH, 0.0, max_iterations=0)


def test_at_least_one_step_is_taken() -> None:
    assert fixed_point(knead, DOUGH, 0.0, tol=1e300)[1].iterations == 1


def test_a_state_that_the_update_does_not_keep_is_refused() -> None:
    start = {"acid": jnp.zeros(2)}
    with pytest.raises(TypeError, match=r"init\['acid'\] has dtype int32: a fixed point needs a floating one"):
        fixed_point(lambda _, x: x, None, {"acid": jnp.zeros(2, int)})
    with pytest.raises(TypeError, match="init has dtype int32"):
        fixed_point(knead, DOUGH, 0)
    with pytest.raises(ValueError, match=r"returns the structure .*'yeast'.*, init has .*'acid'"):
        fixed_point(lambda _, x: {"yeast": x["acid"]}, None, start)
    with pytest.raises(ValueError, match=r"returns float32\[3\] at \['acid'\], init has float32\[2\]"):
        fixed_point(lambda _, x: {"acid": jnp.zeros(3)}, None, start)
    with pytest.raises(ValueError, match=r"returns float16\[\], init has float32\[\]"):
        fixed_point(lambda _, x: x.astype(jnp.float16), None, jnp.zeros(()))
    with pytest.raises(ValueError, match="not empty"):
        fixed_point(lambda _, x: x, None, {})
