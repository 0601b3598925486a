"""YAML text as plain values that remember their lines.

Read from the node tree rather than from constructed objects: this gives a line to every key, sees a key that is given
twice, and leaves no way for a tag to build an object.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from optim.config.errors import Problem, UserError
from optim.config.naming import did_you_mean

KeyPath = tuple[Any, ...]
"""Mapping keys and list indexes from the top of the file to a value."""

Finding = tuple[KeyPath, str]
"""The path of a mistake, and what to say about it."""

MOST_VALUES = 50_000
"""Anchors that repeat one another can blow a few lines up to any size."""
MOST_LEVELS = 50

_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset({f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str")})

# Nothing in a config is a date or one of YAML's odd scalars: what looks like one is text.
_TEXTS = frozenset({f"{_TAG}{name}" for name in ("timestamp", "value", "merge")})


def dotted(path: KeyPath) -> str:
    """The path as users write it: `stages.bake.length`."""
    return ".".join(str(part) for part in path)


@dataclass
class Document:
    """A value read from YAML, where each part of it stands, and what was wrong on the way."""

    place: str
    """Name of the file, or another word for where the text came from."""
    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """Line of every key and list item."""
    problems: list[Problem] = field(default_factory=list)

    def where(self, path: KeyPath) -> str:
        """`file:line` of the path, or of the nearest block around it."""
        line = self.line(path)
        return f"{self.place}:{line}" if line else self.place

    def line(self, path: KeyPath) -> int:
        """Line of the path, or of the nearest block around it; 0 where nothing is known."""
        return next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), 0)


def read_file(path: Path) -> Document:
    """Read one YAML file.

    Raises:
        UserError: there is no such file, or it is not a mapping in YAML.
    """
    document = read_text(_text(path), str(path))
    if not isinstance(document.value, dict):
        raise UserError(Problem(document.where(()), "expected keys and values (`seed: 0`) at the top of the config"))
    return document


def read_text(text: str, place: str) -> Document:
    """Read one YAML document.

    Args:
        text: the document.
        place: what to call it in messages.

    Raises:
        UserError: the text is not YAML, is empty or is beyond all bounds.
    """
    loader = YAML(typ="safe", pure=True)
    node = _compose(loader, text, place)
    if node is None:
        raise UserError(Problem(place, "is empty: expected at least `ingredients` and `stages`"))
    document = Document(place)
    document.value = _Reader(loader.constructor, document).value(node, ())
    document.lines[()] = _line(node)
    return document


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UserError(Problem(str(path), f"no such file{_neighbour(path)}")) from None
    except IsADirectoryError:
        raise UserError(Problem(str(path), "is a folder: give the YAML file itself")) from None
    except OSError as error:
        raise UserError(Problem(str(path), f"cannot be read: {error.strerror}")) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 text (byte 0x{raw[error.start]:02x}): save it as UTF-8"
        raise UserError(Problem(f"{path}:{line}", message)) from None


def _neighbour(path: Path) -> str:
    folder = path.parent
    names = [entry.name for entry in folder.iterdir() if entry.is_file()] if folder.is_dir() else []
    return did_you_mean(path.name, names)


def _compose(loader: YAML, text: str, place: str) -> Node | None:
    try:
        node: Node | None = loader.compose(text)
        return node
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    except ReaderError as error:
        before = text[: error.position]
        what = f"the character {error.character!r} is not allowed"
        at = (before.count("\n") + 1, len(before) - before.rfind("\n"))
    except YAMLError as error:
        what, at = str(error), (1, 1)
    except RecursionError:
        raise UserError(Problem(place, f"is nested too deeply: at most {MOST_LEVELS} levels")) from None
    raise UserError(Problem(f"{place}:{at[0]}", f"is not valid YAML: column {at[1]}: {what}"))


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _is_mapping(node: Node) -> bool:
    return isinstance(node, MappingNode) and node.tag == f"{_TAG}map"


class _Reader:
    """Turns nodes into plain values and notes their lines in a document."""

    def __init__(self, constructor: SafeConstructor, document: Document) -> None:
        self._constructor = constructor
        self._document = document
        self._count = 0
        self._depth = 0

    def value(self, node: Node, path: KeyPath, known: Collection[Any] = ()) -> Any:
        """The value of a node; of a mapping, without the keys that are known already."""
        self._count += 1
        self._depth += 1
        if self._count > MOST_VALUES:
            raise UserError(Problem(self._document.place, f"has more than {MOST_VALUES} values: do anchors repeat it?"))
        if self._depth > MOST_LEVELS:
            message = f"is nested too deeply: at most {MOST_LEVELS} levels"
            raise UserError(Problem(f"{self._document.place}:{_line(node)}", message))
        value = self._plain(node, path, known)
        self._depth -= 1
        return value

    def _plain(self, node: Node, path: KeyPath, known: Collection[Any]) -> Any:
        if _is_mapping(node):
            return self._mapping(node, path, known)
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path) if isinstance(node, ScalarNode) else self._refuse_tag(node, path)

    def _item(self, node: Node, path: KeyPath) -> Any:
        self._document.lines[path] = _line(node)
        return self.value(node, path)

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        if node.tag in _SCALARS:
            try:
                return self._constructor.construct_object(node)
            except (ValueError, YAMLError):
                self._problem(node, path, f"`{node.value}` is not a {node.tag.removeprefix(_TAG)}")
                return None
        return node.value if node.tag in _TEXTS else self._refuse_tag(node, path)

    def _refuse_tag(self, node: Node, path: KeyPath) -> None:
        self._problem(node, path, f"the tag `{node.tag}` is not allowed: give a plain value")

    def _mapping(self, node: Node, path: KeyPath, known: Collection[Any]) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        lines: dict[Any, int] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                merged.extend(self._merged(value_node, path))
                continue
            key = self._key(key_node, path)
            if key in lines:
                message = f"is given twice, on lines {lines[key]} and {_line(key_node)}: keep one"
                self._problem(key_node, (*path, key), message)
                continue
            lines[key] = _line(key_node)
            if key not in known:
                self._document.lines[*path, key] = lines[key]
                mapping[key] = self.value(value_node, (*path, key))
        for other in merged:
            mapping |= self.value(other, path, {*mapping, *known})
        return mapping

    def _key(self, node: Node, path: KeyPath) -> Any:
        key = self._scalar(node, path) if isinstance(node, ScalarNode) else None
        return str(node.value) if key is None or isinstance(key, float) else key

    def _merged(self, node: Node, path: KeyPath) -> Iterator[Node]:
        for other in node.value if isinstance(node, SequenceNode) else [node]:
            if _is_mapping(other):
                yield other
            else:
                self._problem(other, (*path, "<<"), "expected an anchor of a mapping, such as `<<: *common`")

    def _problem(self, node: Node, path: KeyPath, message: str) -> None:
        self._document.problems.append(Problem(f"{self._document.place}:{_line(node)}", message, dotted(path)))
