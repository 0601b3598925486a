"""Designed recipes stay inside their bounds, reach an exact total and fill the space."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from optim.data.designs import Bounds, bounds_of, designed_recipes, onto_total
from optim.data.streams import stream

LOW, HIGH = np.array([0.0, 100.0, 5.0, 2.0]), np.array([200.0, 400.0, 5.0, 8.0])
BOUNDS = Bounds(("butter", "flour", "yeast", "salt"), LOW, HIGH)


@pytest.mark.parametrize("total", [None, 107.5, 300.0, 600.0])
def test_recipes_stay_inside_their_bounds_and_reach_the_total(total):
    amounts = designed_recipes(BOUNDS, 100, total, stream(1, "designed recipes"))
    assert (amounts >= LOW).all()
    assert (amounts <= HIGH).all()
    assert (amounts[:, 2] == 5.0).all()
    if total is not None:
        assert amounts.sum(axis=1) == pytest.approx(np.full(100, total), abs=1e-9)


def test_recipes_fill_every_part_of_the_range_of_every_ingredient():
    amounts = designed_recipes(BOUNDS, 64, None, stream(1, "designed recipes"))[:, BOUNDS.free]
    eighth = ((amounts - LOW[BOUNDS.free]) / BOUNDS.range[BOUNDS.free] * 8).astype(int)
    assert all((np.bincount(column, minlength=8) == 8).all() for column in eighth.T)


def test_a_total_leaves_small_ingredients_inside_their_bounds():
    amounts = designed_recipes(BOUNDS, 200, 300.0, stream(1, "designed recipes"))
    inside = (amounts[:, 3] > LOW[3]) & (amounts[:, 3] < HIGH[3])
    assert inside.mean() > 0.9


def test_points_move_to_the_nearest_point_of_the_total():
    random = np.random.default_rng(3)
    weights, start = np.array([3.0, 1.0, 0.2]), random.random((5, 3))
    for point, moved in zip(start, onto_total(start, weights, 1.7), strict=True):
        nearest = minimize(
            lambda x, point=point: ((x - point) ** 2).sum(),
            np.full(3, 0.4),
            jac=lambda x, point=point: 2 * (x - point),
            bounds=[(0, 1)] * 3,
            constraints={"type": "eq", "fun": lambda x: x @ weights - 1.7, "jac": lambda x: weights},
            tol=1e-14,
        )
        assert moved == pytest.approx(nearest.x, abs=1e-6)


def test_the_bounds_of_a_fixed_ingredient_are_its_amount(make_config):
    config = make_config(ingredients={"butter": {"min": 0.5, "max": 2.5}, "salt": {"fixed": 0.1}})
    bounds = bounds_of(config)
    assert (bounds.low.tolist(), bounds.high.tolist(), bounds.free.tolist()) == ([0.5, 0.1], [2.5, 0.1], [True, False])
