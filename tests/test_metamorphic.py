"""What must not matter does not: units, the order of the ingredients, customers doubled, merged or split, and an
ingredient that nothing reads. Whole answers are compared, in double precision, where only rounding may differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jaxtyping import Bool, Float64, Int
from scipy.special import expit

from optim.analysis.answer import answer
from optim.analysis.best_inside import TOLERANCE
from optim.config.loading import load
from tests.helpers import in_memory

MILLI = 1000.0
"""Milligrams in a gram."""


@dataclass(frozen=True)
class Ingredient:
    """An ingredient: its bounds, its price and the limit of its gradient, in its unit, and what was tasted of it."""

    low: float
    high: float
    price: float
    limit: float
    start: float
    tasted: Float64[np.ndarray, " recipes"]

    def in_units(self, factor: float) -> Ingredient:
        """The same where a unit is so many new ones."""
        return Ingredient(
            self.low * factor,
            self.high * factor,
            self.price / factor,
            self.limit / factor,
            self.start * factor,
            self.tasted * factor,
        )


@dataclass(frozen=True)
class Tasting:
    """Customers who tasted recipes: who tasted which, and liked it or did not.

    Attributes:
        ingredients: by name.
        segments: of each customer.
        customer, recipe, like: of each response.
        total: of every recipe; None for none.
        model: that block of the config.
        aggregate: of the loss.
        bake: whether to bake.
    optimizer: of the bake, what follows its name and rate.
    length: and how many steps it takes.
    """

    ingredients: Mapping[str, Ingredient]
    segments: tuple[str, ...]
    customer: Int[np.ndarray, " responses"]
    recipe: Int[np.ndarray, " responses"]
    like: Bool[np.ndarray, " responses"]
    total: float | None = None
    model: str = "{utility: {kind: quadratic, features: [amounts], groups: segment}}"
    aggregate: str = "mean_responses"
    bake: bool = True
    optimizer: str = ""
    length: int = 60

    def write(self, folder: Path) -> Path:
        """The tables and the config."""
        names, columns = list(self.ingredients), [one.tasted for one in self.ingredients.values()]
        rows = [f"r{at},{','.join(map(repr, row))}" for at, row in enumerate(np.stack(columns, axis=1).tolist())]
        (folder / "recipes.csv").write_text("\n".join([f"recipe,{','.join(names)}", *rows]) + "\n")
        people = [f"c{at},{segment}" for at, segment in enumerate(self.segments)]
        (folder / "customers.csv").write_text("\n".join(["customer,segment", *people]) + "\n")
        likes = [f"c{c},r{r},{int(y)}" for c, r, y in zip(self.customer, self.recipe, self.like, strict=True)]
        (folder / "ratings.csv").write_text("\n".join(["customer,recipe,liking", *likes]) + "\n")
        (folder / "study.yaml").write_text(self._config())
        return folder / "study.yaml"

    def _config(self) -> str:
        each = self.ingredients.items()
        blocks = ", ".join(f"{n}: {{min: {i.low!r}, max: {i.high!r}, price: {i.price!r}}}" for n, i in each)
        return (
            "precision: float64\n"
            "data: {recipes: recipes.csv, ratings: ratings.csv, customers: customers.csv, like: {at_least: 1}}\n"
            f"ingredients: {{{blocks}}}\n"
            f"{'' if self.total is None else f'total: {self.total!r}'}\n"
            f"model: {self.model}\n"
            "stages:\n"
            f"  fit: {{kind: fit, length: 15, loss: {{kind: likelihood, aggregate: {self.aggregate}}},\n"
            "    optimizer: {name: newton}}\n"
        ) + (self._bake() if self.bake else "")

    def _bake(self) -> str:
        each = self.ingredients.items()
        start = ", ".join(f"{name}: {one.start!r}" for name, one in each)
        other = ", ".join(f"{name}: {one.low * 0.3 + one.high * 0.7!r}" for name, one in each)
        limits = ", ".join(f"{name}: {one.limit!r}" for name, one in each if math.isfinite(one.limit))
        return (
            f"  bake: {{kind: bake, length: {self.length}, starts: [{{{start}}}, {{{other}}}],\n"
            "    score: {kind: liking, cost_weight: 0.02},\n"
            f"    optimizer: {{name: adam, learning_rate: 0.03, limits: {{{limits}}}{self.optimizer}}}}}\n"
        )

    def in_units(self, factor: float, *names: str) -> Tasting:
        """The same with some ingredients in a unit so much smaller."""
        changed = {name: one.in_units(factor) if name in names else one for name, one in self.ingredients.items()}
        return replace(self, ingredients=changed, total=None if self.total is None else self.total * factor)

    def doubled(self) -> Tasting:
        """Every customer twice, with all responses."""
        count = len(self.segments)
        return replace(
            self,
            segments=self.segments * 2,
            customer=np.concatenate([self.customer, self.customer + count]),
            recipe=np.tile(self.recipe, 2),
            like=np.tile(self.like, 2),
        )


def made(*names: str, seed: int = 3) -> Tasting:
    """Thirty customers in two segments, who taste ten of twenty recipes each, and like what is near to their ideal."""
    random = np.random.default_rng(seed)
    bounds = {name: (1.0 + at, 4.0 + 2 * at) for at, name in enumerate(names)}
    places = random.random((20, len(names)))
    tasted = {
        name: low + (high - low) * place for (name, (low, high)), place in zip(bounds.items(), places.T, strict=True)
    }
    ingredients = {
        name: Ingredient(low, high, 0.1 * (1 + at), math.inf if at else 0.02, 0.6 * low + 0.4 * high, tasted[name])
        for at, (name, (low, high)) in enumerate(bounds.items())
    }
    customer = np.repeat(np.arange(30), 10)
    recipe = np.concatenate([np.sort(random.permutation(20)[:10]) for _ in range(30)])
    ideal = np.where((customer % 2 == 0)[:, None], 0.45, 0.6)
    liked = expit(1.5 - 8 * np.sum((places[recipe] - ideal) ** 2, axis=1))
    segments = tuple("ab"[at % 2] for at in range(30))
    return Tasting(ingredients, segments, customer, recipe, random.random(300) < liked)


Ask = Callable[[Tasting], dict[str, Any]]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Trains a study in double precision, and answers it; once, however often it is asked."""
    jax.config.update("jax_enable_x64", True)
    known: dict[int, tuple[Tasting, dict[str, Any]]] = {}

    def asked(tasting: Tasting) -> dict[str, Any]:
        if id(tasting) not in known:
            study, state, _, _ = in_memory(load(tasting.write(tmp_path_factory.mktemp("tasting"))))
            known[id(tasting)] = tasting, answer(study, state)
        return known[id(tasting)][1]

    yield asked
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="module")
def plain() -> Tasting:
    """Three ingredients."""
    return made("acid", "butter", "corn")


