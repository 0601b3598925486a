"""How fast a million customers' own gradients are: against `torch.func` and jax-privacy, and in how much memory.

    pip install -e ".[benchmark]"                                 (torch and jax-privacy; without them, no such rows)
    python experiments/benchmarks/customer_gradients.py           (a few minutes on 2 cores)
    python experiments/benchmarks/customer_gradients.py --quick   (a tenth of the customers, three rounds)

1,000,000 customers, a logistic likelihood of 10 parameters, float32. Each contender gives every customer's gradient
over all their responses, its norm, and the mean of the gradients clipped by customer. Three workloads:

- linear utility, one response: 10 weights; each customer has tasted a recipe of their own;
- linear utility, eight responses: the same; each customer has tasted eight of 1,000 recipes;
- quadratic utility, eight responses: three ingredients, hence 3 weights, 6 products and a bias; the same tasting.

Contenders:

- optim: `customer_gradients` on the panel as a fit holds it, compiled as `optim` compiles a stage. As a loop over
  updates would, it hands the array of the last result back to be reused; "new array" does not;
- torch: `torch.func.vmap(torch.func.grad(loss))` in the way of PyTorch's own documentation, on all cores: parameters in
  a dict, the utility as a module or as one would write its formula, `binary_cross_entropy_with_logits`. The features
  of each response lie ready in a tensor. This is the row of which a ratio is wanted;
- torch, by hand: the same transformation of the fastest loss that we know of: one vector of parameters, one product
  with features that are laid ready (the quadratic utility is linear in its 10: a constant, products, ingredients) and
  one softplus. It loses less than the documented way, so that a ratio to it is the soberer measure of `optim`;
- torch, compiled: the writing by hand, where `torch.compile` works; as a rule torch at its fastest;
- jax-privacy: `clipped_grad` in microbatches, on the same arrays as by hand. It gives norms and mean but no gradients,
  so that it is compared with `optim` without them; compiled by XLA's own options and by those that `optim` sets.

They take turns in one process, after all were shown to compute the same; a ratio is taken within a round, and the table
shows medians. Memory is the greatest resident memory of a call, its result included, less what was there before.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console
from rich.table import Table

from optim.config import schema
from optim.data.panel import Panel
from optim.losses.customers import customer_gradients
from optim.losses.likelihood import PanelObjective
from optim.models.build import Tasted, build_model
from optim.models.flat import Flat
from optim.models.functional import Functional
from optim.train.compiling import compiler_options

PARAMETERS = 10
CLIP_NORM = 0.8
MICROBATCH = 10_000
WANTED = 5.0

Result = tuple[Any, Any, Any]
"""Gradients (customers, parameters) or None, norms (customers,), mean of the clipped gradients (parameters,)."""
Contenders = dict[str, Callable[[], Result]]
Kind = Literal["linear", "quadratic"]

INGREDIENTS: dict[Kind, tuple[str, ...]] = {"linear": tuple("abcdefghij"), "quadratic": ("butter", "flour", "sugar")}
"""Of each utility so many that it has as many parameters as the other."""
UTILITIES: dict[Kind, dict[str, Any]] = {
    "linear": {"kind": "linear", "intercept": False},
    "quadratic": {"kind": "quadratic"},
}


@dataclass(frozen=True)
class Workload:
    """A utility, and a panel whose customers' gradients are taken."""

    name: str
    kind: Kind
    customers: int
    responses: int
    recipes: int


@dataclass(frozen=True)
class Fit:
    """A workload as `optim` holds it, and as plain arrays."""

    workload: Workload
    objective: PanelObjective
    trained: dict[str, Any]
    constants: Any
    features: np.ndarray
    """Of each response (customers, responses, ingredients), as the model scales them."""
    inputs: np.ndarray
    """What the utility is linear in (customers, responses, parameters), in the order of the gradients."""
    likes: np.ndarray

    @property
    def utility(self) -> dict[str, np.ndarray]:
        """The parameters by name."""
        return {name: np.asarray(values[0]) for name, values in self.trained["model"]["utility"].items()}

    @property
    def parameters(self) -> jax.Array:
        """The parameters as a vector."""
        return Flat.of_one(self.trained).ravel_one(self.trained)


def workloads(customers: int) -> list[Workload]:
    """The three of them."""
    return [
        Workload("linear utility, one response", "linear", customers, 1, customers),
        Workload("linear utility, eight responses", "linear", customers, 8, 1_000),
        Workload("quadratic utility, eight responses", "quadratic", customers, 8, 1_000),
    ]


