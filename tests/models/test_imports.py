"""The user's own modules: found by file or by package, and told in one message what is wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import jax.numpy as jnp
import pytest

from optim.config.errors import UserError
from optim.models.imports import load_object

from .conftest import Build

OWN = """\
from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx


@dataclass(frozen=True)
class Settings:
    power: float = 1.0


class Crisp(nnx.Module):
    def __init__(self, ingredients, rngs, power=1.0):
        self.names = ("crisp", "cost")
        self.settings = Settings(power)
        self.slope = nnx.Param(jnp.ones(len(ingredients)))

    def __call__(self, amounts):
        return jnp.stack([jnp.sum(self.slope[...] * amounts) ** self.settings.power, jnp.sum(amounts)])


class Taste(nnx.Module):
    def __init__(self, features, groups, rngs, sharpness):
        self.weights = nnx.Param(jnp.full((groups, len(features)), sharpness))

    def __call__(self, features, group):
        return jnp.sum(self.weights[group] * features)


class Nameless(nnx.Module):
    def __init__(self, ingredients, rngs):
        pass

    def __call__(self, amounts):
        return amounts


class Plain:
    names = ("a",)

    def __init__(self, **arguments):
        pass

    def __call__(self, *inputs):
        return jnp.zeros(1)


class Vector(nnx.Module):
    names = ("a", "b")

    def __init__(self, **arguments):
        pass

    def __call__(self, *inputs):
        return jnp.zeros(1)


class Butter(Vector):
    names = ("butter",)


class Broken(nnx.Module):
    names = ("a",)

    def __init__(self, **arguments):
        raise ValueError("no oven")


class BrokenLater(nnx.Module):
    names = ("a",)

    def __init__(self, **arguments):
        pass

    def __call__(self, *inputs):
        return jnp.zeros(2) + jnp.zeros(3)


THREE = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def refused(path: str) -> str:
    with pytest.raises(UserError) as caught:
        load_object(path)
    return str(caught.value)


def test_a_property_model_and_a_utility_from_a_file(build: Build, own: Path) -> None:
    model = build(
        properties={"kind": "own", "path": f"{own}:Crisp", "arguments": {"power": 2.0}},
        utility={
            "kind": "own", "path": f"{own}:Taste", "features": ["crisp", "amounts"], "arguments": {"sharpness": 0.5},
        },
    )  # fmt: skip
    assert model.properties_of(jnp.array([1.0, 2.0, 3.0, 4.0])).tolist() == [100.0, 10.0]
    assert model.feature_map.names == ("crisp", "butter", "eggs", "flour", "sugar")
    features = model.features(jnp.array([1.0, 2.0, 3.0, 4.0]))
    assert model.utility is not None
    assert float(model.utility(features, jnp.int32(2))) == pytest.approx(0.5 * float(features.sum()), rel=1e-5)


def test_from_a_package_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "bakeries_of_mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tastes.py").write_text("def sweet(recipe, customer):\n    return recipe.amounts['sugar']\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert load_object("bakeries_of_mine.tastes:sweet").__name__ == "sweet"
    assert sys.path == before


def test_a_file_finds_the_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "helper_beside.py").write_text("FACTOR = 2\n")
    (tmp_path / "own.py").write_text("from helper_beside import FACTOR\n\ndef double(x):\n    return FACTOR * x\n")
    before = list(sys.path)
    assert load_object(f"{tmp_path / 'own.py'}:double")(21) == 42
    assert sys.path == before


def test_a_file_named_like_a_library_does_not_replace_it(tmp_path: Path) -> None:
    import random

    (tmp_path / "random.py").write_text("def draw():\n    return 4\n")
    assert load_object(f"{tmp_path / 'random.py'}:draw")() == 4
    assert sys.modules["random"] is random


def test_a_missing_file(tmp_path: Path) -> None:
    message = refused(f"{tmp_path}/nowhere.py:Taste")
    assert message.startswith(f"{tmp_path}/nowhere.py:Taste: importing {tmp_path}/nowhere.py failed: FileNotFoundError")
    assert not [name for name in sys.modules if name.startswith("own_nowhere")]


def test_a_missing_package() -> None:
    assert refused("no_such_package.taste:Taste") == (
        "no_such_package.taste:Taste: importing no_such_package.taste failed: "
        "ModuleNotFoundError: No module named 'no_such_package'"
    )


