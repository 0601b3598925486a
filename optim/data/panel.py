"""The panel: customers, the recipes they tasted, and their responses, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32, Shaped


@dataclass(frozen=True)
class Panel:
    """Customers, recipes and responses; responses are stored flat, sorted by customer.

    The responses of customer `c` are rows `offsets[c]` to `offsets[c + 1]` of `recipe`, `like` and `held_out`.
    A customer without a response has an empty range.
    """

    customers: tuple[str, ...]
    """Name of each customer."""
    recipes: tuple[str, ...]
    """Id of each recipe, as text."""
    ingredients: tuple[str, ...]
    """Names of the ingredients, in the order of the config."""
    amounts: Float64[np.ndarray, "recipes ingredients"]
    """Amounts of each recipe, in each ingredient's unit."""
    offsets: Int32[np.ndarray, " customers_and_1"]
    """Where each customer's responses begin; the last entry is the number of responses."""
    recipe: Int32[np.ndarray, " responses"]
    """Index of the recipe that was tasted."""
    like: Bool[np.ndarray, " responses"]
    """Whether it was liked."""
    held_out: Bool[np.ndarray, " responses"]
    """Whether the response is kept from the fit, for evaluation."""
    properties: Mapping[str, Float64[np.ndarray, " recipes"]] = field(default_factory=dict)
    """Measured properties of the recipes, by name; never NaN."""
    columns: Mapping[str, Shaped[np.ndarray, " customers"]] = field(default_factory=dict)
    """What is known of each customer, by column: float64 for numbers, str for text."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the bytes of each table, by its key in the config; of the arrays for simulated customers."""
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of all columns of each table, by its key in the config; empty for simulated customers."""

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together: a mistake of the program, not of the user."""
        sizes = {
            "amounts": (self.amounts.shape, (len(self.recipes), len(self.ingredients))),
            "offsets": (self.offsets.shape, (len(self.customers) + 1,)),
            "recipe": (self.recipe.shape, (int(self.offsets[-1]),)),
            "like": (self.like.shape, self.recipe.shape),
            "held_out": (self.held_out.shape, self.recipe.shape),
            **{name: (values.shape, (len(self.recipes),)) for name, values in self.properties.items()},
            **{name: (values.shape, (len(self.customers),)) for name, values in self.columns.items()},
        }
        for name, (found, expected) in sizes.items():
            if found != expected:
                raise ValueError(f"{name} has shape {found}, but the panel needs {expected}")

    @property
    def number_of_customers(self) -> int:
        """How many customers there are, those without a response included."""
        return len(self.customers)

    @property
    def number_of_responses(self) -> int:
        """How many responses there are, those held out included."""
        return len(self.like)

    @property
    def most_responses(self) -> int:
        """The largest number of responses of one customer: the width of a padded batch."""
        return int(np.diff(self.offsets).max(initial=0))

    @property
    def recipes_in_fit(self) -> Int32[np.ndarray, " tasted"]:
        """Indices of the recipes with a response that is not held out."""
        asked = np.zeros(len(self.recipes), bool)
        asked[self.recipe[~self.held_out]] = True  # many times faster than np.unique
        return np.flatnonzero(asked).astype(np.int32)

    def customer_of_response(self) -> Int32[np.ndarray, " responses"]:
        """Index of the customer who gave each response."""
        return np.repeat(np.arange(self.number_of_customers, dtype=np.int32), np.diff(self.offsets))

    def of_customers(self, chosen: Bool[np.ndarray, " customers"]) -> Panel:
        """The panel of some customers, with all their responses; every recipe stays."""
        if chosen.all():
            return self
        counts = np.diff(self.offsets)
        rows = np.repeat(chosen, counts)
        return replace(
            self,
            customers=tuple(compress(self.customers, chosen)),
            offsets=np.concatenate([[0], np.cumsum(counts[chosen])]).astype(np.int32),
            recipe=self.recipe[rows],
            like=self.like[rows],
            held_out=self.held_out[rows],
            columns={name: values[chosen] for name, values in self.columns.items()},
        )


def assemble(
    *,
    customers: Sequence[str],
    recipes: Sequence[str],
    ingredients: Sequence[str],
    amounts: Float64[np.ndarray, "recipes ingredients"],
    customer: Int[np.ndarray, " responses"],
    recipe: Int[np.ndarray, " responses"],
    like: Bool[np.ndarray, " responses"],
    properties: Mapping[str, Float64[np.ndarray, " recipes"]],
    columns: Mapping[str, Shaped[np.ndarray, " customers"]],
    digests: Mapping[str, str],
    headers: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> Panel:
    """Sort responses by customer and make the panel; nothing is held out.

    Customers keep the order in which they are given, and the responses of a customer theirs.

    Args:
        customer: index into `customers` of who gave each response.
        recipe: index into `recipes` of what each response is about.
        The others: as the fields of `Panel`.

    Returns:
        The panel.

    Raises:
        ValueError: arrays that do not belong together.
    """
    order = np.argsort(customer, kind="stable")
    counts = np.bincount(customer, minlength=len(customers))
    return Panel(
        customers=tuple(customers),
        recipes=tuple(recipes),
        ingredients=tuple(ingredients),
        amounts=amounts,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        recipe=recipe[order].astype(np.int32),
        like=like[order],
        held_out=np.zeros(len(like), dtype=bool),
        properties=dict(properties),
        columns=dict(columns),
        digests=dict(digests),
        headers=dict(headers),
    )
