"""The space of recipes: the ingredients with their bounds, prices and total, and the settings of the processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from optim.config.naming import parts
from optim.config.schema import Config, Setting
from optim.models.arrays import on_device, zeros
from optim.models.cake import Cake


@dataclass(frozen=True)
class SettingSpace:
    """The values that one setting may take; of a complex one, bounds of its real and of its imaginary part.

    A fixed setting has equal bounds.
    """

    unit: str
    lower: Float[np.ndarray, " parts"]
    upper: Float[np.ndarray, " parts"]

    @property
    def is_complex(self) -> bool:
        """Whether it has an imaginary part."""
        return len(self.lower) == 2


@dataclass(frozen=True)
class RecipeSpace:
    """All recipes that are allowed: lower ≤ amounts ≤ upper and, where a total is given, Σ amounts = total.

    A fixed ingredient has equal bounds. The settings stand in the order of their names, in which JAX walks a dict.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    prices: Float[np.ndarray, " n"]
    total: float | None
    settings: Mapping[str, SettingSpace] = field(default_factory=dict)

    @property
    def ranges(self) -> Float[np.ndarray, " n"]:
        """Width of each ingredient's bounds; 1 for a fixed one, so that it can divide."""
        return widths(self.lower, self.upper)

    @property
    def bounds(self) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
        """Lower and upper bound of every coordinate."""
        settings = self.settings.values()
        lower = np.concatenate([self.lower, *(one.lower for one in settings)])
        upper = np.concatenate([self.upper, *(one.upper for one in settings)])
        return lower, upper

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the real numbers that are trained: the amounts, then the settings, complex ones by their parts."""
        return (*self.names, *(part for name, one in self.settings.items() for part in parts(name, one.is_complex)))

    @property
    def owners(self) -> tuple[str, ...]:
        """The ingredient or setting that each coordinate belongs to."""
        return (*self.names, *(name for name, one in self.settings.items() for _ in one.lower))

    def cake(self) -> Cake:
        """An untrained cake of this space."""
        zero = {True: on_device(0j), False: on_device(0.0)}
        settings = {name: zero[one.is_complex] for name, one in self.settings.items()}
        return Cake(zeros(len(self.names)), settings)


def widths(lower: Float[np.ndarray, " n"], upper: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Width of bounds; 1 where they are equal, so that it can divide."""
    width = upper - lower
    return np.where(width > 0, width, 1.0)


def build_space(config: Config) -> RecipeSpace:
    """The recipe space of a config, in the written order of its ingredients."""
    ingredients = list(config.ingredients.values())
    return RecipeSpace(
        names=tuple(config.ingredients),
        units=tuple(ingredient.unit for ingredient in ingredients),
        lower=np.array([ingredient.bounds[0] for ingredient in ingredients]),
        upper=np.array([ingredient.bounds[1] for ingredient in ingredients]),
        prices=np.array([ingredient.price for ingredient in ingredients]),
        total=config.total,
        settings={name: _setting(setting) for name, setting in sorted(config.settings.items())},
    )


def _setting(setting: Setting) -> SettingSpace:
    if setting.fixed is not None:
        held = as_parts(setting.fixed, 2 if setting.complex else 1)
        return SettingSpace(setting.unit, held, held)
    assert setting.min is not None  # the config's checks hold both
    assert setting.max is not None
    count = 2 if setting.complex else 1
    return SettingSpace(setting.unit, np.full(count, setting.min), np.full(count, setting.max))


def as_parts(value: float | tuple[float, float], count: int) -> Float[np.ndarray, " count"]:
    """A number as its real and, where it has two parts, its imaginary one."""
    given = np.ravel(value).astype(float)
    return np.concatenate([given, np.zeros(count - len(given))])
