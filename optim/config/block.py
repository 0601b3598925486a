"""The base of every block of the config."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


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
