"""The panel from the user's own tables: recipes, ratings and, where there is one, customers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Shaped

from optim.config.errors import Problem
from optim.config.naming import did_you_mean
from optim.config.schema import Config, Like
from optim.data.cells import as_numbers, as_text, has, labels, numbers, refuse_duplicates, refuse_outside
from optim.data.findings import Findings
from optim.data.needs import Needs, needs_of
from optim.data.panel import Panel, assemble
from optim.data.reading import Table, read
from optim.data.splits import split


@dataclass(frozen=True)
class Recipes:
    """The recipes' table, checked."""

    table: Table
    ids: pl.Series
    amounts: Float64[np.ndarray, "recipes ingredients"]
    properties: dict[str, Float64[np.ndarray, " recipes"]]


@dataclass(frozen=True)
class Customers:
    """The customers' table, checked."""

    table: Table
    ids: pl.Series
    columns: dict[str, Shaped[np.ndarray, " customers"]]


@dataclass(frozen=True)
class Ratings:
    """The ratings' table, checked; its ids are not matched with the other tables yet."""

    table: Table
    ids: dict[str, pl.Series]
    like: Bool[np.ndarray, " responses"]


def load_panel(config: Config) -> Panel:
    """Read the tables that a config names.

    Ids are compared as text, without the blanks around them. Customers come in the order of their table, or else of
    their first rating. Columns that the config does not read are kept where every cell is a finite number; of the
    customers, text too.

    Args:
        config: a config that passed its own checks; it names recipes, ratings and what a like is.

    Returns:
        The panel, with the responses held out that `data.evaluation` asks for.

    Raises:
        UserError: everything that is wrong with the tables, up to twenty problems, each with its file and line.
    """
    data = config.data
    if data is None or data.recipes is None or data.ratings is None or data.like is None:
        raise ValueError("the config names no recipes, no ratings or no like")
    ingredients, needs, findings = tuple(config.ingredients), needs_of(config), Findings()
    paths = {"recipes": data.recipes, "customers": data.customers, "ratings": data.ratings}
    tables = {name: read(path, findings) for name, path in paths.items() if path is not None}
    recipes = _recipes(tables["recipes"], ingredients, needs, findings)
    customers = _customers(tables.get("customers"), needs, findings)
    ratings = _ratings(tables["ratings"], data.like, findings)
    places: dict[str, pl.Series] = {}
    for column, table in (("recipe", recipes), ("customer", customers)):
        if ratings and table:
            places[column] = _places(ratings.ids[column], table.ids)
            _refuse_unknown(column, ratings, places[column], table, findings)
    findings.raise_if_any()
    assert recipes is not None
    assert ratings is not None  # what cannot be read is a finding
    return split(_panel(ingredients, recipes, customers, ratings, places), config)


def _recipes(table: Table | None, ingredients: tuple[str, ...], needs: Needs, findings: Findings) -> Recipes | None:
    """Check the recipes' table; None where columns are missing, or the table."""
    if table is None:
        return None
    complete = has(table, ["recipe", *ingredients, *needs.properties], findings)
    there = table.frame.columns  # one column that is missing does not hide what is wrong with the others
    amounts = [_amounts(table, name, findings) for name in ingredients if name in there]
    properties = {name: numbers(table, name, findings) for name in needs.properties if name in there}
    if "recipe" not in there:
        return None
    ids = labels(table, "recipe", findings)
    refuse_duplicates(table, "recipe", [ids], "recipe {}", findings)
    if not complete:
        return None
    if needs.fractions:
        message = "every amount is 0: the recipe has no fractions"
        findings.add_rows(table, "", (np.stack(amounts) == 0).all(axis=0), lambda row: message)
    others = [name for name in there if name not in ("recipe", *ingredients, *needs.properties)]
    return Recipes(table, ids, np.stack(amounts, axis=1), properties | _numeric(table, others))


def _amounts(table: Table, name: str, findings: Findings) -> Float64[np.ndarray, " recipes"]:
    """The amounts of an ingredient."""
    amounts = numbers(table, name, findings)
    refuse_outside(table, name, amounts, (0.0, np.inf), "an amount is 0 or more", findings)
    return amounts


