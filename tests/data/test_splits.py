"""Held-out responses: the right share of each customer's, or of recipes or customers; never all, nor all that teach."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optim.config.errors import UserError
from optim.data.panel import Panel, assemble
from optim.data.simulate import simulate
from optim.data.splits import held_out, held_out_whole, split
from optim.data.tables import load_panel


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


def test_the_bits_of_a_split_by_response_are_those_of_the_first_version(make_config):
    offsets = offsets_of([8] * 6 + [0, 1, 5])
    expected = np.unpackbits(np.frombuffer(bytes.fromhex("28441318062110"), np.uint8))[:54].astype(bool)
    assert (held_out(5, offsets, 0.3) == expected).all()
    panel = panel_of(np.repeat(np.arange(9), np.diff(offsets)), np.arange(54) % 8, [True, False] * 27)
    for evaluation in ({"share": 0.3}, {"share": 0.3, "by": "response"}):
        assert (split(panel, evaluated(make_config, evaluation, seed=5)).held_out == expected).all()


# Whole recipes and whole customers


def panel_of(customer, recipe, like, **columns) -> Panel:
    """Responses of customers 0 to 8 to recipes 0 to 8."""
    return assemble(
        customers=[f"c{number}" for number in range(9)],
        recipes=[f"r{number}" for number in range(9)],
        ingredients=("butter", "sugar"),
        amounts=np.arange(18.0).reshape(9, 2),
        customer=np.asarray(customer),
        recipe=np.asarray(recipe),
        like=np.asarray(like),
        properties={},
        columns={name: np.asarray(values) for name, values in columns.items()},
        digests={},
    )


def evaluated(make_config, evaluation, **blocks):
    """A config that asks for a split; the tables that it names are never read."""
    tables = {"recipes": "r.csv", "ratings": "q.csv", "like": {"at_least": 6}}
    return make_config(data={**tables, "evaluation": evaluation}, **blocks)


def refused(panel, config) -> list[str]:
    with pytest.raises(UserError) as caught:
        split(panel, config)
    return str(caught.value).splitlines()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    unit=st.lists(st.integers(0, 30), min_size=2, max_size=60).filter(lambda units: len(set(units)) > 1),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_whole_units_are_held_out_as_near_to_the_share_as_whole_numbers_allow(unit, share, seed):
    """At least one is held out and one kept; units without a response do not count."""
    units = np.array(unit, np.int32)
    mask = held_out_whole(seed, "any", units, share)
    assert (mask == held_out_whole(seed, "any", units, share)).all()
    out, kept = set(units[mask].tolist()), set(units[~mask].tolist())
    assert not out & kept
    count = len(set(unit))
    assert len(out) == 1 or len(kept) == 1 or abs(len(out) - share * count) <= 0.5 + 1e-9
    assert out
    assert kept


def test_every_unit_is_held_out_as_often_as_any_other():
    units = np.arange(10, dtype=np.int32)
    often = np.mean([held_out_whole(seed, "any", units, 0.3) for seed in range(4000)], axis=0)
    assert often == pytest.approx(np.full(10, 0.3), abs=5 * np.sqrt(0.3 * 0.7 / 4000))


def test_a_larger_share_holds_out_the_same_units_and_more():
    units = np.repeat(np.arange(40, dtype=np.int32), 3)
    masks = [held_out_whole(7, "any", units, share) for share in (0.1, 0.25, 0.5, 0.9)]
    assert [mask.sum() / 3 for mask in masks] == [4, 10, 20, 36]
    assert all((more | fewer == more).all() for fewer, more in itertools.pairwise(masks))


@pytest.mark.parametrize("by", ["recipe", "customer"])
def test_simulated_recipes_and_customers_are_held_out_whole(make_config, by):
    everyone = {"segments": {"all": {"ideal": {"butter": 1.5, "sugar": 2.5}}}}
    panels = [
        simulate(make_config(seed=seed, data={"simulate": everyone, "evaluation": {"share": 0.25, "by": by}}))[0]
        for seed in (0, 0, 1)
    ]
    for panel in panels:
        unit = panel.recipe if by == "recipe" else panel.customer_of_response()
        shares = np.bincount(unit, panel.held_out) / np.bincount(unit)
        assert set(shares) == {0.0, 1.0}
        assert shares.mean() == 0.25  # of 60 recipes, of 400 customers
    assert (panels[0].held_out == panels[1].held_out).all()
    assert (panels[0].held_out != panels[2].held_out).any()


@pytest.mark.parametrize("by", ["recipe", "customer"])
def test_recipes_and_customers_of_tables_are_held_out_whole(study, by):
    """Of the four recipes two were tasted, by two of the three customers."""
    recipes = "recipe,butter,sugar\nA,1,2\nB,2,1\nC,1,1\nD,2,2\n"
    ratings = "customer,recipe,liking\nann,D,9\nann,B,3\nbob,D,2\nbob,B,7\n"
    customers = "customer\nbob\ncas\nann\n"
    panel = study.load(recipes, ratings, customers=customers, data={"evaluation": {"share": 0.1, "by": by}})
    unit = panel.recipe if by == "recipe" else panel.customer_of_response()
    assert panel.held_out.sum() == 2
    assert len(set(unit[panel.held_out])) == 1


def test_recipes_and_customers_are_drawn_independently(make_config):
    """Were it one stream, the customers' numbers would follow from the recipes'."""
    both = np.repeat(np.arange(9), 2)
    diagonal = panel_of(both, both, [True, False] * 9)
    masks = [
        [split(diagonal, evaluated(make_config, {"share": 0.4, "by": by}, seed=seed)).held_out for seed in range(1, 9)]
        for by in ("recipe", "customer")
    ]
    assert (np.array(masks[0]) != np.array(masks[1])).any(axis=1).sum() >= 6


def test_a_single_tasted_recipe_cannot_be_held_out(make_config):
    panel = panel_of([0, 1, 2], [4, 4, 4], [True, False, True])
    assert refused(panel, evaluated(make_config, {"share": 0.2, "by": "recipe"})) == [
        "data.evaluation: every response is about the amounts of one recipe, `r4`: without them nothing is left to "
        "fit; hold out single responses, `by: response`, or leave `evaluation` out"
    ]


def test_recipes_of_the_same_amounts_are_held_out_together(make_config):
    """Else the fit would know the recipe by another name. Four recipes of nine amounts are the same."""
    panel = panel_of(np.arange(18) % 9, np.repeat(np.arange(9), 2), [True, False] * 9)
    amounts = panel.amounts.copy()
    amounts[[1, 4, 8]] = amounts[2]
    panel = dataclasses.replace(panel, amounts=amounts)
    for seed in range(20):
        masked = split(panel, evaluated(make_config, {"share": 0.5, "by": "recipe"}, seed=seed))
        out = set(masked.recipe[masked.held_out].tolist())
        assert len(out & {1, 2, 4, 8}) in {0, 4}
        assert len(out - {1, 2, 4, 8}) == 3 - bool(out & {1, 2, 4, 8})
    alike = dataclasses.replace(panel, amounts=np.ones((9, 2)))
    assert (
        "about the amounts of one recipe, `r0`: without"
        in refused(alike, evaluated(make_config, {"share": 0.5, "by": "recipe"}))[0]
    )


def test_the_cocktail_that_was_served_thrice_is_held_out_as_one(cocktail, make_config):
    """16 recipes of 14 amounts: a fifth of them is three."""
    paths = {name: str(cocktail / f"{name}.csv") for name in ("recipes", "ratings")}
    ingredients = {name: {"min": 0, "max": 4} for name in ("orange", "banana", "mango", "lemon")}
    data = {**paths, "like": {"at_least": 6}, "evaluation": {"share": 0.2, "by": "recipe"}}
    for seed in range(5):
        panel = load_panel(make_config(seed=seed, ingredients=ingredients, data=data))
        kept, out = (
            {tuple(row) for row in panel.amounts[panel.recipe[panel.held_out == held]]} for held in (False, True)
        )
        assert (len(kept), len(out), kept & out) == (11, 3, set())


def test_a_single_responding_customer_cannot_be_held_out(make_config):
    panel = panel_of([3, 3, 3], [0, 1, 2], [True, False, True])
    assert refused(panel, evaluated(make_config, {"share": 0.2, "by": "customer"})) == [
        "data.evaluation: every response is by one customer, `c3`: without them nothing is left to fit; hold out "
        "single responses, `by: response`, or leave `evaluation` out"
    ]


@pytest.mark.parametrize("likes", [True, False])
@pytest.mark.parametrize("by", ["recipe", "customer"])
def test_likes_alone_or_dislikes_alone_are_no_fit(make_config, by, likes):
    """Of two recipes or customers one is held out: what is left is of one kind, whichever it is."""
    unit, other = [0, 0, 1, 1, 1], [0, 1, 0, 1, 2]
    like = np.array(unit) == 1
    panel = panel_of(other, unit, like) if by == "recipe" else panel_of(unit, other, like)
    seed = next(seed for seed in range(50) if held_out_whole(seed, f"held out {by}s", np.array(unit), 0.5)[0] == likes)
    count, kind = (3, "like") if likes else (2, "dislike")
    assert refused(panel, evaluated(make_config, {"share": 0.5, "by": by}, seed=seed)) == [
        f"data.evaluation: every response that stays in the fit ({count} of 5) is a {kind}, so there is nothing to "
        "learn; try another `seed`, a smaller share than 0.5, or `by: response`"
    ]


def test_likes_alone_are_no_fit_by_response_either(make_config):
    """Which of the two responses stays depends on the seed, and that it is of one kind does not."""
    panel = panel_of([0, 0], [0, 1], [True, False])
    kind = "like" if held_out(1, panel.offsets, 0.9)[1] else "dislike"
    assert refused(panel, evaluated(make_config, {"share": 0.9}, seed=1)) == [
        f"data.evaluation: every response that stays in the fit (1 of 2) is a {kind}, so there is nothing to learn; "
        "try another `seed` or a smaller share than 0.9"
    ]


GROUPED = {"utility": {"kind": "linear", "groups": "country"}}


def test_a_group_whose_responses_are_all_held_out_is_named(make_config):
    """Everyone is a country of their own. The country of the customer who never responded is not missed."""
    countries = ["NL", "BE", "DE", "FR", "IT", "ES", "PT", "AT", "CH"]
    panel = panel_of(np.repeat(np.arange(8), 2), [0, 1] * 8, [True, False] * 8, country=countries)
    config = evaluated(make_config, {"share": 0.25, "by": "customer"}, model=GROUPED)
    units = panel.customer_of_response()
    lost = sorted(countries[customer] for customer in set(units[held_out_whole(0, "held out customers", units, 0.25)]))
    assert refused(panel, config) == [
        f"data.evaluation: all responses of the groups `{lost[0]}` and `{lost[1]}` (`model.utility.groups: country`) "
        "are held out, so the fit could not learn their weights; try another `seed`, a smaller share than 0.25, or "
        "`by: response`"
    ]
    by_response = evaluated(make_config, {"share": 0.25, "by": "response"}, model=GROUPED)
    assert split(panel, by_response).held_out.any()


def test_a_group_that_tasted_only_the_recipe_that_is_held_out_is_named(make_config):
    """Groups are names, also where the column holds numbers."""
    customer, recipe, like = [0, 0, 0, 1, 2, 2], [0, 1, 2, 0, 1, 2], [True, False, True, False, False, True]
    country = [1.0, 2.0, 1.0] + [3.0] * 6
    seeds = {
        out: next(
            seed
            for seed in range(50)
            if set(np.array(recipe)[held_out_whole(seed, "held out recipes", np.array(recipe), 0.3)]) == {out}
        )
        for out in (0, 1)
    }
    panel = panel_of(customer, recipe, like, country=country)
    config = lambda out: evaluated(make_config, {"share": 0.3, "by": "recipe"}, model=GROUPED, seed=seeds[out])
    assert refused(panel, config(0))[0].startswith("data.evaluation: all responses of the group `2.0` (`model.utility.")
    assert split(panel, config(1)).held_out.sum() == 2


def test_many_lost_groups_are_counted(make_config):
    panel = panel_of(
        np.repeat(np.arange(9), 2), [0, 1] * 9, [True, False] * 9, country=[f"k{number}" for number in range(9)]
    )
    (said,) = refused(panel, evaluated(make_config, {"share": 0.8, "by": "customer"}, model=GROUPED))
    assert said.startswith("data.evaluation: all responses of 7 groups, such as `k")
    assert said.count("`k") == 6
