"""Counting responses by group and recipe, against loops over the responses."""

from __future__ import annotations

import numpy as np
import pytest

from optim.data.panel import Panel
from optim.data.tallies import tally
from tests.analysis.fits import make_panel


@pytest.fixture
def unequal() -> tuple[Panel, np.ndarray, np.ndarray]:
    """Nine customers, one of them silent and one wholly held out, with 0 to 12 responses, some of them repeated."""
    random = np.random.default_rng(4)
    customer = np.repeat(np.arange(8), [1, 12, 3, 0, 7, 2, 5, 4])
    recipe = random.integers(0, 5, len(customer))
    panel = make_panel(np.eye(5), customer, recipe, random.random(len(customer)) < 0.5, customers=9)
    counted = (random.random(len(customer)) < 0.7) & (panel.customer_of_response() != 5)
    return panel, np.array([0, 2, 1, 0, 2, 0, 0, 1, 1]), counted


@pytest.mark.parametrize("by_customer", [False, True])
def test_cells_hold_the_weights_of_their_responses(
    unequal: tuple[Panel, np.ndarray, np.ndarray], by_customer: bool
) -> None:
    panel, group, counted = unequal
    found = tally(panel, group, counted, by_customer=by_customer)
    responses = [
        (int(customer), int(recipe), bool(like))
        for customer, recipe, like, is_counted in zip(
            panel.customer_of_response(), panel.recipe, panel.like, counted, strict=True
        )
        if is_counted
    ]
    heard = {customer for customer, _, _ in responses}
    expected: dict[tuple[int, int], list[float]] = {}
    for customer, recipe, like in responses:
        own = sum(other == customer for other, _, _ in responses)
        weight = len(responses) / len(heard) / own if by_customer else 1.0
        expected.setdefault((int(group[customer]), recipe), [0.0, 0.0])[0 if like else 1] += weight
    cells = list(zip(found.group.tolist(), found.recipe.tolist(), strict=True))
    assert cells == sorted(expected)
    np.testing.assert_allclose(np.stack([found.likes, found.dislikes], axis=1), [expected[cell] for cell in cells])
    assert [cells[cell] for cell in found.of_response] == [(int(group[c]), r) for c, r, _ in responses]
    assert found.responses == len(responses)
    assert found.weight.sum() == pytest.approx(len(responses), rel=1e-14)


def test_a_cell_of_one_kind_of_response_has_exactly_none_of_the_other() -> None:
    """Weights of thirds and sevenths do not cancel to the last bit: a remainder would make the cell a mixed one."""
    customer = np.repeat(np.arange(40), np.tile([3, 7, 1, 9], 10))
    panel = make_panel(np.eye(3), customer, np.arange(200) % 3, np.arange(200) % 3 == 0)
    found = tally(panel, np.zeros(40, int), np.ones(200, bool), by_customer=True)
    assert (found.likes > 0).tolist() == [True, False, False]
    assert (found.dislikes > 0).tolist() == [False, True, True]
    assert found.likes[1] == found.likes[2] == found.dislikes[0] == 0.0
