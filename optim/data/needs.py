"""What a config reads from a panel beyond recipes and likes."""

from __future__ import annotations

from dataclasses import dataclass

from optim.config import schema


@dataclass(frozen=True)
class Needs:
    """Columns that must be there, and what must hold for the recipes."""

    properties: tuple[str, ...]
    """Measured properties: columns of the recipes' table, numbers."""
    labels: tuple[str, ...]
    """Columns of the customers' table that sort them into groups: kept as text, even if they look like numbers."""
    numbers: tuple[str, ...]
    """Columns of the customers' table that scores compute with."""
    fractions: bool
    """Whether amounts are divided by their sum, which then must not be 0."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All the columns of the customers' table."""
        return (*self.labels, *self.numbers)


def needs_of(config: schema.Config) -> Needs:
    """Collect what the model and the scores of a config read."""
    properties, utility = config.model.properties, config.model.utility
    measured = properties.columns if isinstance(properties, schema.Scheffe | schema.PropertyNetwork) else ()
    numbers = [name for stage in config.stages.values() for name in _columns_of(stage)]
    groups = utility.groups if utility else None
    return Needs(
        properties=tuple(dict.fromkeys(measured)),
        labels=(groups,) if groups is not None and groups not in numbers else (),
        numbers=tuple(dict.fromkeys(numbers)),
        fractions=isinstance(properties, schema.Scheffe) or (utility is not None and "fractions" in utility.features),
    )


def _columns_of(stage: schema.Stage) -> list[str]:
    """The columns of the customers' table that a stage's score reads as numbers."""
    score = stage.score if isinstance(stage, schema.Bake) else None
    if isinstance(score, schema.DeliciousnessScore):
        return [target.column for target in score.targets.values() if isinstance(target, schema.Column)]
    return list(score.columns) if isinstance(score, schema.OwnScore) else []
