"""Held-out responses: the right share of each customer's, the same at every call, never all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optim.config.errors import UserError
from optim.data.simulate import simulate
from optim.data.splits import held_out, split


def offsets_of(counts: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_customer_holds_out_their_share_and_keeps_at_least_one_response(counts, share, seed):
    offsets = offsets_of(counts)
    mask = held_out(seed, offsets, share)
    assert (mask == held_out(seed, offsets, share)).all()
    for count, first, last in zip(counts, offsets[:-1], offsets[1:], strict=True):
        chosen = mask[first:last].sum()
        assert chosen <= max(count - 1, 0)
        assert chosen in {min(int(np.floor(share * count)) + extra, max(count - 1, 0)) for extra in (0, 1)}


def test_the_share_is_right_on_average_even_where_customers_have_few_responses():
    mask = held_out(1, offsets_of([3] * 20_000), 0.2)
    assert mask.mean() == pytest.approx(0.2, abs=0.005)


def test_every_place_within_a_customer_is_held_out_as_often_as_any_other():
    places = held_out(2, offsets_of([8] * 20_000), 0.25).reshape(-1, 8).mean(axis=0)
    assert places == pytest.approx(np.full(8, 0.25), abs=0.02)


def test_another_seed_holds_out_other_responses():
    offsets = offsets_of([10] * 50)
    assert (held_out(1, offsets, 0.3) != held_out(2, offsets, 0.3)).any()


def test_a_config_without_evaluation_holds_nothing_out(make_config):
    config = make_config(data={"simulate": {"segments": {"all": {"ideal": {"butter": 1.5, "sugar": 2.5}}}}})
    assert not simulate(config)[0].held_out.any()


def test_a_panel_in_which_no_one_has_two_responses_cannot_be_split(make_config):
    everyone = {"segments": {"all": {"ideal": {"butter": 1.5, "sugar": 2.5}}}, "tastings": 1}
    config = make_config(data={"simulate": everyone, "evaluation": {"share": 0.5}})
    with pytest.raises(UserError, match=r"^data\.evaluation\.share: none of the 400 responses is held out: every cust"):
        simulate(config)


def test_a_split_changes_nothing_but_the_mask(make_config):
    everyone = {"segments": {"all": {"ideal": {"butter": 1.5, "sugar": 2.5}}}}
    whole, _ = simulate(make_config(data={"simulate": everyone}))
    halved = split(whole, make_config(data={"simulate": everyone, "evaluation": {"share": 0.5}}))
    assert halved.held_out.sum() == whole.number_of_responses / 2
    assert dataclasses.replace(halved, held_out=whole.held_out).digests == whole.digests
    assert halved.like is whole.like
