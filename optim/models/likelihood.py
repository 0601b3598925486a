"""The likelihood model: recipe → properties → features → utility → distribution of a response."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from optim.models.arrays import on_device
from optim.models.cake import NO_SETTINGS, Settings
from optim.models.features import FeatureMap
from optim.models.links import Logit
from optim.models.properties import PropertyModel, SettingsReader
from optim.models.utilities import Utility
from optim.models.variables import Statistic


class LikelihoodModel(nnx.Module):
    """What each customer likes.

    Args:
        properties: property model, or None.
        settings: the settings that the property model reads; with some it is a `SettingsReader`.
        utility: utility, or None where no stage needs one.
        link: link from utility to response.
        feature_map: which amounts and properties are features.
        center: what is subtracted from each feature.
        scale: what each feature is divided by, after that.
    """

    def __init__(
        self,
        properties: PropertyModel | SettingsReader | None,
        utility: Utility | None,
        link: Logit,
        feature_map: FeatureMap,
        center: Float[np.ndarray, " k"],
        scale: Float[np.ndarray, " k"],
        settings: tuple[str, ...] = (),
    ) -> None:
        self.properties = properties
        self.settings = settings
        self.utility = utility
        self.link = link
        self.feature_map = feature_map
        self.center, self.scale = Statistic(on_device(center)), Statistic(on_device(scale))

    def properties_of(self, amounts: Float[Array, " n"], settings: Settings = NO_SETTINGS) -> Float[Array, " p"]:
        """Properties of one recipe; of length 0 without a property model."""
        if self.properties is None:
            return jnp.zeros(0)
        model = cast(Callable[..., Array], self.properties)
        return model(amounts, {name: settings[name] for name in self.settings}) if self.settings else model(amounts)

    def raw_features(self, amounts: Float[Array, " n"]) -> Float[Array, " k"]:
        """Features of one recipe, in the user's units.

        Properties that depend on settings are no features: the config says so.
        """
        properties = jnp.zeros(0) if self.settings else self.properties_of(amounts)
        return self.feature_map(amounts, properties)

    def features(self, amounts: Float[Array, " n"]) -> Float[Array, " k"]:
        """Scaled features of one recipe."""
        return (self.raw_features(amounts) - self.center[...]) / self.scale[...]

    def expected_response(self, features: Float[Array, " k"], group: Int[Array, ""]) -> Float[Array, ""]:
        """P(like) of a customer of this group."""
        assert self.utility is not None
        return self.link.mean(self.utility(features, group))