Place = tuple[str, ...]


def leaves(tree: Any, path: Place = ()) -> dict[Place, Any]:
    """What an answer says, by where it says it; words are left out, which may name a limit in its unit."""
    if isinstance(tree, dict):
        return {inner: leaf for key, value in tree.items() for inner, leaf in leaves(value, (*path, key)).items()}
    if isinstance(tree, list):
        return {inner: leaf for at, value in enumerate(tree) for inner, leaf in leaves(value, (*path, str(at))).items()}
    return {path: tree} if path[-1] == "status" or not isinstance(tree, str) else {}


def same(found: dict[str, Any], expected: dict[str, Any], factor: Callable[[Place], float] = lambda _: 1.0) -> None:
    """Whether two answers say the same, each number of the first times its factor being the second's."""
    mine, others = leaves(found), leaves(expected)
    assert set(mine) == set(others), set(mine) ^ set(others)
    for path, value in others.items():
        times = factor(path)
        if path[-1] == "gap":  # of a search that has arrived: how near it came depends on rounding
            assert max(mine[path], value) < TOLERANCE, path
        elif isinstance(value, float):
            assert mine[path] * times == pytest.approx(value, rel=1e-7, abs=1e-9), path
        else:
            assert mine[path] == value, path


def of_units(factor: float, *names: str) -> Callable[[Place], float]:
    """What a number of an answer in new units is multiplied by to be one in the old ones."""

    def back(path: Place) -> float:
        term = next((part for part in path if set(part.split("*")) & set(names)), None)
        if {"recipe", "beyond", "max_violation"} & set(path) and (term or path[-1] == "max_violation"):
            return 1 / factor
        if term is None or "z" in path:
            return 1.0
        return factor ** sum(name in names for name in term.split("*"))

    return back


def test_another_order_and_another_unit_of_an_ingredient_change_nothing_else(ask: Ask, plain: Tasting) -> None:
    """Its coefficients are so much smaller, squared ones by the square; its amounts so much larger."""
    turned = replace(plain, ingredients=dict(reversed(plain.ingredients.items())))
    same(renamed(ask(turned.in_units(MILLI, "acid"))), renamed(ask(plain)), of_units(MILLI, "acid"))


@pytest.mark.long
def test_a_total_in_another_unit_changes_nothing_else_though_customers_are_clipped(ask: Ask, plain: Tasting) -> None:
    """All the ingredients of a total have its unit; what a customer's gradient is clipped at has none."""
    names, whole = tuple(plain.ingredients), replace(plain, total=10.0, optimizer=", clip_customer_norm: 0.002")
    found, expected = ask(whole.in_units(MILLI, *names)), ask(whole)
    assert not [one for one in expected.get("warnings", ()) if "clip_customer_norm never acted" in one["text"]]
    same(found, expected, of_units(MILLI, *names))


