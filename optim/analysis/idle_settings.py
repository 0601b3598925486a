"""Settings that change nothing here, as far as only the built study can tell: by steps, and by what scores read."""

from __future__ import annotations

from collections.abc import Iterator

from optim.config import schema
from optim.config.checks.effects import is_given
from optim.losses.cake import CakeObjective
from optim.losses.scores import Asked
from optim.study.stage import Stage
from optim.study.study import Study


def idle_settings(study: Study) -> Iterator[tuple[str, str]]:
    """The place of each setting that does not do what it is for, and what is to be said of it there."""
    for place, why in _without_effect(study):
        yield place, f"has no effect: {why}"
    for stage in study.stages:
        if stage.chooses_its_end and stage.patience is not None and stage.patience >= stage.evaluations - 1:
            yield (
                f"stages.{stage.name}.evaluate.patience",
                f"cannot run out: of {stage.evaluations} evaluations the first is always the best so far, "
                "and it only has the stage go back to the best of them; lower it, or make `every` shorter",
            )


def _without_effect(study: Study) -> Iterator[tuple[str, str]]:
    """The place of each setting without effect, and why it has none."""
    yield from _cadences(study)
    for stage in study.stages:
        yield from _evaluations(study, stage)
        yield from _batch(study, stage)
        yield from _threshold(study, stage)
        yield from _columns(study, stage)
    yield from _groups(study)


def asked(study: Study, stage: Stage) -> Asked:
    """What the score of a bake asks for."""
    assert isinstance(stage.objective, CakeObjective)
    return stage.objective.asked(stage.constants(study.parameters).objective)


def _cadences(study: Study) -> Iterator[tuple[str, str]]:
    """What happens every so many steps, of which the run has fewer."""
    config, longest = study.config, max(stage.length for stage in study.stages)
    whole = sum(stage.length for stage in study.stages)
    beyond = f"is longer than any stage (at most {longest} steps)"
    if is_given(config.log, "every") and all(stage.log_every > stage.length for stage in study.stages):
        yield "log.every", f"it {beyond}, so that only the first and the last step of each are logged"
    if is_given(config.checkpoint, "every") and all(stage.save_every > stage.length for stage in study.stages):
        alone = config.checkpoint.best is None and config.checkpoint.keep_every is None
        yield "checkpoint.every", f"it {beyond}" + (", so that only the ends of stages are saved" if alone else "")
    keep_every = config.checkpoint.keep_every
    if keep_every is not None and keep_every >= whole:
        yield "checkpoint.keep_every", f"the run has {whole} steps, of which none before the last is a multiple of it"


def _evaluations(study: Study, stage: Stage) -> Iterator[tuple[str, str]]:
    """Evaluations that are too few to tell anything apart."""
    block, place = study.config.stages[stage.name], f"stages.{stage.name}.evaluate"
    if not isinstance(block, schema.Fit) or stage.evaluation is None:
        return
    if is_given(block.evaluate, "every") and stage.evaluate_every > stage.length:
        yield f"{place}.every", f"the stage has {stage.length} steps, so that only its end is evaluated"
    if stage.patience is not None and stage.evaluations == 1:
        yield f"{place}.patience", "the only evaluation is at the end of the stage; make `every` shorter"


def _batch(study: Study, stage: Stage) -> Iterator[tuple[str, str]]:
    """Batches of whoever is alike, or of everyone."""
    if stage.batch is None:
        return
    place, objective = f"stages.{stage.name}.batch", stage.objective
    if stage.batch == objective.units:
        yield place, f"it is all {objective.units} there are, as with `batch: all`, but for the rounding of sums"
    elif isinstance(objective, CakeObjective) and _are_alike(objective, asked(study, stage)):
        yield place, "the score is the same for every customer, so that batches differ in the rounding of sums alone"


def _are_alike(objective: CakeObjective, what: Asked) -> bool:
    """Whether a score cannot tell the customers of its audience apart."""
    audience = objective.audience
    seen = [audience.columns[name] for name in what.columns] + ([audience.group] if "liking" in what.recipe else [])
    return all((values == values[0]).all() for values in seen)


def _threshold(study: Study, stage: Stage) -> Iterator[tuple[str, str]]:
    """A threshold of RAdam that its certainty ρ does not reach in the steps that there are.

    After t of them ρ = ρ∞ − 2 t b2ᵗ / (1 − b2ᵗ), with ρ∞ = 2 / (1 − b2) − 1 (Liu et al. 2020), which grows with t.
    """
    optimizer = study.config.stages[stage.name].optimizer
    if optimizer.name != "radam":
        return
    b2, threshold = optimizer.parameters()["b2"], optimizer.parameters()["threshold"]
    forgotten = b2**stage.length
    certainty = 2 / (1 - b2) - 1 - 2 * stage.length * forgotten / (1 - forgotten)
    if certainty < threshold:
        yield (
            f"stages.{stage.name}.optimizer.threshold",
            f"the certainty grows to {certainty:.4g} in {stage.length} steps, so that the second moment is never used",
        )


def _columns(study: Study, stage: Stage) -> Iterator[tuple[str, str]]:
    """Columns that a score of the user's own is given and does not read."""
    block = study.config.stages[stage.name]
    if not isinstance(block, schema.Bake) or not isinstance(block.score, schema.OwnScore) or not block.score.columns:
        return
    read = asked(study, stage).columns
    for at, column in enumerate(block.score.columns):
        if column not in read:
            yield f"stages.{stage.name}.score.columns.{at}", f"the score does not read `{column}`"


def _groups(study: Study) -> Iterator[tuple[str, str]]:
    """Groups of which there is one."""
    utility = study.config.model.utility
    if study.panel is not None and utility is not None and utility.groups is not None and len(study.groups) == 1:
        yield "model.utility.groups", f"every customer has {utility.groups} = {study.groups[0]}"
