"""Settings of processes are trained beside the amounts; complex ones along the right direction."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.config.errors import UserError
from optim.config.loading import load
from optim.config.schema import Config
from optim.models.flat import Flat
from optim.runs.observer import Silent
from optim.runs.run import resume
from optim.runs.session import OwnRuleError
from optim.study.study import build_study
from tests.helpers import assert_same_bits, in_memory, last_checkpoint, run
from tests.runs.reading import tags_of

STUDY = """\
seed: 4
ingredients:
  flour: {min: 1, max: 3}
  water: {min: 1, max: 3}
settings:
  vibration: {complex: true, min: -5, max: 5, unit: mm}
  heat: {min: 10, max: 40}
total: 4
stages:
  mix:
    kind: bake
    length: 400
    starts: 11 # the centre and ten random ones
    score: {kind: own, path: "mine.py:score"}
    optimizer: {name: adam, learning_rate: {schedule: cosine_decay_schedule, init_value: 0.05, decay_steps: 100%}}
"""
SCORE = """\
def score(recipe, customer):
    z, heat = recipe.settings["vibration"], recipe.settings["heat"]
    smooth = 3.0 * z.real - (z.real**2 + z.imag**2)
    return smooth - 0.01 * (heat - 50.0) ** 2 - 4.0 * (recipe.amounts["flour"] - 1.5) ** 2
"""
REFUSES = """\
from optim.autodiff import fixed_point


def score(recipe, customer):
    heat = recipe.settings["heat"]
    settled, _ = fixed_point(lambda p, x: p * x + 1, heat / 5, 1.0, max_iterations=50, on_failure="raise")
    return -settled
"""
BEST = {"flour": 1.5, "water": 2.5, "heat": 40.0, "vibration_real": 1.5, "vibration_imag": 0.0}
DECAYING = "learning_rate: {schedule: cosine_decay_schedule, init_value: RATE, decay_steps: 100%}"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SCORE)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


def ends(config: Config) -> list[dict[str, float]]:
    """Where each start of the last stage ended."""
    study, _, _, sinks = in_memory(config)
    recipes = np.asarray(sinks.records[-1].measured.recipes, float)
    return [dict(zip(study.space.coordinates, row, strict=True)) for row in recipes]


@pytest.mark.long
@pytest.mark.parametrize(
    "optimizer",
    [
        "{name: sgd, " + DECAYING.replace("RATE", "0.008") + "}",
        pytest.param("{name: sgd, momentum: 0.9, " + DECAYING.replace("RATE", "0.002") + "}", marks=pytest.mark.long),
        pytest.param("{name: adam, " + DECAYING.replace("RATE", "0.05") + "}", marks=pytest.mark.long),
    ],
    ids=["sgd", "momentum", "adam"],
)
def test_a_complex_vibration_ends_at_the_peak_from_ten_starts(study: Path, optimizer: str) -> None:
    found = ends(load(study, [f"stages.mix.optimizer={optimizer}"]))
    assert len(found) == 11
    for end in found:
        assert end == pytest.approx(BEST, abs=1e-3)


@pytest.mark.long
def test_the_answer_and_the_curves_have_the_settings(study: Path, tmp_path: Path) -> None:
    run(load(study), tmp_path / "runs", "one")
    result = json.loads((tmp_path / "runs" / "one" / "result.json").read_text())
    assert result["settings"]["heat"] == 40.0
    assert result["settings"]["vibration"] == pytest.approx({"real": 1.5, "imag": 0.0}, abs=1e-4)
    assert result["units"] == {"vibration": "mm"}
    assert result["certificate"]["active"] == ["heat max"]
    assert result["certificate"]["agreeing"] == 11
    assert {"mix/recipe/flour", "mix/settings/heat", "mix/settings/vibration_imag"} <= tags_of(
        tmp_path / "runs" / "one"
    )


@pytest.mark.long
def test_an_interrupted_run_ends_with_the_same_bits(study: Path, tmp_path: Path) -> None:
    config = load(study, ["stages.mix.length=30", "stages.mix.starts=2"])
    run(config, tmp_path / "runs", "whole")
    run(config.model_copy(update={"stop_after_steps": 11}), tmp_path / "runs", "cut")
    resume(tmp_path / "runs" / "cut", [], observer=Silent())
    whole, cut = (last_checkpoint(tmp_path / "runs" / name, config, 0) for name in ("whole", "cut"))
    assert_same_bits(whole, cut)
    assert np.iscomplexobj(whole.parameters["cake"]["settings"]["vibration"])


def test_starts_are_given_by_name_and_fixed_settings_stay(study: Path) -> None:
    start = "stages.mix.starts=[{flour: 2, water: 2, vibration: [3, -2]}]"
    still = "stages.mix.optimizer={name: sgd, learning_rate: 0.0}"
    (end,) = ends(load(study, [start, still, "settings.heat={fixed: 20}", "stages.mix.length=2"]))
    assert end == {"flour": 2, "water": 2, "heat": 20, "vibration_real": 3, "vibration_imag": -2}


def test_a_complex_setting_may_be_given_as_a_real_number(study: Path) -> None:
    given = "stages.mix.starts=[{flour: 2, water: 2, heat: 20, vibration: 3}]"
    held = "settings.vibration={complex: true, fixed: 2}"
    for override, expected in ((given, 3 + 0j), (held, 2 + 0j)):
        starts = build_study(load(study, [override])).stages[0].starts
        assert starts is not None
        assert set(np.asarray(starts["settings"]["vibration"]).ravel()) == {expected}


@pytest.mark.long
def test_a_process_that_refuses_its_numbers_ends_the_run_with_its_own_words(study: Path, tmp_path: Path) -> None:
    (study.parent / "mine.py").write_text(REFUSES)
    with pytest.raises(OwnRuleError, match=r"after step 0: .*no fixed point after 50 iterations"):
        run(load(study), tmp_path / "runs", "one")
    assert json.loads((tmp_path / "runs" / "one" / "run.json").read_text())["status"] == "failed"


@pytest.mark.long
def test_a_limit_on_a_setting_acts(study: Path) -> None:
    limit = "stages.mix.optimizer={name: sgd, learning_rate: 0.0001, limits: {vibration: 0.0}}"
    found = ends(load(study, [limit, "stages.mix.starts=[{flour: 2, water: 2, heat: 20, vibration: [3, -2]}]"]))
    assert (found[0]["vibration_real"], found[0]["vibration_imag"]) == (3, -2)
    assert found[0]["heat"] > 20.5


@pytest.mark.long
def test_a_setting_may_be_called_what_a_mapping_is_asked_for(study: Path) -> None:
    (study.parent / "mine.py").write_text(
        "def score(recipe, customer):\n    return -(recipe.settings['items'] - 2) ** 2\n"
    )
    settings = "settings={items: {min: 0, max: 5}, keys: {min: 0, max: 1, fixed: 1}}"
    assert [end["items"] for end in ends(load(study, [settings]))] == pytest.approx([2.0] * 11, abs=1e-3)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("recipe.settings['vibration']", "expected a real floating number; take its real part, or its modulus"),
        ("3", "the score gives int32 for one customer: expected a real floating number; write 1.0 for 1"),
    ],
)
def test_a_score_that_is_no_real_number_is_refused(study: Path, returned: str, expected: str) -> None:
    (study.parent / "mine.py").write_text(f"def score(recipe, customer):\n    return {returned}\n")
    with pytest.raises(UserError, match=expected):
        build_study(load(study))


PROPERTIES = """\
import jax.numpy as jnp
from flax import nnx


