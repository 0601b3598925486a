"""How fast training is: against the loop of Flax's documentation, against a bare scan, and from a cold start.

    python experiments/benchmarks/training_speed.py             (about 3 minutes on 2 cores)
    python experiments/benchmarks/training_speed.py --quick     (about a minute; a run's fixed costs weigh more)

A run of `optim` here is a real one, in a run directory, with TensorBoard, checkpoints and the answer at the end. It is
timed from its first logged step to the moment when its last checkpoint is complete on disk. Two fits of 4,096
customers with one response each, 256 customers a step, adam:

- seed model: linear in three amounts; 2,000,000 steps, logged every 2,000, saved every 500,000;
- network: two hidden layers of 16, about 20 µs a step; 200,000 steps, logged every 200, saved every 50,000.

Contenders, given all that can be prepared beforehand, and timed without their compilation:

- bare scan: `lax.scan` over the same updates of the same loss, over an array of the batches' indices; nothing is
  logged, saved or checked, and the value of the loss is not even computed; of the network also with the compiler
  options that `optim` sets (`optim.train.compiling`), which are a part of what it gains;
- Flax loop: the train step of Flax's documentation under `nnx.jit`, one Python call a step, on batches that lie ready.

They take turns in one process; a ratio is taken within a round, and the table shows the median of the rounds. Before
anything is timed, all contenders are run over the same batches, and must end at the same parameters.

The start is that of the command `optim train` in a new process, without a cache of compiled programs: from the call to
the time stamp of the first loss in its TensorBoard file. The peak of memory is that of the same processes.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from rich.table import Table
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from optim.config.loading import load
from optim.config.schema import Config
from optim.data.order import batch_at
from optim.losses.likelihood import PanelObjective
from optim.runs.observer import Silent
from optim.runs.run import train
from optim.study.stage import initial_state
from optim.study.study import Study, build_study
from optim.train.compiling import compiler_options
from optim.train.loop import Loop
from racing import Figures, Ratios, console, machine, take_turns

CUSTOMERS = 4096
BATCH = 256
LEARNING_RATE = 1e-3
SEGMENT = 100_000  # most steps whose indices are held at once: 100 MB

Parameters = Any
Utilities = Callable[[Parameters, jax.Array], jax.Array]
"""(parameters, features (b, k)) → utilities (b,)"""


@dataclass(frozen=True)
class Workload:
    """A fit that is timed."""

    name: str
    utility: str
    utilities: Utilities
    """The same utility, as one writes it without a framework."""
    steps: int
    log_every: int
    save_every: int


def linear(parameters: Parameters, features: jax.Array) -> jax.Array:
    """Utilities of the seed model; a sum of products, which on a CPU is quicker than `@` for three features."""
    return jnp.sum(features * parameters["weights"][0], axis=1) + parameters["bias"][0]


def network(parameters: Parameters, features: jax.Array) -> jax.Array:
    """Utilities by dense layers with tanh between them."""
    layers = [parameters["network"]["layers"][index] for index in sorted(parameters["network"]["layers"])]
    for layer in layers[:-1]:
        features = jnp.tanh(features @ layer["kernel"] + layer["bias"])
    return (features @ layers[-1]["kernel"] + layers[-1]["bias"])[:, 0]


SEED_MODEL = Workload("seed model", "{kind: linear, features: [amounts]}", linear, 2_000_000, 2_000, 500_000)
NETWORK = Workload("network", "{kind: mlp, features: [amounts], hidden: [16, 16]}", network, 200_000, 200, 50_000)

STUDY = """\
data:
  recipes: recipes.csv
  ratings: ratings.csv
  like: {{column: liking, at_least: 1, scale: [0, 1]}}
ingredients:
  butter: {{min: 0.5, max: 2.0}}
  eggs: {{min: 1.0, max: 5.0}}
  sugar: {{min: 0.5, max: 2.5}}
model:
  utility: {utility}
stages:
  fit:
    kind: fit
    length: {steps}
    batch: {batch}
    loss: {{kind: likelihood, aggregate: mean_responses}}
    optimizer: {{name: adam, learning_rate: {rate}}}
