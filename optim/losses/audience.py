"""The audience: whom a cake is for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from optim.config.errors import UserError
from optim.config.naming import did_you_mean
from optim.data.panel import Panel


@dataclass(frozen=True)
class Audience:
    """Customers as a score sees them: group, columns and weight.

    Attributes:
        group: each one's group in the utility.
        columns: the columns that the score reads, one value each.
        weight: how many customers each one stands for.
        names: their names, or None where customers who are alike have been merged.
    """

    group: Int[np.ndarray, " a"]
    columns: dict[str, Float[np.ndarray, " a"]]
    weight: Float[np.ndarray, " a"]
    names: tuple[str, ...] | None

    def only(self, chosen: Bool[np.ndarray, " a"]) -> Audience:
        """Some of the customers."""
        names = None if self.names is None else tuple(itertools.compress(self.names, chosen))
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return Audience(self.group[chosen], columns, self.weight[chosen], names)


def everyone(panel: Panel | None, group: Int[np.ndarray, " customers"], columns: Sequence[str]) -> Audience:
    """All customers of the panel; a single one of weight 1 for a study without a panel.

    Raises:
        UserError: a column is missing from the customers' table, or holds text.
    """
    if panel is None:
        return Audience(np.zeros(1, int), {}, np.ones(1), None)
    for name in columns:
        if name not in panel.columns:
            raise UserError(f"the customers' table has no column {name!r}{did_you_mean(name, panel.columns)}")
        if not np.issubdtype(panel.columns[name].dtype, np.number):
            raise UserError(f"column {name!r} of the customers' table holds text; a score needs numbers")
    values = {name: np.asarray(panel.columns[name], float) for name in columns}
    return Audience(group, values, np.ones(len(panel.customers)), panel.customers)


def merged(audience: Audience) -> Audience:
    """The same audience with customers who are alike to the score merged into one of their joint weight.

    A mean over a million customers who share one set of weights costs no more than one over a single customer.
    """
    table = np.column_stack([audience.group.astype(float), *audience.columns.values()])
    rows, inverse = np.unique(table, axis=0, return_inverse=True)
    if len(rows) == len(table):
        return audience
    weight = np.bincount(inverse.ravel(), weights=audience.weight, minlength=len(rows))
    columns = {name: rows[:, 1 + k] for k, name in enumerate(audience.columns)}
    return Audience(rows[:, 0].astype(int), columns, weight, None)
