"""`optim train` and `optim resume`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from optim.cli.consoles import plain_console
from optim.cli.exits import FAILED
from optim.cli.importing import importing
from optim.cli.output import lasting
from optim.cli.progress import ProgressReport
from optim.cli.tables import answer_tables
from optim.config.errors import UserError
from optim.config.loading import load
from optim.config.schema import Config
from optim.runs.signals import INTERRUPTED, StopRequest, StopSignal

if TYPE_CHECKING:  # importing it starts JAX, which a wrong config need not wait for
    from optim.runs.session import Outcome
    from optim.study.study import LoadPanel


def run(options: argparse.Namespace, signal: StopSignal) -> int:
    """Train or resume, and print the answer and what to type next, if somebody reads it: the run directory holds it."""
    with lasting("stdout"):
        return _run(options, signal)


def _run(options: argparse.Namespace, signal: StopSignal) -> int:
    try:
        outcome = _train(options, signal) if options.command == "train" else _resume(options, signal)
    except StopRequest as stop:
        print(f"stopped ({stop}) before the run had begun; nothing was written", file=sys.stderr)
        return FAILED
    return _print_outcome(plain_console(), outcome)


def _train(options: argparse.Namespace, signal: StopSignal) -> Outcome:
    config = load(options.config, options.overrides)
    with ProgressReport() as report, _tables_of(config) as tables:  # they are read while JAX starts
        report.say("starting")
        with importing():
            from optim.runs.compilation_cache import compiling
            from optim.runs.run import train

        names = {"runs_dir": options.runs_dir, "name": options.name, "stem": options.config.stem}
        with compiling(keep=not options.no_cache):
            return train(config, **names, observer=report, signal=signal, load=tables)


def _tables_of(config: Config) -> AbstractContextManager[LoadPanel | None]:
    """The tables of a config, being read."""
    if config.data is None or config.data.ratings is None:
        return nullcontext()
    with importing():
        from optim.data.ahead import read_ahead

    return read_ahead(config)


def _resume(options: argparse.Namespace, signal: StopSignal) -> Outcome:
    if options.best and options.overrides:
        raise UserError("--best takes no changes: give them to `optim resume` of the new run")
    if options.name and not options.best:
        raise UserError("--name is for the new run that --best makes")
    with ProgressReport() as report:
        report.say("starting")
        with importing():
            from optim.runs.best import resume_best
            from optim.runs.compilation_cache import compiling
            from optim.runs.run import resume

        with compiling(keep=not options.no_cache):
            if options.best:
                return resume_best(options.directory, name=options.name, observer=report, signal=signal)
            return resume(options.directory, options.overrides, observer=report, signal=signal)


def _print_outcome(console: Console, outcome: Outcome) -> int:
    where = _short(outcome.directory.path)
    if outcome.result is None:
        console.print(f"stopped after step {outcome.step} ({outcome.reason}); everything is saved. To go on:")
        console.print(f"  optim resume {where}", soft_wrap=True)
        return INTERRUPTED
    for table in answer_tables(outcome.result):
        console.print(table)
    console.print(f"\n{_short(outcome.directory.result)} holds the answer. Next:", soft_wrap=True)
    console.print(f"  tensorboard --logdir {_short(outcome.directory.path.parent)}", soft_wrap=True)
    console.print(f"  optim resume {where}", soft_wrap=True)
    return 0


def _short(path: Path) -> str:
    """The path as one would type it from here."""
    relative = os.path.relpath(path)
    return shlex.quote(str(path) if relative.startswith("..") else relative)
