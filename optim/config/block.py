"""The base of every block of the config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model


@dataclass(frozen=True)
class Expected:
    """Says in a message what a value has to be, where its type says too little."""

    text: str


class Block(BaseModel):
    """A block of the config: unknown keys are refused, values never change after loading.

    Values are taken as YAML wrote them (`strict`): a quoted number or a `true` in place of a number is a mistake, and
    silence about it would surface hours later.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


B = TypeVar("B", bound=Block)


def from_table(
    base: type[B],
    tag: tuple[str, str],
    about: str,
    keywords: Mapping[str, tuple[Any, str]],
    defaults: Mapping[str, Any],
) -> type[B]:
    """A block for a function whose keywords stand in a table.

    Args:
        base: a block with the fields that it has beside them.
        tag: the key by which a union tells it from the others, and its value there.
        about: what it is, in a sentence.
        keywords: of each keyword its type, with bounds, and its meaning.
        defaults: the keywords that the function has, with their defaults; `...` where there is none. A `Field` may give
            a keyword a meaning that it has in this function alone.
    """
    key, name = tag
    fields: dict[str, Any] = {key: (Literal[name], Field(description=about))}
    for keyword, default in defaults.items():
        kind, meaning = keywords[keyword]
        fields[keyword] = (Annotated[kind, Field(description=meaning)], default)
    described: dict[str, Any] = {"use_attribute_docstrings": False}  # there is no source to search for them, slowly
    return create_model(name, __base__=base, __doc__=about, __cls_kwargs__=described, **fields)
