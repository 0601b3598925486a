"""From the config's `model` block and the panel's statistics to modules."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from optim.config import schema
from optim.config.errors import UserError
from optim.models import properties, utilities
from optim.models.arrays import float_dtype, on_device, zeros
from optim.models.cake import NO_SETTINGS, Settings
from optim.models.features import FeatureMap
from optim.models.functional import Functional
from optim.models.imports import construct, own_code
from optim.models.kept_state import refuse_kept_state
from optim.models.likelihood import LikelihoodModel
from optim.models.links import Logit
from optim.models.processes.sourdough import Sourdough

Rngs = Callable[[schema.Part], nnx.Rngs]
"""The streams of random numbers of a part of the model, no two of which are the same."""


CONSTANT = 1e-6
"""A feature whose spread is at most this share of its mean is a constant: single precision tells no less apart."""

CONSTANT_IN_DOUBLE = 1e-9
"""The same in double precision: what a table holds in so many digits, and properties computed from it."""


@dataclass(frozen=True)
class Tasted:
    """What the model learns of the tasted recipes before it is trained: the basis of its scaling.

    Attributes:
        amounts: one row a recipe, in the user's units.
        properties: measured properties by name, one value a recipe.
        counts: how many responses of the fit each recipe has.
        groups: number of groups of customers.
    """

    amounts: Float[np.ndarray, "recipes n"]
    properties: dict[str, Float[np.ndarray, " recipes"]]
    counts: Float[np.ndarray, " recipes"]
    groups: int


def build_model(
    block: schema.Model,
    ingredients: tuple[str, ...],
    tasted: Tasted | None,
    rngs: Rngs,
    fixed: Collection[str] = (),
    settings: Settings = NO_SETTINGS,
) -> LikelihoodModel:
    """The modules of a `model` block, untrained.

    Args:
        block: the block.
        ingredients: names of the ingredients.
        tasted: the tasted recipes; None for a study without a panel, which has no utility.
        rngs: makes the stream for a part's initial parameters, where its module draws some.
        fixed: ingredients that are not trained: nothing needs to be known of a change in them.
        settings: any values of the settings that there are, to try a model of the user's own with.

    Raises:
        UserError: a feature is the same in every recipe, or a module of the user's own does not fit.
    """
    property_model = None
    if block.properties is not None:
        property_model = _build_properties(block.properties, ingredients, tasted, rngs, settings)
    names = () if property_model is None else tuple(property_model.names)
    read = schema.settings_read(block.properties)
    chosen = () if block.utility is None else tuple(block.utility.features)
    feature_map = FeatureMap(ingredients, names, chosen)
    if block.utility is None or tasted is None:
        nothing = np.zeros(0)
        return LikelihoodModel(property_model, None, Logit(), feature_map, nothing, nothing, read)
    unknown = [name for name in feature_map.names if name not in (*ingredients, *names)]
    if unknown:
        raise UserError(f"model.utility.features: the property model gives {', '.join(names)}, not {unknown[0]!r}")
    intercept = has_intercept(block.utility)
    tasted_model = None if read else cast(properties.PropertyModel, property_model)
    center, scale = _scaling(feature_map, tasted_model, tasted, fixed, centered=intercept)
    utility = _build_utility(block.utility, feature_map, tasted.groups, intercept, rngs)
    return LikelihoodModel(property_model, utility, Logit(), feature_map, center, scale, read)


def has_intercept(block: schema.Utility) -> bool:
    """Whether a utility has a constant: as configured, else yes unless fractions are among its features."""
    if isinstance(block, schema.LinearUtility | schema.QuadraticUtility) and block.intercept is not None:
        return block.intercept
    return "fractions" not in block.features or isinstance(block, schema.NetworkUtility | schema.OwnUtility)


def _build_properties(
    block: schema.Properties, ingredients: tuple[str, ...], tasted: Tasted | None, rngs: Rngs, settings: Settings
) -> properties.PropertyModel | properties.SettingsReader:
    if isinstance(block, schema.Bakery):
        return properties.Bakery(ingredients)
    if isinstance(block, schema.Sourdough):
        return Sourdough(ingredients)
    if isinstance(block, schema.OwnProperties):
        return _own_properties(block, ingredients, rngs, settings)
    assert tasted is not None  # the config's checks hold it: fitted properties need tables
    measured = np.stack([tasted.properties[name] for name in block.columns])
    center, scale = measured.mean(axis=1), _positive(measured.std(axis=1))
    if isinstance(block, schema.Scheffe):
        return properties.ScheffeMixture(block.columns, block.degree, len(ingredients), center, scale)
    return properties.PropertyNetwork(block.columns, block.hidden, tasted.amounts, center, scale, rngs("properties"))


def _build_utility(
    block: schema.Utility, feature_map: FeatureMap, groups: int, intercept: bool, rngs: Rngs
) -> utilities.Utility:
    count = len(feature_map.names)
    if isinstance(block, schema.LinearUtility):
        return utilities.LinearUtility(count, groups, intercept)
    if isinstance(block, schema.QuadraticUtility):
        squares = [not fraction for fraction in feature_map.are_fractions]
        return utilities.QuadraticUtility(count, groups, intercept, squares)
    if isinstance(block, schema.NetworkUtility):
        return utilities.NetworkUtility(count, groups, block.hidden, rngs("utility"))
    return _own_utility(block, feature_map.names, groups, rngs)


def _own_properties(
    block: schema.OwnProperties, ingredients: tuple[str, ...], rngs: Rngs, settings: Settings
) -> properties.PropertyModel | properties.SettingsReader:
    place = "model.properties.path"
    model = construct(block.path, place, ingredients=ingredients, rngs=rngs("properties"), **block.arguments)
    if not isinstance(model, properties.PropertyModel) or not isinstance(model, nnx.Module):
        raise UserError(
            f"{place}: {block.path} is not a property model: a Flax NNX module with `names` and `__call__(amounts)`"
        )
    refuse_kept_state(model, place, block.path)
    for name in model.names:
        if name in ingredients or name in settings:
            kind = "an ingredient" if name in ingredients else "a setting"
            raise UserError(f"{place}: {block.path} names a property {name!r}, which is also {kind}: rename one")
    read = {name: settings[name] for name in block.settings}
    inputs = [jnp.zeros(len(ingredients)), *([read] if read else [])]
    output = _output_of(model, place, block.path, *inputs)
    if output is None or output.shape != (len(model.names),):
        raise UserError(
            f"{place}: {block.path} gives {_shown(output)} for one recipe: expected one of shape "
            f"({len(model.names)},), as it has {len(model.names)} names"
        )
    return model


def _own_utility(block: schema.OwnUtility, features: tuple[str, ...], groups: int, rngs: Rngs) -> utilities.Utility:
    place = "model.utility.path"
    utility = construct(block.path, place, features=features, groups=groups, rngs=rngs("utility"), **block.arguments)
    if not isinstance(utility, utilities.Utility) or not isinstance(utility, nnx.Module):
        raise UserError(f"{place}: {block.path} is not a utility: a Flax NNX module with `__call__(features, group)`")
    refuse_kept_state(utility, place, block.path)
    output = _output_of(utility, place, block.path, jnp.zeros(len(features)), jnp.int32(0))
    if output is None or output.shape != ():
        raise UserError(f"{place}: {block.path} gives {_shown(output)} for one recipe and customer: expected a scalar")
    return utility


def _output_of(module: nnx.Module, place: str, path: str, *inputs: PyTree) -> jax.ShapeDtypeStruct | None:
    """What a module of the user's own gives; None if it is no array of real numbers. Nothing is computed."""
    function, parameters = Functional.split(module)
    with own_code(place, path, "calling it"):
        output = jax.eval_shape(lambda values: function(values)(*inputs), parameters)
    is_real = isinstance(output, jax.ShapeDtypeStruct) and jnp.issubdtype(output.dtype, jnp.floating)
    return output if is_real else None


