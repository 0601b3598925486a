"""The answer of a run: what `result.json` holds."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optim.config.modifications import modifications
from optim.losses.cake import CakeConstants, CakeObjective
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import Parameters
from optim.models.coefficients import named_coefficients
from optim.models.likelihood import LikelihoodModel
from optim.models.utilities import LinearUtility, QuadraticUtility
from optim.optimize.certificate import certify
from optim.study.stage import Stage
from optim.study.state import State
from optim.study.study import Study, cake_layout
from optim.train.measure import losses_by_unit


class NoAnswerError(Exception):
    """The run has ended, but what it ended with is no answer."""


def answer(study: Study, state: State) -> dict[str, Any]:
    """What a finished run has found, ready for JSON; keys that were not computed are absent.

    Args:
        study: the study.
        state: its final state.
    """
    result: dict[str, Any] = {}
    bakes = [stage for stage in study.stages if stage.bakes]
    fits = [stage for stage in study.stages if isinstance(stage.objective, PanelObjective)]
    member: Parameters = {"model": jax.tree.map(lambda leaf: leaf[0], state.parameters["model"])}
    if bakes:
        result |= _best_cake(study, bakes[-1], state, liking_is_known=bool(fits))
    if fits:
        result["likelihood"] = _likelihood(study, fits[-1], member)
    return _without_holes(result)


def _without_holes(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not a number, such as the likelihood of a response that a rollback had to go round."""
    kept = {key: _without_holes(value) if isinstance(value, dict) else value for key, value in found.items()}
    return {key: value for key, value in kept.items() if not (isinstance(value, float) and not math.isfinite(value))}


def final_metrics(result: dict[str, Any]) -> dict[str, float]:
    """The scalars that TensorBoard's table of hyperparameters and run.json show."""
    likelihood = result.get("likelihood", {})
    metrics = {
        "final/score": result.get("score"),
        "final/liking": result.get("liking", {}).get("mean"),
        "final/log_likelihood": likelihood.get("log_likelihood"),
        "final/held_out_log_likelihood": likelihood.get("held_out", {}).get("log_likelihood"),
    }
    return {name: value for name, value in metrics.items() if value is not None}


def _best_cake(study: Study, stage: Stage, state: State, *, liking_is_known: bool) -> dict[str, Any]:
    objective = stage.objective
    assert isinstance(objective, CakeObjective)
    constants: CakeConstants = stage.constants(state.parameters).objective
    cakes = state.parameters["cake"]
    scores = np.asarray(jax.jit(jax.vmap(objective.mean_score, in_axes=(0, None)))(cakes, constants), float)
    if not np.isfinite(scores).any():
        raise NoAnswerError("the score is not finite at any of the recipes that were baked")
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    layout = cake_layout(study.space)
    recipes = layout.ravel(cakes)
    at = int(np.argmax(scores))
    gradient = jax.jit(jax.grad(lambda v: objective.mean_score(layout.unravel(v), constants)))(recipes[at])
    best, settings = objective.cake(jax.tree.map(lambda leaf: leaf[at], cakes))()
    model = study.model(constants.model)
    properties = jax.jit(model.properties_of)(best, settings)
    names = () if model.properties is None else model.properties.names
    result: dict[str, Any] = {
        "recipe": _named(study.space.names, best),
        "units": {name: unit for name, unit in zip(study.space.names, study.space.units, strict=True) if unit},
    }
    if settings:
        result["settings"] = {name: _shown(value) for name, value in settings.items()}
        result["units"] |= {name: one.unit for name, one in study.space.settings.items() if one.unit}
    if names:
        result["properties"] = _named(names, properties)
    if study.space.prices.any():
        result["cost"] = float(np.asarray(best, float) @ study.space.prices)
    result["score"] = float(scores.max())
    if liking_is_known:
        result["liking"] = {"mean": _mean_liking(study, model, best), "scale": "probability"}
    certificate = certify(study.space, np.asarray(recipes), scores, np.asarray(gradient))
    result["certificate"] = {
        "starts": certificate.starts,
        "agreeing": certificate.agreeing,
        "max_violation": certificate.max_violation,
        "stationarity": certificate.stationarity,
        "active": list(certificate.active),
    }
    declared = modifications(study.config, stage.name)
    if declared:
        result["certificate"]["modifications"] = list(declared)
    return result


def _named(names: tuple[str, ...], values: Float[Array, " n"]) -> dict[str, float]:
    return {name: _number(value) for name, value in zip(names, np.asarray(values), strict=True)}


def _number(value: object) -> float:
    """By way of its shortest text: 0.2 in single precision is to be read as 0.2, not as 0.20000000298."""
    return float(str(value))


def _shown(setting: Array) -> float | dict[str, float]:
    value = np.asarray(setting)[()]
    if np.iscomplexobj(value):
        return {"real": _number(value.real), "imag": _number(value.imag)}
    return _number(value)


def _mean_liking(study: Study, model: LikelihoodModel, amounts: Float[Array, " n"]) -> float:
    """Expected P(like) over all customers of the panel."""
    groups = jnp.arange(len(study.groups), dtype=jnp.int32)
    by_group = jax.vmap(model.expected_response, in_axes=(None, 0))
    likings = jax.jit(lambda amounts: by_group(model.features(amounts), groups))(amounts)
    sizes = np.bincount(study.group, minlength=len(study.groups))
    return float(np.asarray(likings, float) @ sizes / sizes.sum())


def _likelihood(study: Study, stage: Stage, member: Parameters) -> dict[str, Any]:
    """Log-likelihood of the responses by the link, whatever loss was trained, and the coefficients in user's units."""
    assert study.panel is not None
    assert isinstance(stage.objective, PanelObjective)
    fit = PanelObjective(study.panel, study.group, study.model, (), None, "sum")
    total, responses, customers = _log_likelihood(fit, member)
    found: dict[str, Any] = {"log_likelihood": total, "responses": responses, "customers": customers}
    if stage.evaluation is not None:
        held_out = PanelObjective(study.panel, study.group, study.model, (), None, "sum", held_out=True)
        total, responses, _ = _log_likelihood(held_out, member)
        found["held_out"] = {"log_likelihood": total, "responses": responses}
    parameters = _coefficients(study, study.model(member["model"]))
    if parameters:
        found["parameters"] = parameters
    return found


def _log_likelihood(objective: PanelObjective, member: Parameters) -> tuple[float, int, int]:
    """Sum over the responses, how many they are, and of how many customers."""
    constants = objective.constants(member)
    sums, counts = jax.jit(lambda constants: losses_by_unit(objective, {"model": {}}, constants))(constants)
    counts = np.asarray(counts)
    return -float(np.asarray(sums, float).sum()), int(counts.sum()), int((counts > 0).sum())


def _coefficients(study: Study, model: LikelihoodModel) -> dict[str, Any]:
    """Coefficients in the user's units, `by_group` where the utility has groups; nothing for a network."""
    utility = model.utility
    if not isinstance(utility, LinearUtility | QuadraticUtility):
        return {}
    center, scale = np.asarray(model.center[...], float), np.asarray(model.scale[...], float)
    names = model.feature_map.names
    grouped = study.config.model.utility is not None and study.config.model.utility.groups is not None
    by_group = {
        name: named_coefficients(utility, index, names, center, scale) for index, name in enumerate(study.groups)
    }
    return {"by_group": by_group} if grouped else by_group[study.groups[0]]
