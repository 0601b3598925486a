"""Whom a cake is for: columns that a score reads, and customers who are alike merged into one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optim.config.errors import UserError
from optim.losses.audience import Audience, everyone, merged

from .conftest import panel_of

PANEL = replace(
    panel_of((1, 1, 1, 1, 1)),
    columns={"sweet_target": np.array([9.0, 10.0, 9.0, 9.0, 10.0]), "region": np.array(["n", "s", "n", "n", "s"])},
)
GROUP = np.array([0, 1, 0, 1, 1])


def test_everyone_is_there_once() -> None:
    audience = everyone(PANEL, GROUP, ("sweet_target",))
    assert audience.names == ("c0", "c1", "c2", "c3", "c4")
    np.testing.assert_array_equal(audience.weight, np.ones(5))
    np.testing.assert_array_equal(audience.columns["sweet_target"], [9.0, 10.0, 9.0, 9.0, 10.0])


def test_without_a_panel_there_is_one_customer() -> None:
    audience = everyone(None, np.zeros(0, int), ())
    assert audience.names is None
    np.testing.assert_array_equal(audience.weight, [1.0])


def test_customers_of_one_group_and_one_target_are_merged() -> None:
    audience = merged(everyone(PANEL, GROUP, ("sweet_target",)))
    rows = list(zip(audience.group, audience.columns["sweet_target"], audience.weight, strict=True))
    assert rows == [(0, 9.0, 2.0), (1, 9.0, 1.0), (1, 10.0, 2.0)]
    assert audience.names is None


def test_without_columns_groups_are_merged() -> None:
    audience = merged(everyone(PANEL, GROUP, ()))
    np.testing.assert_array_equal(audience.group, [0, 1])
    np.testing.assert_array_equal(audience.weight, [2.0, 3.0])


def test_customers_who_all_differ_stay_as_they_are() -> None:
    audience = Audience(np.arange(3), {}, np.ones(3), ("a", "b", "c"))
    assert merged(audience) is audience


def test_merging_keeps_the_weights() -> None:
    audience = Audience(np.array([1, 1, 0]), {}, np.array([2.0, 3.0, 5.0]), None)
    np.testing.assert_array_equal(merged(audience).weight, [5.0, 5.0])


def test_a_missing_column_and_the_nearest_one() -> None:
    with pytest.raises(UserError) as caught:
        everyone(PANEL, GROUP, ("sweet_targt",))
    assert str(caught.value) == ("the customers' table has no column 'sweet_targt'; did you mean `sweet_target`?")


def test_a_column_of_text() -> None:
    with pytest.raises(UserError) as caught:
        everyone(PANEL, GROUP, ("region",))
    assert str(caught.value) == "column 'region' of the customers' table holds text; a score needs numbers"
