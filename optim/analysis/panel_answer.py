"""What was learned of the customers: the `likelihood` of result.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from optim.analysis.design import distinct_rows, stacked, utilities_of
from optim.analysis.evidence import BlockEvidence
from optim.analysis.fit_certificate import FitFindings
from optim.analysis.fit_findings import FitExaminer
from optim.analysis.identifiability import Determined, determined_by, reasons, reduction
from optim.analysis.parameters import few_parameters
from optim.analysis.prediction import Prediction, null_model, one_mean_a_recipe, predicted
from optim.analysis.uncertainty import Estimate, Scores, customer_scores, estimates
from optim.analysis.verdicts import CHECKED, NOT_SETTLED, Status
from optim.config import schema
from optim.data.tallies import Tally, tally
from optim.losses.objective import Parameters
from optim.models.coefficients import as_named
from optim.study.study import Study

MOST_VALUES = 20
"""A column of the customers' table with more values than these is not one of segments."""


def likelihood_answer(
    study: Study, examiner: FitExaminer, findings: FitFindings, scores: tuple[Scores, ...] | None, member: Parameters
) -> dict[str, Any]:
    """How well the responses are predicted, and the coefficients with their uncertainty.

    Args:
        study: the study.
        examiner: of the last fit of the responses.
        findings: what is known of that fit.
        scores: for standard errors; None where there are none.
        member: the likelihood model's parameters, of one member.
    """
    assert study.panel is not None
    training = tally(study.panel, study.group, ~study.panel.held_out, by_customer=False)
    found = _predictions(study, member, training)
    if findings.design is not None:
        found["design"] = _design(study, findings, training)
        if findings.design.utility is not None:  # a utility of the user's own has no names for its coefficients
            found |= _coefficients(study, examiner, findings, scores)
    if isinstance(study.config.model.utility, schema.NetworkUtility | schema.OwnUtility):
        few = few_parameters(member, "utility")
        found |= {"parameters": few} if few else {}
    found["certificate"] = findings.certificate.as_json()
    return found


def standard_error_scores(
    study: Study, examiner: FitExaminer, findings: FitFindings, rests_on: Status = CHECKED
) -> tuple[Scores, ...] | None:
    """What the sandwich needs; None where standard errors would mean nothing.

    They mean something for a likelihood alone, and where the fit, and what it rests on, have settled.
    """
    settled = findings.certificate.settled and rests_on != NOT_SETTLED
    if findings.design is None or not examiner.is_likelihood or not settled:
        return None
    assert study.panel is not None
    assert examiner.counted is not None
    return customer_scores(findings.design, examiner.counted, study.panel, study.group, examiner.slopes)


def _predictions(study: Study, member: Parameters, training: Tally) -> dict[str, Any]:
    """Log-likelihood, Brier score and accuracy of the responses in the fit and held out, with the null model's."""
    panel = study.panel
    assert panel is not None
    rate = float(training.likes.sum() / training.responses)
    of = lambda cells: predicted(cells.likes, cells.dislikes, _utilities(study, member, cells))
    found = _scored(of(training), null_model(training.likes, training.dislikes, rate))
    found["recipe_means"] = {"log_likelihood": one_mean_a_recipe(training.likes, training.dislikes, training.recipe)}
    found["customers"] = int(np.count_nonzero(np.bincount(panel.customer_of_response()[~panel.held_out])))
    if panel.held_out.any():
        held_out = tally(panel, study.group, panel.held_out, by_customer=False)
        found["held_out"] = _scored(of(held_out), null_model(held_out.likes, held_out.dislikes, rate))
        evaluation = study.config.data.evaluation if study.config.data else None
        found["held_out"]["by"] = "response" if evaluation is None else evaluation.by
        choosing = [stage.name for stage in study.stages if stage.chooses_its_end]
        if choosing:
            found["held_out"]["chose_where_to_stop"] = choosing
    return found


def _utilities(study: Study, member: Parameters, cells: Tally) -> Float64[np.ndarray, " cells"]:
    assert study.panel is not None
    return utilities_of(study.model, member, study.panel.amounts, cells.recipe, cells.group)