def panel_of(workload: Workload, draws: np.random.Generator) -> Panel:
    """Draw what was tasted and what was liked."""
    count = workload.customers * workload.responses
    amounts = draws.standard_normal((workload.recipes, len(INGREDIENTS[workload.kind])))
    single = workload.recipes == count
    recipe = np.arange(count) if single else draws.integers(0, workload.recipes, count)
    return Panel(
        customers=tuple(map(str, range(workload.customers))),
        recipes=tuple(map(str, range(workload.recipes))),
        ingredients=INGREDIENTS[workload.kind],
        amounts=amounts,
        offsets=np.arange(0, count + 1, workload.responses, dtype=np.int32),
        recipe=recipe.astype(np.int32),
        like=draws.random(count) < 0.5,
        held_out=np.zeros(count, bool),
    )


def inputs_of(kind: Kind, features: np.ndarray) -> np.ndarray:
    """What a utility is linear in, from the features (recipes, ingredients)."""
    if kind == "linear":
        return features
    left, right = np.triu_indices(features.shape[1])
    return np.hstack([np.ones_like(features[:, :1]), features[:, left] * features[:, right], features])


def fit_of(workload: Workload) -> Fit:
    """Draw a panel and prepare a fit of it."""
    draws = np.random.default_rng(0)
    panel = panel_of(workload, draws)
    block = schema.Model.model_validate({"utility": UTILITIES[workload.kind]})
    tasted = Tasted(panel.amounts, {}, np.ones(workload.recipes), 1)
    module = build_model(block, panel.ingredients, tasted, lambda: nnx.Rngs(params=0))
    model, parameters = Functional.split(module)
    draw = lambda leaf: jnp.asarray(draws.normal(0.0, 0.3, leaf.shape), leaf.dtype)
    objective = PanelObjective(panel, np.zeros(workload.customers, int), model, ("utility",), None, "mean_customers")
    constants = jax.block_until_ready(objective.constants({"model": parameters}))
    shape = (workload.customers, workload.responses)
    features = np.asarray(jax.vmap(module.features)(jnp.asarray(panel.amounts, jnp.float32)))
    return Fit(
        workload,
        objective,
        {"model": {"utility": jax.tree.map(draw, parameters["utility"])}},
        constants,
        features[panel.recipe].reshape(*shape, -1),
        inputs_of(workload.kind, features)[panel.recipe].reshape(*shape, PARAMETERS),
        panel.like.astype(np.float32).reshape(shape),
    )


class Ours:
    """`customer_gradients` of a fit."""

    def __init__(self, fit: Fit, keep_gradients: bool, reuse: bool) -> None:
        def run(spent: jax.Array | None, trained: Any, constants: Any) -> Result:
            found = customer_gradients(
                fit.objective, trained, constants, clip_norm=CLIP_NORM, keep_gradients=keep_gradients
            )
            return found.gradients, found.norms, Flat.of_one(trained).ravel_one(found.mean)

        # The array that is handed back is not read: kept as an argument, its memory becomes the result's.
        self.run = jax.jit(run, donate_argnums=0, keep_unused=True, compiler_options=compiler_options())
        self.fit, self.reuse = fit, reuse
        self.spent: jax.Array | None = None

    def __call__(self) -> Result:
        result = jax.block_until_ready(self.run(self.spent, self.fit.trained, self.fit.constants))
        if self.reuse:
            self.spent = result[0]
        return result


def loss_of(parameters: jax.Array, inputs: jax.Array, likes: jax.Array) -> jax.Array:
    """Mean loss of one customer, as one writes it without a framework."""
    return jnp.mean(jax.nn.softplus((1 - 2 * likes) * jnp.sum(inputs * parameters, axis=-1)))


def privacy_contenders(fit: Fit) -> Contenders:
    """jax-privacy's clipped gradients."""
    from jax_privacy.clipping import clipped_grad

    clipped = clipped_grad(
        loss_of,
        l2_clip_norm=CLIP_NORM,
        normalize_by=fit.workload.customers,
        batch_argnums=(1, 2),
        keep_batch_dim=False,
        return_grad_norms=True,
        microbatch_size=min(MICROBATCH, fit.workload.customers),
    )
    arrays = (fit.parameters, jnp.asarray(fit.inputs), jnp.asarray(fit.likes))

    def call(run: Callable[..., Any]) -> Result:
        mean, more = jax.block_until_ready(run(*arrays))
        return None, more.grad_norms, mean

    return {
        "jax-privacy": partial(call, jax.jit(clipped)),
        "jax-privacy, compiled likewise": partial(call, jax.jit(clipped, compiler_options=compiler_options())),
    }


