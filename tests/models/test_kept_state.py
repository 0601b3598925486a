"""Modules of the user's own that would depend on chance, or on what no step updates, are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from optim.config.errors import UserError

from .conftest import Build

OWN = """\
import jax.numpy as jnp
from flax import nnx


class Table(nnx.Variable):
    pass


class Running(nnx.BatchStat):
    pass


class Taste(nnx.Module):
    def __init__(self, features, groups, rngs):
        self.layers = nnx.Sequential(nnx.Linear(len(features), 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs))

    def __call__(self, features, group):
        return self.layers(features)[0]


class Fine(Taste):
    def __init__(self, features, groups, rngs):
        super().__init__(features, groups, rngs)
        self.norm = nnx.LayerNorm(len(features), rngs=rngs)
        self.constant, self.table = nnx.Variable(jnp.ones(2)), Table(jnp.ones(3))


class Dropping(Taste):
    def __init__(self, features, groups, rngs):
        super().__init__(features, groups, rngs)
        self.layers = nnx.Sequential(*self.layers.layers, nnx.Dropout(0.5, rngs=rngs))


class Keeping(Taste):
    def __init__(self, features, groups, rngs):
        super().__init__(features, groups, rngs)
        self.rngs = rngs


class Normed(Taste):
    def __init__(self, features, groups, rngs):
        super().__init__(features, groups, rngs)
        self.inner = Taste(features, groups, rngs)
        self.inner.norm = nnx.BatchNorm(4, rngs=rngs)


class Remembering(Taste):
    def __init__(self, features, groups, rngs):
        super().__init__(features, groups, rngs)
        self.mean, self.last = Running(jnp.zeros(2)), nnx.Cache(jnp.zeros(2))


class Dough(Dropping):
    names = ("rise",)

    def __init__(self, ingredients, rngs):
        super().__init__(ingredients, 1, rngs)
"""

CHANCE = (
    "a prediction must not depend on chance; leave it out (`rngs` draws initial values: use it while the module is "
    "made, and do not keep it)"
)
RUNNING = (
    "a prediction must not depend on a running mean, which no step updates; leave it out, or take a layer without one, "
    "such as nnx.LayerNorm"
)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def refused(build: Build, path: str) -> str:
    with pytest.raises(UserError) as caught:
        build(utility={"kind": "own", "path": path})
    return str(caught.value).removeprefix(f"model.utility.path: {path}: ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Dropping", f"`layers.layers.2` (nnx.Dropout) holds `RngCount` and `RngKey`: {CHANCE}"),
        ("Keeping", f"`rngs` (nnx.Rngs) holds `RngCount` and `RngKey`: {CHANCE}"),
        ("Normed", f"`inner.norm` (nnx.BatchNorm) holds `BatchStat`: {RUNNING}"),
        (
            "Remembering",
            "`last` (nnx.Cache) holds `Cache`: a call leaves nothing behind, so that it would always be as it began; "
            f"leave it out, or make a constant of it (nnx.Variable); `mean` (Running) holds `Running`: {RUNNING}",
        ),
    ],
)
def test_what_it_holds_is_named_with_its_place_and_the_remedy(build: Build, own: Path, name: str, words: str) -> None:
    assert refused(build, f"{own}:{name}") == words


def test_a_property_model_is_held_to_the_same(build: Build, own: Path) -> None:
    with pytest.raises(UserError) as caught:
        build(properties={"kind": "own", "path": f"{own}:Dough"})
    assert str(caught.value).startswith(f"model.properties.path: {own}:Dough: `layers.layers.2` (nnx.Dropout) holds")


@pytest.mark.parametrize("name", ["Taste", "Fine"])
def test_parameters_drawn_from_the_stream_and_constants_are_fine(build: Build, own: Path, name: str) -> None:
    build(utility={"kind": "own", "path": f"{own}:{name}"})
