"""`optim train` as a whole, from the shell and back, beside a script that does the same work with scikit-learn.

    python experiments/benchmarks/whole_command.py            (about 4 minutes on 2 cores; needs scikit-learn)

1,000,000 responses of 100,000 customers, linear in ten features, lie in Parquet. `optim train` fits them by Newton's
method with `batch: all`, and says what it knows of the fit: certificate, standard errors, the sandwich by customer. The
script (`scikit_learn_fit.py`) reads the same files, joins them and fits a `LogisticRegression` without a penalty, by
Newton's method as well; it knows no standard errors. Both are new processes, and take turns. Wanted is at most 1.3
times the script with programs that an earlier run has compiled (warm), and twice with none (cold); both have to end at
the same optimum to 1e-6: the log-likelihood, relatively, and every coefficient, relative to the largest one.

Two tables: 500 recipes, which is what tastings look like; and 1,000,000, each tasted once, where nothing can be counted
together.

Last, how long `optim train configs/cake.yaml` takes to its first logged step, cold and warm.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from certificate import FEATURES, RESPONSES, write_tables
from racing import Ratios, console, installed, machine, take_turns
from training_speed import start

ROUNDS = 7
STEPS = 5
"""Newton steps; the script needs four, and a fifth to see that it has arrived."""
WANTED = {"warm": 1.3, "cold": 2.0}
SAME = 1e-6
FIRST_STEP = 2.0
"""Seconds to the first logged step of the main job that are wanted with compiled programs."""
HERE = Path(__file__).parent

STUDY = """\
data: {{recipes: recipes.parquet, ratings: ratings.parquet, like: {{column: liking, at_least: 1, scale: [0, 1]}}}}
ingredients:
{ingredients}
model: {{utility: {{kind: linear, features: [amounts]}}}}
stages: {{fit: {{kind: fit, length: {steps}, batch: all, optimizer: {{name: newton}}}}}}
"""


@dataclass(frozen=True)
class Difference:
    """How far apart two fits of the same responses are.

    Attributes:
        log_likelihood: relative difference.
        coefficients: largest difference, relative to the largest coefficient.
    """

    log_likelihood: float
    coefficients: float

    @property
    def is_none(self) -> bool:
        """Whether both have found the same optimum."""
        return self.log_likelihood <= SAME and self.coefficients <= SAME


def write_study(folder: Path, recipes: int, responses: int = RESPONSES) -> Path:
    """Write the tables and the config; returns the config's path."""
    write_tables(folder, recipes, responses)
    ingredients = "\n".join(f"  x{k}: {{min: 0, max: 1}}" for k in range(FEATURES))
    config = folder / "study.yaml"
    config.write_text(STUDY.format(ingredients=ingredients, steps=STEPS))
    return config


def difference(folder: Path, result: dict[str, Any], script: dict[str, float]) -> Difference:
    """Between an answer of `optim train` and what the script has printed.

    Raises:
        AssertionError: the answer lacks a standard error.
    """
    likelihood = result["likelihood"]
    named = lambda key: {**likelihood[key]["weights"], "bias": likelihood[key]["bias"]}
    ours = named("parameters")
    assert set(ours) == set(named("standard_errors")) == set(named("robust_standard_errors"))
    values = np.array([[each[name] for name in script] for each in (ours, script)])
    theirs = log_likelihood(folder, script)
    return Difference(
        log_likelihood=abs(likelihood["log_likelihood"] - theirs) / abs(theirs),
        coefficients=float(np.ptp(values, axis=0).max() / np.abs(values).max()),
    )


def log_likelihood(folder: Path, coefficients: dict[str, float]) -> float:
    """Of the responses in a folder."""
    recipes = pl.read_parquet(folder / "recipes.parquet").sort("recipe")
    ratings = pl.read_parquet(folder / "ratings.parquet")
    names = [name for name in coefficients if name != "bias"]
    utility = recipes.select(names).to_numpy() @ [coefficients[name] for name in names] + coefficients["bias"]
    utility = utility[ratings["recipe"].to_numpy()]
    return float(-np.logaddexp(0.0, np.where(ratings["liking"].to_numpy() >= 1, -utility, utility)).sum())


