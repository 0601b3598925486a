"""configs/sourdough.yaml: the design of amounts, temperature and vibration, against an independent solver."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from optim.config.loading import load
from optim.losses.cake import CakeObjective
from optim.optimize.certificate import certify
from optim.study.study import cake_layout
from tests.helpers import in_memory

CONFIG = Path(__file__).parent.parent.parent / "configs" / "sourdough.yaml"
NAMES = ("flour", "water", "sugar", "yeast", "salt", "temperature", "vibration_real", "vibration_imag")
LOWER, UPPER = (400, 250, 2, 1, 10, 20, -4, -4), (650, 350, 60, 10, 10, 38, 4, 4)
WIDTH = np.maximum(np.subtract(UPPER, LOWER), 1)
PRICES = np.array([0.004, 0.0, 0.006, 0.05, 0.002])
TARGETS = np.array([2.5, 40.0, 2.0, 3.0])


def score(x: np.ndarray) -> float:
    """The score from the formulas themselves, without JAX: its fixed points in closed form."""
    flour, _, sugar, yeast, _, heat, real, imag = x
    activity = np.log1p(np.exp((heat - 18) / 4)) / (1 + np.exp((heat - 45) / 4))
    # Settled, acid = 0.5 acid + 0.2 living, and living = 0.5 living / (1 + acid) + yeast is a quadratic equation.
    half = (0.5 - 0.4 * yeast) / 0.8
    living = -half + np.sqrt(half**2 + yeast / 0.4)
    acid = 0.4 * living
    boost = 1.7 * activity * living * sugar / (sugar + 20)
    maturity = boost / (1 - flour / (flour + 500 / 3))
    smoothness = 3 * real - real**2 - imag**2
    misses = np.array([activity, maturity, acid, smoothness]) - TARGETS
    return float(-np.sum(misses**2) - 10 * PRICES @ x[:5])


def best_by_scipy() -> tuple[np.ndarray, float]:
    solution = minimize(
        lambda u: -score(u * WIDTH),
        np.add(LOWER, UPPER) / 2 / WIDTH,
        method="SLSQP",
        bounds=list(zip(LOWER / WIDTH, UPPER / WIDTH, strict=True)),
        constraints={"type": "eq", "fun": lambda u: (u * WIDTH)[:5].sum() - 900},
        options={"maxiter": 500, "ftol": 1e-13},
    )
    assert solution.success, solution.message
    return solution.x * WIDTH, -solution.fun


@pytest.mark.long
@pytest.mark.usefixtures("float64")
def test_every_start_reaches_the_optimum_that_scipy_finds() -> None:
    study, _, _, sinks = in_memory(load(CONFIG, ["precision=float64"]))
    assert study.space.coordinates == NAMES
    measured = sinks.records[-1].measured
    expected, best = best_by_scipy()
    scores = np.asarray(measured.scores)
    assert np.mean(np.abs(scores - best) <= 1e-4 * (1 + abs(best))) >= 0.9
    agreeing = np.asarray(measured.recipes)[np.argmax(scores)]
    np.testing.assert_allclose(agreeing / WIDTH, expected / WIDTH, atol=1e-3)  # in units of the ranges
    assert score(agreeing) == pytest.approx(scores.max(), rel=1e-9)
    objective = study.stages[-1].objective
    assert isinstance(objective, CakeObjective)
    constants, layout = (
        objective.constants({"model": jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), study.parameters["model"])}),
        cake_layout(study.space),
    )
    found = certify(study.space, agreeing[None], lambda v: objective.mean_score(layout.unravel(v), constants))
    assert found.score == pytest.approx(scores.max(), rel=1e-9)
    assert found.stationarity < 0.01  # per range, where the gradient at the starts is of the order of 1,000
    assert found.active == ("water max",)
