"""The speed benchmark compares the same work: over the same batches all contenders end at the same parameters."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from training_speed import NETWORK, SEED_MODEL, Workload, final_parameters, greatest_difference


@pytest.mark.long
@pytest.mark.parametrize("workload", [SEED_MODEL, NETWORK], ids=lambda workload: workload.name)
def test_all_contenders_end_at_the_same_parameters(tmp_path: Path, workload: Workload) -> None:
    ends = dict(final_parameters(tmp_path, workload, 300))
    assert list(ends) == ["optim", "bare scan", "Flax loop"][: 3 if workload is SEED_MODEL else 2]
    assert greatest_difference(list(ends.values())) < 1e-5
    assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(ends["optim"])) > 0.1


def test_a_difference_of_one_parameter_is_seen() -> None:
    a = {"weights": np.array([[1.0, 2.0]]), "bias": np.array([0.0])}
    b = {"weights": np.array([[1.0, 2.5]]), "bias": np.array([0.0])}
    assert greatest_difference([a, b, a]) == 0.5
