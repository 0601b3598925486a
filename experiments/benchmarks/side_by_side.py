"""What runs side by side gain over runs one after the other, by the number of them and by the size of a step.

    python experiments/benchmarks/side_by_side.py             (about 10 minutes on 2 cores)

Fits of 4,096 customers with one response each, adam, by a model that is linear in three amounts and by a network with
two hidden layers of 16; every run has a seed and a rate of its own, which changes the order of its data. Timed are the
steps alone, after compilation: the program of a run by itself, called for one run after the other, and the program of
a block (`optim.train.block`). Both log every 100 steps. They take turns in one process; a ratio is taken within a
round, and the table shows the median of the rounds.

Wanted: with 100 rows a step or fewer, a block of 16 makes 2.5 times as many steps a second. Where the ratio is below 1,
side by side is a loss: a single run fills the cores by itself.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.table import Table

from optim.config.loading import load
from optim.study.stage import StageConstants, initial_state
from optim.study.state import State
from optim.study.study import Study, build_study
from optim.train.block import Block, stacked
from optim.train.loop import Loop
from optim.train.plan import calls
from optim.train.program import Program
from optim.train.sinks import NoSinks
from racing import Ratios, console, machine, take_turns
from training_speed import NETWORK, SEED_MODEL, Workload, write_study

WIDTHS = (2, 4, 16, 64)
BATCHES = (32, 100, 1024)
NUMBERS = 4_000_000
"""Rows that a timed contender goes through, about."""


def studies(folder: Path, workload: Workload, batch: int, count: int, steps: int) -> list[Study]:
    """As many runs, each of a seed and a rate of its own."""
    config = write_study(folder, workload)
    common = [f"stages.fit.batch={batch}", f"stages.fit.length={steps}", "log.every=100", f"checkpoint.every={steps}"]
    own = ([f"seed={number}", f"stages.fit.optimizer.learning_rate={1e-3 * (1 + number)}"] for number in range(count))
    return [build_study(load(config, [*common, *each])) for each in own]


def one_after_the_other(runs: list[Study]) -> Callable[[], float]:
    """Steps per second of all runs, by the program of the first."""
    stages = [study.stages[0] for study in runs]
    starts = [Loop.begin(study.stages[0], initial_state(study.parameters)) for study in runs]
    constants = [stage.constants(start.parameters) for stage, start in zip(stages, starts, strict=True)]
    program = Program(stages[0])
    return steps_per_second(lambda: list(map(partial(trained, program), starts, constants)), runs)


def side_by_side(runs: list[Study]) -> Callable[[], float]:
    """Steps per second of all runs, in one block."""
    block = Block([study.stages for study in runs], [NoSinks() for _ in runs])
    start = block.begin(0, stacked([initial_state(study.parameters) for study in runs]))
    constants, varying = block.constants(0, start)
    program = Program(runs[0].stages[0], varying)
    return steps_per_second(lambda: trained(program, start, constants), runs)


def trained(program: Program, state: State, constants: StageConstants) -> State:
    """The state after all steps of the stage."""
    for call in calls(program.stage, 0, 0, lambda: program.stage.length, frozenset()):
        state, _ = program(state, constants, call, 0)
    return state


def steps_per_second(train: Callable[[], Any], runs: list[Study]) -> Callable[[], float]:
    """How fast it is, once it is compiled."""
    jax.block_until_ready(train())

    def timed() -> float:
        began = time.perf_counter()
        jax.block_until_ready(train())
        return len(runs) * runs[0].stages[0].length / (time.perf_counter() - began)

    return timed


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Runs side by side. The file's head says what is measured.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each race (default: 5)")
    options = parser.parse_args()
    out = console(110)
    out.print(machine("jax", "jaxlib", "optax"), highlight=False)
    table = Table("model", "rows", "runs", "alone /s", "together /s", "together : alone", "range", "wanted", "")
    with tempfile.TemporaryDirectory() as name:
        for workload in (SEED_MODEL, NETWORK):
            for batch in BATCHES:
                for width in WIDTHS:
                    steps = max(100, min(2_000, NUMBERS // (batch * width)))
                    runs = studies(Path(name), workload, batch, width, steps)
                    speeds = take_turns(
                        {"alone": one_after_the_other(runs), "together": side_by_side(runs)}, options.rounds
                    )
                    ratios = Ratios.within_rounds(speeds["together"], speeds["alone"])
                    verdict = ratios.verdict(2.5) if batch <= 100 and width == 16 else ["", ""]
                    medians = [f"{statistics.median(speeds[who]):,.0f}" for who in ("alone", "together")]
                    table.add_row(workload.name, str(batch), str(width), *medians, *ratios.cells(".3g"), *verdict)
    out.print(table)


if __name__ == "__main__":
    main()
