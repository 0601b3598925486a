"""How fast a million customers' own gradients are: against `torch.func` and jax-privacy, and in how much memory.

    pip install -e ".[benchmark]"                                 (torch and jax-privacy; without them, no such rows)
    python experiments/benchmarks/customer_gradients.py           (about 2 minutes on 2 cores)
    python experiments/benchmarks/customer_gradients.py --quick   (a tenth of the customers, three rounds)

1,000,000 customers, 10 parameters, float32. Each contender gives every customer's gradient, its norm, and the mean of
the gradients clipped by customer. Four workloads, of which three are a logistic likelihood, differentiated over all of
a customer's responses:

- linear utility, one response each: 10 weights; each customer has tasted a recipe of their own;
- linear utility, eight responses each: the same; each customer has tasted eight of 1,000 recipes;
- quadratic utility, eight responses each: three ingredients, hence 3 weights, 6 products and a bias; the same tasting;
- recipe, a target each: the parameters are 10 amounts, from which a polynomial in their fractions (Scheffé's, of degree
  2) gives two properties; each customer wants both at values of their own, and loses by the squares of what is missed.

Contenders:

- optim: `customer_gradients` on the panel as a fit holds it, or on the audience as a bake does, compiled as `optim`
  compiles a stage. As a loop over updates would, it hands the array of the last result back to be reused; "new array"
  does not. Of the recipe it differentiates what all customers share, the properties, once and not for each customer;
- torch: `torch.func.vmap(torch.func.grad(loss))` in the way of PyTorch's own documentation, on all cores. For the
  likelihood: parameters in a dict, the utility as a module or as one would write its formula,
  `binary_cross_entropy_with_logits`; the features of each response lie ready in a tensor. For the recipe: the loss as
  one would write its formula, a customer's targets the batched argument. This is the row of which a ratio is wanted;
- torch, by hand: the fastest writing that we know of, so that a ratio to it is the soberer measure of `optim`. For the
  likelihood: the same transformation of one vector of parameters, one product with features that are laid ready (the
  quadratic utility is linear in its 10: a constant, products, ingredients) and one softplus. For the recipe: the
  Jacobian of the properties once, by `torch.func.jacrev`, and a product with what each customer misses;
- torch, compiled: the writing by hand, where `torch.compile` works: torch at its fastest. Eight responses are compiled
  as any number of them, which is far quicker. For the recipe the product is written as a sum over the properties, which
  becomes part of one loop: two thirds of the time of the matrix product compiled, and less than a twentieth of that of
  the documented way compiled;
- jax-privacy: `clipped_grad` of the loss by hand (of the recipe: as by the formula) in microbatches. It gives norms and
  mean but no gradients, so that it is compared with `optim` without them; compiled by XLA's own options and by those
  that `optim` sets.

They take turns in one process, after all were shown to compute the same; a ratio is taken within a round, and the table
shows medians. Memory is the greatest resident memory of a call, its result included, less what was there before.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich.table import Table

from cake_workload import cake_workload
from customer_contenders import (
    Contenders,
    Ours,
    Result,
    Workload,
    in_doubles,
    our_contenders,
    privacy_contenders,
    torch_contenders,
)
from panel_workload import LINEAR, QUADRATIC, panel_workload
from racing import Figures, Ratios, console, installed, machine, take_turns

PARAMETERS = 10
WANTED = 5.0

WORKLOADS: dict[str, Callable[[int], Workload]] = {
    "linear utility, one response each": lambda customers: panel_workload(LINEAR, customers, 1, recipes=customers),
    "linear utility, eight responses each": lambda customers: panel_workload(LINEAR, customers, 8, recipes=1_000),
    "quadratic utility, eight responses each": lambda customers: panel_workload(QUADRATIC, customers, 8, recipes=1_000),
    "recipe, a target each": cake_workload,
}
"""From the number of customers."""


def contenders_of(workload: Workload) -> Contenders:
    """Those that the installed packages allow."""
    found = our_contenders(workload)
    if installed("torch"):
        found |= torch_contenders(workload)
    if installed("jax-privacy"):
        found |= privacy_contenders(workload)
    return found


def greatest_difference(result: Result, expected: Result) -> float:
    """The greatest difference of any number that both give."""
    pairs = [(one, other) for one, other in zip(result, expected, strict=True) if one is not None]
    return max(float(np.abs(np.asarray(one, float) - np.asarray(other)).max()) for one, other in pairs)


def differences(workload: Workload, contenders: Contenders) -> dict[str, float]:
    """How far each contender is from the formulas; one that cannot run is taken out."""
    expected = in_doubles(workload)
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


def seconds_of(contender: Callable[[], Result]) -> float:
    """Seconds of a call."""
    began = time.perf_counter()
    _result = contender()  # held, so that the time does not include freeing it
    return time.perf_counter() - began


def race(contenders: Contenders, rounds: int) -> Figures:
    """Seconds of a call of each contender."""
    return take_turns({name: partial(seconds_of, contender) for name, contender in contenders.items()}, rounds)


def peak_megabytes(contender: Callable[[], Result]) -> float | None:
    """By how much a call raises the resident memory at most; None where Linux does not tell."""
    if sys.platform != "linux":
        return None
    if isinstance(contender, Ours):
        contender.spent = None
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)  # else a call may do with what was freed before and is still resident
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    contender()
    return max(0.0, _resident("VmHWM") - before)


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def rows_of(seconds: Figures, peaks: dict[str, float | None]) -> list[list[str]]:
    """Rows of the table: each contender, and how much faster `optim` is where it gives as much."""
    rows = []
    for name, times in seconds.items():
        row = [name, f"{1e3 * statistics.median(times):.1f}", "" if peaks[name] is None else f"{peaks[name]:,.0f}"]
        if not name.startswith("optim"):
            ours = seconds["optim, no gradients" if name.startswith("jax-privacy") else "optim"]
            ratios = Ratios.within_rounds(times, ours)
            row += ratios.cells(".2f")
            if name == "torch":
                row += ratios.verdict(WANTED)
        rows.append(row)
    return rows


def table_of(title: str, contenders: Contenders, rounds: int) -> Table:
    """What each contender takes, in memory and in time."""
    peaks = {name: peak_megabytes(contender) for name, contender in contenders.items()}
    race(contenders, 1)
    table = Table("", "ms", "peak, MB", "ratio", "rounds", "wanted", "", title=title)
    for row in rows_of(race(contenders, rounds), peaks):
        table.add_row(*row)
    return table


def threads() -> str:
    """How many threads torch uses."""
    if not installed("torch"):
        return ""
    import torch

    return f"; torch uses {torch.get_num_threads()} threads"


def main() -> None:
    """Measure, and print a table for each workload."""
    parser = argparse.ArgumentParser(description="How fast customers' gradients are. The file's head says what is run.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the customers, three rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each race (default: 9, or 3 with --quick)")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 9)
    customers = 100_000 if options.quick else 1_000_000
    out = console(110)
    out.print(machine("jax", "torch", "jax-privacy") + threads(), highlight=False)
    for name, workload_of in WORKLOADS.items():
        workload = workload_of(customers)
        contenders = contenders_of(workload)
        found = differences(workload, contenders)
        worst = max(found.values())
        out.print(f"{name}: all differ by at most {worst:.1g} from the formulas in double precision")
        if not worst < 1e-5:
            sys.exit(f"the contenders do not compute the same: {found}")
        out.print(table_of(f"{customers:,} customers, {name}, {PARAMETERS} parameters", contenders, rounds))


if __name__ == "__main__":
    main()
