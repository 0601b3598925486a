"""What can be said of an answer before anything is trained."""

from __future__ import annotations

from optim.analysis.departures import departures_of_liking, departures_of_properties, unknown_effect
from optim.analysis.fit_findings import Examiners
from optim.analysis.idle_settings import idle_settings
from optim.analysis.panel_answer import unasked
from optim.analysis.single_precision import too_coarse
from optim.analysis.unread_columns import count_warnings, unread_columns
from optim.analysis.verdicts import NOT_KNOWN, NOT_SETTLED, Caveat
from optim.config.idle import idle
from optim.config.source import dotted
from optim.losses.likelihood import PanelObjective
from optim.study.rates import rate_warnings
from optim.study.study import Study


def forewarnings(examiners: Examiners) -> tuple[Caveat, ...]:
    """What the data or the precision can't determine, who was never asked, and which settings will have no effect."""
    study = examiners.study
    found = _without_effect(study)
    found += [
        Caveat(f"stages.{stage.name}", NOT_SETTLED, text)
        for stage in study.stages
        for text in rate_warnings(study.config, stage)
    ]
    found += too_coarse(study)
    found += count_warnings(unread_columns(study))
    fits = [stage for stage in study.stages if isinstance(stage.objective, PanelObjective)]
    if fits:
        found += _of_segments(study)
    if fits and not study.reads_fitted_properties:
        found += examiners(fits[-1]).undetermined(study.first_member["model"])
    if any(stage.bakes for stage in study.stages):
        found += _of_departures(study, reports_liking=bool(fits))
    return tuple(dict.fromkeys(found))


def _without_effect(study: Study) -> list[Caveat]:
    """Settings that change nothing here."""
    found = [(dotted(path), f"has no effect: {why}") for path, why in idle(study.config)]
    return [Caveat(place, NOT_KNOWN, f"{place} {text}") for place, text in [*found, *idle_settings(study)]]


def _of_segments(study: Study) -> list[Caveat]:
    assert study.panel is not None
    return [
        Caveat("liking", NOT_KNOWN, f"{column} = {value}: nobody was asked; their P(like) is taken to be everyone's")
        for column, values in unasked(study, ~study.panel.held_out).items()
        for value in values
    ]


def _of_departures(study: Study, *, reports_liking: bool) -> list[Caveat]:
    """Ingredients that are held at what nobody has tasted."""
    member = study.first_member["model"]
    of_liking = departures_of_liking(study, member) if reports_liking else ()
    of_properties = departures_of_properties(study, member)
    found = []
    if of_liking:
        found.append(Caveat("liking", NOT_KNOWN, f"P(like) of this recipe: {unknown_effect(of_liking)}"))
    if of_properties:
        found.append(Caveat("properties", NOT_KNOWN, f"properties of this recipe: {unknown_effect(of_properties)}"))
    return found
