"""What the certificate of a fit costs, beside the fit that it is about.

    python experiments/benchmarks/certificate.py                     (about 2 minutes on 2 cores)
    python experiments/benchmarks/certificate.py --before CHECKOUT   (and the main job, beside another checkout's)

A fit of 1,000,000 responses by 100,000 customers, linear in ten features, in single precision, without a run directory.
Its certificate is everything that is said of it: the counts of responses, rank and condition of the design, gradient
and Hessian in double precision, the proof that there is a finite maximum, standard errors and the sandwich by customer.
Two tables: 500 recipes, which is what tastings look like; and 1,000,000, each tasted once, where nothing can be
counted together. Times are those of a second fit and a second certificate in the same process, without compilation;
wanted is a tenth of the fit at most.

With `--before`, `optim train configs/cake.yaml` is run in new processes in turns, by this checkout and by the other one
(each with its own environment's `python`, or this one's): the ratio of the whole commands is wanted at 1.1 at most.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from rich.table import Table

from optim.analysis.fit_findings import FitExaminer
from optim.analysis.panel_answer import standard_error_scores
from optim.config.loading import load
from optim.study.stage import initial_state
from optim.study.study import Study, build_study
from optim.train.loop import Loop
from racing import Ratios, console, machine, take_turns

RESPONSES, CUSTOMERS, FEATURES = 1_000_000, 100_000, 10
ROUNDS = 3
OPTIMIZERS = {"lbfgs, 40 steps": ("lbfgs", 40), "newton, 8 steps": ("newton", 8)}

STUDY = """\
data: {{recipes: recipes.parquet, ratings: ratings.parquet, like: {{column: liking, at_least: 1, scale: [0, 1]}}}}
ingredients:
{ingredients}
model: {{utility: {{kind: linear, features: [amounts]}}}}
stages: {{fit: {{kind: fit, length: {steps}, optimizer: {{name: {optimizer}}}}}}}
"""


def write_tables(folder: Path, recipes: int, responses: int = RESPONSES) -> None:
    """Tables of random recipes and of likes by a linear utility."""
    random = np.random.default_rng(0)
    amounts = random.uniform(0.0, 1.0, (recipes, FEATURES))
    recipe = np.arange(responses) % recipes
    utility = amounts @ np.linspace(-2.0, 2.0, FEATURES)
    like = random.random(responses) < 1 / (1 + np.exp(-utility[recipe]))
    columns = {f"x{k}": amounts[:, k] for k in range(FEATURES)}
    pl.DataFrame({"recipe": np.arange(recipes), **columns}).write_parquet(folder / "recipes.parquet")
    ratings = {
        "customer": np.arange(responses) // (RESPONSES // CUSTOMERS),
        "recipe": recipe,
        "liking": like.astype(int),
    }
    pl.DataFrame(ratings).write_parquet(folder / "ratings.parquet")


def study_of(folder: Path, optimizer: str, steps: int) -> Study:
    """The study of the tables in a folder."""
    ingredients = "\n".join(f"  x{k}: {{min: 0, max: 1}}" for k in range(FEATURES))
    config = folder / f"{optimizer}.yaml"
    config.write_text(STUDY.format(ingredients=ingredients, optimizer=optimizer, steps=steps))
    return build_study(load(config, []))


def contenders(study: Study) -> dict[str, Callable[[], float]]:
    """The fit and its certificate, each returning its seconds."""
    loop, examiner, fitted = Loop(study.stages), FitExaminer(study, study.stages[0]), {}

    def fit() -> float:
        begun = time.perf_counter()
        fitted["state"] = loop.run(loop.begin(study.stages[0], initial_state(study.parameters)))
        return time.perf_counter() - begun

    def certificate() -> float:
        model = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), fitted["state"].parameters["model"])
        examiner.forget()  # all but what is compiled is done again
        begun = time.perf_counter()
        findings = examiner.findings(model, ended="")
        standard_error_scores(study, examiner, findings)
        seconds = time.perf_counter() - begun
        assert findings.certificate.settled, findings.certificate.text
        return seconds

    return {"fit": fit, "certificate": certificate}


def fits() -> Table:
    """Each table by each optimizer."""
    table = Table("responses", "recipes", "optimizer", "fit", "certificate", "share", "range", "wanted", "")
    for recipes in (500, RESPONSES):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_tables(folder, recipes)
            for label, (optimizer, steps) in OPTIMIZERS.items():
                racers = contenders(study_of(folder, optimizer, steps))
                for run in racers.values():
                    run()  # compiles
                figures = take_turns(racers, ROUNDS)
                share = Ratios.within_rounds(figures["certificate"], figures["fit"])
                seconds = [f"{np.median(figures[name]):.2f} s" for name in ("fit", "certificate")]
                verdict = ["at most 0.1", "holds" if share.median <= 0.1 else "MISSED"]
                table.add_row(f"{RESPONSES:,}", f"{recipes:,}", label, *seconds, *share.cells(".3f"), *verdict)
    return table


def main_job(before: Path) -> Table:
    """The whole command, by two checkouts in turns."""
    here = Path(__file__).parent.parent.parent

    def command(checkout: Path) -> Callable[[], float]:
        own = checkout / ".venv/bin/python"
        python = str(own) if own.exists() else sys.executable
        environment = {**os.environ, "PYTHONPATH": str(checkout)}

        def run() -> float:
            with tempfile.TemporaryDirectory() as runs:
                words = [python, "-c", "from optim.cli.main import main; main()", "train", "configs/cake.yaml"]
                begun = time.perf_counter()
                subprocess.run(
                    [*words, "--runs-dir", runs], cwd=checkout, env=environment, check=True, capture_output=True
                )
                return time.perf_counter() - begun

        return run

    figures = take_turns({"now": command(here), "before": command(before)}, 2 * ROUNDS + 1)
    ratio = Ratios.within_rounds(figures["now"], figures["before"])
    table = Table("optim train configs/cake.yaml", "before", "now", "ratio", "range", "wanted", "")
    seconds = [f"{np.median(figures[name]):.2f} s" for name in ("before", "now")]
    verdict = ["at most 1.1", "holds" if ratio.median <= 1.1 else "MISSED"]
    table.add_row("whole command", *seconds, *ratio.cells(".3f"), *verdict)
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout, to compare the main job with")
    options = parser.parse_args()
    out = console(140)
    out.print(machine("jax", "flax", "optax", "numpy", "scipy"))
    out.print(fits())
    if options.before is not None:
        out.print(main_job(options.before.resolve()))


if __name__ == "__main__":
    main()