def renamed(tree: Any) -> Any:
    """An answer with products of ingredients by their names in order, and lists of names sorted."""
    if isinstance(tree, dict):
        return {"*".join(sorted(key.split("*"))): renamed(value) for key, value in tree.items()}
    is_names = isinstance(tree, list) and all(isinstance(item, str) for item in tree)
    return sorted(tree) if is_names else tree


def test_customers_who_are_counted_twice_change_nothing_but_how_sure_it_is(ask: Ask, plain: Tasting) -> None:
    once, twice = ask(plain), ask(plain.doubled())
    sure, unsure = twice["likelihood"], once["likelihood"]
    same({"parameters": sure["parameters"]}, {"parameters": unsure["parameters"]})
    same({"recipe": twice["recipe"]}, {"recipe": once["recipe"]})
    assert twice["score"] == pytest.approx(once["score"], rel=1e-9)
    assert twice["liking"]["mean"] == pytest.approx(once["liking"]["mean"], rel=1e-9)
    assert twice["certificate"]["stationarity"] == pytest.approx(once["certificate"]["stationarity"], rel=1e-6)
    for kind in ("standard_errors", "robust_standard_errors"):
        same({kind: sure[kind]}, {kind: unsure[kind]}, lambda _: math.sqrt(2))
    for key in ("responses", "customers", "log_likelihood"):
        assert sure[key] == pytest.approx(2 * unsure[key], rel=1e-9)
    for kind in ("logit_standard_error", "robust_logit_standard_error"):
        assert math.sqrt(2) * twice["liking"][kind] == pytest.approx(once["liking"][kind], rel=1e-7)


@pytest.mark.long
def test_whose_responses_they_are_changes_the_robust_errors_alone(ask: Ask, plain: Tasting) -> None:
    """Customers merged: the second half of them hand their responses to the first, who have tasted other recipes. A sum
    and a mean over responses have the same best coefficients as well."""
    apart = halves(plain)
    together = replace(apart, customer=apart.customer % 15, segments=apart.segments[:15], aggregate="sum")
    one, two = ask(together)["likelihood"], ask(apart)["likelihood"]
    assert (one.pop("customers"), two.pop("customers")) == (15, 30)
    robust = one.pop("robust_standard_errors"), two.pop("robust_standard_errors")
    same(one, two)
    assert leaves(robust[0]) != pytest.approx(leaves(robust[1]), rel=1e-3)


def halves(tasting: Tasting) -> Tasting:
    """The first half of the customers taste the first ten recipes, the others the rest; all are of one segment."""
    return replace(
        tasting,
        bake=False,
        segments=("a",) * len(tasting.segments),
        recipe=np.tile(np.arange(10), 30) + 10 * (tasting.customer >= 15),
        model="{utility: {kind: quadratic, features: [amounts]}}",
    )


@pytest.mark.long
def test_an_ingredient_that_nothing_reads_changes_nothing_and_is_told(ask: Ask) -> None:
    """The bakery's formulas have no salt in them."""
    cake = replace(
        made("butter", "eggs", "flour", "sugar"),
        model="{properties: {kind: bakery}, utility: {kind: quadratic, features: [sweetness, fluffiness]}}",
        length=100,  # where both starts agree
    )
    salt = made("salt", seed=8).ingredients["salt"]
    salted = replace(cake, ingredients={**cake.ingredients, "salt": replace(salt, price=0.0, limit=math.inf)})
    found, expected = ask(salted), ask(cake)
    certificate, told = found["certificate"], found["warnings"].pop()
    assert certificate.pop("unread") == ["salt"]
    assert told["about"] == "recipe.salt"
    assert told["text"].startswith("the score does not depend on salt")
    assert found["status"].pop("recipe") == "not known"  # its salt is any
    expected["status"].pop("recipe", None)
    del certificate["spread"]["salt"], found["recipe"]["salt"], found["tasted"]["best_inside"]["recipe"]["salt"]
    same(found, expected)


@pytest.mark.long
def test_clipped_gradients_of_customers_are_the_same_in_any_unit(ask: Ask, plain: Tasting) -> None:
    clipped = replace(plain, optimizer=", clip_customer_norm: 0.002")
    found, expected = ask(clipped.in_units(MILLI, "acid")), ask(clipped)
    assert not [one for one in expected["warnings"] if "clip_customer_norm never acted" in one["text"]]
    same({"recipe": found["recipe"]}, {"recipe": expected["recipe"]}, of_units(MILLI, "acid"))