log: {{every: {log_every}}}
checkpoint: {{every: {save_every}}}
"""


def write_study(folder: Path, workload: Workload) -> Path:
    """Write the tables and the config of a workload; returns the config's path."""
    draws = np.random.default_rng(0)
    lower, upper = np.array([0.5, 1.0, 0.5]), np.array([2.0, 5.0, 2.5])
    amounts = draws.uniform(lower, upper, (CUSTOMERS, 3)).round(4)
    utilities = ((amounts - lower) / (upper - lower) - 0.5) @ np.array([2.0, -1.0, 3.0])
    likes = draws.uniform(size=CUSTOMERS) < 1 / (1 + np.exp(-utilities))
    recipes = ["recipe,butter,eggs,sugar", *(f"r{i},{a},{b},{c}" for i, (a, b, c) in enumerate(amounts))]
    ratings = ["customer,recipe,liking", *(f"c{i},r{i},{int(like)}" for i, like in enumerate(likes))]
    (folder / "recipes.csv").write_text("\n".join(recipes) + "\n")
    (folder / "ratings.csv").write_text("\n".join(ratings) + "\n")
    config = folder / f"{workload.name.replace(' ', '-')}.yaml"
    config.write_text(
        STUDY.format(
            utility=workload.utility,
            steps=workload.steps,
            batch=BATCH,
            rate=LEARNING_RATE,
            log_every=workload.log_every,
            save_every=workload.save_every,
        )
    )
    return config


class Clock(Silent):
    """Notes when each record of a run was written."""

    def __init__(self) -> None:
        self.progressed: list[tuple[int, float]] = []

    def progress(self, done: int, loss: float) -> None:
        self.progressed.append((done, time.time()))


def timed_run(config: Config, runs_dir: Path) -> float:
    """Train in a run directory; returns steps per second, checkpoints, curves and all."""
    clock = Clock()
    outcome = train(config, runs_dir=runs_dir, name=None, stem="run", observer=clock)
    (first, began), (last, _) = clock.progressed[0], clock.progressed[-1]
    checkpoint = outcome.directory.checkpoints / str(outcome.step) / "record.json"  # the last file to be written
    return (last - first) / (checkpoint.stat().st_mtime - began)


class BareScan:
    """The updates of a study's fit in a `lax.scan`, and nothing else."""

    def __init__(self, study: Study, utilities: Utilities, options: dict[str, str] | None = None) -> None:
        stage = study.stages[0]
        assert isinstance(stage.objective, PanelObjective)
        constants = jax.jit(stage.constants)(study.parameters)
        everyone = jnp.arange(CUSTOMERS, dtype=jnp.int32)
        panel = stage.objective.batch(constants.objective, everyone, jnp.ones(CUSTOMERS, bool))
        self.features, self.likes = panel.inputs[:, 0], panel.like[:, 0]
        self.start = jax.tree.map(lambda leaf: leaf[0], study.parameters["model"]["utility"])
        self.indices = jax.jit(
            lambda positions: jax.vmap(lambda at: batch_at(constants.order_seed, at, CUSTOMERS, BATCH)[0])(positions)
        )
        optimizer = optax.adam(LEARNING_RATE)
        self.begin = optimizer.init

        def loss(parameters: Parameters, features: jax.Array, likes: jax.Array) -> jax.Array:
            return jnp.mean(jax.nn.softplus((1 - 2 * likes) * utilities(parameters, features)))

        def run(parameters, state, indices, features, likes):  # type: ignore[no-untyped-def]
            def update(carry, index):  # type: ignore[no-untyped-def]
                parameters, state = carry
                gradient = jax.grad(loss)(parameters, features[index], likes[index])
                updates, state = optimizer.update(gradient, state, parameters)
                return (optax.apply_updates(parameters, updates), state), None

            return jax.lax.scan(update, (parameters, state), indices)[0]

        self.scan = jax.jit(run, compiler_options=options)

    def train(self, steps: int) -> tuple[Parameters, float]:
        """Final parameters, and steps per second; indices are made between the timed calls."""
        segment = min(steps, SEGMENT)
        parameters, state = self.start, self.begin(self.start)
        seconds = 0.0
        for first in range(0, steps, segment):
            indices = jax.block_until_ready(self.indices(jnp.arange(first, first + segment, dtype=jnp.int32)))
            began = time.perf_counter()
            parameters, state = jax.block_until_ready(self.scan(parameters, state, indices, self.features, self.likes))
            seconds += time.perf_counter() - began
        return parameters, steps / seconds


