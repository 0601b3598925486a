"""Columns of the user's tables that nothing reads: named, so that nobody believes that they count."""

from __future__ import annotations

from collections.abc import Mapping

from optim.analysis.idle_settings import asked
from optim.analysis.panel_answer import segment_columns
from optim.analysis.verdicts import NOT_KNOWN, Caveat
from optim.config import schema
from optim.data.needs import needs_of
from optim.losses.cake import CakeObjective
from optim.study.stage import Stage
from optim.study.study import Study

LISTED = 10
"""Most columns of a table that are named."""

COUNTS = frozenset(
    {"count", "counts", "n", "number", "numbers", "freq", "freqs", "frequency", "frequencies", "weight", "weights"}
    | {"times", "repeats", "repetitions"}
)
"""What a column is called that says how often its row counts."""

Unread = Mapping[str, tuple[str, ...]]
"""Columns by table, as the config calls it (`ratings`)."""


def unread_columns(study: Study) -> Unread:
    """The columns that neither the model, a loss, a score nor the answer reads; tables without one are absent."""
    if study.panel is None:
        return {}
    read = _read(study)
    found = {
        table: tuple(name for name in names if name not in read[table]) for table, names in study.panel.headers.items()
    }
    return {table: names for table, names in found.items() if names}


def unread_lines(unread: Unread) -> list[str]:
    """A line for each table. What looks like a count is left to `count_warnings`."""
    found = []
    for table, names in unread.items():
        plain = [f"`{name}`" for name in names if not _is_count(table, name)]
        more = f" and {len(plain) - LISTED} more" if len(plain) > LISTED else ""
        if plain:
            columns = "the column" if len(plain) == 1 else "the columns"
            found.append(f"data.{table}: nothing reads {columns} {', '.join(plain[:LISTED])}{more}")
    return found


def count_warnings(unread: Unread) -> list[Caveat]:
    """A warning for each unread column that is called like a count or a weight."""
    return [
        Caveat(
            f"data.{table}",
            NOT_KNOWN,
            f"nothing reads the column `{name}` of data.{table}: every row counts once, whatever stands there; "
            f"where it says how often a row counts, {_EXPAND[table]}; else rename the column",
        )
        for table, names in unread.items()
        for name in names
        if _is_count(table, name)
    ]


_EXPAND = {
    "ratings": "write the row so many times, each under a customer of its own",
    "customers": "write the customer and their ratings so many times, each under another name",
}


def _is_count(table: str, name: str) -> bool:
    return table in _EXPAND and name.strip().lower() in COUNTS


def _read(study: Study) -> dict[str, set[str]]:
    """The columns of each table that something reads."""
    config, needs = study.config, needs_of(study.config)
    assert config.data is not None
    rating = "" if config.data.like is None else config.data.like.column
    return {
        "recipes": {"recipe", *config.ingredients, *needs.properties, *_own_properties(study)},
        "ratings": {"customer", "recipe", rating},
        "customers": {"customer", *_read_of_customers(study), *segment_columns(study)},
    }


def _read_of_customers(study: Study) -> set[str]:
    """The columns of the customers' table that sort them into groups, or that a score reads."""
    utility = study.config.model.utility
    groups = {utility.groups} if utility is not None and utility.groups is not None else set()
    return groups.union(*(asked(study, stage).columns for stage in study.stages if _has_columns(study, stage)))


def _has_columns(study: Study, stage: Stage) -> bool:
    return isinstance(stage.objective, CakeObjective) and bool(stage.objective.score.columns)


def _own_properties(study: Study) -> tuple[str, ...]:
    """Measured properties that go by the names of a property model of the user's own: they are read if all are there
    (`optim.models.build`)."""
    assert study.panel is not None
    if not isinstance(study.config.model.properties, schema.OwnProperties):
        return ()
    model = study.model(study.first_member["model"]).properties
    names = () if model is None else tuple(model.names)
    return names if all(name in study.panel.properties for name in names) else ()
