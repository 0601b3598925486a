"""The best cake of a bake: recipe, score and P(like), and what each of them is worth."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from optim.analysis.departures import departures_of_liking, unknown_effect
from optim.analysis.design import raw_features, utilities_of
from optim.analysis.fit_certificate import FitFindings
from optim.analysis.looked_at import LookedAt, look_at
from optim.analysis.panel_answer import unasked_customers
from optim.analysis.uncertainty import Liking, Scores, Standing, liking_at, mean_liking, sigma
from optim.analysis.verdicts import CHECKED, NOT_DETERMINED, NOT_KNOWN, NOT_SETTLED, Caveat, Status, worst
from optim.analysis.weighed import resolved_coordinate, set_settings, weighed
from optim.config import schema
from optim.config.modifications import modifications
from optim.config.numbers import number, resolved
from optim.losses.cake import CakeConstants, CakeObjective, is_liking_alone
from optim.losses.objective import Parameters
from optim.models.cake import NO_SETTINGS, Settings
from optim.optimize.certificate import Certificate, certify
from optim.study.stage import Stage
from optim.study.state import State
from optim.study.study import Study, cake_layout


class NoAnswerError(Exception):
    """The run has ended, but what it ended with is no answer."""


@dataclass(frozen=True, eq=False)
class BakedCake:
    """The best cake of a bake.

    Attributes:
        objective: what was baked for.
        constants: the stage's.
        vector: amounts and settings, in the order of `RecipeSpace.coordinates`, in the run's precision.
        certificate: evidence for it, and its score.
        reads_liking: whether its score is made of P(like).
        properties: of it; None where the model has none.
    """

    objective: CakeObjective
    constants: CakeConstants
    vector: Float[np.ndarray, " d"]
    certificate: Certificate
    reads_liking: bool
    properties: LookedAt | None

    @property
    def amounts(self) -> Float[np.ndarray, " n"]:
        """The recipe."""
        return self.vector[: len(self.objective.space.names)]


def best_cake(study: Study, stage: Stage, state: State) -> BakedCake:
    """The recipe with the highest score of a stage's starts, with its certificate.

    Raises:
        NoAnswerError: no score is finite.
    """
    objective = stage.objective
    assert isinstance(objective, CakeObjective)
    constants: CakeConstants = stage.constants(state.parameters).objective
    cakes = state.ended[stage.name].cake
    layout = cake_layout(study.space)
    recipes = np.asarray(jax.jit(layout.ravel)(cakes))
    of_vector = lambda function: lambda vector: function(layout.unravel(vector), constants)
    block = study.config.stages[stage.name]
    assert isinstance(block, schema.Bake)
    asked = objective.asked(constants).recipe
    reads_liking = "liking" in asked
    if not np.isfinite(recipes).all(axis=1).any():
        raise NoAnswerError(f"stage {stage.name}: none of the recipes that were baked is finite")
    certificate = certify(
        study.space,
        recipes,
        of_vector(objective.mean_score),
        log_odds=of_vector(objective.mean_log_odds) if is_liking_alone(block.score) else None,
        reads=of_vector(objective.utilities) if reads_liking else None,
    )
    if not np.isfinite(certificate.score):
        raise NoAnswerError(f"stage {stage.name}: the score is not finite at any of the recipes that were baked")
    best = recipes[certificate.best]
    properties = look_at(
        study, objective, constants, best, certificate.elsewhere, reads_properties="properties" in asked
    )
    return BakedCake(objective, constants, best, certificate, reads_liking, properties)


def cake_answer(study: Study, stage: Stage, cake: BakedCake) -> dict[str, Any]:
    """The recipe with its properties, price and certificate, ready for JSON."""
    names = study.space.names
    settings: Settings = NO_SETTINGS
    if study.space.settings:
        _, settings = cake.objective.cake(cake_layout(study.space).unravel(jnp.asarray(cake.vector)))()
    result: dict[str, Any] = {
        "recipe": named(names, cake.amounts),
        "shown": weighed(study.space, cake.amounts),
        "units": {name: unit for name, unit in zip(names, study.space.units, strict=True) if unit},
    }
    if settings:
        result["settings"] = {name: _setting(value) for name, value in settings.items()}
        result["shown_settings"] = set_settings(study.space, cake.vector)
        result["units"] |= {name: one.unit for name, one in study.space.settings.items() if one.unit}
    if cake.properties is not None:
        result["properties"] = named(cake.properties.names, cake.properties.values)
        result["shown_properties"] = cake.properties.shown
    if study.space.prices.any():
        result["cost"] = float(np.asarray(cake.amounts, float) @ study.space.prices)
    result["certificate"] = _certificate(cake)
    declared = modifications(study.config, stage.name)
    if declared:
        result["certificate"]["modifications"] = list(declared)
    return result


def _certificate(cake: BakedCake) -> dict[str, Any]:
    certificate = cake.certificate
    found: dict[str, Any] = {
        "starts": certificate.starts,
        "agreeing": certificate.agreeing,
        "max_violation": certificate.max_violation,
        "stationarity": certificate.stationarity,
        "stationary": certificate.stationary,
        "score_differs_by": certificate.measure.unit,
        "active": list(certificate.active),
    }
    if certificate.left_out:
        found["left_out"] = certificate.left_out
    if certificate.others is not None:
        found["others"] = list(certificate.others)
    if certificate.higher is not None:
        found["higher_elsewhere"] = certificate.higher
    if certificate.spread:
        found["spread"] = {name: list(ends) for name, ends in certificate.spread.items()}
    if certificate.unread:
        found["unread"] = list(certificate.unread)
    if cake.objective.climbs == "logit":
        found["climbed"] = "logit of P(like)"
    if certificate.saturation is not None:
        found["saturated_starts"] = certificate.saturation.starts
        found["logit_stationarity"] = certificate.saturation.stationarity
    return found


def named(names: tuple[str, ...], values: Float[Array, " n"] | Float[np.ndarray, " n"]) -> dict[str, float]:
    """Numbers by name, for JSON."""
    return {name: _number(value) for name, value in zip(names, np.asarray(values), strict=True)}


def _number(value: object) -> float:
    """By way of its shortest text: 0.2 in single precision is to be read as 0.2, not as 0.20000000298."""
    return float(str(value))


def _setting(setting: Array) -> float | dict[str, float]:
    value = np.asarray(setting)[()]
    if np.iscomplexobj(value):
        return {"real": _number(value.real), "imag": _number(value.imag)}
    return _number(value)


class Likings:
    """P(like) of any recipe by group, and over all who were asked."""

    def __init__(
        self,
        study: Study,
        member: Parameters,
        findings: FitFindings,
        scores: tuple[Scores, ...] | None,
        rests_on: Status = CHECKED,
    ) -> None:
        self._study, self._member, self._findings, self._scores = study, member, findings, scores
        self._rests_on = rests_on
        strangers = unasked_customers(study)
        self.sizes = np.bincount(study.group[~strangers], minlength=len(study.groups)).tolist()
        self.strangers = int(np.sum(strangers & np.isin(study.group, sorted(study.asked))))

    def of(self, amounts: Float[np.ndarray, " n"], outside: Collection[int] = ()) -> tuple[Liking, dict[str, Liking]]:
        """P(like) over all who were asked, and of each group.

        Args:
            amounts: the recipe.
            outside: the groups that have tasted nothing like it.
        """
        amounts = np.asarray(amounts, np.float64)
        asked = sorted(self._study.asked)
        departures = departures_of_liking(self._study, self._member, amounts)
        if departures:
            return self._unknown(unknown_effect(departures))
        places = [self.standing(amounts, group) for group in asked] if self.has_design else []
        parts = [liking_at(place) for place in places] or [self._by_model(amounts, group) for group in asked]
        judged = [self._judged(part, outside=group in outside) for part, group in zip(parts, asked, strict=True)]
        by_group = dict(zip(asked, judged, strict=True))
        stranger = lambda group: Liking(self.sizes[group], NOT_KNOWN, text="nobody was asked")
        every = {name: by_group.get(index, stranger(index)) for index, name in enumerate(self._study.groups)}
        return self._judged(mean_liking(parts, places), outside=bool(outside)), every

    def _unknown(self, text: str) -> tuple[Liking, dict[str, Liking]]:
        """P(like) of a recipe of which nothing is known."""
        of = lambda customers: Liking(customers, NOT_KNOWN, text=text)
        every = {name: of(size) for name, size in zip(self._study.groups, self.sizes, strict=True)}
        return of(sum(self.sizes[group] for group in self._study.asked)), every

    @property
    def has_design(self) -> bool:
        """Whether recipes have a place in a design."""
        return self._findings.design is not None

    def standing(self, amounts: Float64[np.ndarray, " n"], group: int) -> Standing:
        """A recipe in the design of the fit, which must have one."""
        design = self._findings.design
        assert design is not None
        row, offset = design.row(raw_features(self._study.model, self._member, amounts[None])[0], group)
        block = design.block_of_group[group]
        scores = None if self._scores is None else self._scores[block]
        penalised = self._findings.is_penalised
        return Standing(self._findings.blocks[block], row, offset, scores, self.sizes[group], penalised)

    def _by_model(self, amounts: Float64[np.ndarray, " n"], group: int) -> Liking:
        """By any utility: a number without an uncertainty."""
        study = self._study
        utility = utilities_of(study.model, self._member, amounts[None], np.zeros(1, int), np.array([group]))
        return Liking(self.sizes[group], CHECKED, sigma(float(utility[0])))

    def _judged(self, liking: Liking, *, outside: bool) -> Liking:
        """The same, and what it rests on: a fit that has settled, and recipes like this one that were tasted."""
        if liking.status != CHECKED:
            return liking
        findings = self._findings
        unsure = lambda text, mean: replace(liking, status=NOT_DETERMINED, mean=mean, text=text)
        if findings.growth:
            return unsure(findings.growth, None)
        if outside:
            # A form that the tasted recipes reject, or that could be any, says nothing of what is far from them.
            says_nothing = findings.has_more_parameters_than_recipes or findings.misfit
            unsettled = "" if findings.certificate.settled else "; and the fit has not settled"
            return unsure(EXTRAPOLATION + unsettled, None if says_nothing else liking.mean)
        if not findings.certificate.settled or self._rests_on == NOT_SETTLED:
            return replace(liking, status=NOT_SETTLED, text="what it rests on has not settled")
        if findings.has_more_parameters_than_recipes:
            return unsure("more parameters than recipes: what the form of the utility makes of them", liking.mean)
        if findings.design is None and findings.certificate.status == NOT_DETERMINED:
            return unsure("some parameters of the utility are not determined", liking.mean)
        if self._rests_on != CHECKED:
            return unsure("the properties that it is made from are not determined", liking.mean)
        return liking


EXTRAPOLATION = "an extrapolation: nothing like this recipe was tasted, and the form of the utility alone says it"


def liking_json(mean: Liking, by_group: dict[str, Liking], strangers: int = 0) -> dict[str, Any]:
    """P(like) for result.json: without a mean where there is none.

    Args:
        mean: over all who were asked.
        by_group: of each group.
        strangers: customers of segments that nobody asked, in groups that somebody did.
    """
    found: dict[str, Any] = {"scale": "probability", **_liking_json(mean)}
    if len(by_group) > 1:
        found["by_group"] = {group: _liking_json(one) for group, one in by_group.items()}
    unknown = {group: one.customers for group, one in by_group.items() if one.status == NOT_KNOWN}
    unknown |= {"in segments that nobody asked": strangers} if strangers else {}
    if unknown and mean.status != NOT_KNOWN:  # else nobody is left out of a mean
        found["not_known"] = unknown
    return found


def _liking_json(liking: Liking) -> dict[str, Any]:
    found: dict[str, Any] = {"status": liking.status, "customers": liking.customers}
    if liking.mean is not None:
        found["mean"] = liking.mean
    plain, robust = liking.interval(liking.logit_error), liking.interval(liking.robust_logit_error)
    if plain is not None:
        found |= {"interval": list(plain), "logit_standard_error": liking.logit_error}
    if robust is not None:
        found |= {"robust_interval": list(robust), "robust_logit_standard_error": liking.robust_logit_error}
    if liking.text:
        found["reason"] = liking.text
    return found


def bake_caveats(cake: BakedCake, stage: Stage) -> tuple[Caveat, ...]:
    """What of a recipe its score does not say, or training has not found."""
    certificate, found = cake.certificate, []
    if certificate.left_out:
        text = (
            f"{certificate.left_out} of {certificate.starts} starts came to numbers that are not finite and were left "
            f"out: the score, or its slope, is not defined everywhere that stages.{stage.name} goes"
        )
        found.append(Caveat(f"stages.{stage.name}", NOT_SETTLED, text))
    if 2 * certificate.agreeing <= certificate.starts - certificate.left_out > 1:
        text = (
            f"{certificate.agreeing} of {certificate.starts} starts agree: the best recipe may not have been found; "
            f"raise stages.{stage.name}.length or .starts, or look at the curves"
        )
        found.append(Caveat("recipe", NOT_SETTLED, text))
    if not certificate.stationary:
        text = (
            f"{_still_changes(certificate)} per range of an ingredient: raise stages.{stage.name}.length, or take "
            "another learning rate"
        )
        found.append(Caveat("score", NOT_SETTLED, text))
    if certificate.higher is not None:
        text = (
            "training has gone past the peak: a recipe that nobody trained, the centre or one at random, scores "
            f"{_of_score(certificate, certificate.higher)} where the best one that was baked scores "
            f"{_of_score(certificate, certificate.score)}; "
            f"lower the learning rate of stages.{stage.name}, or raise its length"
        )
        found.append(Caveat("score", NOT_SETTLED, text))
    found += _of_precision(cake)
    for name, (low, high) in certificate.spread.items():
        if name not in certificate.unread and certificate.higher is None:  # else the starts agree on nothing
            ends = " to ".join(resolved_coordinate(cake.objective.space, name, end) for end in (low, high))
            text = f"{name} is anything from {ends} among the starts that agree in score"
            found.append(Caveat(f"recipe.{name}", NOT_DETERMINED, text))
    for name in certificate.unread:
        text = f"the score does not depend on {name}: it stays where it started; hold it with `fixed`"
        found.append(Caveat(f"recipe.{name}", NOT_KNOWN, text))
    saturation = certificate.saturation
    if saturation is not None:
        text = (
            f"P(like) is {'1' if saturation.log_odds > 0 else '0'} to the last bit at {saturation.starts} of "
            f"{certificate.starts} starts: the recipes among them are told apart by the logit alone"
        )
        found.append(Caveat("score", NOT_DETERMINED, text))
    return tuple(found)


def _of_precision(cake: BakedCake) -> list[Caveat]:
    """A score, and properties that it is made from, that the run's precision rounds too coarsely."""
    certificate, found = cake.certificate, []
    is_single = cake.vector.dtype == np.float32
    if certificate.is_too_coarse:
        remedy = "set precision: float64" if is_single else "take a constant off it"
        unit, rounding = number(certificate.measure.unit, 2), number(certificate.measure.rounding, 1)
        text = (
            f"the score is about {number(certificate.score)} and rounded by {rounding}, where it differs by about "
            f"{unit} between recipes: that is too coarse to tell whether the starts agree; {remedy}"
        )
        found.append(Caveat("score", NOT_SETTLED, text))
    if is_single and cake.properties is not None:
        found += [Caveat("score", NOT_SETTLED, text) for text in cake.properties.too_coarse()]
    return found


def _still_changes(certificate: Certificate) -> str:
    """The slope of a score that is no peak yet, or of its logit where that decides."""
    saturation = certificate.saturation
    if saturation is None:
        return f"the score still changes by {number(certificate.stationarity, 3)}"
    return f"the logit of P(like) still changes by {number(saturation.stationarity, 3)}"


def _of_score(certificate: Certificate, score: float) -> str:
    """A score with the digits that tell it from others."""
    return resolved(score, certificate.measure.unit)


def status_of(caveats: tuple[Caveat, ...], concerns: Callable[[str], bool], *others: Status) -> Status:
    """What a number is worth, from the caveats that concern it and from what it rests on."""
    return worst([one.status for one in caveats if concerns(one.about)] + list(others))
