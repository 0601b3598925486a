"""What a run stands on beside its config and its tables: the user's own code, and the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.runs.info import RunInfo
from optim.runs.observer import Silent
from optim.runs.run import resume
from tests.conftest import Studies
from tests.helpers import run

OWN = "def sweet(recipe, customer):\n    from {helper} import FACTOR\n    return FACTOR * recipe.amounts['sugar']\n"
QUICK = ("stages.fit.length=2", "stages.bake.length=2", "stop_after_steps=1")


def edit(path: Path, **changes: object) -> None:
    """Change keys of a run.json; None takes one away, as in a run of before."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_a_changed_module_that_own_code_imports_is_named_and_refused(
    small: Studies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "factors_of_mine.py"
    helper.write_text("FACTOR = 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))  # it is imported when the score is traced
    own = tmp_path / "mine.py"
    own.write_text(OWN.format(helper=helper.stem))
    run(small(*QUICK, f"stages.bake.score={{kind: own, path: '{own}:sweet'}}"), tmp_path, "run")
    info = RunInfo.load(tmp_path / "run" / "run.json")
    assert set(info.digests) == {"simulated", f"{own}:sweet"}
    assert set(info.imports or {}) == {str(helper)}
    helper.write_text("FACTOR = 2.0\n")
    with pytest.raises(UserError, match=r"factors_of_mine\.py has changed: the SHA-256 was .*; put it back"):
        resume(tmp_path / "run", [], observer=Silent())
    edit(tmp_path / "run" / "run.json", imports=None)
    assert resume(tmp_path / "run", [], observer=Silent()).result is not None
    assert set(RunInfo.load(tmp_path / "run" / "run.json").imports or {}) == {str(helper)}
