"""The studies in which settings are changed: small, and such that every setting counts."""

from __future__ import annotations

from pathlib import Path

CAKE = """\
seed: 1
data:
  simulate:
    customers: 8
    recipes: 6
    tastings: 4
    segments:
      classic: {share: 0.6, ideal: {butter: 1, eggs: 3, flour: 2, sugar: 1.5}}
      sweet: {share: 0.4, ideal: {butter: 1.2, eggs: 2, flour: 1.8, sugar: 2}}
  evaluation: {share: 0.3}
ingredients:
  butter: {min: 0.4, max: 2}
  eggs: {min: 1, max: 5}
  flour: {min: 1, max: 3}
  sugar: {min: 0.5, max: 2.5, price: 0.5}
total: 7
model:
  properties: {kind: bakery}
  utility: {kind: linear, features: [amounts]}
stages:
  fit: {kind: fit, length: 20, optimizer: {name: newton}}
  bake:
    kind: bake
    length: 20
    starts: 2
    score: {kind: liking, cost_weight: 0.1}
    optimizer: {name: sgd, learning_rate: 0.1}
"""

FIT = """\
data:
  simulate:
    customers: 8
    recipes: 6
    tastings: 4
    segments: {all: {ideal: {gin: 1, lime: 2}}}
  evaluation: {share: 0.3}
ingredients: {gin: {max: 4}, lime: {max: 4}}
model: {utility: {kind: linear}}
stages:
  fit:
    kind: fit
    length: 20
    batch: 3
    loss: {kind: likelihood}
    evaluate: {patience: 3}
    optimizer: {name: adam, learning_rate: 0.1}
"""

WISHES = """\
data: {recipes: recipes.csv, ratings: ratings.csv, customers: customers.csv, like: {at_least: 6}}
ingredients: {gin: {max: 4}, lime: {max: 4}}
stages:
  bake:
    kind: bake
    length: 20
    starts: 2
    score: {kind: own, path: "own.py:wished", columns: [wish]}
    optimizer: {name: sgd, learning_rate: 0.1}
"""
"""Of the customers alone, whose batches matter."""

BAR = """\
data: {recipes: recipes.csv, ratings: ratings.csv, customers: customers.csv, like: {at_least: 6}}
ingredients: {gin: {max: 4}, lime: {max: 4, price: 2}}
model:
  properties: {kind: scheffe, columns: [sour, cost]}
  utility: {kind: linear, features: [fractions]}
stages:
  measure: {kind: fit, length: 9, loss: {kind: property_error}, optimizer: {name: newton}}
  fit: {kind: fit, length: 9, optimizer: {name: newton}}
  bake:
    kind: bake
    length: 9
    starts: 2
    score: {kind: deliciousness, targets: {sour: 3}}
    optimizer: {name: sgd, learning_rate: 0.1}
"""
"""Of tables; see `write_tables`."""

OVEN = """\
ingredients: {flour: {min: 1, max: 4}, water: {min: 1, max: 4, price: 1}}
settings: {heat: {min: 10, max: 40, unit: °C}, whisk: {min: -2, max: 2, complex: true}}
model: {properties: {kind: own, path: "own.py:Oven", settings: [heat]}}
stages:
  bake:
    kind: bake
    length: 2
    starts: 2
    score: {kind: own, path: "own.py:score"}
    optimizer: {name: sgd, learning_rate: 0.1}
"""
"""Of the user's own code; see `OWN`."""

DOUGH = """\
ingredients: {flour: {min: 1, max: 9}, sugar: {max: 2}, yeast: {max: 1}}
settings:
  temperature: {min: 20, max: 38}
  vibration: {complex: true, min: -2, max: 2}
model: {properties: {kind: sourdough}}
stages:
  bake:
    kind: bake
    length: 9
    starts: 1
    score: {kind: deliciousness, cost: prices, targets: {smoothness: 3}}
    optimizer: {name: adam, learning_rate: 0.1}
"""

OWN = """\
import jax.numpy as jnp
from flax import nnx


class Oven(nnx.Module):
    def __init__(self, ingredients, rngs, power=1):
        self.names = ("crust",)
        self.power = power

    def __call__(self, amounts, settings={}):
        return jnp.stack([amounts[0] ** self.power * settings.get("heat", 1.0)])


class Grill(Oven):
    def __call__(self, amounts, settings={}):
        return 2 * super().__call__(amounts, settings)


class Bar(Oven):
    def __init__(self, ingredients, rngs):
        super().__init__(ingredients, rngs)
        self.names = ("sour", "cost")

    def __call__(self, amounts):
        return amounts[:2] ** 2


class Sharp(Oven):
    def __init__(self, ingredients, rngs):
        super().__init__(ingredients, rngs)
        self.edge = nnx.Param(jnp.ones(1))

    def __call__(self, amounts):
        return self.edge[...] * amounts[0]


class Dough(Oven):
    def __init__(self, ingredients, rngs):
        super().__init__(ingredients, rngs)
        self.names = ("activity", "maturity", "acidity", "smoothness")

    def __call__(self, amounts, settings):
        return settings["temperature"] * jnp.ones(4)


class Taste(nnx.Module):
    def __init__(self, features, groups, rngs, power=1):
        self.weights = nnx.Param(jnp.ones((groups, len(features))))
        self.power = power

    def __call__(self, features, group):
        return jnp.sum(self.weights[group] * features**self.power)


class Habit(Taste):
    def __call__(self, features, group):
        return 2 * super().__call__(features, group)


def loss(utility, like):
    return (utility - like) ** 2


def other_loss(utility, like):
    return (utility - like) ** 4


def score(recipe, customer):
    wishes = sum(value for value in customer.columns.values())
    whisked = abs(recipe.settings.get("whisk", 0.0)) ** 2
    return -((sum(recipe.properties.values()) - 9.0 - wishes) ** 2) - whisked


def wished(recipe, customer):
    return -((recipe.amounts["gin"] - customer.columns["wish"]) ** 2)


def other_score(recipe, customer):
    return -sum(recipe.amounts.values())
"""


def write_studies(folder: Path) -> None:
    """The configs, the user's own code, and the tables with another of each."""
    (folder / "own.py").write_text(OWN)
    recipes = [(1, 2, 3, 4), (2, 1, 1, 2), (3, 3, 2, 6), (1, 4, 5, 3), (4, 1, 2, 1)]
    for name, rows in (("recipes", recipes), ("recipes2", [(9 - a, *rest) for a, *rest in recipes])):
        lines = [f"r{at},{','.join(map(str, row))}" for at, row in enumerate(rows)]
        (folder / f"{name}.csv").write_text("\n".join(["recipe,gin,lime,sour,cost", *lines]) + "\n")
    people = ["ann,a,30,1", "bob,a,40,2", "cat,b,50,5"]
    for name, lines in (
        ("customers", people),
        ("customers2", [people[0], people[2].replace("cat", "bob"), people[1].replace("bob", "cat")]),
    ):
        (folder / f"{name}.csv").write_text("\n".join(["customer,segment,age,wish", *lines]) + "\n")
    liking = [f"{who},r{at},{(3 * at + 5 * one) % 9},{(5 * at + 2 * one) % 9}"
              for one, who in enumerate(("ann", "bob", "cat")) for at in range(3 + one)]  # fmt: skip
    for name, lines in (("ratings", liking), ("ratings2", [line.replace(",8,", ",1,") for line in liking])):
        (folder / f"{name}.csv").write_text("\n".join(["customer,recipe,liking,second", *lines]) + "\n")
