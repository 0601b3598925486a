"""The whole way: what is learned from customers is true of them, and the cake is the best one for them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from optim.config.loading import load
from optim.data.simulate import simulate
from optim.runs.info import RunInfo
from optim.runs.session import Outcome
from tests.conftest import Studies
from tests.helpers import run

CONFIGS = Path(__file__).parent.parent.parent / "configs"


@pytest.mark.long
def test_every_coefficient_is_recovered_within_three_standard_errors(small: Studies, tmp_path: Path) -> None:
    config = small(
        "data.simulate.segments={all: {ideal: {butter: 1.1, eggs: 2.8, flour: 1.9, sugar: 1.6}}}",
        "data.simulate.spread=0.0",
        "data.simulate.customers=1500",
        "data.simulate.recipes=60",
        "data.simulate.tastings=20",
        "stages.fit={kind: fit, length: 60, optimizer: {name: lbfgs}}",
    )
    outcome = run(config, tmp_path, "run")
    assert outcome.result is not None
    found = outcome.result["likelihood"]["parameters"]
    truth = json.loads((tmp_path / "run" / "truth.json").read_text())["segments"]["all"]["coefficients"]
    panel, _ = simulate(config)
    names, monomials = _monomials(panel.ingredients, panel.amounts)
    estimated = {"intercept": found["bias"], **found["weights"], **found["products"]}
    theta = np.array([estimated[name] for name in names])
    rows = monomials[panel.recipe]
    p = 1 / (1 + np.exp(-rows @ theta))
    errors = np.sqrt(np.diag(np.linalg.inv((rows * (p * (1 - p))[:, None]).T @ rows)))
    deviations = (theta - np.array([truth.get(name, 0.0) for name in names])) / errors
    assert np.abs(deviations).max() < 3
    gradient = rows.T @ (panel.like - p)  # the fit has ended at the maximum, not merely near the truth
    assert np.abs(gradient * errors).max() < 0.05


def _monomials(ingredients: tuple[str, ...], amounts: np.ndarray) -> tuple[list[str], np.ndarray]:
    pairs = list(itertools.combinations_with_replacement(range(len(ingredients)), 2))
    names = ["intercept", *ingredients, *(f"{ingredients[i]}*{ingredients[j]}" for i, j in pairs)]
    columns = [np.ones(len(amounts)), *amounts.T, *(amounts[:, i] * amounts[:, j] for i, j in pairs)]
    return names, np.stack(columns, axis=1)


@pytest.mark.long
def test_the_cake_of_the_main_job_is_the_best_for_the_true_population(tmp_path: Path) -> None:
    config = load(CONFIGS / "cake.yaml")
    outcome = run(config, tmp_path, "cake")
    assert outcome.result is not None
    truth = json.loads((tmp_path / "cake" / "truth.json").read_text())
    names = list(outcome.result["recipe"])
    bounds = [(config.ingredients[name].min, config.ingredients[name].max) for name in names]
    liking = _true_liking(truth, names)
    starts = np.random.default_rng(0).uniform(*np.array(bounds).T, size=(4, len(names)))
    best = max(-minimize(lambda x: -liking(x), start, bounds=bounds).fun for start in starts)
    baked = liking(np.array(list(outcome.result["recipe"].values())))
    assert best - baked < 0.01
    assert outcome.result["liking"]["mean"] == pytest.approx(baked, abs=0.03)
    inside = [
        low + 0.02 * (high - low) < amount < high - 0.02 * (high - low)
        for amount, (low, high) in zip(outcome.result["recipe"].values(), bounds, strict=True)
    ]
    assert sum(inside) >= 3  # one point inside the bounds, not a corner
    assert outcome.result["certificate"]["agreeing"] == outcome.result["certificate"]["starts"]
    assert_settled(outcome)


def assert_settled(outcome: Outcome) -> None:
    """The fit of a shipped config has come to its end, and its answer is checked, in run.json as well."""
    assert outcome.result is not None
    certificate = outcome.result["likelihood"]["certificate"]
    assert certificate["delta"] <= 0.1
    assert certificate["status"] == "computed and checked"
    assert set(outcome.result["status"].values()) == {"computed and checked"}
    assert "warnings" not in outcome.result
    metrics = RunInfo.load(outcome.directory.info).metrics
    assert (metrics["final/settled"], metrics["final/delta"]) == (1.0, certificate["delta"])


def _true_liking(truth: dict[str, Any], names: list[str]) -> Any:
    """Expected P(like) over the population that generated the customers: 10,000 fresh ones of each segment."""
    spec, segments = truth["simulate"], truth["segments"]
    ranges = np.array([truth["ranges"][name] for name in names])
    random = np.random.default_rng(12345)
    shares = np.array([segment["share"] for segment in segments.values()])
    ideals = [
        np.array([segment["ideal"][name] for name in names])
        + spec["spread"] * ranges * random.standard_normal((10_000, len(names)))
        for segment in segments.values()
    ]

    def liking(x: np.ndarray) -> float:
        of_segment = [
            np.mean(1 / (1 + np.exp(-(spec["appeal"] - (((x - ideal) / (spec["tolerance"] * ranges)) ** 2).sum(1)))))
            for ideal in ideals
        ]
        return float(shares @ np.array(of_segment) / shares.sum())

    return liking


@pytest.mark.long
def test_the_cocktail_study_reaches_the_published_figures(cocktail: Path, tmp_path: Path) -> None:
    tables = [f"data.recipes={cocktail}/recipes.csv", f"data.ratings={cocktail}/ratings.csv"]
    outcome = run(load(CONFIGS / "cocktail.yaml", tables), tmp_path, "cocktail")
    assert outcome.result is not None
    likelihood = outcome.result["likelihood"]
    assert likelihood["log_likelihood"] == pytest.approx(-974.317, abs=0.005)
    assert (likelihood["responses"], likelihood["customers"]) == (1600, 100)
    weights = likelihood["parameters"]["weights"]
    expected = {"orange": -0.046, "banana": 1.620, "mango": 2.833, "lemon": -19.090}
    assert weights == pytest.approx(expected, abs=0.005)
    recipe = {"orange": 0.20, "banana": 0.30, "mango": 0.50, "lemon": 0.0}
    assert outcome.result["recipe"] == pytest.approx(recipe, abs=0.002)
    assert outcome.result["liking"]["mean"] == pytest.approx(0.869, abs=0.001)
    assert_settled(outcome)
    assert outcome.result["tasted"]["inside"] is True


@pytest.mark.long
def test_the_quadratic_mixture_reaches_its_published_likelihood(cocktail: Path, tmp_path: Path) -> None:
    overrides = [
        f"data.recipes={cocktail}/recipes.csv",
        f"data.ratings={cocktail}/ratings.csv",
        "model.utility={kind: quadratic, features: [fractions]}",
        "precision=float64",
        "stages.fit.length=300",
        "stages.bake.length=20",
    ]
    import jax

    try:
        outcome = run(load(CONFIGS / "cocktail.yaml", overrides), tmp_path, "cocktail")
    finally:
        jax.config.update("jax_enable_x64", False)
    assert outcome.result is not None
    assert outcome.result["likelihood"]["log_likelihood"] == pytest.approx(-964.1082, abs=0.005)
    assert len(outcome.result["likelihood"]["parameters"]["products"]) == 6


@pytest.mark.long
def test_measured_properties_are_fitted_and_used(cocktail: Path, tmp_path: Path) -> None:
    overrides = [
        f"data.recipes={cocktail}/recipes.csv",
        f"data.ratings={cocktail}/ratings.csv",
        "model={properties: {kind: scheffe, columns: [sweet, acidity]}, "
        "utility: {kind: linear, features: [sweet, acidity]}}",
        "stages={measure: {kind: fit, length: 3, loss: {kind: property_error}, optimizer: {name: newton}}, "
        "fit: {kind: fit, length: 8, optimizer: {name: newton}}, "
        "bake: {kind: bake, length: 40, starts: 4, score: {kind: liking}, "
        "optimizer: {name: adam, learning_rate: 0.02}}}",
    ]
    outcome = run(load(CONFIGS / "cocktail.yaml", overrides), tmp_path, "cocktail")
    assert outcome.result is not None
    table = np.genfromtxt(cocktail / "recipes.csv", delimiter=",", names=True)
    amounts = np.stack([table[name] for name in ("orange", "banana", "mango", "lemon")], axis=1)
    fractions = amounts / amounts.sum(axis=1, keepdims=True)
    baked = np.array(list(outcome.result["recipe"].values()))
    for name in ("sweet", "acidity"):  # ordinary least squares, by NumPy
        coefficients = np.linalg.lstsq(fractions, table[name], rcond=None)[0]
        assert outcome.result["properties"][name] == pytest.approx(baked @ coefficients, abs=0.02)
