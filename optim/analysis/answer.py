"""The answer of a run: what `result.json` holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optim.analysis.cake_answer import (
    Likings,
    NoAnswerError,
    bake_caveats,
    best_cake,
    cake_answer,
    liking_json,
    status_of,
)
from optim.analysis.chosen_end import ChosenEnd, declared
from optim.analysis.departures import departures_of_properties
from optim.analysis.fit_certificate import FitFindings
from optim.analysis.fit_findings import Examiners, FitExaminer
from optim.analysis.forewarnings import forewarnings
from optim.analysis.idle_limits import idle_limits
from optim.analysis.panel_answer import likelihood_answer, standard_error_scores
from optim.analysis.parameters import few_parameters
from optim.analysis.tasted_answer import TastedRecipes, tasted_answer, whereabouts
from optim.analysis.uncertainty import Scores
from optim.analysis.verdicts import CHECKED, NOT_KNOWN, Caveat, Status, worst
from optim.config.numbers import number
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import Parameters
from optim.models.arrays import first_member
from optim.study.stage import Stage
from optim.study.state import State
from optim.study.study import Study

__all__ = ["NoAnswerError", "answer", "final_metrics"]


@dataclass(frozen=True, eq=False)
class _Fitted:
    """The last fit of the responses, looked at."""

    examiner: FitExaminer
    findings: FitFindings
    scores: tuple[Scores, ...] | None
    likings: Likings


def answer(
    study: Study,
    state: State,
    examiners: Examiners | None = None,
    forewarned: Sequence[Caveat] | None = None,
    chosen_end: ChosenEnd | None = None,
) -> dict[str, Any]:
    """What a finished run has found, ready for JSON; keys that were not computed are absent.

    Args:
        study: the study.
        state: its final state.
        examiners: of the study's fits, where there are some already.
        forewarned: what could be said before training (`forewarnings`), where it has been found already.
        chosen_end: where a stage was ended by hindsight, if one was.
    """
    examiners = examiners or Examiners(study)
    member = first_member(state.parameters["model"])
    bakes = [stage for stage in study.stages if stage.bakes]
    main, others = _fits(study)
    of_others = [examiners(stage).findings(member, ended=ended(stage, state, chosen_end)) for stage in others]
    departed: list[Status] = [NOT_KNOWN] if departures_of_properties(study, member) else []
    rests_on = worst([*(found.certificate.status for found in of_others), *departed])
    why = "" if main is None else ended(main, state, chosen_end)
    fitted = None if main is None else _fitted(study, examiners(main), member, rests_on, why)
    caveats = list(forewarnings(examiners) if forewarned is None else forewarned)
    caveats += [] if fitted is None else list(fitted.findings.caveats)
    caveats += [caveat for found in of_others for caveat in found.caveats]
    caveats += idle_limits(study, state)
    result: dict[str, Any] = {}
    if bakes:
        found = {stage.name: _baked(study, stage, state, fitted, member, rests_on) for stage in bakes}
        result |= found[bakes[-1].name][0]
        if len(bakes) > 1:
            result["bakes"] = {name: _with_warnings(baked, of_bake) for name, (baked, of_bake) in found.items()}
        for name, (_, of_bake) in found.items():
            caveats += of_bake if len(bakes) == 1 else [one.of_bake(name) for one in of_bake]
    if fitted is not None:
        result["likelihood"] = likelihood_answer(study, fitted.examiner, fitted.findings, fitted.scores, member)
    if study.config.model.properties is not None:
        few = few_parameters(member, "properties")
        result |= {"property_parameters": few} if few else {}
    result = _without_holes(_with_warnings(result, caveats))
    if chosen_end is None:
        return result
    several = any(stage.name == chosen_end.stage and stage.evaluations > 1 for stage in study.stages)
    return declared(result, chosen_end, held_out_chose=chosen_end.by_held_out and several)


def ended(stage: Stage, state: State, chosen_end: ChosenEnd | None) -> str:
    """What chose where a fit ended, other than its length: hindsight, or early stopping; else empty."""
    if chosen_end is not None and chosen_end.stage == stage.name:
        return chosen_end.text
    if not stage.chooses_its_end:
        return ""
    steps, kept = int(state.ended[stage.name].steps), int(state.ended[stage.name].kept)
    if kept == stage.length:
        return ""
    early = f"early stopping at step {steps} of {stage.length}"
    where = early if steps < stage.length else f"trained for all {stage.length} steps"
    least, lowest = float(stage.fixed.min_improvement), "where the held-out loss was lowest"
    best = f"the last to lower the held-out loss by more than {number(least)}" if least else lowest
    return f"{where}, then back to step {kept}, {best}"


def _with_warnings(result: dict[str, Any], caveats: Sequence[Caveat]) -> dict[str, Any]:
    return result | ({"warnings": [one.as_json() for one in dict.fromkeys(caveats)]} if caveats else {})


def _fits(study: Study) -> tuple[Stage | None, list[Stage]]:
    """The fit that has made the utility what it is, and the others of which something is left: parts that they trained
    and no later stage did."""
    left: list[Stage] = []
    later: set[str] = set()
    for stage in reversed([stage for stage in study.stages if not stage.bakes]):
        if set(stage.train or ()) - later:
            left.append(stage)
        later |= set(stage.train or ())
    of_responses = [stage for stage in left if isinstance(stage.objective, PanelObjective)]
    main = next((stage for stage in of_responses if "utility" in (stage.train or ())), None)
    main = main or next(iter(of_responses), None)
    return main, [stage for stage in reversed(left) if stage is not main]


def _fitted(study: Study, examiner: FitExaminer, member: Parameters, rests_on: Status, why: str) -> _Fitted:
    """What there is to say of the utility.

    Args:
        study: the study.
        examiner: of the fit.
        member: the likelihood model's parameters.
        rests_on: what the other fits are worth: only features that are properties rest on them.
        why: what chose where the fit ended, other than its length.
    """
    if not study.model(member).feature_map.reads_properties:
        rests_on = CHECKED
    findings = examiner.findings(member, ended=why)
    scores = standard_error_scores(study, examiner, findings, rests_on)
    return _Fitted(examiner, findings, scores, Likings(study, member, findings, scores, rests_on))


def _baked(
    study: Study,
    stage: Stage,
    state: State,
    fitted: _Fitted | None,
    member: Parameters,
    rests_on: Status,
) -> tuple[dict[str, Any], list[Caveat]]:
    """The best cake of a bake with P(like), its place among what was tasted, and what each number is worth; and what a
    reader should know of it.
    """
    caveats: list[Caveat] = []
    cake = best_cake(study, stage, state)
    result = cake_answer(study, stage, cake)
    of_bake = bake_caveats(cake, stage)
    under = CHECKED if cake.reads_liking else rests_on
    of_recipe = status_of(of_bake, lambda about: about.startswith(("recipe", "score")), under)
    # Where a single ingredient is open, the score is the same with any amount of it.
    of_score = status_of(of_bake, lambda about: about in ("recipe", "score"), under)
    status: dict[str, Status] = {"recipe": of_recipe, "score": of_score}
    known = True
    if fitted is not None:
        assert fitted.examiner.counted is not None
        amounts = np.asarray(cake.amounts, float)
        tasted = TastedRecipes(study, member, fitted.examiner.counted, float(amounts.sum()))
        where = whereabouts(tasted, amounts)
        mean, by_group = fitted.likings.of(amounts, where.outside)
        result["liking"] = liking_json(mean, by_group, fitted.likings.strangers)
        if cake.reads_liking:
            status = {key: worst([value, mean.status]) for key, value in status.items()}
            known = mean.mean is not None
        status["liking"] = mean.status
        if mean.mean is None:
            caveats.append(Caveat("liking", mean.status, f"P(like) of this recipe: {mean.text}"))
        result["tasted"], more = tasted_answer(study, cake, tasted, where, fitted.likings)
        caveats += more
    if known:
        result["score"] = cake.certificate.score
    result["status"] = status
    return result, [*caveats, *of_bake]


def _without_holes(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not a number, such as the likelihood of a response that a rollback had to go round."""
    kept = {key: _without_holes(value) if isinstance(value, dict) else value for key, value in found.items()}
    return {key: value for key, value in kept.items() if not _is_hole(value)}


def _is_hole(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return any(isinstance(number, float) and not math.isfinite(number) for number in numbers)


def final_metrics(result: dict[str, Any]) -> dict[str, float]:
    """The scalars that TensorBoard's table of hyperparameters and run.json show."""
    likelihood = result.get("likelihood", {})
    certificate = likelihood.get("certificate", {})
    metrics = {
        "final/score": result.get("score"),
        "final/liking": result.get("liking", {}).get("mean"),
        "final/log_likelihood": likelihood.get("log_likelihood"),
        "final/held_out_log_likelihood": likelihood.get("held_out", {}).get("log_likelihood"),
        "final/delta": certificate.get("delta"),
        "final/settled": float(certificate["settled"]) if certificate else None,
    }
    return {name: value for name, value in metrics.items() if value is not None}
