"""Everything random has a stream of its own: no two parts of a study start from the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optim.config.loading import load
from optim.study.study import build_study
from tests.analysis.studies import Tables

BOUNDS = "{sugar: {min: 0.5, max: 2.5}, butter: {min: 1, max: 2}}"
RECIPES = {"sugar": [0.5, 1.0, 1.5, 2.0], "butter": [1.0, 1.5, 2.0, 1.2], "sour": [3.0, 2.0, 4.0, 5.0]}
PROPERTIES = "properties: {kind: mlp, columns: [sour], hidden: [3]}"
UTILITY = "utility: {kind: mlp, features: [amounts], hidden: [3]}"


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    """A property network and a utility network of the same shape."""
    tables = Tables(RECIPES, {"all": [3, 8, 12, 11]})
    return tables.write(tmp_path / "study", BOUNDS, f"{{{PROPERTIES}, {UTILITY}}}")


def kernels(config: Path, *overrides: str) -> dict[str, np.ndarray]:
    """Initial weights of each network's first layer."""
    parameters = build_study(load(config, list(overrides))).first_member["model"]
    return {part: np.asarray(values["network"]["layers"][0]["kernel"]) for part, values in parameters.items()}


def test_two_networks_of_one_shape_start_from_different_numbers(networks: Path) -> None:
    found = kernels(networks)
    assert found["properties"].shape == found["utility"].shape == (2, 3)
    assert (found["properties"] != found["utility"]).all()


def test_where_a_part_starts_depends_on_the_seed_and_on_no_other_part(networks: Path) -> None:
    found = kernels(networks)
    np.testing.assert_array_equal(kernels(networks, f"model={{{UTILITY}}}")["utility"], found["utility"])
    assert (kernels(networks, "seed=1")["utility"] != found["utility"]).all()
