"""The answer of a run: what `result.json` holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optim.analysis.cake_answer import (
    BakedCake,
    Likings,
    NoAnswerError,
    bake_caveats,
    best_cake,
    cake_answer,
    liking_json,
    status_of,
)
from optim.analysis.fit_findings import Examiners, FitExaminer, FitFindings
from optim.analysis.forewarnings import forewarnings
from optim.analysis.panel_answer import likelihood_answer, standard_error_scores
from optim.analysis.tasted_answer import Tasted, tasted_answer, whereabouts
from optim.analysis.uncertainty import Scores
from optim.analysis.verdicts import Caveat, worst
from optim.config import schema
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import Parameters
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


def answer(study: Study, state: State, examiners: Examiners | None = None) -> dict[str, Any]:
    """What a finished run has found, ready for JSON; keys that were not computed are absent.

    Args:
        study: the study.
        state: its final state.
        examiners: of the study's fits, where there are some already.
    """
    examiners = examiners or Examiners(study)
    member: Parameters = {"model": jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), state.parameters["model"])}
    bakes = [stage for stage in study.stages if stage.bakes]
    fitted = _fitted(study, examiners, member["model"])
    caveats = list(forewarnings(examiners)) + ([] if fitted is None else list(fitted.findings.caveats))
    caveats += _of_properties(study, examiners, member["model"])
    result: dict[str, Any] = {}
    if bakes:
        cake = best_cake(study, bakes[-1], state)
        result |= _baked(study, bakes[-1], cake, fitted, member["model"], caveats)
    if fitted is not None:
        scores = fitted.scores
        result["likelihood"] = likelihood_answer(study, fitted.examiner, fitted.findings, scores, member["model"])
    if caveats:
        result["warnings"] = [one.as_json() for one in dict.fromkeys(caveats)]
    return _without_holes(result)


def _fitted(study: Study, examiners: Examiners, member: Parameters) -> _Fitted | None:
    fits = [stage for stage in study.stages if isinstance(stage.objective, PanelObjective)]
    if not fits:
        return None
    examiner = examiners(fits[-1])
    findings = examiner.findings(member, stopped_early=fits[-1].patience is not None)
    scores = standard_error_scores(study, examiner, findings)
    return _Fitted(examiner, findings, scores, Likings(study, member, findings, scores))


def _of_properties(study: Study, examiners: Examiners, member: Parameters) -> list[Caveat]:
    """What there is to say of fits of properties whose parameters no later stage has changed."""
    found: list[Caveat] = []
    fits = [stage for stage in study.stages if not stage.bakes]
    for index, stage in enumerate(fits):
        later = {part for other in fits[index + 1 :] for part in other.train or ()}
        if not isinstance(stage.objective, PanelObjective) and not later.intersection(stage.train or ()):
            found += examiners(stage).findings(member, stopped_early=False).caveats
    return found


def _baked(
    study: Study, stage: Stage, cake: BakedCake, fitted: _Fitted | None, member: Parameters, caveats: list[Caveat]
) -> dict[str, Any]:
    """The best cake with P(like), its place among what was tasted, and what each number is worth."""
    result = cake_answer(study, stage, cake)
    of_bake = bake_caveats(cake, stage)
    status = {"recipe": status_of(of_bake, ("recipe", "score")), "score": status_of(of_bake, ("score", "recipe"))}
    if fitted is not None:
        assert fitted.examiner.counted is not None
        amounts = np.asarray(cake.amounts, float)
        tasted = Tasted(study, member, fitted.examiner.counted)
        where = whereabouts(tasted, amounts)
        mean, by_group = fitted.likings.of(amounts, where.outside)
        result["liking"] = liking_json(study, mean, by_group)
        status["liking"] = mean.status
        if mean.mean is None:
            caveats.append(Caveat("liking", mean.status, f"P(like) of this recipe: {mean.text}"))
        if rests_on_liking(study.config.stages[stage.name]):
            status = {key: worst([value, mean.status]) for key, value in status.items()}
        result["tasted"], more = tasted_answer(study, cake, fitted.findings, tasted, where, fitted.likings)
        caveats += more
    if not (rests_on_liking(study.config.stages[stage.name]) and fitted and "mean" not in result["liking"]):
        result["score"] = cake.certificate.score
    result["status"] = status
    caveats += of_bake
    return result


def rests_on_liking(block: schema.Stage) -> bool:
    """Whether a bake's score is made of P(like)."""
    return isinstance(block, schema.Bake) and isinstance(block.score, schema.LikingScore)


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
