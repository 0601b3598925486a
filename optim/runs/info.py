"""run.json: what ran, on what, and everything that happened to it; and result.json, the answer."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from optim.analysis.chosen_end import ChosenEnd
from optim.config.errors import Problem, UserError
from optim.runs.environment import arithmetic_flags, package_versions, usable_cores
from optim.runs.files import digest_of_text, reason_of, write_atomically
from optim.runs.git import Commit, current_commit

Status = Literal["running", "finished", "interrupted", "failed", "diverged"]
EventName = Literal["start", "resume", "stop", "rollback", "finish", "fail", "diverge"]


class _Stored(BaseModel):
    # Keys that a later version added are kept when the file is written again.
    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)


class Event(_Stored):
    """Something that happened to the run."""

    event: EventName
    step: int
    """Updates completed at that moment."""
    time: str
    """UTC, ISO 8601."""
    details: dict[str, Any] = {}


class Skip(_Stored):
    """A window of data that the run leaves out, because its loss or gradient was not finite."""

    at: int
    """On reaching this step the run jumps …"""
    position: int
    """… to this position in the data order."""
    reason: str
    """The metric that was not finite."""
    steps: tuple[int, int]
    """First and last step of the window in which it was seen."""


class RunInfo(_Stored):
    """Contents of run.json. Frozen: `with_event`, `with_skip` and `model_copy(update=…)` return a new one."""

    name: str
    status: Status
    config_hash: str
    """SHA-256 of the resolved config."""
    seed: int
    digests: dict[str, str]
    """SHA-256 of each table that was read, and of each file of the user's own code that the config names."""
    imports: dict[str, str] | None = None
    """SHA-256 of each further file that the user's own code imports; null where nobody looked, in a run of before."""
    git: Commit | None
    """Commit of the working directory; null outside a checkout."""
    versions: dict[str, str]
    device: str
    cores: int | None = None
    """Cores that the process could use; null in a run of before this was recorded."""
    flags: dict[str, str] | None = None
    """Environment variables that shape arithmetic, such as XLA_FLAGS; null in a run of before these were recorded."""
    command: list[str]
    history: list[Event] = []
    skips: list[Skip] = []
    metrics: dict[str, FiniteFloat] = {}
    """Final metrics."""

    @classmethod
    def create(
        cls,
        *,
        name: str,
        config_text: str,
        seed: int,
        digests: Mapping[str, str],
        imports: Mapping[str, str],
        device: str,
        command: list[str],
    ) -> RunInfo:
        """The record of a run that is about to start, from this machine and this process."""
        return cls(
            name=name,
            status="running",
            config_hash=digest_of_text(config_text),
            seed=seed,
            digests=dict(digests),
            imports=dict(imports),
            git=current_commit(),
            command=command,
            **_environment(device),
        )

    @classmethod
    def load(cls, path: Path) -> RunInfo:
        """Read run.json.

        Raises:
            UserError: it is missing, is not JSON or lacks something; every place is named.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            problems = [
                Problem(place=str(path), key=".".join(map(str, part["loc"])), message=part["msg"])
                for part in error.errors()
            ]
            raise UserError(problems) from None

    def save(self, path: Path) -> None:
        """Write run.json, whole or not at all."""
        write_atomically(path, self.text)

    @property
    def text(self) -> str:
        """Contents of run.json."""
        return self.model_dump_json(indent=2) + "\n"

    @property
    def chosen_end(self) -> ChosenEnd | None:
        """Where a stage was ended by hindsight, in a run that was made from the best checkpoint of another."""
        found = self.history[0].details.get("best_of") if self.history else None
        return None if found is None else ChosenEnd(**found)

    def with_environment(self, device: str) -> RunInfo:
        """This record, of this process on this machine."""
        return self.model_copy(update=_environment(device))

    def with_event(self, event: EventName, *, step: int, **details: Any) -> RunInfo:
        """This record with one more event, now."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        happened = Event(event=event, step=step, time=time, details=details)
        return self.model_copy(update={"history": [*self.history, happened]})

    def with_skip(self, skip: Skip) -> RunInfo:
        """This record with one more window of data left out."""
        return self.model_copy(update={"skips": [*self.skips, skip]})

    def with_status(self, status: Status) -> RunInfo:
        """This record with another status."""
        return self.model_copy(update={"status": status})


def _environment(device: str) -> dict[str, Any]:
    flags = arithmetic_flags(os.environ)
    return {"versions": package_versions(), "device": device, "cores": usable_cores(), "flags": flags}


def current_command() -> list[str]:
    """The command line of this process."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write result.json: the same answer gives the same bytes.

    Raises:
        ValueError: a number is not finite; JSON has no such number.
    """
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def write_parameters(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, for `numpy.load`: the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def load_result(path: Path) -> dict[str, Any]:
    """Read result.json.

    Raises:
        UserError: it is missing or is not a JSON object.
    """
    return read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: it is missing, cannot be read or is none; naming the file and the line.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(Problem(place=str(path), message="this file is missing")) from None
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}"
        raise UserError(Problem(place=place, message=f"this is not JSON: {error.msg}")) from None
    except UnicodeDecodeError:
        raise UserError(Problem(place=str(path), message="this is not text in UTF-8")) from None
    except OSError as error:
        message = f"this file cannot be read: {reason_of(error)}; make it readable"
        raise UserError(Problem(place=str(path), message=message)) from None
    if not isinstance(content, dict):
        raise UserError(Problem(place=str(path), message="a JSON object was expected"))
    return content