def _shown(output: jax.ShapeDtypeStruct | None) -> str:
    return "no array of real numbers" if output is None else f"an array of shape {output.shape}"


def _scaling(
    feature_map: FeatureMap,
    property_model: properties.PropertyModel | None,
    tasted: Tasted,
    fixed: Collection[str],
    *,
    centered: bool,
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Center and scale of each feature over the responses of the fit.

    With a constant: mean and standard deviation. Without one nothing may be subtracted: root mean square alone.

    Raises:
        UserError: a feature says nothing, being the same in every recipe (without a constant: 0), and is not fixed.
    """
    raw = _raw_features(feature_map, property_model, tasted)
    share = CONSTANT if raw.dtype == np.float32 else CONSTANT_IN_DOUBLE
    weights = tasted.counts / tasted.counts.sum()
    columns = [_spread(values.astype(float), weights, centered=centered) for values in raw.T]
    center, scale, width = np.array(columns).reshape(-1, 3).T
    silent = scale <= share * np.abs(center)
    varies = width > share * np.abs(center)
    for index, name in enumerate(feature_map.names):
        if silent[index] and name not in fixed:
            remedy = "hold it with `fixed`" if name in feature_map.ingredients else "leave it out of the features"
            where = "every tasted recipe"
            if varies[index] and not tasted.counts.all():
                where, remedy = "every recipe that stays in the fit", f"try another `seed` or split, or {remedy}"
            elif share == CONSTANT and _varies_in_double(feature_map, property_model, tasted, index):
                where, remedy = f"{where} to single precision", "use `precision: float64`"
            raise UserError(
                f"model.utility.features: {name} is the same in {where}, so what it does to the "
                f"liking cannot be learned; {remedy}"
            )
    return center, np.where(silent, 1.0, scale)


def _spread(
    values: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], *, centered: bool
) -> tuple[float, float, float]:
    """Center, root mean square about it, and width of a column; a copy of all columns would cost more than the sums."""
    center = float(weights @ values) if centered else 0.0
    about = values - center
    return center, float(np.sqrt(weights @ (about * about))), float(np.ptp(values))


def _raw_features(
    feature_map: FeatureMap, property_model: properties.PropertyModel | None, tasted: Tasted
) -> Float[np.ndarray, "recipes k"]:
    """Features of the tasted recipes in the user's units, in the precision that is set."""
    if feature_map.chosen == ("amounts",):  # of a million recipes, a copy to the device and back
        return tasted.amounts.astype(float_dtype())
    features = jax.jit(jax.vmap(feature_map))
    return np.asarray(features(jnp.asarray(tasted.amounts), _properties(property_model, tasted)))


def _varies_in_double(
    feature_map: FeatureMap, property_model: properties.PropertyModel | None, tasted: Tasted, index: int
) -> bool:
    """Whether a feature differs between recipes of the fit, if it is computed in double precision."""
    with jax.enable_x64(True):
        values = _raw_features(feature_map, property_model, tasted)[tasted.counts > 0, index]
    return float(np.ptp(values)) > CONSTANT_IN_DOUBLE * float(np.abs(values).max())


def _properties(property_model: properties.PropertyModel | None, tasted: Tasted) -> Float[jax.Array, "recipes p"]:
    """Properties of the tasted recipes: as measured where the model is fitted to them, else as the formula says."""
    if property_model is None:
        return zeros(len(tasted.amounts), 0)
    if all(name in tasted.properties for name in property_model.names) and not isinstance(
        property_model, properties.Bakery
    ):
        return on_device(np.stack([tasted.properties[name] for name in property_model.names], axis=1))
    computed: Array = jax.jit(jax.vmap(property_model))(jnp.asarray(tasted.amounts))
    return computed


def _positive(scale: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    return np.where(scale > 0, scale, 1.0)
