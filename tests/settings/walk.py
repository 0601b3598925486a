"""Every setting there is: the blocks of the schema with their fields, and other values for a field."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from optim.config.anatomy import field_shape, tag_of
from optim.config.block import Block

CANDIDATES: tuple[Any, ...] = (True, False, 0.25, 0.75, 3, 12)
"""Values that a field may take, the first that is valid and another is tried."""


def blocks(root: type[Block]) -> list[type[Block]]:
    """The blocks that a config may hold, each once: the root, and whatever its fields lead to."""
    found: dict[type[Block], None] = {}
    waiting = [root]
    while waiting:
        block = waiting.pop(0)
        if block not in found:
            found[block] = None
            waiting += [inner for info in block.model_fields.values() for inner in _blocks_in(info.annotation)]
    return list(found)


def _blocks_in(annotation: Any) -> Iterator[type[Block]]:
    if isinstance(annotation, type) and issubclass(annotation, Block):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for inner in get_args(annotation):
            yield from _blocks_in(inner)


def is_container(info: FieldInfo) -> bool:
    """Whether a field holds blocks and nothing else: it changes what their fields change."""
    return bool(list(_blocks_in(info.annotation))) and not any(_is_leaf(leaf) for leaf in _leaves(info.annotation))


def _leaves(annotation: Any) -> Iterator[Any]:
    """The types of the values; a mapping's keys are names."""
    arguments = get_args(annotation)
    if not arguments or get_origin(annotation) is Literal:
        yield annotation
        return
    if get_origin(annotation) is dict:
        arguments = arguments[1:]
    for inner in arguments:
        yield from _leaves(inner)


def _is_leaf(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return True
    return isinstance(annotation, type) and annotation is not NoneType and not issubclass(annotation, Block)


def is_tag(block: type[Block], name: str) -> bool:
    """Whether a field says which block it is."""
    tag = tag_of(block)
    return tag is not None and tag[0] == name


def another(block: type[Block], name: str, value: Any) -> Any:
    """A valid value of a field that is not this one, or None where none of the candidates is."""
    adapter = TypeAdapter(field_shape(block.model_fields[name]).annotated, config=Block.model_config)
    for candidate in CANDIDATES:
        try:
            read = adapter.validate_python(candidate)
        except ValidationError:
            continue
        if read != value:
            return read
    return None
