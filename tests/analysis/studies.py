"""Small studies of made-up tables, with exact counts of likes, and their answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.special import expit

from optim.analysis.answer import answer
from optim.analysis.verdicts import CHECKED, NOT_DETERMINED, NOT_KNOWN, NOT_SETTLED
from optim.config.loading import load
from optim.config.schema import Config
from optim.study.state import State
from optim.study.study import Study
from tests.helpers import in_memory

LINEAR = "{utility: {kind: linear, features: [amounts]}}"
GROUPED = "{utility: {kind: linear, features: [amounts], groups: segment}}"


@dataclass(frozen=True)
class Tables:
    """Who liked what: every customer of a group tastes the same recipes.

    Attributes:
        recipes: amounts of each ingredient, one a recipe.
        likes: of each group, how many of its customers like each recipe; None for a recipe that nobody there tasted,
            and for a group that tasted none.
        customers: how many each group has, or how many all of them have.
        total: of every recipe; None where there is none.
    """

    recipes: Mapping[str, Sequence[float]]
    likes: Mapping[str, Sequence[int | None] | None]
    customers: int | Mapping[str, int] = 20
    total: float | None = None

    def size(self, group: str) -> int:
        """How many customers a group has."""
        return self.customers if isinstance(self.customers, int) else self.customers[group]

    def write(self, folder: Path, ingredients: str, model: str = LINEAR) -> Path:
        """The tables and a config that fits and bakes, in a new folder.

        Args:
            folder: where.
            ingredients: that block of the config.
            model: and that one.
        """
        folder.mkdir(parents=True)
        names = list(self.recipes)
        rows = [f"r{at},{','.join(map(str, row))}" for at, row in enumerate(zip(*self.recipes.values(), strict=True))]
        (folder / "recipes.csv").write_text("\n".join([f"recipe,{','.join(names)}", *rows]) + "\n")
        people = [f"{group}{one},{group}" for group in self.likes for one in range(self.size(group))]
        (folder / "customers.csv").write_text("\n".join(["customer,segment", *people]) + "\n")
        ratings = [
            # Who likes a recipe goes round, so that no customer likes everything.
            f"{group}{one},r{at},{int((one + 7 * at) % self.size(group) < liked)}"
            for group, likes in self.likes.items()
            for one in range(self.size(group))
            for at, liked in enumerate(likes or ())
            if liked is not None
        ]
        (folder / "ratings.csv").write_text("\n".join(["customer,recipe,liking", *ratings]) + "\n")
        (folder / "study.yaml").write_text(
            "data: {recipes: recipes.csv, ratings: ratings.csv, customers: customers.csv, like: {at_least: 1}}\n"
            f"ingredients: {ingredients}\n"
            f"{'' if self.total is None else f'total: {self.total}'}\n"
            f"model: {model}\n"
            "stages:\n"
            "  fit: {kind: fit, length: 12, optimizer: {name: newton}}\n"
            "  bake:\n"
            "    {kind: bake, length: 80, starts: 4, score: {kind: liking},\n"
            "     optimizer: {name: adam, learning_rate: 0.05}}\n"
        )
        return folder / "study.yaml"


@dataclass(frozen=True, eq=False)
class Answered:
    """A study that was trained, and its answer."""

    study: Study
    state: State
    result: dict[str, Any]

    @property
    def config(self) -> Config:
        return self.study.config

    @property
    def likelihood(self) -> dict[str, Any]:
        found: dict[str, Any] = self.result["likelihood"]
        return found

    @property
    def warnings(self) -> dict[str, str]:
        """What is said, by what it is about; several about the same are joined."""
        found: dict[str, str] = {}
        for one in self.result.get("warnings", ()):
            found[one["about"]] = " | ".join(filter(None, [found.get(one["about"], ""), one["text"]]))
        return found


def statuses(found: Any) -> set[str]:
    """Every status that stands anywhere in an answer."""
    if isinstance(found, list):
        return set().union(*map(statuses, found))
    if not isinstance(found, dict):
        return set()
    own = found.get("status", ())
    here = {own} if isinstance(own, str) else set(own.values() if isinstance(own, dict) else ())
    return here.union(*map(statuses, found.values()))


class Answers:
    """Trains a study and answers it, once for the same overrides."""

    def __init__(self) -> None:
        self._made: dict[tuple[Path, tuple[str, ...]], Answered] = {}

    def __call__(self, config: Path, *overrides: str) -> Answered:
        key = (config, overrides)
        if key not in self._made:
            study, state, _, _ = in_memory(load(config, list(overrides)))
            found = answer(study, state)
            # No answer of any test holds a number that is not finite, or a fifth status.
            assert json.loads(json.dumps(found, allow_nan=False)) == found
            assert statuses(found) <= {CHECKED, NOT_SETTLED, NOT_DETERMINED, NOT_KNOWN}
            self._made[key] = Answered(study, state, found)
        return self._made[key]


@dataclass(frozen=True)
class Maximum:
    """A logistic fit of counts, by Newton's method in NumPy.

    Attributes:
        theta: coefficients, one a column.
        errors: their standard errors, by the inverse of the information.
        information: Σ n p (1 − p) x xᵀ.
        log_likelihood: of the single responses.
    """

    theta: Float64[np.ndarray, " m"]
    errors: Float64[np.ndarray, " m"]
    information: Float64[np.ndarray, "m m"]
    log_likelihood: float


def maximum(
    rows: Float64[np.ndarray, "cells m"], likes: Float64[np.ndarray, " cells"], counts: Float64[np.ndarray, " cells"]
) -> Maximum:
    """Where the likelihood of counts of likes is greatest."""
    theta = np.zeros(rows.shape[1])
    for _ in range(40):
        mean = expit(rows @ theta)
        information = (rows.T * (counts * mean * (1 - mean))) @ rows
        theta = theta + np.linalg.solve(information, rows.T @ (likes - counts * mean))
    utility = rows @ theta
    log_likelihood = float(likes @ utility - counts @ np.logaddexp(0, utility))
    return Maximum(theta, np.sqrt(np.diag(np.linalg.inv(information))), information, log_likelihood)
