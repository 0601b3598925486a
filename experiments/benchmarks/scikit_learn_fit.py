"""The fit of `whole_command.py` as one writes it with polars and scikit-learn: prints the coefficients as JSON.

python experiments/benchmarks/scikit_learn_fit.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression


def fit(folder: Path) -> dict[str, float]:
    """Coefficients by name, and the `bias`, of P(like) over the features that the folder's recipes have."""
    recipes = pl.read_parquet(folder / "recipes.parquet")
    ratings = pl.read_parquet(folder / "ratings.parquet").join(recipes, on="recipe", how="left")
    names = [name for name in recipes.columns if name != "recipe"]
    features, liked = ratings.select(names).to_numpy(), ratings["liking"].to_numpy() >= 1
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8).fit(features, liked)
    return {**dict(zip(names, model.coef_[0].tolist(), strict=True)), "bias": float(model.intercept_[0])}


if __name__ == "__main__":
    print(json.dumps(fit(Path(sys.argv[1]))))
