"""Responses counted: how often each group of customers liked each recipe.

A loss of responses that depends on the recipe and the customer's group alone is a sum over these cells, of which there
are as many as recipes, and not as responses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from optim.data.panel import Panel


@dataclass(frozen=True, eq=False)
class Tally:
    """Likes and dislikes by cell, a group's responses to a recipe. Cells are sorted by group, then by recipe.

    Attributes:
        recipe: index of the recipe.
        group: index of the group.
        likes: how many likes, each with its weight.
        dislikes: how many dislikes, each with its weight.
        of_response: the cell of each response that was counted, in the panel's order.
        counted: which responses of the panel were counted.
        weight: the weight of each response that was counted.
        responses_of_cell: how many responses each cell has, whatever their weights.
        squares: sum of the squared weights of a cell's responses; their number where each has the weight 1.
    """

    recipe: Int[np.ndarray, " cells"]
    group: Int[np.ndarray, " cells"]
    likes: Float64[np.ndarray, " cells"]
    dislikes: Float64[np.ndarray, " cells"]
    of_response: Int[np.ndarray, " counted"]
    counted: Bool[np.ndarray, " responses"]
    weight: Float64[np.ndarray, " counted"]
    responses_of_cell: Float64[np.ndarray, " cells"]
    squares: Float64[np.ndarray, " cells"]

    @property
    def responses(self) -> int:
        """How many responses were counted."""
        return len(self.of_response)


def tally(
    panel: Panel, group: Int[np.ndarray, " customers"], counted: Bool[np.ndarray, " responses"], *, by_customer: bool
) -> Tally:
    """Count the responses that are marked.

    Args:
        panel: the panel.
        group: each customer's group.
        counted: which responses count.
        by_customer: give every customer the same weight in all, as a mean over customers does; the weights sum to the
            number of responses. Else each response has the weight 1.
    """
    customer = panel.customer_of_response()[counted]
    weight = np.ones(len(customer))
    if by_customer and len(customer):
        answers = np.bincount(customer, minlength=panel.number_of_customers)
        weight = len(customer) / np.count_nonzero(answers) / answers[customer]
    keys = group[customer].astype(np.int64) * len(panel.recipes) + panel.recipe[counted]
    found, cell = _numbered(keys, len(panel.recipes) * (int(group.max(initial=0)) + 1))
    count = lambda weights: np.bincount(cell, weights=weights, minlength=len(found)).astype(np.float64)
    like, responses = panel.like[counted], count(np.ones(len(weight)))
    return Tally(
        recipe=found % len(panel.recipes),
        group=found // len(panel.recipes),
        likes=count(weight * like),
        dislikes=count(weight * ~like),
        of_response=cell,
        counted=counted,
        weight=weight,
        responses_of_cell=responses,
        squares=count(weight**2) if by_customer else responses,
    )


def _numbered(keys: Int[np.ndarray, " n"], most: int) -> tuple[Int[np.ndarray, " found"], Int[np.ndarray, " n"]]:
    """The different keys, rising, and the number of each; without sorting where a table of all has room."""
    if most > MOST_KEYS:
        found, number = np.unique(keys, return_inverse=True)
        return found, number
    there = np.bincount(keys, minlength=most) > 0
    return np.flatnonzero(there), (np.cumsum(there) - 1)[keys]


MOST_KEYS = 2**24
"""Most pairs of group and recipe of which a table is made."""
