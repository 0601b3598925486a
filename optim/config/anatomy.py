"""The schema taken apart: what a type of the config is made of, and how a message describes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo

from optim.config.block import Block, Expected
from optim.config.naming import some

TAGS = ("kind", "name", "schedule")
"""Keys by which a union tells its blocks apart."""

_BOUNDS = {Gt: " above {0.gt:g}", Ge: " of at least {0.ge:g}", Lt: " below {0.lt:.12g}", Le: " of at most {0.le:g}"}


@dataclass(frozen=True)
class Shape:
    """A type without its annotations, beside them."""

    base: Any
    metadata: tuple[Any, ...] = ()

    @property
    def members(self) -> tuple[Shape, ...]:
        """The alternatives of a union (None left out), or the type itself."""
        if get_origin(self.base) not in (Union, UnionType) or self.expected:
            return (self,)
        members = [shape(member) for member in get_args(self.base) if member is not NoneType]
        return tuple(inner for member in members for inner in member.members)

    @property
    def nullable(self) -> bool:
        """Whether nothing at all is a value."""
        return get_origin(self.base) in (Union, UnionType) and NoneType in get_args(self.base)

    @property
    def block(self) -> type[Block] | None:
        """The block that the type is, if it is one."""
        return self.base if isinstance(self.base, type) and issubclass(self.base, Block) else None

    @property
    def parts(self) -> tuple[Shape, ...]:
        """Of a mapping: its keys and values; of a list: its items."""
        return tuple(shape(part) for part in get_args(self.base))

    @property
    def expected(self) -> str | None:
        """What the schema itself says in messages."""
        return next((mark.text for mark in self.metadata if isinstance(mark, Expected)), None)

    @property
    def annotated(self) -> Any:
        """The type with its annotations."""
        return Annotated[self.base, *self.metadata] if self.metadata else self.base


def shape(annotation: Any) -> Shape:
    """Take the annotations off a type."""
    if get_origin(annotation) is Annotated:
        base, *metadata = get_args(annotation)
        return Shape(base, tuple(metadata))
    return Shape(annotation)


def field_shape(info: FieldInfo) -> Shape:
    """The type of a field."""
    return Shape(info.annotation, tuple(info.metadata))


def tag_of(block: type[Block]) -> tuple[str, str] | None:
    """The key by which a union tells the block from its others, and its value there: `kind`, `fit`."""
    for name in TAGS:
        info = block.model_fields.get(name)
        if info is not None and get_origin(info.annotation) is Literal:
            return name, get_args(info.annotation)[0]
    return None


def describe(shape: Shape) -> str:
    """What a value of the type has to be, in words."""
    if shape.expected:
        return shape.expected
    members = shape.members
    if len(members) == 1:
        return _describe_one(members[0], shape.metadata)
    tags = [tag for member in members if member.block and (tag := tag_of(member.block))]
    words = [_describe_one(member, ()) for member in members if not (member.block and tag_of(member.block))]
    if tags:
        words.append(f"a mapping with `{tags[0][0]}`{f': {few}' if (few := some(tag for _, tag in tags)) else ''}")
    return " or ".join(words)


def _describe_one(shape: Shape, outer: tuple[Any, ...]) -> str:
    bounds = tuple(dict.fromkeys((*outer, *shape.metadata)))
    origin = get_origin(shape.base)
    if shape.expected:
        return shape.expected
    if shape.block:
        needed = [f"`{name}`" for name, info in shape.block.model_fields.items() if info.is_required()]
        return f"a mapping{' with ' if needed else ''}{', '.join(needed)}"
    if origin is Literal:
        return some(get_args(shape.base))
    if origin is dict:
        return f"a mapping to {describe(shape.parts[1])}"
    if origin is tuple:
        return f"a list of {len(shape.parts)} numbers"
    if origin is list:
        least = next((mark.min_length for mark in bounds if isinstance(mark, MinLen)), 0)
        return f"a list{' (not empty)' if least else ''} of {describe(shape.parts[0])}"
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return words[shape.base] + _bounds(bounds)


def _bounds(metadata: tuple[Any, ...]) -> str:
    return " and".join(_BOUNDS[type(mark)].format(mark) for mark in metadata if type(mark) in _BOUNDS)


@cache
def places_of_keys(root: type[Block]) -> dict[str, set[str]]:
    """Where each key may stand, as dotted paths; `NAME` stands for a name that the user chooses."""
    places: dict[str, set[str]] = {}
    for path in _paths(Shape(root), (), ()):
        places.setdefault(path[-1], set()).add(".".join(path))
    return places


def _paths(shape: Shape, path: tuple[str, ...], within: tuple[Any, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of all keys in a type; `within` are the blocks around it, so that one inside itself has an end."""
    for member in shape.members:
        if member.block and member.block not in within:
            for name, info in member.block.model_fields.items():
                yield (*path, name)
                yield from _paths(field_shape(info), (*path, name), (*within, member.block))
        elif get_origin(member.base) in (dict, list):
            inner = "NAME" if get_origin(member.base) is dict else "0"
            yield from _paths(member.parts[-1], (*path, inner), within)
