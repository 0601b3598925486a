"""A new run from the checkpoint that another has kept as its best."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax.numpy as jnp

from optim.analysis.chosen_end import ChosenEnd
from optim.config.dumping import dump
from optim.config.errors import Problem, UserError
from optim.models.flat import Flat
from optim.runs.changes import accepted_changes, environment_changes, environment_warning, imports_now, imports_warning
from optim.runs.checkpoints import SET_ASIDE, CheckpointError, Checkpoints, entries_of
from optim.runs.curves import open_curves
from optim.runs.directory import RunDirectory
from optim.runs.info import RunInfo, current_command
from optim.runs.manifest import DamagedError, Manifest
from optim.runs.observer import Observer
from optim.runs.restore import expected, open_checkpoints, restore_newest
from optim.runs.run import current_device, recorded_config
from optim.runs.session import Outcome, Session
from optim.runs.signals import StopSignal
from optim.study.precision import set_precision
from optim.study.stage import Stage
from optim.study.state import State, place
from optim.study.study import Study, build_study

_ATTEMPTS = 5


def resume_best(path: Path, *, name: str | None, observer: Observer, signal: StopSignal | None = None) -> Outcome:
    """Train a new run from the best checkpoint of another, with the stage that the metric belongs to ended there.

    The other run is read and not touched; it may still be going on.

    Args:
        path: directory of the other run; the new one stands beside it.
        name: of the new run; by default that of the other with `-best`, numbered where it is taken.
        observer: who waits.
        signal: asks to stop.

    Raises:
        UserError: there is no such run, it keeps no best checkpoint, has none yet, or its data have changed.
        CheckpointError: the best checkpoint cannot be read, or it is not known which one that is.
        StopRequest: asked to stop before anything was written.
        DivergedError: not finite, and no way round it.
    """
    signal = signal or StopSignal()
    source = RunDirectory.open(path)
    before = RunInfo.load(source.info)
    config = recorded_config(source, before)
    if config.checkpoint.best is None:
        message = "this run keeps no best checkpoint: train with checkpoint.best=STAGE/eval/loss"
        raise UserError(Problem(place=str(path), message=message))
    set_precision(config)
    study = build_study(config)
    accepted_changes(config, study, before, lambda: 0)
    state, manifest, end = _best(study, source, config.checkpoint.best)
    signal.begin()
    text = dump(config)
    info = _first_info(study, before, text, end, windows=int(state.skipped))

    def files(name: str) -> dict[str, str]:
        truth = {} if study.truth is None else {"truth.json": json.dumps(study.truth, indent=1, ensure_ascii=False)}
        return {"config.yaml": text, **truth, "run.json": info.model_copy(update={"name": name}).text}

    def first_checkpoint(folder: Path) -> None:
        staged = RunDirectory(folder)
        with open_checkpoints(staged, config) as checkpoints:
            checkpoints.save(end.step, state, description=manifest.description, metrics=manifest.metrics)
        with closing(open_curves(staged.tensorboard, resumed_at=None)) as curves:
            curves.text(end.step, "config", f"```yaml\n{text}```")

    stem = f"{source.name}-best"
    directory = RunDirectory.create(source.path.parent, name=name, stem=stem, files=files, also=first_checkpoint)
    observer.say(f"{directory.name}, a new run from the best checkpoint of {source.name}: {end.text}")
    if unknown := imports_now(before, study)[1]:
        observer.warn(imports_warning(unknown))
    if moved := info.history[0].details.get("environment"):
        observer.warn(environment_warning(moved))
    with directory.lock():
        info = RunInfo.load(directory.info)
        with open_checkpoints(directory, config) as checkpoints:
            restored = restore_newest(study, info, checkpoints)
        return Session(directory, study, info, observer, signal).go(restored, stop_after=None)


def _first_info(study: Study, before: RunInfo, text: str, end: ChosenEnd, *, windows: int) -> RunInfo:
    """run.json of the new run, which says where it came from.

    Args:
        study: the study.
        before: run.json of the other run.
        text: the config.
        end: the best checkpoint.
        windows: of data, that the other run had left out up to there.
    """
    info = RunInfo.create(
        name="",
        config_text=text,
        seed=study.config.seed,
        digests=study.digests,
        imports=imports_now(before, study)[0],
        device=current_device(),
        command=current_command(),
    )
    moved = environment_changes(before, info)
    details: dict[str, Any] = {"best_of": asdict(end)} | ({"environment": moved} if moved else {})
    return info.with_event("start", step=end.step, **details).model_copy(update={"skips": before.skips[:windows]})


def _best(study: Study, source: RunDirectory, metric: str) -> tuple[State, Manifest, ChosenEnd]:
    """The best state of a run, its stage taken as ended; what its checkpoint says of itself; and where that was.

    Raises:
        UserError: no checkpoint has the metric yet.
        CheckpointError: the best one cannot be read, or it is not known which one that is.
    """
    for _ in range(_ATTEMPTS):  # whoever writes there may find a better one, and delete this
        manifests, unreadable = _manifests(source.checkpoints)
        _refuse_unknown(source, metric, unreadable, _latest_step(study, metric))
        ranked = sorted((one.metrics[metric], step) for step, one in manifests.items() if metric in one.metrics)
        if not ranked:
            message = f"no checkpoint with {metric} is kept yet: its stage has not got to its first evaluation or save"
            raise UserError(Problem(place=str(source.path), message=message))
        value, step = ranked[0]
        with _copied(source.checkpoints / str(step)) as copy:
            if copy is None:
                continue
            with Checkpoints(copy, keep=1, keep_every=None, best=None) as checkpoints:
                restored = checkpoints.restore(partial(expected, study))
        assert restored is not None
        state = place(restored.tree)
        stage = study.stages[int(state.stage)]
        return _ended(stage, state), manifests[step], ChosenEnd(source.name, metric, step, value)
    raise CheckpointError(f"{source.checkpoints}: the best checkpoint changes too often to be read; try again")


def _manifests(folder: Path) -> tuple[dict[int, Manifest], dict[int, list[str]]]:
    """What the checkpoints in a folder say of themselves, those that were due; and for each step of which that is not
    known, a line for each checkpoint of it.

    One that was set aside counts among these until the run has come by its step again: then what is there instead says
    how it was.
    """
    found: dict[int, Manifest] = {}
    unreadable: dict[int, list[str]] = {}
    entries = entries_of(folder)
    newest = max((int(entry.name) for entry in entries if entry.name.isdecimal()), default=0)
    for entry in entries:
        if entry.name.isdecimal():
            try:
                manifest = Manifest.read(entry)
            except DamagedError as error:
                if entry.exists():  # and has not been deleted meanwhile, by whoever writes there
                    unreadable.setdefault(int(entry.name), []).append(f"{entry.name}: {error}")
                continue
            if manifest.due:
                found[int(entry.name)] = manifest
        elif (aside := SET_ASIDE.fullmatch(entry.name)) and int(aside[1]) > newest:
            unreadable.setdefault(int(aside[1]), []).append(f"{entry.name}: set aside earlier")
    return found, unreadable


def _latest_step(study: Study, metric: str) -> int:
    """The last step that can have a metric: the end of its stage, where none before it was stopped early."""
    names = [stage.name for stage in study.stages]
    return sum(stage.length for stage in study.stages[: names.index(metric.partition("/")[0]) + 1])


def _refuse_unknown(source: RunDirectory, metric: str, unreadable: Mapping[int, list[str]], latest: int) -> None:
    """Raises CheckpointError where it is not known how good some checkpoints are: they may be the best."""
    lines = [line for step in sorted(unreadable) if step <= latest for line in unreadable[step]]
    if lines:
        opening = f"{source.checkpoints}: of these checkpoints the {metric} is not known, and one may be the best"
        remedy = "put them back as they were; or move them out of the run, to take the best of those that are left"
        raise CheckpointError("\n".join([f"{opening}; {remedy}", *lines]))


@contextmanager
def _copied(checkpoint: Path) -> Iterator[Path | None]:
    """A folder of one's own with a copy of a checkpoint in it; None where the checkpoint is gone.

    Raises:
        CheckpointError: it is there, but cannot be read.
    """
    with TemporaryDirectory(prefix="optim-") as folder:
        try:
            shutil.copytree(checkpoint, Path(folder) / checkpoint.name)
        except (OSError, shutil.Error) as error:
            if checkpoint.exists():
                raise CheckpointError(f"{checkpoint}: it cannot be read: {error}") from error
            yield None
            return
        yield Path(folder)


def _ended(stage: Stage, state: State) -> State:
    """A state whose stage is over, with the parameters that it has."""
    stopping = state.stopping._replace(stopped=jnp.bool_(True))
    if stage.patience is not None:  # it leaves with the best ones that it knows of: these
        trained = stage.trained(state.parameters)
        stopping = stopping._replace(best=stopping.held_out_loss, best_parameters=Flat.of(trained).ravel(trained))
    return state._replace(stopping=stopping)
