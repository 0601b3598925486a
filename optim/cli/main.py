"""`optim`: the entry point. Nothing heavy is imported to print help or to reject a config."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optim.cli.exits import exit_code_of
from optim.cli.output import placed_output


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    options = _parse(arguments)
    sys.exit(exit_code_of(lambda: _run(options)))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; overrides may stand before and after them, which argparse alone does not allow."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if any(word.startswith("-") for word in rest) or (rest and not hasattr(options, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.overrides = [*options.overrides, *rest]
    return options


def _run(options: argparse.Namespace) -> int:
    from optim.cli.importing import importing

    if options.command == "config":
        with importing():
            from optim.cli import config

        with placed_output():
            return config.run(options)
    if options.command == "check-gradients":
        with importing():
            from optim.cli import gradients

        with placed_output():
            return gradients.run(options)
    from optim.runs.signals import watch_signals

    with watch_signals() as signal:  # first of all: the imports below take a while
        with importing():
            from optim.cli import training

        return training.run(options, signal)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="optim",
        description="Learn what customers like, then train the recipe itself.",
        epilog="Exit codes: 0 done; 1 failed; 2 wrong input; 3 diverged; 75 interrupted, go on with `optim resume`.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    overrides = "change a key of the config, such as stages.bake.length=500"
    many: dict[str, Any] = {"nargs": "*", "default": [], "metavar": "key.path=value"}
    no_cache = "compile everything anew, and keep nothing for later runs"

    train = commands.add_parser("train", help="train a study in a new run directory")
    train.add_argument("config", type=Path, metavar="CONFIG", help="the study (YAML)")
    train.add_argument("overrides", **many, help=overrides)
    train.add_argument("--runs-dir", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    train.add_argument("--name", help="name of the run (default: the config's, numbered where it is taken)")
    train.add_argument("--no-cache", action="store_true", help=no_cache)

    resume = commands.add_parser("resume", help="go on with a run exactly where it was")
    resume.add_argument("directory", type=Path, metavar="RUN", help="the run directory, such as runs/cake")
    resume.add_argument("overrides", **many, help="a change that a running study allows")
    resume.add_argument("--best", action="store_true", help="a new run, from the checkpoint kept by checkpoint.best")
    resume.add_argument("--name", help="name of that new run (default: RUN-best, numbered where it is taken)")
    resume.add_argument("--no-cache", action="store_true", help=no_cache)

    check = commands.add_parser(
        "check-gradients", help="check the derivatives of every loss and score of a study, at a point"
    )
    check.add_argument("config", type=Path, metavar="CONFIG", help="the study (YAML)")
    check.add_argument("overrides", **many, help=overrides)
    check.add_argument("--no-cache", action="store_true", help=no_cache)

    config = commands.add_parser("config", help="check a config, show it resolved, or print the schema")
    actions = config.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, text in (("check", "say what is wrong with a config"), ("show", "print the resolved config")):
        one = actions.add_parser(action, help=text)
        one.add_argument("config", type=Path, metavar="CONFIG")
        one.add_argument("overrides", **many, help=overrides)
    actions.add_parser("schema", help="print the JSON schema, for completion in an editor")
    return parser
