"""The cake: a Flax module whose parameters are a recipe, with the settings of the processes that make it."""

from __future__ import annotations

from collections.abc import Mapping

from flax import nnx
from jaxtyping import Array, Float, Inexact

Settings = Mapping[str, Inexact[Array, ""]]
"""Settings of processes by name, such as a temperature (real) or a vibration (complex)."""
NO_SETTINGS: Settings = {}


class Cake(nnx.Module):
    """A recipe to be trained: one amount an ingredient, in the user's units, and the settings of its processes.

    They are the parameters themselves. They are kept inside their bounds and total by an exact projection after every
    update (`optim.optimize.projection`), so that an answer on a bound is reached and not approached.
    """

    def __init__(self, amounts: Float[Array, " n"], settings: Settings = NO_SETTINGS) -> None:
        self.amounts = nnx.Param(amounts)
        self.names = tuple(settings)
        self.settings = nnx.Dict({name: nnx.Param(value) for name, value in settings.items()})

    def __call__(self) -> tuple[Float[Array, " n"], Settings]:
        """The recipe and the settings."""
        # By name, not by `items()`: the entries are attributes, and one may be called just that.
        return self.amounts[...], {name: self.settings[name][...] for name in self.names}