def _scored(model: Prediction, null: Prediction) -> dict[str, Any]:
    """Predictions ready for JSON, beside those of one rate for all."""
    return {
        "log_likelihood": model.log_likelihood,
        "responses": round(model.responses),
        "loss_per_response": model.loss_per_response,
        "brier": model.brier,
        "accuracy": model.accuracy,
        "null": {"log_likelihood": null.log_likelihood, "brier": null.brier, "accuracy": null.accuracy},
    }


def _design(study: Study, findings: FitFindings, training: Tally) -> dict[str, Any]:
    """Rank and condition of the design: overall, by group, and by segment."""
    design = findings.design
    assert design is not None
    asked = [one for one in findings.blocks if len(one.block.rows)]
    rows = stacked([one.block.rows for one in asked])
    features = stacked([one.block.features for one in asked])
    found: dict[str, Any] = _rank(asked[0].determined if len(asked) == 1 else determined_by(rows), features)
    if len(findings.blocks) > 1:
        found["by_group"] = {one.block.group: _rank(one.determined, one.block.features) for one in findings.blocks}
    segments = {column: _segments(study, column, rows, features, training) for column in segment_columns(study)}
    if segments:
        found["segments"] = segments
    return found


def _rank(determined: Determined, features: Float64[np.ndarray, "cells k"]) -> dict[str, Any]:
    recipes = distinct_rows(features)
    found = {"coefficients": determined.coefficients, "recipes": recipes, "rank": determined.rank}
    return found | ({"condition": determined.condition} if np.isfinite(determined.condition) else {})


def segment_columns(study: Study) -> tuple[str, ...]:
    """Columns of the customers' table that sort them into a few segments, beside that of the utility's groups."""
    panel, utility = study.panel, study.config.model.utility
    groups = None if utility is None else utility.groups
    if panel is None:
        return ()
    text = [name for name, values in panel.columns.items() if values.dtype.kind == "U" and name != groups]
    few = lambda name: len(np.unique(panel.columns[name])) <= min(MOST_VALUES, panel.number_of_customers - 1)
    return tuple(name for name in text if few(name))


def _segments(
    study: Study,
    column: str,
    rows: Float64[np.ndarray, "cells m"],
    features: Float64[np.ndarray, "cells k"],
    training: Tally,
) -> dict[str, Any]:
    """The design of what each segment was asked."""
    assert study.panel is not None
    values = study.panel.columns[column][study.panel.customer_of_response()[training.counted]]
    found = {}
    for value in np.unique(study.panel.columns[column]):
        cells = np.unique(training.of_response[values == value])
        found[str(value)] = {
            "responses": int(np.sum(values == value)),
            **_rank(determined_by(rows[cells]), features[cells]),
        }
    return found


def unasked(study: Study, counted: Bool[np.ndarray, " responses"]) -> dict[str, dict[str, int]]:
    """Segments none of whose customers has a response that counts, by column, with the number of customers."""
    panel = study.panel
    assert panel is not None
    asked = np.zeros(panel.number_of_customers, bool)
    asked[panel.customer_of_response()[counted]] = True
    found: dict[str, dict[str, int]] = {}
    for column in segment_columns(study):
        values = panel.columns[column]
        missing = {str(v): int(np.sum(values == v)) for v in np.unique(values) if not asked[values == v].any()}
        if missing:
            found[column] = missing
    return found


def unasked_customers(study: Study) -> Bool[np.ndarray, " customers"]:
    """Customers of segments none of whom has a response in the fit."""
    panel = study.panel
    assert panel is not None
    found = np.zeros(panel.number_of_customers, bool)
    for column, values in unasked(study, ~panel.held_out).items():
        found |= np.isin(panel.columns[column], list(values))
    return found