class SeedModel(nnx.Module):
    """The seed model as a user of Flax writes it."""

    def __init__(self) -> None:
        self.weights = nnx.Param(jnp.zeros(3))
        self.bias = nnx.Param(jnp.zeros(()))

    def __call__(self, features: jax.Array) -> jax.Array:
        return features @ self.weights[...] + self.bias[...]


@nnx.jit
def train_step(
    model: SeedModel, optimizer: nnx.Optimizer[SeedModel], features: jax.Array, likes: jax.Array
) -> jax.Array:
    """The train step of Flax's documentation."""

    def loss_of(model: SeedModel) -> jax.Array:
        return jnp.mean(jax.nn.softplus((1 - 2 * likes) * model(features)))

    loss, gradient = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, gradient)
    return loss


def flax_loop(bare: BareScan, steps: int) -> tuple[Parameters, float]:
    """Train by one Python call a step; final parameters, and steps per second."""
    indices = np.asarray(bare.indices(jnp.arange(steps, dtype=jnp.int32)))
    batches = jax.block_until_ready([(bare.features[index], bare.likes[index]) for index in indices])
    model = SeedModel()
    optimizer = nnx.Optimizer(model, optax.adam(LEARNING_RATE), wrt=nnx.Param)
    train_step(SeedModel(), nnx.Optimizer(SeedModel(), optax.adam(LEARNING_RATE), wrt=nnx.Param), *batches[0])
    began = time.perf_counter()
    for features, likes in batches:
        train_step(model, optimizer, features, likes)
    jax.block_until_ready(nnx.state(model))
    seconds = time.perf_counter() - began
    return {"weights": model.weights[...][None], "bias": model.bias[...][None]}, steps / seconds


def final_parameters(folder: Path, workload: Workload, steps: int) -> Iterator[tuple[str, Parameters]]:
    """Where each contender ends after so many steps."""
    config = load(write_study(folder, workload), [f"stages.fit.length={steps}"])
    study = build_study(config)
    loop = Loop(study.stages)
    state = loop.run(loop.begin(study.stages[0], initial_state(study.parameters)))
    yield "optim", jax.tree.map(lambda leaf: leaf[0], state.parameters["model"]["utility"])
    bare = BareScan(study, workload.utilities)
    yield "bare scan", bare.train(steps)[0]
    if workload.utilities is linear:
        yield "Flax loop", flax_loop(bare, steps)[0]


def greatest_difference(parameters: list[Parameters]) -> float:
    """The greatest difference of any parameter between any two contenders."""
    leaves = [jax.tree.leaves(each) for each in parameters]
    return max(float(np.ptp(np.stack(same), axis=0).max()) for same in zip(*leaves, strict=True))


def race(folder: Path, workload: Workload, rounds: int, flax_steps: int) -> Figures:
    """Steps per second of each contender."""
    config = load(write_study(folder, workload), [])
    study = build_study(config)
    bare = BareScan(study, workload.utilities)
    turns: dict[str, Callable[[], float]] = {
        "optim": lambda: timed_run(config, folder / "runs"),
        "bare scan": lambda: bare.train(workload.steps)[1],
    }
    if workload.utilities is linear:
        turns["Flax loop"] = lambda: flax_loop(bare, flax_steps)[1]
    else:
        likewise = BareScan(study, workload.utilities, compiler_options())
        likewise.train(min(workload.steps, SEGMENT))
        turns["bare scan, compiled likewise"] = lambda: likewise.train(workload.steps)[1]
    bare.train(min(workload.steps, SEGMENT))  # compiles it
    return take_turns(turns, rounds)


