"""From a YAML file and overrides to a valid config, or to every problem of both at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from optim.config.checks import check
from optim.config.diagnosis import diagnose
from optim.config.errors import Problem, UserError
from optim.config.files import resolve_files
from optim.config.overrides import PLACE, apply_overrides
from optim.config.schema import Config
from optim.config.source import Document, Finding, KeyPath, dotted, read_file


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config.

    Args:
        path: the YAML file. Paths in it are relative to its folder.
        overrides: `key.path=value`, the value in YAML. Paths in them are relative to the working directory.

    Raises:
        UserError: with all the problems of the file and the overrides.
    """
    document = read_file(Path(path))
    overridden = apply_overrides(document, overrides)
    resolve_files(document.value, Path(path).parent, overridden)
    config, findings = validate(document.value)
    problems = [*document.problems, *_problems(findings, document, overridden)]
    if problems or config is None:
        raise UserError(problems)
    return config


def validate(value: dict[Any, Any]) -> tuple[Config | None, list[Finding]]:
    """The config that a mapping is, and what is wrong with it; no config where a value is wrong by itself."""
    try:
        config = Config.model_validate(value)
    except ValidationError as error:
        findings, partial = diagnose(Config, value)
        # A mistake that the walk does not see must still be refused, if in pydantic's words.
        findings = findings or [(tuple(each["loc"]), each["msg"]) for each in error.errors()]
        return None, [*findings, *check(partial, partial=True)]
    return config, check(config)


def _problems(findings: list[Finding], document: Document, overridden: list[KeyPath]) -> list[Problem]:
    """The findings with their places, in the order of the file."""
    findings = sorted(findings, key=lambda finding: document.line(finding[0]))
    return [Problem(_place(path, document, overridden), message, dotted(path)) for path, message in findings]


def _place(path: KeyPath, document: Document, overridden: list[KeyPath]) -> str:
    """An override answers for everything at and below its path."""
    return PLACE if any(path[: len(given)] == given for given in overridden) else document.where(path)
