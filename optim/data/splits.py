"""Which responses are kept from the fit, for evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int, Int32

from optim.config.errors import Problem, UserError
from optim.config.naming import FEW, choices
from optim.config.schema import Config, Split
from optim.data.panel import Panel
from optim.data.streams import stream

PLACE = "data.evaluation"


def held_out(seed: int, offsets: Int32[np.ndarray, " customers_and_1"], share: float) -> Bool[np.ndarray, " responses"]:
    """Draw the held-out responses of each customer at random.

    A customer with n responses holds out `share * n` of them, rounded down or up at random so that the share is right
    on average however few there are, but never all: at least one stays in the fit.

    Args:
        seed: the config's seed; the draw depends on it, `offsets` and `share` alone.
        offsets: where each customer's responses begin.
        share: share of the responses to hold out, above 0 and below 1.
    """
    random = stream(seed, "held out")
    counts = np.diff(offsets)
    wanted = np.floor(share * counts + random.random(len(counts)))
    chosen = np.minimum(wanted, np.maximum(counts - 1, 0))
    customer = np.repeat(np.arange(len(counts)), counts)
    shuffled = np.lexsort((random.random(len(customer)), customer))
    # The shuffle stays within customers, so slot i still belongs to customer[i]; the first slots of each are held out.
    rank = np.arange(len(customer)) - offsets[customer]
    mask = np.zeros(len(customer), dtype=bool)
    mask[shuffled] = rank < chosen[customer]
    return mask


def held_out_whole(
    seed: int, name: str, unit: Int[np.ndarray, " responses"], share: float
) -> Bool[np.ndarray, " responses"]:
    """Hold out every response of some units (recipes or customers), drawn at random among those that have any.

    Of n units the whole number nearest to `share * n` is held out, but at least one, and at least one is kept. With
    one seed, a larger share holds out the units of a smaller one and more.

    Args:
        seed: the config's seed; the draw depends on it, `name` and how many units have a response.
        name: name of the stream of random numbers.
        unit: the unit that each response belongs to, of at least two.
        share: share of the units to hold out, above 0 and below 1.
    """
    units = np.unique(unit)
    count = min(max(int(np.floor(share * len(units) + 0.5)), 1), len(units) - 1)
    shuffled = units[np.argsort(stream(seed, name).random(len(units)), kind="stable")]
    return np.isin(unit, shuffled[:count])


def split(panel: Panel, config: Config) -> Panel:
    """The panel with the responses held out that `data.evaluation` asks for; as it is where nothing is asked.

    Raises:
        UserError: nothing can be held out (no customer has two responses; by recipe or customer, there is only one),
            or the fit keeps nothing to learn from: likes alone or dislikes alone, or a group without a response.
    """
    evaluation = config.data.evaluation if config.data else None
    if evaluation is None:
        return panel
    parted = dataclasses.replace(panel, held_out=_drawn(panel, config.seed, evaluation))
    utility = config.model.utility
    problems = [*_one_class(parted, evaluation)]
    if utility is not None and utility.groups is not None:
        problems += _lost_groups(parted, utility.groups, evaluation)
    if problems:
        raise UserError(problems)
    return parted


def _drawn(panel: Panel, seed: int, evaluation: Split) -> Bool[np.ndarray, " responses"]:
    """The responses to hold out.

    Raises:
        UserError: there are none.
    """
    if evaluation.by == "response":
        mask = held_out(seed, panel.offsets, evaluation.share)
        if not mask.any():
            message = (
                f"none of the {panel.number_of_responses} responses is held out: every customer keeps at least one, "
                f"and has {panel.most_responses} at most; raise the share, hold out whole recipes or customers "
                "(`by: recipe`, `by: customer`), or leave `evaluation` out"
            )
            raise UserError(Problem(place="", key=f"{PLACE}.share", message=message))
        return mask
    unit, whose = _recipes(panel) if evaluation.by == "recipe" else _customers(panel)
    if (unit == unit[0]).all():
        message = (
            f"every response is {whose}: without them nothing is left to fit; hold out single responses, "
            "`by: response`, or leave `evaluation` out"
        )
        raise UserError(Problem(place="", key=PLACE, message=message))
    return held_out_whole(seed, f"held out {evaluation.by}s", unit, evaluation.share)


def _recipes(panel: Panel) -> tuple[Int[np.ndarray, " responses"], str]:
    """The recipe of each response, and what to say of them if it is always the same.

    Recipes of the same amounts are one: a recipe whose twin stays in the fit would not be new to it.
    """
    _, recipe = np.unique(panel.amounts, axis=0, return_inverse=True)
    return recipe.reshape(-1)[panel.recipe], f"about the amounts of one recipe, `{panel.recipes[panel.recipe[0]]}`"


def _customers(panel: Panel) -> tuple[Int[np.ndarray, " responses"], str]:
    """The customer of each response, and what to say of them if it is always the same."""
    customer = panel.customer_of_response()
    return customer, f"by one customer, `{panel.customers[customer[0]]}`"


def _one_class(panel: Panel, evaluation: Split) -> Iterator[Problem]:
    """A fit to likes alone, or to dislikes alone, has nothing to learn."""
    kept = panel.like[~panel.held_out]
    if kept.any() != kept.all():
        return
    message = (
        f"every response that stays in the fit ({len(kept)} of {panel.number_of_responses}) is a "
        f"{'like' if kept.all() else 'dislike'}, so there is nothing to learn; {_remedy(evaluation)}"
    )
    yield Problem(place="", key=PLACE, message=message)


def _lost_groups(panel: Panel, column: str, evaluation: Split) -> Iterator[Problem]:
    """The weights of a group are learned from its responses: it keeps some, if it has any."""
    names, group_of_customer = np.unique(panel.columns[column].astype(str), return_inverse=True)
    group = group_of_customer[panel.customer_of_response()]
    lost = np.setdiff1d(group, group[~panel.held_out])
    if not len(lost):
        return
    message = (
        f"all responses of {_listed(names[lost].tolist())} (`model.utility.groups: {column}`) are held out, so the "
        f"fit could not learn their weights; {_remedy(evaluation)}"
    )
    yield Problem(place="", key=PLACE, message=message)


def _listed(groups: list[str]) -> str:
    """The groups by name, as many as a message has room for."""
    if len(groups) <= FEW:
        return f"the group{'s' if len(groups) > 1 else ''} {choices(groups, 'and')}"
    return f"{len(groups)} groups, such as {choices(groups[:FEW], 'and')}"


def _remedy(evaluation: Split) -> str:
    """What else to try."""
    less = f"a smaller share than {evaluation.share:g}"
    if evaluation.by == "response":
        return f"try another `seed` or {less}"
    return f"try another `seed`, {less}, or `by: response`"