def torch_contenders(fit: Fit, compiled: bool) -> Contenders:
    """PyTorch's gradients by sample: as its documentation writes them, and by hand."""
    import torch

    def by_hand(parameters: Any, inputs: Any, likes: Any) -> Result:
        gradients = torch.func.vmap(torch.func.grad(loss_by_hand), in_dims=(None, 0, 0))(parameters, inputs, likes)
        return clipped_by_torch(gradients)

    arrays = torch.tensor(np.asarray(fit.parameters)), torch.from_numpy(fit.inputs), torch.from_numpy(fit.likes)
    contenders: Contenders = {"torch": documented_torch(fit), "torch, by hand": partial(by_hand, *arrays)}
    if compiled:
        contenders["torch, compiled"] = partial(torch.compile(by_hand), *arrays)
    return contenders


def documented_torch(fit: Fit) -> Callable[[], Result]:
    """The way of PyTorch's documentation: a loss of the dict of parameters."""
    import torch

    utility, parameters = torch_utility(fit)

    def loss(parameters: Any, features: Any, likes: Any) -> Any:
        return torch.nn.functional.binary_cross_entropy_with_logits(utility(parameters, features), likes)

    features, likes = torch.from_numpy(fit.features), torch.from_numpy(fit.likes)
    by_customer = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))

    def run() -> Result:
        found = by_customer(parameters, features, likes)
        parts = [found[name].reshape(len(likes), -1) for name in sorted(found)]
        return clipped_by_torch(torch.hstack(parts) if len(parts) > 1 else parts[0])

    return run


def torch_utility(fit: Fit) -> tuple[Callable[[Any, Any], Any], dict[str, Any]]:
    """A customer's utilities (responses,) of the parameters and features, and the parameters."""
    import torch

    values = {name: torch.tensor(array) for name, array in fit.utility.items()}
    if fit.workload.kind == "linear":
        module = torch.nn.Linear(PARAMETERS, 1, bias=False)
        linear = lambda parameters, features: torch.func.functional_call(module, parameters, (features,))[:, 0]
        return linear, {"weight": values["weights"][None]}
    left, right = torch.triu_indices(3, 3)

    def quadratic(parameters: Any, features: Any) -> Any:
        products = features[:, left] * features[:, right]
        return features @ parameters["weights"] + products @ parameters["products"] + parameters["bias"]

    return quadratic, values


def loss_by_hand(parameters: Any, inputs: Any, likes: Any) -> Any:
    """Mean loss of one customer in the fewest operations."""
    import torch

    return torch.nn.functional.softplus((1 - 2 * likes) * (inputs @ parameters)).mean()


def clipped_by_torch(gradients: Any) -> Result:
    """Gradients (customers, parameters) with their norms and their clipped mean."""
    import torch

    norms = torch.linalg.vector_norm(gradients, dim=1)
    scale = (CLIP_NORM / norms.clamp_min(1e-30)).clamp_max(1.0)
    return gradients, norms, scale @ gradients / len(norms)


def installed(package: str) -> bool:
    """Whether a module can be imported."""
    return importlib.util.find_spec(package) is not None


def our_contenders(fit: Fit) -> Contenders:
    """`customer_gradients` in its three uses."""
    return {
        "optim": Ours(fit, keep_gradients=True, reuse=True),
        "optim, new array": Ours(fit, keep_gradients=True, reuse=False),
        "optim, no gradients": Ours(fit, keep_gradients=False, reuse=False),
    }


def contenders_of(fit: Fit) -> Contenders:
    """Those that the installed packages allow."""
    found = our_contenders(fit)
    if installed("torch"):
        found |= torch_contenders(fit, compiled=True)
    if installed("jax_privacy"):
        found |= privacy_contenders(fit)
    return found