def _coefficients(
    study: Study, examiner: FitExaminer, findings: FitFindings, scores: tuple[Scores, ...] | None
) -> dict[str, Any]:
    """Coefficients in the user's units, those without a value with the reason; `by_group` where there are groups."""
    assert findings.design is not None
    names = study.model(study.first_member["model"]).feature_map.names
    utility = findings.design.utility
    sections: dict[str, dict[str, Any]] = {}
    for index, one in enumerate(findings.blocks):
        group = study.groups[index]
        section = _of_block(one, None if scores is None else scores[index], penalised=examiner.penalty_kind)
        for key, values in section.items():
            sections.setdefault(key, {})[group] = values
    grouped = study.config.model.utility is not None and study.config.model.utility.groups is not None
    found: dict[str, Any] = {}
    for key, by_group in sections.items():
        shaped = {group: _shape(key, utility, names, values) for group, values in by_group.items()}
        found[key] = {"by_group": shaped} if grouped else shaped[study.groups[0]]
    return found


def _shape(key: str, utility: Any, names: tuple[str, ...], values: Any) -> Any:
    """Numbers by coefficient, sorted into weights, products and bias; reasons stay by name."""
    if key in ("not_determined", "separated"):
        return values
    if key == "reduced":
        inner = {k: _shape(k, utility, names, v) for k, v in values.items() if k != "left_out"}
        return {"left_out": values["left_out"], **inner}
    named = as_named(utility, names, values)
    if key != "parameters" and utility.bias is None:
        named.pop("bias")
    return named


def _of_block(evidence: BlockEvidence, scores: Scores | None, *, penalised: str | None) -> dict[str, Any]:
    """What there is to say of the coefficients of one group."""
    block = evidence.block
    seen = evidence.determined.determines(block)
    if evidence.separation is not None and penalised is None:
        seen &= evidence.separation.determined.determines(block)
    if penalised == "ridge" and len(block.rows):  # which settles all that the data leave open
        seen[:] = True
    chosen = [name for name, is_seen in zip(block.names, seen, strict=True) if is_seen]
    found = _columns(evidence, chosen, block.to_user[seen], scores)
    why = "; ".join(reasons(block, evidence.determined))
    if evidence.separation is not None:
        found["separated"] = _direction(evidence)
    if evidence.separation is not None and penalised is None:
        why = "; ".join(filter(None, [why, f"{evidence.separation.text}: no finite value is best"]))
    hidden = {name: why for name, is_seen in zip(block.names, seen, strict=True) if not is_seen}
    hidden |= dict.fromkeys(
        block.left_out, "it was always tasted at the amount at which it is held: nothing depends on it"
    )
    if hidden:
        found["not_determined"] = hidden
    reduced = None if seen.all() or evidence.separation is not None else reduction(block, evidence.determined)
    if reduced is not None:
        left_out, functionals = reduced
        kept = [name for name in block.names if name not in left_out]
        found["reduced"] = {"left_out": list(left_out), **_columns(evidence, kept, functionals, scores)}
    return found


def _direction(evidence: BlockEvidence) -> dict[str, Any]:
    separation = evidence.separation
    assert separation is not None
    return {"complete": separation.complete, "raises": list(separation.rises), "lowers": list(separation.falls)}


_COLUMNS: Mapping[str, Callable[[Estimate], Any]] = {
    "standard_errors": lambda one: one.standard_error,
    "robust_standard_errors": lambda one: one.robust_standard_error,
    "z": lambda one: one.z,
    "intervals": lambda one: list(one.interval),
}


def _columns(
    evidence: BlockEvidence,
    names: list[str],
    functionals: Float64[np.ndarray, "n m"],
    scores: Scores | None,
) -> dict[str, dict[str, Any]]:
    """Values and, where there are scores, what is known of their uncertainty."""
    values = (functionals @ evidence.block.theta).tolist()
    found: dict[str, dict[str, Any]] = {"parameters": dict(zip(names, values, strict=True))}
    if scores is None or not names:
        return found
    made = estimates(evidence, functionals, scores)
    return found | {key: {n: of(e) for n, e in zip(names, made, strict=True)} for key, of in _COLUMNS.items()}
