"""`optim check-gradients`."""

from __future__ import annotations

import argparse

from optim.cli.consoles import plain_console
from optim.cli.exits import FAILED
from optim.cli.importing import importing
from optim.config.loading import load
from optim.config.numbers import number


def run(options: argparse.Namespace) -> int:
    """Print what was found for each stage; 1 where a derivative is wrong."""
    config = load(options.config, options.overrides)
    console, status = plain_console(), plain_console(stderr=True)
    wrong = []
    with status.status("starting"):
        with importing():  # starts JAX, which a wrong config need not wait for
            from optim.analysis.gradients import check_study
            from optim.runs.compilation_cache import compiling

        with compiling(keep=not options.no_cache):
            for check in check_study(config):
                console.print(f"\n{check.stage}: {check.function}", style="bold")
                if check.recipe:
                    recipe = ", ".join(f"{name} {number(value)}" for name, value in check.recipe.items())
                    console.print(f"at {recipe}", soft_wrap=True)
                console.print(str(check.report), soft_wrap=True)
                for text in check.modifications:
                    console.print(f"left out, as it acts in training alone: {text}", soft_wrap=True)
                if not check.report.passed:
                    wrong.append(check.stage)
    if wrong:
        console.print(
            f"\na derivative is wrong, or the function has a kink or a jump there, in: {', '.join(wrong)}",
            soft_wrap=True,
        )
    return FAILED if wrong else 0
