"""A config as YAML that loads back to an equal one, as JSON schema, and what differs between two."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from optim.config.anatomy import TAGS
from optim.config.schema import Config
from optim.config.source import KeyPath, dotted


def dump(config: Config) -> str:
    """The config as YAML: complete with defaults, without what is absent, stages in written order."""
    writer = YAML()
    writer.width = 2**16  # A folded line is hard to search.
    text = StringIO()
    writer.dump(as_mapping(config), text)
    return text.getvalue()


def as_mapping(config: Config) -> dict[str, Any]:
    """The config as plain mappings, lists and scalars."""
    mapping: dict[str, Any] = _plain(config.model_dump(exclude_none=True))
    return mapping


def as_json_schema() -> str:
    """The JSON schema of a config, for editors."""
    schema = Config.model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Config of optim"}
    return json.dumps(head | {key: value for key, value in schema.items() if key != "title"}, indent=2)


def differences(a: Config, b: Config) -> list[tuple[str, Any, Any]]:
    """What differs: the dotted key, the value in a, the value in b; None where a config does not have the key."""
    left, right = _leaves(as_mapping(a), ()), _leaves(as_mapping(b), ())
    keys = [*left, *(key for key in right if key not in left)]
    return [(dotted(key), left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def _plain(value: Any) -> Any:
    """Tuples as lists, and the key that says what a block is in front of the others."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key not in TAGS or isinstance(value[key], dict))
        return {key: _plain(value[key]) for key in keys}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _leaves(value: Any, path: KeyPath) -> dict[KeyPath, Any]:
    """Values by path. A list is one value: an item more would otherwise show as many differences."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {inner: leaf for key, item in value.items() for inner, leaf in _leaves(item, (*path, key)).items()}
