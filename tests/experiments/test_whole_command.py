"""The benchmark of the whole command compares the same work: at a small size both end at the same coefficients."""

from __future__ import annotations

from pathlib import Path

import pytest

from optim.config.loading import load
from tests.helpers import run
from whole_command import Difference, difference, log_likelihood, write_study


@pytest.mark.long
def test_optim_and_scikit_learn_end_at_the_same_optimum(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    from scikit_learn_fit import fit

    outcome = run(load(write_study(tmp_path, 40, 2_000), []), tmp_path / "runs", "run")
    assert outcome.result is not None
    script = fit(tmp_path)
    apart = difference(tmp_path, outcome.result, script)
    assert apart.is_none, apart
    likelihood = outcome.result["likelihood"]["log_likelihood"]
    assert likelihood == pytest.approx(log_likelihood(tmp_path, script), rel=1e-9)
    elsewhere = {**script, "x3": script["x3"] + 1e-4}
    assert not difference(tmp_path, outcome.result, elsewhere).is_none


def test_either_difference_counts() -> None:
    assert Difference(1e-7, 1e-7).is_none
    assert not Difference(2e-6, 1e-7).is_none
    assert not Difference(1e-7, 2e-6).is_none
