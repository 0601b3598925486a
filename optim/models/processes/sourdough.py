"""A sourdough: what yeast, starter, dough and mixer make of a recipe, a temperature and a vibration."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from optim.models.cake import Settings
from optim.models.processes.dough import Dough
from optim.models.processes.starter import Starter
from optim.models.processes.vibration import Mixer
from optim.models.processes.yeast import Yeast


class Sourdough(nnx.Module):
    """Activity, maturity, acidity and smoothness of a dough of flour, sugar and yeast (and whatever else):

    activity: of the yeast at the temperature (`Yeast`)
    acidity: acid of a starter that is fed the yeast every day, once it has settled (`Starter`)
    maturity: of a dough in which the living yeast of that starter works at that activity, once it has settled (`Dough`)
    smoothness: that the mixer's vibration gives (`Mixer`)

    It reads the settings `temperature` (°C, real) and `vibration` (complex).
    """

    def __init__(self, ingredients: Sequence[str]) -> None:
        self.names: tuple[str, ...] = ("activity", "maturity", "acidity", "smoothness")
        self.index = {name: tuple(ingredients).index(name) for name in ("flour", "sugar", "yeast")}
        self.yeast, self.starter, self.dough, self.mixer = Yeast(), Starter(), Dough(), Mixer()

    def __call__(self, amounts: Float[Array, " n"], settings: Settings) -> Float[Array, "4"]:
        flour, sugar, yeast = (amounts[self.index[name]] for name in ("flour", "sugar", "yeast"))
        activity = self.yeast(settings["temperature"])
        culture = self.starter(yeast)
        maturity = self.dough(flour, sugar, culture.yeast, activity)
        return jnp.stack([activity, maturity, culture.acid, self.mixer(settings["vibration"])])
