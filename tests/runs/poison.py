"""A study with a customer whose responses make the loss of any batch that has them not a number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

STUDY = """\
data: {recipes: recipes.csv, ratings: ratings.csv, like: {at_least: 1}}
ingredients: {butter: {min: 0, max: 1}, sugar: {min: 0, max: 5}}
model:
  utility: {kind: own, path: "poison.py:Poisoned", features: [amounts]}
stages:
  fit:
    kind: fit
    length: 14
    batch: 4
    optimizer: {name: adam, learning_rate: 0.05}
  bake:
    kind: bake
    length: 3
    starts: 1
    score: {kind: liking}
    optimizer: {name: sgd, learning_rate: 0.05}
checkpoint: {every: 3}
log: {every: 1}
max_rollbacks: 20
"""

# Not a number for a recipe that one customer alone has tasted.
POISON = """\
import jax.numpy as jnp
from flax import nnx

class Poisoned(nnx.Module):
    def __init__(self, features, groups, rngs):
        self.weights = nnx.Param(jnp.zeros(len(features)))

    def __call__(self, features, group):
        return jnp.where(features[0] > 2.5, jnp.nan, jnp.sum(self.weights[...] * features))
"""


def write_poisoned_study(folder: Path) -> Path:
    """Write a study of 24 customers of whom the eighth is poison; returns the folder."""
    random = np.random.default_rng(0)
    recipes = ["recipe,butter,sugar", *(f"{k},{1 + 0.1 * k:.1f},{2 - 0.2 * k:.1f}" for k in range(6)), "bad,4.9,1.0"]
    ratings = ["customer,recipe,liking"]
    for customer in range(24):
        tasted = ["bad"] if customer == 7 else [str(k) for k in random.permutation(6)[:3]]
        ratings += [f"c{customer},{recipe},{random.integers(2)}" for recipe in tasted]
    (folder / "recipes.csv").write_text("\n".join(recipes) + "\n")
    (folder / "ratings.csv").write_text("\n".join(ratings) + "\n")
    (folder / "poison.py").write_text(POISON)
    (folder / "study.yaml").write_text(STUDY)
    return folder
