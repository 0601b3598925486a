"""A dumped config loads back; two configs differ where they differ; editors get a schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optim.config.dumping import as_json_schema, as_mapping, differences, dump
from optim.config.loading import load
from optim.config.schema import Config
from optim.config.source import read_text
from tests.config.conftest import CAKE, Loaded

RICH = """\
seed: 4294967295
precision: float64
data:
  recipes: "a: strange #name.csv"
  ratings: "10%"
  customers: "null"
  like: {column: "yes", at_least: 6, scale: [1, 9]}
  evaluation: {share: 0.1}
ingredients:
  vodka: {min: 1e-9, max: 1, unit: "%", price: -0.5}
  lime: {max: .3333333333333333}
  ice: {fixed: 0.25}
total: 1
model:
  properties: {kind: scheffe, degree: 2, columns: [sour, "on"]}
  utility: {kind: linear, features: [fractions, sour], intercept: false, groups: "1"}
stages:
  z-first:
    kind: fit
    length: 3 epochs
    loss: {kind: property_error}
    optimizer:
      name: noisy_sgd
      key: 3
      learning_rate: {schedule: piecewise_constant_schedule, init_value: 1, boundaries_and_scales: {50%: 0.1, 3: 2}}
  a-second:
    kind: fit
    length: 10
    batch: 32
    train: [utility, properties]
    loss: {kind: likelihood, aggregate: sum}
    optimizer:
      name: adam
      learning_rate:
        schedule: join_schedules
        boundaries: [5]
        schedules:
        - {schedule: constant_schedule, value: 1e-12}
        - {schedule: cosine_decay_schedule, init_value: 1e20, decay_steps: 95%}
    evaluate: {patience: 3}
  bake:
    kind: bake
    length: 10
    score: {kind: deliciousness, targets: {sour: 2 + vodka, "on": {column: age}}, cost: prices}
    optimizer: {name: lion, learning_rate: 0, limits: {vodka: 0}}
    starts: [{vodka: 0.5, lime: 0.25}]
checkpoint: {best: a-second/eval/loss, keep_every: 5}
chunk: 7
stop_after_steps: 4
"""


@pytest.mark.parametrize("text", [CAKE, RICH])
def test_a_dumped_config_loads_back(text: str, loaded: Loaded) -> None:
    config = loaded(text=text)
    again = loaded(text=dump(config))
    assert again == config
    assert list(again.stages) == list(config.stages)
    assert list(again.ingredients) == list(config.ingredients)
    assert dump(again) == dump(config)


names = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_-]{0,8}\Z")
floats = st.floats(0, 1e300, allow_nan=False)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20)


@settings(max_examples=50, deadline=None)
@given(st.lists(names, min_size=1, max_size=4, unique=True), floats, texts, st.integers(0, 2**32 - 1))
def test_any_names_numbers_and_texts_survive(
    tmp_path_factory: pytest.TempPathFactory, ingredients: list[str], amount: float, unit: str, seed: int
) -> None:
    block = {"min": amount / 2, "max": amount, "unit": unit, "price": -amount}
    stage = {"kind": "bake", "length": 3, "score": {"kind": "own", "path": "a.b:c"}}
    config = Config.model_validate(
        {
            "seed": seed,
            "ingredients": dict.fromkeys(ingredients, block),
            "stages": {ingredients[0]: stage | {"optimizer": {"name": "adam", "learning_rate": amount}}},
        }
    )
    path = tmp_path_factory.mktemp("dump") / "config.yaml"
    path.write_text(dump(config), encoding="utf-8")
    assert load(path) == config


def test_the_dump_is_complete_and_in_order(loaded: Loaded) -> None:
    text = dump(loaded())
    assert text.startswith("seed: 0\nprecision: float32\ndata:\n  simulate:\n")
    assert "  fit:\n    kind: fit\n    length: 200\n    batch: all\n    optimizer:\n      name: adam\n" in text
    assert "null" not in text


def test_differences_name_the_keys_and_both_values(loaded: Loaded) -> None:
    changed = loaded("stages.fit.length=400", "total=5", "model.utility.features=[fractions]")
    assert differences(loaded(), changed) == [
        ("model.utility.features", ["amounts"], ["fractions"]),
        ("stages.fit.length", 200, 400),
        ("total", None, 5.0),
    ]
    assert differences(changed, changed) == []


def described(schema: dict[str, Any]) -> None:
    for name, block in schema["$defs"].items():
        assert block.get("description"), name
        for key, field in block["properties"].items():
            assert field.get("description"), f"{name}.{key}"


def test_the_json_schema_describes_every_key() -> None:
    schema = json.loads(as_json_schema())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "Config of optim"
    described(schema | {"$defs": schema["$defs"] | {"Config": schema}})


def test_the_mapping_is_plain(loaded: Loaded) -> None:
    mapping = as_mapping(loaded(text=RICH))
    assert mapping["data"]["like"]["scale"] == [1.0, 9.0]
    assert read_text(json.dumps(mapping), "a").value == json.loads(json.dumps(mapping))


def test_a_dump_from_another_folder_keeps_its_paths(loaded: Loaded, tmp_path: Path) -> None:
    config = loaded(text=RICH)
    (tmp_path / "runs").mkdir()
    path = tmp_path / "runs" / "config.yaml"
    path.write_text(dump(config), encoding="utf-8")
    assert load(path) == config
