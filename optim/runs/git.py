"""The state of the working directory under git, where there is git."""

from __future__ import annotations

import os
import subprocess

from pydantic import BaseModel, ConfigDict

_SECONDS = 3.0


class Commit(BaseModel):
    """The commit that is checked out."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    commit: str
    dirty: bool
    """Whether a file under version control differs from the commit, as in `git describe --dirty`."""


def current_commit() -> Commit | None:
    """The commit of the working directory; None outside a checkout, without git, or where git takes too long."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return Commit(commit=commit, dirty=bool(changes))


def _git(*arguments: str) -> str | None:
    """What git prints, or None where it fails. It takes no lock, so it disturbs no other git command."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True, env=environment)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