class Commands:
    """The commands, each a new process, in a folder of tables."""

    def __init__(self, config: Path, caches: Path) -> None:
        self.folder, self._config, self._caches = config.parent, config, caches
        self._number = 0
        self.result: dict[str, Any] = {}
        self.script: dict[str, float] = {}

    def warm(self) -> float:
        """Seconds of `optim train` with what earlier ones have compiled."""
        return self._train(self._caches / "warm")

    def cold(self) -> float:
        """Seconds of `optim train` where nothing is compiled."""
        return self._train(self._caches / f"cold-{self._number}")

    def _train(self, cache: Path) -> float:
        self._number += 1
        name = str(self._number)
        program = "import sys; from optim.cli.main import main; main(sys.argv[1:])"
        words = ["-c", program, "train", str(self._config), "--runs-dir", str(self.folder / "runs"), "--name", name]
        seconds, _ = _timed(words, cache)
        self.result = json.loads((self.folder / "runs" / name / "result.json").read_text())
        return seconds

    def scikit_learn(self) -> float:
        """Seconds of the script."""
        seconds, printed = _timed([str(HERE / "scikit_learn_fit.py"), str(self.folder)], self._caches)
        self.script = json.loads(printed)
        return seconds


def _timed(words: list[str], cache: Path) -> tuple[float, str]:
    """Seconds that a command takes, and what it prints."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=with_cache(cache)
    )
    return time.perf_counter() - begun, done.stdout.decode()


def with_cache(cache: Path) -> dict[str, str]:
    """The environment, with compiled programs kept in a folder and nowhere else, and Python's own as usual."""
    without = ("JAX_COMPILATION_CACHE_DIR", "PYTHONDONTWRITEBYTECODE")
    ours = {name: value for name, value in os.environ.items() if name not in without}
    path = os.pathsep.join([str(HERE.parent.parent), *filter(None, [ours.get("PYTHONPATH")])])
    return {**ours, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": path}


def races(out: Console, rounds: int) -> Table:
    """Both tables by all commands."""
    table = Table("recipes", "programs", "optim train", "scikit-learn", "ratio", "rounds", "wanted", "")
    for recipes in (500, RESPONSES):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            commands = Commands(write_study(folder, recipes), folder / "caches")
            runners: dict[str, Callable[[], float]] = {
                "warm": commands.warm,
                "cold": commands.cold,
                "scikit-learn": commands.scikit_learn,
            }
            for run in runners.values():
                run()  # files and packages into memory, programs into the cache
            figures = take_turns(runners, rounds)
            apart = difference(folder, commands.result, commands.script)
            out.print(
                f"{recipes:,} recipes: apart by {apart.log_likelihood:.1g} of the log-likelihood and "
                f"{apart.coefficients:.1g} of the largest coefficient (wanted at most {SAME:g}): "
                f"{'holds' if apart.is_none else 'MISSED'}",
                highlight=False,
            )
            for programs, wanted in WANTED.items():
                ratios = Ratios.within_rounds(figures[programs], figures["scikit-learn"])
                seconds = [f"{statistics.median(figures[one]):.2f} s" for one in (programs, "scikit-learn")]
                verdict = [f"at most {wanted:g}", "holds" if ratios.median <= wanted else "MISSED"]
                table.add_row(f"{recipes:,}", programs, *seconds, *ratios.cells(".2f"), *verdict)
    return table


def first_steps(rounds: int) -> Table:
    """Seconds to the first logged step of the main job."""
    config = HERE.parent.parent / "configs" / "cake.yaml"
    table = Table("optim train configs/cake.yaml", "to the first logged step", "rounds", "wanted", "")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = iter(range(10**6))

        def to_first_step(cache: str) -> float:
            number = next(numbers)
            return start(folder, config, number, with_cache(folder / cache.format(number)))

        runners = {"cold": lambda: to_first_step("cold-{}"), "warm": lambda: to_first_step("warm")}
        runners["warm"]()
        figures = take_turns(runners, rounds)
    for programs, seconds in figures.items():
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        holds = statistics.median(seconds) <= FIRST_STEP
        verdict = [f"at most {FIRST_STEP:g} s", "holds" if holds else "MISSED"] if programs == "warm" else ["", ""]
        table.add_row(programs, f"{statistics.median(seconds):.2f} s", spread, *verdict)
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds of each race (default: {ROUNDS})")
    options = parser.parse_args()
    if not installed("scikit-learn"):
        sys.exit("scikit-learn is not installed: pip install 'optim[benchmark]'")
    out = console(120)
    out.print(machine("jax", "jaxlib", "flax", "scikit-learn", "polars", "numpy"), highlight=False)
    out.print(races(out, options.rounds))
    out.print(first_steps(options.rounds))


if __name__ == "__main__":
    main()