def row(workload: Workload, speeds: Figures, other: str, wanted: float) -> list[str]:
    """A row of the table: how much faster `optim` is than another."""
    ratios = Ratios.within_rounds(speeds["optim"], speeds[other])
    medians = [f"{statistics.median(speeds[name]):,.0f}" for name in ("optim", other)]
    return [f"{workload.name} : {other}", *medians, *ratios.cells(".3g"), *ratios.verdict(wanted)]


def start(folder: Path, config: Path, number: int, environment: dict[str, str]) -> float:
    """Seconds from the command to its first logged step, in a new process."""
    program = "import sys; from optim.cli.main import main; main(sys.argv[1:])"
    words = ["train", str(config), "--runs-dir", str(folder / "cold"), "--name", str(number)]
    began = time.time()
    subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True, env=environment)
    for path in sorted((folder / "cold" / str(number) / "tensorboard").iterdir()):
        for event in EventFileLoader(str(path)).Load():
            if any(value.tag == "fit/train/loss" for value in event.summary.value):
                return float(event.wall_time) - began
    raise RuntimeError("the run has logged no loss")


def peak_megabytes(who: int) -> float:
    """Peak of the resident memory of this process or of its children."""
    peak = resource.getrusage(who).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="How fast training is. The file's head says what is measured.")
    parser.add_argument("--quick", action="store_true", help="a quarter of the steps, three rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each race (default: 5, or 3 with --quick)")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 5)
    out = console(110)
    out.print(machine("jax", "jaxlib", "flax", "optax", "orbax-checkpoint"), highlight=False)
    seed_model, layers = SEED_MODEL, NETWORK
    if options.quick:
        seed_model = replace(SEED_MODEL, steps=SEED_MODEL.steps // 4, save_every=SEED_MODEL.save_every // 4)
        layers = replace(NETWORK, steps=NETWORK.steps // 4, save_every=NETWORK.save_every // 4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_study(folder, replace(SEED_MODEL, steps=100_000, save_every=50_000))
        cold = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
        starts = [start(folder, config, number, cold) for number in range(rounds)]
        peak = peak_megabytes(resource.RUSAGE_CHILDREN)  # now: a child's includes what this process had when it began
        for workload in (seed_model, layers):
            contenders = dict(final_parameters(folder, workload, 1_000))
            difference = greatest_difference(list(contenders.values()))
            out.print(
                f"{workload.name}: after 1,000 steps the parameters of {', '.join(contenders)} "
                f"differ by at most {difference:.1g}",
                highlight=False,
            )
            if not difference < 1e-4:
                sys.exit("the contenders do not do the same work")
        linear_speeds = race(folder, seed_model, rounds, flax_steps=500 if options.quick else 2_000)
        layer_speeds = race(folder, layers, rounds, flax_steps=0)
    table = Table("", "optim, steps/s", "other, steps/s", "ratio", "rounds", "wanted", "", title="Training speed")
    table.add_row(*row(seed_model, linear_speeds, "Flax loop", 60))
    table.add_row(*row(seed_model, linear_speeds, "bare scan", 0.8))
    for other in ("bare scan", "bare scan, compiled likewise"):
        table.add_row(*row(layers, layer_speeds, other, 0.8))
    seconds = statistics.median(starts)
    spread = f"{min(starts):.2f} to {max(starts):.2f}"
    verdict = "holds" if seconds <= 5 else "MISSED"
    table.add_row("command to first logged step", f"{seconds:.2f} s", "", "", spread, "at most 5 s", verdict)
    out.print(table)
    out.print(
        f"A step takes {1e6 / statistics.median(linear_speeds['bare scan']):.2f} µs in the bare scan of the seed model "
        f"and {1e6 / statistics.median(layer_speeds['bare scan']):.1f} µs in that of the network. Peak memory: "
        f"{peak:,.0f} MB for `optim train`, "
        f"{peak_megabytes(resource.RUSAGE_SELF):,.0f} MB for this benchmark.",
        highlight=False,
    )


if __name__ == "__main__":
    main()
