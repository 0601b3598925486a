"""What is wrong with a config, all of it at once, one message a place.

Pydantic alone decides whether a config is valid. When it refuses one, this walk says why in words of the config rather
than of Python types: it follows the schema and the values side by side, takes a misspelt key for the one that was
meant (so that its absence is not a second message and its contents are looked at too), and goes on past each mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from annotated_types import MinLen
from pydantic import TypeAdapter, ValidationError

from optim.config.anatomy import Shape, describe, field_shape, places_of_keys, tag_of
from optim.config.block import Block
from optim.config.naming import choices, did_you_mean, given, nearest, some
from optim.config.source import Finding, KeyPath

_POINT = "a comma ends a value, so write decimal numbers with a point (0.5)"

_BROKEN: Any = object()


def diagnose(root: type[Block], value: dict[Any, Any]) -> tuple[list[Finding], Any]:
    """Everything that is wrong with a mapping as a block of this type.

    Returns:
        The findings, and the block as far as it can be read: what is wrong or missing is absent as an attribute.
    """
    walk = _Walk(root)
    block = walk.block(root, value, ())
    return walk.findings, block


class _Walk:
    def __init__(self, root: type[Block]) -> None:
        self.findings: list[Finding] = []
        self._root = root

    def _wrong(self, path: KeyPath, message: str) -> Any:
        self.findings.append((path, message))
        return _BROKEN

    def value(self, shape: Shape, value: Any, path: KeyPath) -> Any:
        """The value, looked at by its type."""
        if value is None and shape.nullable:
            return None
        member = _member(shape, value)
        if isinstance(member, list):
            return self._tagged(member, value, path)
        if member and member.block:
            return self.block(member.block, value, path)
        if member and not value and any(isinstance(mark, MinLen) for mark in (*shape.metadata, *member.metadata)):
            return self._wrong(path, f"is empty: expected at least one {'entry' if value == {} else 'item'}")
        if member:
            return (self._mapping if isinstance(value, dict) else self._list)(member, value, path)
        read = _validated(shape, value)
        if read is _BROKEN:
            self._wrong(path, f"expected {describe(shape)}, got {given(value)}{_hint(shape, value)}")
        return read

    def block(
        self, block: type[Block], value: dict[Any, Any], path: KeyPath, siblings: Sequence[type[Block]] = ()
    ) -> Any:
        """The block, as far as it can be read; `siblings` are what it could have been instead."""
        written = self._written(block, value, path, siblings)
        read = {
            name: self.value(field_shape(block.model_fields[name]), value[key], (*path, key))
            for name, key in written.items()
        }
        for name, info in block.model_fields.items():
            if info.is_required() and name not in written:
                self._wrong((*path, name), f"is missing: expected {describe(field_shape(info))}")
        return _without(block, [name for name in read if read[name] is _BROKEN], read)

    def _written(
        self, block: type[Block], value: dict[Any, Any], path: KeyPath, siblings: Sequence[type[Block]]
    ) -> dict[str, Any]:
        """The key under which each field was written; unknown keys are reported."""
        written = {key: key for key in value if key in block.model_fields}
        for key in value:
            if key in block.model_fields:
                continue
            meant = nearest(key, [name for name in block.model_fields if name not in written])
            if meant:
                written[meant] = key
                self._wrong((*path, key), f"unknown key; did you mean `{meant}`?")
            else:
                is_cut = type(key) in (int, float) and value[key] is None  # as 05 is of 0,05
                why = f"unknown key: {_POINT}" if is_cut else self._unknown(key, block, siblings)
                self._wrong((*path, key), why)
        return written

    def _unknown(self, key: Any, block: type[Block], siblings: Sequence[type[Block]]) -> str:
        """What is said of a key that the block has not, and that is not one of its other keys misspelt."""
        owners = [tag[1] for sibling in siblings if key in sibling.model_fields and (tag := tag_of(sibling))]
        own = tag_of(block)
        if own and owners:
            return f"unknown key: `{own[1]}` has no `{key}`; remove it, or use {some(owners) or f'another {own[0]}'}"
        near = did_you_mean(key, block.model_fields)
        places = [] if near else list(places_of_keys(self._root).get(str(key), ()))
        if len(places) == 1:
            return f"unknown key; it belongs at `{places[0]}`"
        return "unknown key" + (near or f": expected {choices(block.model_fields)}")

    def _tagged(self, members: Sequence[type[Block]], value: dict[Any, Any], path: KeyPath) -> Any:
        """A mapping that says itself which of several blocks it is."""
        tags = {tag[1]: member for member in members if (tag := tag_of(member))}
        key = (tag_of(members[0]) or ("", ""))[0]
        known = {name for member in members for name in member.model_fields}
        others = [other for other in value if other not in known and nearest(other, [key])]
        written = next(iter([key] if key in value else others), None)
        if written is None:
            return self._wrong((*path, key), f"is missing: expected {choices(tags)}")
        tag = value[written]
        meant = tag if isinstance(tag, str) and tag in tags else nearest(tag, tags)
        if meant is None or meant != tag:
            expected = some(tags) if meant else choices(tags)
            message = f"expected {expected or f'one of {len(tags)} names'}, got {given(tag)}"
            self._wrong((*path, written), message + (f"; did you mean `{meant}`?" if meant else ""))
        if meant is None:
            return _BROKEN
        return self.block(tags[meant], {**value, written: meant}, path, members)

    def _mapping(self, member: Shape, value: dict[Any, Any], path: KeyPath) -> Any:
        keys, values = member.parts
        for key in value:
            if _validated(keys, key) is _BROKEN:
                self._wrong((*path, key), f"expected {describe(keys)} for a key, got {given(key)}")
        read = {key: self.value(values, item, (*path, key)) for key, item in value.items()}
        broken = [key for key, item in read.items() if item is _BROKEN]
        if broken and not all(inner.block for inner in values.members):
            return _BROKEN
        # A block that cannot be read still has its name: others may refer to it. Names are text even where YAML has 7.
        unreadable = _without(values.block, values.block.model_fields, {}) if values.block else object()
        read |= dict.fromkeys(broken, unreadable)
        return {str(key) if _validated(keys, key) is _BROKEN else key: item for key, item in read.items()}

    def _list(self, member: Shape, value: list[Any], path: KeyPath) -> Any:
        read = [self.value(member.parts[0], item, (*path, index)) for index, item in enumerate(value)]
        return _BROKEN if any(item is _BROKEN for item in read) else read


def _without(block: type[Block], names: Iterable[str], values: Mapping[str, Any]) -> Block:
    """The block without some of its attributes."""
    partial = block.model_construct(**values)
    for name in names:
        partial.__dict__.pop(name, None)
    return partial


def _member(shape: Shape, value: Any) -> Shape | list[type[Block]] | None:
    """The alternative that a value was meant to be; the blocks, where the value itself has to say which."""
    kind = type(value)
    members = shape.members
    if kind is dict:
        blocks = [member.block for member in members if member.block]
        if len(blocks) > 1 and tag_of(blocks[0]):
            return blocks
        members = tuple(sorted(members, key=lambda member: -_common_keys(member, value)))
    alike = [m for m in members if (m.block and kind is dict) or get_origin(m.base) is kind]
    return alike[0] if alike else None


def _common_keys(shape: Shape, value: dict[Any, Any]) -> int:
    """How many keys of a mapping are a block's, or nearly."""
    return sum(nearest(key, shape.block.model_fields) is not None for key in value) if shape.block else 0


def _validated(shape: Shape, value: Any) -> Any:
    """A value that is no block, as its type has it."""
    if shape.block:
        return _BROKEN  # The walk goes into mappings, and nothing else is a block.
    try:
        return TypeAdapter(shape.annotated, config=Block.model_config).validate_python(value)
    except ValidationError:
        return _BROKEN


def _hint(shape: Shape, value: Any) -> str:
    if not isinstance(value, str):
        return ""
    words = [word for member in shape.members if get_origin(member.base) is Literal for word in get_args(member.base)]
    near = nearest(value, words)
    if near:
        return f"; did you mean `{near}`?"
    numeric = any(member.base in (int, float) for member in shape.members) or any(isinstance(w, int) for w in words)
    return " (a number in quotes is text: remove the quotes)" if numeric and _is_number(value) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