def _customers(table: Table | None, needs: Needs, findings: Findings) -> Customers | None:
    """Check the customers' table; None where columns are missing, or the table."""
    if table is None or not has(table, ["customer", *needs.columns], findings):
        return None
    ids = labels(table, "customer", findings)
    refuse_duplicates(table, "customer", [ids], "customer {}", findings)
    needed = {name: numbers(table, name, findings) for name in needs.numbers}
    needed |= {name: _text(labels(table, name, findings)) for name in needs.labels}
    others = [name for name in table.frame.columns if name not in ("customer", *needs.columns)]
    numeric = _numeric(table, others)
    text = {name: _text(as_text(table.frame[name])) for name in others if name not in numeric}
    return Customers(table, ids, needed | numeric | text)


def _ratings(table: Table | None, like: Like, findings: Findings) -> Ratings | None:
    """Check the ratings' table; None where columns are missing, or the table."""
    if table is None or not has(table, ["customer", "recipe", like.column], findings):
        return None
    before = findings.count
    customer, recipe = labels(table, "customer", findings), labels(table, "recipe", findings)
    refuse_duplicates(table, "recipe", [customer, recipe], "the rating by customer {} of recipe {}", findings)
    rating = numbers(table, like.column, findings)
    if like.scale is not None:
        low, high = like.scale
        refuse_outside(table, like.column, rating, like.scale, f"the scale is {low:g} to {high:g}", findings)
    likes = rating >= like.at_least
    if findings.count == before and likes.all() == likes.any():
        amount, who = ("every", "everyone likes every recipe") if likes.all() else ("no", "nobody likes any recipe")
        message = (
            f"{amount} rating is at least {like.at_least:g} (data.like.at_least): {who}, so there is nothing to "
            f"learn; the ratings go from {rating.min():g} to {rating.max():g}"
        )
        findings.add(table.label, Problem(place=table.label, key=like.column, message=message))
    return Ratings(table, {"customer": customer, "recipe": recipe}, likes)


def _places(ids: pl.Series, known: pl.Series) -> pl.Series:
    """Where each id stands among the known ones, for the first time; null where it does not."""
    first = pl.DataFrame({"id": known}).with_row_index("place").unique("id", keep="first")
    return pl.DataFrame({"id": ids}).join(first, on="id", how="left", maintain_order="left")["place"]


def _refuse_unknown(
    column: str, ratings: Ratings, places: pl.Series, of: Recipes | Customers, findings: Findings
) -> None:
    """An id in the ratings that its own table lacks is a problem."""
    ids = ratings.ids[column]
    unknown = (ids.is_not_null() & places.is_null()).to_numpy()

    def message(row: int) -> str:
        # Among numbers the nearest one is no better a guess than any other.
        hint = "" if ids[row].isdecimal() else did_you_mean(ids[row], of.ids.drop_nulls())
        return f"there is no {column} {ids[row]!r} in {of.table.label}{hint}"

    findings.add_rows(ratings.table, column, unknown, message)


def _panel(
    ingredients: tuple[str, ...],
    recipes: Recipes,
    customers: Customers | None,
    ratings: Ratings,
    places: dict[str, pl.Series],
) -> Panel:
    """The panel from tables without a problem."""
    who = ratings.ids["customer"]
    names = customers.ids if customers else who.unique(maintain_order=True)
    index = lambda places: places.to_numpy().astype(np.int32)
    tables = {"recipes": recipes.table, "ratings": ratings.table}
    if customers:
        tables["customers"] = customers.table
    return assemble(
        customers=names.to_list(),
        recipes=recipes.ids.to_list(),
        ingredients=ingredients,
        amounts=recipes.amounts,
        customer=index(places["customer"] if customers else _places(who, names)),
        recipe=index(places["recipe"]),
        like=ratings.like,
        properties=recipes.properties,
        columns=customers.columns if customers else {},
        digests={key: table.digest for key, table in tables.items()},
        headers={key: tuple(table.frame.columns) for key, table in tables.items()},
    )


def _numeric(table: Table, names: list[str]) -> dict[str, Float64[np.ndarray, " rows"]]:
    """Those columns that hold finite numbers throughout."""
    columns = {name: as_numbers(table.frame[name]) for name in names}
    return {
        name: cells.to_numpy().astype(np.float64)
        for name, cells in columns.items()
        if not cells.has_nulls() and cells.is_finite().all()
    }


def _text(cells: pl.Series) -> Shaped[np.ndarray, " rows"]:
    """Text as an array; an empty cell is empty text."""
    return np.array(cells.fill_null("").to_list(), dtype=str)