def in_doubles(fit: Fit) -> Result:
    """The same by NumPy's formulas in double precision."""
    inputs, signs = fit.inputs.astype(float), 1 - 2 * fit.likes.astype(float)
    slopes = signs / (1 + np.exp(-signs * (inputs @ np.asarray(fit.parameters, float))))
    gradients = np.einsum("cr,crk->ck", slopes, inputs) / fit.workload.responses
    norms = np.linalg.norm(gradients, axis=1)
    return gradients, norms, np.minimum(1, CLIP_NORM / norms) @ gradients / len(norms)


def greatest_difference(result: Result, expected: Result) -> float:
    """The greatest difference of any number that both give."""
    pairs = [(one, other) for one, other in zip(result, expected, strict=True) if one is not None]
    return max(float(np.abs(np.asarray(one, float) - np.asarray(other)).max()) for one, other in pairs)


def differences(fit: Fit, contenders: Contenders) -> dict[str, float]:
    """How far each contender is from the formulas; one that cannot run is taken out."""
    expected = in_doubles(fit)
    found = {}
    for name, contender in list(contenders.items()):
        try:
            found[name] = greatest_difference(contender(), expected)
        except Exception as error:
            if name != "torch, compiled":  # it needs a C++ compiler, and may lack one
                raise
            print(f"torch.compile does not work here: {type(error).__name__}")
            del contenders[name]
    return found


def race(contenders: Contenders, rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender, one figure a round; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in contenders if number % 2 == 0 else reversed(contenders):
            began = time.perf_counter()
            result = contenders[name]()
            seconds[name].append(time.perf_counter() - began)
            del result
    return seconds


def peak_megabytes(contender: Callable[[], Result]) -> float | None:
    """By how much a call raises the resident memory at most; None where Linux does not tell."""
    if sys.platform != "linux":
        return None
    if isinstance(contender, Ours):
        contender.spent = None
    gc.collect()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    contender()
    return _resident("VmHWM") - before


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def rows_of(seconds: dict[str, list[float]], peaks: dict[str, float | None]) -> list[list[str]]:
    """Rows of the table: each contender, and how much faster `optim` is where it gives as much."""
    rows = []
    for name, times in seconds.items():
        row = [name, f"{1e3 * statistics.median(times):.1f}", "" if peaks[name] is None else f"{peaks[name]:,.0f}"]
        if not name.startswith("optim"):
            ours = seconds["optim, no gradients" if name.startswith("jax-privacy") else "optim"]
            ratios = [theirs / own for theirs, own in zip(times, ours, strict=True)]
            median = statistics.median(ratios)
            row += [f"{median:.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"]
            if name == "torch":
                row += [f"at least {WANTED:g}", "holds" if median >= WANTED else "MISSED"]
        rows.append(row)
    return rows


def machine() -> str:
    """What the figures were measured on."""
    packages = {"jax": "jax", "torch": "torch", "jax-privacy": "jax_privacy"}
    versions = [f"{name} {metadata.version(name)}" for name, module in packages.items() if installed(module)]
    missing = [f"{name} is not installed" for name, module in packages.items() if not installed(module)]
    threads = ""
    if installed("torch"):
        import torch

        threads = f"; torch uses {torch.get_num_threads()} threads"
    return f"{platform.machine()}, {jax.default_backend()}; {', '.join(versions + missing)}{threads}"


def main() -> None:
    """Measure, and print a table for each workload."""
    parser = argparse.ArgumentParser(description="How fast customers' gradients are. The file's head says what is run.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the customers, three rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each race (default: 9, or 3 with --quick)")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 9)
    console = Console()
    if not console.is_terminal:
        console.width = 110
    console.print(machine(), highlight=False)
    for workload in workloads(100_000 if options.quick else 1_000_000):
        fit = fit_of(workload)
        contenders = contenders_of(fit)
        found = differences(fit, contenders)
        worst = max(found.values())
        console.print(f"{workload.name}: all differ by at most {worst:.1g} from the formulas in double precision")
        if not worst < 1e-5:
            sys.exit(f"the contenders do not compute the same: {found}")
        peaks = {name: peak_megabytes(contender) for name, contender in contenders.items()}
        race(contenders, 1)
        title = f"{workload.customers:,} customers, {workload.name} each, {PARAMETERS} parameters"
        table = Table("", "ms", "peak, MB", "ratio", "rounds", "wanted", "", title=title)
        for row in rows_of(race(contenders, rounds), peaks):
            table.add_row(*row)
        console.print(table)


if __name__ == "__main__":
    main()
