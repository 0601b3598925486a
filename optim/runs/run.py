"""`train` and `resume`: a study in a directory, from the start or from where it was."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jax

from optim.analysis.unread_columns import unread_columns, unread_lines
from optim.config.dumping import dump
from optim.config.errors import Problem, UserError
from optim.config.loading import load
from optim.config.schema import Config
from optim.runs.changes import (
    accepted_changes,
    environment_changes,
    environment_warning,
    imports_now,
    imports_warning,
)
from optim.runs.checkpoints import Restored
from optim.runs.directory import RunDirectory
from optim.runs.files import digest_of_file, digest_of_text, write_atomically
from optim.runs.info import RunInfo, current_command, load_result
from optim.runs.observer import Observer
from optim.runs.restore import open_checkpoints, restore_newest
from optim.runs.session import Outcome, Session
from optim.runs.signals import StopRequest, StopSignal
from optim.study.precision import set_precision
from optim.study.study import LoadPanel, build_study


def train(
    config: Config,
    *,
    runs_dir: Path,
    name: str | None,
    stem: str,
    observer: Observer,
    signal: StopSignal | None = None,
    load: LoadPanel | None = None,
) -> Outcome:
    """Train a study in a new run directory.

    Args:
        config: the resolved config.
        runs_dir: folder of all runs.
        name: name of the run, or None for the stem, numbered where it is taken.
        stem: name of the config file.
        observer: who waits.
        signal: asks to stop.
        load: reads the tables, where that has begun already.

    Raises:
        UserError: wrong data or name; nothing was written.
        StopRequest: asked to stop before anything was written.
        DivergedError: not finite, and no way round it.
    """
    signal = signal or StopSignal()
    # A stop for debugging belongs to the call that asked for it, not to the study.
    stop_after, config = config.stop_after_steps, config.model_copy(update={"stop_after_steps": None})
    set_precision(config)
    study = build_study(config, load)
    text = dump(config)
    info = RunInfo.create(
        name="",
        config_text=text,
        seed=config.seed,
        digests=study.digests,
        imports=study.imports,
        device=current_device(),
        command=current_command(),
    )
    unread = unread_columns(study)
    info = info.with_event("start", step=0, **({"unread_columns": dict(unread)} if unread else {}))

    def files(name: str) -> dict[str, str]:
        truth = {} if study.truth is None else {"truth.json": json.dumps(study.truth, indent=1, ensure_ascii=False)}
        return {"config.yaml": text, **truth, "run.json": info.model_copy(update={"name": name}).text}

    signal.begin()
    directory = RunDirectory.create(runs_dir, name=name, stem=stem, files=files)
    with directory.lock():
        for line in unread_lines(unread):
            observer.say(line)
        session = Session(directory, study, RunInfo.load(directory.info), observer, signal)
        return session.go(restored=None, stop_after=stop_after)


def resume(path: Path, overrides: list[str], *, observer: Observer, signal: StopSignal | None = None) -> Outcome:
    """Go on with a run exactly where its newest checkpoint stands; give the answer of a finished one.

    Args:
        path: the run directory.
        overrides: changes that a running study allows (`optim.runs.changes`).
        observer: who waits.
        signal: asks to stop.

    Raises:
        UserError: no such run, a change that is not allowed, or a directory that another process is writing.
        CheckpointError: there were checkpoints, but none can be read.
        DivergedError: not finite, and no way round it.
    """
    signal = signal or StopSignal()
    directory = RunDirectory.open(path)
    signal.resumable = True
    info = RunInfo.load(directory.info)
    if info.status == "finished" and not overrides:
        return Outcome(directory, load_result(directory.result), info.history[-1].step, None)
    with directory.lock():
        info = RunInfo.load(directory.info)  # again, now that nobody else writes it
        before, config = own_config(directory, info), load(directory.config, overrides)
        stop_after, config = config.stop_after_steps, config.model_copy(update={"stop_after_steps": None})
        set_precision(config)
        study = build_study(config)
        with open_checkpoints(directory, config) as checkpoints:
            newest = cache(lambda: restore_newest(study, info, checkpoints))
            # What may not change is said before a checkpoint is read, which it might not fit.
            changes = accepted_changes(before, study, info, lambda: _stage_of(newest()))
            restored = newest()
        _refuse_lost_checkpoints(directory, info, restored)
        try:
            signal.begin()
        except StopRequest as stop:
            return Outcome(directory, None, 0 if restored is None else restored.step, str(stop))
        if info.status == "finished" and not changes:
            return Outcome(directory, load_result(directory.result), info.history[-1].step, None)
        imports, unknown = imports_now(info, study)
        if unknown:
            observer.warn(imports_warning(unknown))
        here = info.model_copy(update={"imports": imports}).with_environment(current_device())
        environment = environment_changes(info, here)
        if environment:
            observer.warn(environment_warning(environment))
        return Session(directory, study, here, observer, signal).resume(restored, changes, environment, stop_after)


def current_device() -> str:
    """The backend and the kind of its first device."""
    return f"{jax.default_backend()}: {jax.devices()[0].device_kind}"


def _stage_of(restored: Restored | None) -> int:
    return 0 if restored is None else int(restored.tree.stage)


def _refuse_lost_checkpoints(directory: RunDirectory, info: RunInfo, restored: Restored | None) -> None:
    """A run that had come further than its start does not start again in silence."""
    reached = max((event.step for event in info.history), default=0)
    if restored is None and reached > 0:
        message = f"the run had reached step {reached}, but no checkpoint is left; put them back, or start a new run"
        raise UserError(Problem(place=str(directory.checkpoints), message=message))


def own_config(directory: RunDirectory, info: RunInfo) -> Config:
    """The config of a run, as the run itself wrote it.

    A process may have been killed between noting a change in run.json and writing it into config.yaml: then it is
    written now.

    Raises:
        UserError: somebody else has changed the file.
    """
    config = recorded_config(directory, info)
    if digest_of_file(directory.config) != info.config_hash:
        write_atomically(directory.config, dump(config))
    return config


def recorded_config(directory: RunDirectory, info: RunInfo) -> Config:
    """The config of a run, as run.json knows it; nothing is written.

    Raises:
        UserError: somebody else has changed the file.
    """
    if directory.config.is_file():
        if digest_of_file(directory.config) == info.config_hash:
            return load(directory.config)
        changes = info.history[-1].details.get("changes", {})
        config = load(directory.config, [f"{key}={json.dumps(after)}" for key, (_, after) in changes.items()])
        if digest_of_text(dump(config)) == info.config_hash:
            return config
    message = "this file is not as the run wrote it; put it back, and give changes on the command line instead"
    raise UserError(Problem(place=str(directory.config), message=message))