class Oven(nnx.Module):
    def __init__(self, ingredients, rngs):
        self.names = ("crust",)

    def __call__(self, amounts, settings):
        return jnp.stack([amounts[0] * settings["heat"]])
"""


@pytest.mark.long
def test_a_property_model_of_the_users_own_reads_settings(study: Path) -> None:
    (study.parent / "oven.py").write_text(PROPERTIES)
    model = 'model.properties={kind: own, path: "oven.py:Oven", settings: [heat]}'
    score = "stages.mix.score={kind: deliciousness, targets: {crust: 60, }, cost: prices}"
    found = ends(load(study, [model, score, "ingredients.flour.fixed=2", "settings={heat: {min: 10, max: 40}}"]))
    assert [end["heat"] for end in found] == pytest.approx([30.0] * 11, abs=0.01)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("{crunch: 60}", r"stages\.mix\.score\.targets\.crunch: unknown property `crunch`: expected `crust`"),
        ("{crust: 2 + egs}", r"stages\.mix\.score\.targets\.crust: unknown name `egs`"),
        (
            "{crust: {formula: heat + crst, hold: true}}",
            r"crust\.formula: unknown name `crst`; did you mean `crust`\?",
        ),
    ],
)
def test_targets_of_a_model_of_the_users_own_are_checked_once_it_is_made(
    study: Path, targets: str, message: str
) -> None:
    (study.parent / "oven.py").write_text(PROPERTIES)
    model = 'model.properties={kind: own, path: "oven.py:Oven", settings: [heat]}'
    score = f"stages.mix.score={{kind: deliciousness, targets: {targets}, cost: prices}}"
    with pytest.raises(UserError, match=message):
        build_study(load(study, [model, score, "settings={heat: {min: 10, max: 40}}"]))


def test_a_property_model_sees_the_settings_that_it_lists_alone(study: Path) -> None:
    source = PROPERTIES.replace('settings["heat"]', 'settings["vibration"].real')
    (study.parent / "oven.py").write_text(source)
    model = 'model.properties={kind: own, path: "oven.py:Oven", settings: [heat]}'
    with pytest.raises(UserError, match="vibration"):
        build_study(load(study, [model]))


def test_a_property_that_is_no_real_number_is_refused(study: Path) -> None:
    (study.parent / "oven.py").write_text(PROPERTIES.replace('settings["heat"]', '(1j * settings["heat"])'))
    model = 'model.properties={kind: own, path: "oven.py:Oven", settings: [heat]}'
    with pytest.raises(UserError, match="gives no array of real numbers for one recipe"):
        build_study(load(study, [model]))


def test_a_gradient_with_respect_to_complex_parameters_points_uphill() -> None:
    """Whatever module holds them: the vector that is trained is real."""
    tree = {"z": jnp.array([[2 + 1j, 0.5j]], jnp.complex64), "x": jnp.array([[1.0, 2.0]])}
    flat = Flat.of(tree)
    vector = flat.ravel(tree)[0]
    assert vector.dtype == jnp.float32
    back = flat.unravel(vector)
    np.testing.assert_array_equal(back["z"], tree["z"][0])
    score = lambda v: jnp.sum(3 * flat.unravel(v)["z"].real - jnp.abs(flat.unravel(v)["z"]) ** 2)
    gradient = flat.unravel(jax.grad(score)(vector))["z"]
    np.testing.assert_allclose(gradient, 3 - 2 * tree["z"][0], rtol=1e-6)