def test_a_missing_name_and_the_nearest_one(own: Path) -> None:
    assert refused(f"{own}:Tast") == f"{own}:Tast: {own} has no 'Tast'; did you mean `Taste`?"
    assert refused(f"{own}:Qqqqqqq").endswith("has no 'Qqqqqqq'")


def test_something_that_cannot_be_called(own: Path) -> None:
    assert refused(f"{own}:THREE") == f"{own}:THREE: expected a class or a function, and THREE is of type int"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("x = 1\nraise RuntimeError('oven on fire')\n", "RuntimeError: oven on fire ({file}:2)"),
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library' ({file}:1)"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 ({file}:2)"),
    ],
)
def test_an_error_while_importing_is_shown_with_its_line(tmp_path: Path, source: str, what: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(source)
    assert refused(f"{file}:Taste") == f"{file}:Taste: importing {file} failed: " + what.format(file=file)


def test_a_syntax_error_is_shown_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ny = = 2\n")
    assert refused(f"{tmp_path / 'broken.py'}:Taste").endswith("SyntaxError: invalid syntax (broken.py, line 2)")


def line_of(text: str) -> int:
    return OWN[: OWN.index(text)].count("\n") + 1


def refused_model(build: Build, key: str, path: str, **more: object) -> str:
    with pytest.raises(UserError) as caught:
        build(**{key: {"kind": "own", "path": path, **more}})
    return str(caught.value)


def test_what_is_no_property_model(build: Build, own: Path) -> None:
    for name in ("Nameless", "Plain"):
        assert refused_model(build, "properties", f"{own}:{name}") == (
            f"model.properties.path: {own}:{name} is not a property model: a Flax NNX module with `names` and "
            "`__call__(amounts)`"
        )


def test_what_is_no_utility(build: Build, own: Path) -> None:
    assert refused_model(build, "utility", f"{own}:Plain") == (
        f"model.utility.path: {own}:Plain is not a utility: a Flax NNX module with `__call__(features, group)`"
    )


def test_an_output_of_the_wrong_shape(build: Build, own: Path) -> None:
    assert refused_model(build, "properties", f"{own}:Vector") == (
        f"model.properties.path: {own}:Vector gives an array of shape (1,) for one recipe: expected one of shape (2,), "
        "as it has 2 names"
    )
    assert refused_model(build, "utility", f"{own}:Vector") == (
        f"model.utility.path: {own}:Vector gives an array of shape (1,) for one recipe and customer: expected a scalar"
    )


def test_a_property_named_like_an_ingredient(build: Build, own: Path) -> None:
    assert refused_model(build, "properties", f"{own}:Butter") == (
        f"model.properties.path: {own}:Butter names a property 'butter', which is also an ingredient: rename one"
    )


def test_an_error_in_the_constructor_is_shown_with_its_line(build: Build, own: Path) -> None:
    assert refused_model(build, "properties", f"{own}:Broken") == (
        f"model.properties.path: {own}:Broken: making it with ingredients, rngs failed: ValueError: no oven "
        f"({own}:{line_of('raise ValueError')})"
    )


def test_an_argument_that_the_class_does_not_take(build: Build, own: Path) -> None:
    message = refused_model(build, "utility", f"{own}:Taste", arguments={"sharpnes": 1.0})
    assert message.startswith(
        f"model.utility.path: {own}:Taste: making it with features, groups, rngs, sharpnes failed: TypeError: "
    )
    assert "sharpnes" in message.split("TypeError")[1]


def test_an_error_in_the_call_is_shown_with_its_line(build: Build, own: Path) -> None:
    message = refused_model(build, "utility", f"{own}:BrokenLater")
    assert message.startswith(f"model.utility.path: {own}:BrokenLater: calling it failed: TypeError: ")
    assert message.endswith(f"({own}:{line_of('return jnp.zeros(2) + jnp.zeros(3)')})")


def test_a_feature_that_the_own_model_does_not_give(build: Build, own: Path) -> None:
    with pytest.raises(UserError, match=r"model\.utility\.features: the property model gives crisp, cost, not 'crips'"):
        build(properties={"kind": "own", "path": f"{own}:Crisp"}, utility={"kind": "linear", "features": ["crips"]})


def test_two_loads_of_a_file_see_its_present_text(own: Path) -> None:
    assert load_object(f"{own}:Taste") is not load_object(f"{own}:Taste")
    own.write_text(
        dedent("""\
        def only():
            return 1
    """)
    )
    assert load_object(f"{own}:only")() == 1
