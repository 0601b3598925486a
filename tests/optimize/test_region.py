"""Cakes with settings keep to their bounds, and the total counts amounts alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optim.models.space import RecipeSpace, SettingSpace
from optim.optimize import projection
from optim.optimize.certificate import certify
from optim.optimize.region import active_bounds, feasible_gradient, project, region_of, violation

SETTINGS = {
    "heat": SettingSpace("°C", np.array([20.0]), np.array([38.0])),
    "shake": SettingSpace("", np.array([-2.0, -2.0]), np.array([2.0, 2.0])),
}


def space(total: float | None = 4.0) -> RecipeSpace:
    two, zero = ("flour", "water"), np.zeros(2)
    return RecipeSpace(two, ("", ""), np.ones(2), np.full(2, 3.0), zero, total, SETTINGS)


numbers = st.lists(st.floats(-100, 100, width=32, allow_subnormal=False), min_size=5, max_size=5)
projected, amounts_projected = jax.jit(project), jax.jit(projection.project)


def test_the_coordinates_are_the_amounts_and_then_the_settings() -> None:
    assert space().coordinates == ("flour", "water", "heat", "shake_real", "shake_imag")
    assert space().owners == ("flour", "water", "heat", "shake", "shake")
    np.testing.assert_array_equal(region_of(space()).ranges, [2, 2, 18, 4, 4])


@settings(deadline=None, max_examples=25)
@given(numbers)
def test_amounts_and_settings_are_projected_each_by_themselves(point: list[float]) -> None:
    x, region = jnp.asarray(point, jnp.float32), region_of(space())
    nearest = projected(x, region)
    np.testing.assert_array_equal(nearest[2:], np.clip(x[2:], [20, -2, -2], [38, 2, 2]))
    np.testing.assert_array_equal(nearest[:2], amounts_projected(x[:2], region.amounts))
    assert violation(nearest, region) <= 1e-5
    np.testing.assert_array_equal(projected(nearest, region), nearest)


def test_a_gradient_loses_what_bounds_and_total_forbid() -> None:
    point = jnp.array([2.0, 2.0, 38.0, 0.0, -2.0])
    gradient = jax.jit(feasible_gradient)(jnp.array([3.0, 1.0, -5.0, 7.0, 2.0]), point, region_of(space()))
    # The total shares out the amounts' mean; heat wants up and shake's imaginary part down, against their bounds.
    np.testing.assert_allclose(gradient, [1.0, -1.0, 0.0, 7.0, 0.0], atol=1e-6)
    at_lower, at_upper = active_bounds(point, region_of(space()))
    assert at_lower.tolist() == [False, False, False, False, True]
    assert at_upper.tolist() == [False, False, True, False, False]


def test_a_certificate_names_the_parts_of_a_complex_setting() -> None:
    point = np.array([[2.0, 2.0, 38.0, 0.0, -2.0]], np.float32)
    slope = jnp.array([0, 0, 1, 0.5, -1], jnp.float32)
    found = certify(space(), point, lambda x: jnp.sum(slope * x))
    assert found.active == ("heat max", "shake_imag min")
    assert found.stationarity == 0.5 * 4


def test_a_violation_of_a_setting_counts() -> None:
    assert violation(jnp.array([2.0, 2.0, 39.5, 0.0, 0.0]), region_of(space())) == 1.5
