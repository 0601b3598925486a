"""The panel: responses sorted by customer, and nothing that does not fit together."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from optim.data.panel import Panel, assemble


def small_panel(customer: list[int], recipe: list[int], like: list[bool], **changes) -> Panel:
    arguments = {
        "customers": ["ann", "bob", "cas"],
        "recipes": ["A", "B"],
        "ingredients": ["butter"],
        "amounts": np.array([[1.0], [2.0]]),
        "customer": np.array(customer),
        "recipe": np.array(recipe),
        "like": np.array(like),
        "properties": {"sweetness": np.array([1.0, 2.0])},
        "columns": {"age": np.array([30.0, 40.0, 50.0])},
        "digests": {},
    }
    return assemble(**{**arguments, **changes})


def test_responses_are_sorted_by_customer_and_keep_their_order_within_one():
    panel = small_panel([2, 0, 2, 0], [1, 1, 0, 0], [True, False, False, True])
    assert panel.offsets.tolist() == [0, 2, 2, 4]
    assert panel.recipe.tolist() == [1, 0, 1, 0]
    assert panel.like.tolist() == [False, True, True, False]
    assert panel.customer_of_response().tolist() == [0, 0, 2, 2]
    assert not panel.held_out.any()
    assert (panel.offsets.dtype, panel.recipe.dtype) == (np.int32, np.int32)


def test_counts_include_customers_without_a_response():
    panel = small_panel([0, 0, 1], [0, 1, 0], [True, False, True])
    assert (panel.number_of_customers, panel.number_of_responses, panel.most_responses) == (3, 3, 2)


def test_arrays_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r"age has shape \(2,\), but the panel needs \(3,\)"):
        small_panel([0], [0], [True], columns={"age": np.zeros(2)})


def test_importing_the_panel_imports_neither_polars_nor_scipy():
    code = "import sys, optim.data.panel; sys.exit(bool({'polars', 'scipy', 'jax'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
