"""The base of every block of the config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


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


def fields(keywords: Mapping[str, tuple[Any, str]], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Fields for `create_model`: the keywords of a function, of which a table says the type and the meaning.

    Args:
        keywords: of each keyword its type, with bounds, and its meaning.
        defaults: the keywords that the function has, with their defaults; `...` where there is none. A `Field` may give
            a keyword a meaning that it has in this function alone.
    """
    kinds = {name: Annotated[keywords[name][0], Field(description=keywords[name][1])] for name in defaults}
    return {name: (kind, defaults[name]) for name, kind in kinds.items()}
