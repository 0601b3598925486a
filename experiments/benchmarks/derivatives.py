"""What the derivatives cost, and how exact they are: fixed points, Hessian products, Jacobians, log(1 + eᵗ).

    pip install optimistix                                        (without it, no such rows)
    python experiments/benchmarks/derivatives.py                  (about 2 minutes on 2 cores)
    python experiments/benchmarks/derivatives.py --quick          (about 40 s: fewer sizes and functions)

- Fixed points: value and gradient, forward gradient and Hessian of a score of the fixed point, of the dough
  m = a m + b and of x = tanh(A x + B p), whose A couples neighbours and is never a matrix. Against `optim.autodiff`:
  a `lax.scan` of as many iterations, differentiated step by step, which has to be told how many; and optimistix to the
  same tolerance, its linear systems solved as it does by default (it builds the matrix) and by the GMRES of lineax.
  Errors are against central finite differences of sixth order, of a plain iteration that is run for twice as long.
- Hessian product: a score of 100,000 amounts, against the cost of its gradient, and against the ways of writing it by
  hand.
- Jacobian: forward against reverse mode over shapes, and where `auto` chose the slower one. Four functions: matrix
  products with tanh between them; a chain of elementwise steps that couple neighbours; sums over the inputs of a
  nonlinear function of each, whose constants lie in memory input by input, or output by output.
- log(1 + eᵗ): value and gradient against `jax.nn.softplus`, and the errors of the derivatives.

The first two are in float64, the other two in float32. Contenders take turns in one process, after all were shown to
compute the same (if optimistix doesn't, its error shows it). A ratio is taken within a round, and the tables show
medians. Memory is what the compiled program sets aside for intermediate results.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from rich.table import Table

from optim.autodiff import chosen_mode, derivatives, fixed_point, hvp, jacobian, log1pexp
from optim.autodiff.matrices import REVERSE_FROM, Mode
from racing import Figures, Ratios, console, installed, machine, take_turns

TOLERANCE = 1e-12
LARGEST_MEGABYTES = 500.0  # a program that sets aside more is not run
LONG_ENOUGH = 0.02  # seconds; calls that take less are repeated within a round
SAME = 1.05  # a ratio nearer to 1 is within the noise
VARIABLES = 100_000

Scalar = Callable[[Array], Array]


@dataclass(frozen=True)
class Program:
    """A contender, compiled for its point."""

    name: str
    run: Callable[[], Any]
    megabytes: float
    compilation: float
    """Seconds."""


@dataclass(frozen=True)
class NotRun:
    """A contender that can't be run, and why."""

    name: str
    why: str


def compiled(name: str, f: Callable[..., Any], *point: Any) -> Program:
    """Compile a function for a point."""
    began = time.perf_counter()
    program = jax.jit(f).lower(*point).compile()
    seconds = time.perf_counter() - began
    memory = program.memory_analysis()
    megabytes = memory.temp_size_in_bytes / 1e6 if memory else math.nan
    return Program(name, lambda: jax.block_until_ready(program(*point)), megabytes, seconds)


def attempted(name: str, f: Callable[..., Any], *point: Any) -> Program | NotRun:
    """The same for another package, whose error is its result."""
    try:
        program = compiled(name, f, *point)
        if program.megabytes > LARGEST_MEGABYTES:
            return NotRun(name, f"not run: it would set aside {program.megabytes:,.0f} MB")
        program.run()
    except Exception as error:
        return NotRun(name, f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
    return program


def race(programs: list[Program], rounds: int) -> Figures:
    """Seconds of a call of each contender."""
    repeats = {each.name: max(1, round(LONG_ENOUGH / min(timed(each, 1) for _ in range(2)))) for each in programs}
    return take_turns({each.name: partial(timed, each, repeats[each.name]) for each in programs}, rounds)


def timed(program: Program, repeats: int) -> float:
    """Seconds of a call."""
    began = time.perf_counter()
    for _ in range(repeats):
        program.run()
    return (time.perf_counter() - began) / repeats


def relative_error(found: Any, expected: Any) -> float:
    """Greatest difference of any number, relative to the largest one of its array; the worst array counts."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in pairs)


def ratio_text(others: list[float], ours: list[float]) -> list[str]:
    """Median and range of the ratios within a round, and whether `optim` loses by more than timing can tell."""
    ratios = Ratios.within_rounds(others, ours)
    return [*ratios.cells(".3g"), "LOSES" if ratios.median < 1 / SAME else ""]


@dataclass(frozen=True)
class Contraction:
    """A fixed point x = update(p, x), and a score of it."""

    name: str
    update: Callable[[Array, Array], Array]
    start: Array
    params: Array
    score: Scalar


def dough() -> Contraction:
    """Maturity of a dough, which keeps 0.75 of it an hour and gains 10."""
    return Contraction("dough", lambda p, m: p[0] * m + p[1], jnp.zeros(()), jnp.array([0.75, 10.0]), lambda m: m)


def coupled(components: int) -> Contraction:
    """x = tanh(A x + B p) with two parameters; each component is coupled to its two neighbours."""
    draws = np.random.default_rng(0)
    left, right = (jnp.asarray(draws.uniform(0.2, 0.5, components)) for _ in range(2))
    inputs = jnp.asarray(draws.normal(0.0, 0.5, (components, 2)))

    def update(params: Array, x: Array) -> Array:
        return jnp.tanh(left * jnp.roll(x, 1) + right * jnp.roll(x, -1) + inputs @ params)

    params = jnp.array([0.4, -0.7])
    return Contraction(f"{components:,} components", update, jnp.zeros(components), params, lambda x: jnp.mean(x**2))


def iterations_of(problem: Contraction) -> int:
    """Iterations that `optim` takes."""
    _, convergence = fixed_point(problem.update, problem.params, problem.start, tol=TOLERANCE)
    assert convergence.converged
    return int(convergence.iterations)


def unrolled(problem: Contraction, iterations: int) -> Scalar:
    """The score after so many iterations."""

    def value(params: Array) -> Array:
        advance = lambda x, _: (problem.update(params, x), None)
        return problem.score(lax.scan(advance, problem.start, length=iterations)[0])

    return value


def with_optimistix(problem: Contraction, adjoint: Any) -> Scalar:
    """The score by optimistix."""
    import optimistix

    def value(params: Array) -> Array:
        solver = optimistix.FixedPointIteration(rtol=TOLERANCE, atol=TOLERANCE)
        update = lambda x, params: problem.update(params, x)
        return problem.score(
            optimistix.fixed_point(update, solver, problem.start, params, max_steps=1000, adjoint=adjoint).value
        )

    return value


def values_of(problem: Contraction, iterations: int) -> dict[str, Scalar]:
    """The score as a function of the parameters, by every contender whose package is installed."""
    values = {
        "optim": lambda p: problem.score(fixed_point(problem.update, p, problem.start, tol=TOLERANCE)[0]),
        "unrolled": unrolled(problem, iterations),
    }
    if installed("optimistix"):
        import lineax
        import optimistix

        values["optimistix"] = with_optimistix(problem, optimistix.ImplicitAdjoint())
        if problem.start.size > 1:
            gmres = lineax.GMRES(rtol=TOLERANCE, atol=TOLERANCE)
            values["optimistix, GMRES"] = with_optimistix(problem, optimistix.ImplicitAdjoint(gmres))
    return values


QUANTITIES: dict[str, Callable[[Scalar], Callable[[Array], Any]]] = {
    "value and gradient": jax.value_and_grad,
    "forward gradient": jax.jacfwd,
    "Hessian": jax.hessian,
}


def finite_differences(f: Scalar, params: Array) -> dict[str, Any]:
    """All quantities by central differences of sixth order, of values alone."""
    step = 2e-3
    places = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]) * step
    weights = np.array([-1.0, 9.0, -45.0, 45.0, -9.0, 1.0]) / 60 / step
    moves = places[:, None, None] * np.eye(len(params))  # (place, parameter, component)
    many = jax.jit(lambda points: lax.map(f, points))  # one by one: all at once would not fit into a cache

    def at(shifts: np.ndarray) -> np.ndarray:
        points = np.asarray(params) + shifts
        return np.asarray(many(jnp.asarray(points.reshape(-1, len(params))))).reshape(points.shape[:-1])

    gradient = np.einsum("k,ki->i", weights, at(moves))
    bends = np.einsum("k,l,kilj->ij", weights, weights, at(moves[:, :, None, None] + moves))
    return {
        "value and gradient": (np.asarray(f(params)), gradient),
        "forward gradient": gradient,
        "Hessian": bends,
    }


def fixed_point_programs(
    problem: Contraction, iterations: int, values: dict[str, Scalar]
) -> Iterator[tuple[str, list[Program | NotRun], dict[str, float]]]:
    """Each quantity with the contenders compiled for it, and the errors of those that run."""
    expected = finite_differences(unrolled(problem, 2 * iterations), problem.params)
    for quantity, differentiate in QUANTITIES.items():
        programs = [
            (attempted if name.startswith("optimistix") else compiled)(name, differentiate(value), problem.params)
            for name, value in values.items()
        ]
        running = [each for each in programs if isinstance(each, Program)]
        yield quantity, programs, {each.name: relative_error(each.run(), expected[quantity]) for each in running}


def fixed_point_table(problem: Contraction, rounds: int) -> Table:
    """What the derivatives of a fixed point cost."""
    iterations = iterations_of(problem)
    title = f"Fixed point, {problem.name}: {iterations} iterations"
    table = Table("", "compile, s", "µs", "MB", "error", "ratio", "rounds", "", title=title)
    for quantity, programs, errors in fixed_point_programs(problem, iterations, values_of(problem, iterations)):
        agree({name: errors[name] for name in ("optim", "unrolled")}, 1e-7)
        seconds = race([each for each in programs if isinstance(each, Program)], rounds)
        for each in programs:
            table.add_row(*fixed_point_row(quantity, each, errors, seconds))
        table.add_section()
    return table


def fixed_point_row(quantity: str, program: Program | NotRun, errors: dict[str, float], seconds: Figures) -> list[str]:
    """A row of the table; the ratio is how much faster `optim` is."""
    name = f"{quantity}: {program.name}"
    if isinstance(program, NotRun):
        return [name, "", "", "", "", "", program.why, ""]
    times = seconds[program.name]
    figures = [f"{program.compilation:.1f}", f"{1e6 * statistics.median(times):,.0f}", f"{program.megabytes:,.2f}"]
    figures.append(f"{errors[program.name]:.0e}")
    return [name, *figures, *([] if program.name == "optim" else ratio_text(times, seconds["optim"]))]


def shop(variables: int) -> Scalar:
    """A score of many amounts: tastes that saturate, costs, neighbours that interact, and a total to be met."""
    draws = np.random.default_rng(1)
    taste, cost, together, shares = (jnp.asarray(draws.uniform(0.1, 1.0, variables)) for _ in range(4))

    def score(amounts: Array) -> Array:
        alone = jnp.sum(taste * jnp.log1p(amounts) - cost * amounts**1.2)
        pairs = jnp.sum(together * jnp.sin(amounts * jnp.roll(amounts, 1)))
        return alone + pairs - (jnp.mean(shares * amounts) - 1.0) ** 2

    return score


def product_programs(variables: int) -> tuple[Program, list[Program], dict[str, float]]:
    """The gradient, the contenders for the Hessian's product with a direction, and their errors."""
    score = shop(variables)
    draws = np.random.default_rng(2)
    amounts, direction = jnp.asarray(draws.uniform(0.5, 2.0, variables)), jnp.asarray(draws.normal(size=variables))
    gradient = jax.grad(score)
    products = {
        "optim": lambda x, v: hvp(score, x, v),
        "jax.jvp of jax.grad": lambda x, v: jax.jvp(gradient, (x,), (v,))[1],
        "jax.grad of gradient · direction": lambda x, v: jax.grad(lambda x: jnp.vdot(gradient(x), v))(x),
    }
    programs = [compiled(name, f, amounts, direction) for name, f in products.items()]
    near = jax.jit(lambda steps: gradient(amounts + 1e-3 * steps * direction))
    expected = sum(w * (near(k) - near(-k)) for k, w in ((1, 45), (2, -9), (3, 1))) / 60e-3
    errors = {each.name: relative_error(each.run(), expected) for each in programs}
    return compiled("gradient", gradient, amounts), programs, errors


def product_table(rounds: int) -> Table:
    """What a product costs."""
    gradient, programs, errors = product_programs(VARIABLES)
    agree(errors, 1e-8)
    seconds = race([gradient, *programs], rounds)
    title = f"Hessian product, {VARIABLES:,} variables; the Hessian would take {8 * VARIABLES**2 / 1e9:,.0f} GB"
    table = Table("", "µs", "MB", "error", "in gradients", "ratio", "rounds", "", title=title)
    for each in [gradient, *programs]:
        times = seconds[each.name]
        cost = Ratios.within_rounds(times, seconds["gradient"]).median
        row = [each.name, f"{1e6 * statistics.median(times):,.0f}", f"{each.megabytes:,.2f}"]
        row += [f"{errors[each.name]:.0e}", f"{cost:.2f}"] if each.name in errors else []
        table.add_row(*row, *(ratio_text(times, seconds["optim"]) if each in programs[1:] else []))
    return table


def matrix_products(inputs: int, outputs: int) -> Callable[[Array], Array]:
    """Matrix products with tanh between them."""
    draws = np.random.default_rng(3)
    first, second = (
        jnp.asarray(draws.normal(0, n**-0.5, (m, n)), jnp.float32) for m, n in ((256, inputs), (outputs, 256))
    )
    return lambda x: jnp.tanh(second @ jnp.tanh(first @ x))


def elementwise_chain(inputs: int, outputs: int) -> Callable[[Array], Array]:
    """Steps in which each number depends on itself and a neighbour."""
    width = max(inputs, outputs)
    scales = jnp.asarray(np.random.default_rng(4).uniform(0.5, 1.5, (4, width)), jnp.float32)

    def f(x: Array) -> Array:
        x = jnp.resize(x, (width,))
        for scale in scales:
            x += jnp.sin(scale * x * jnp.roll(x, 1))
        return x[:outputs]

    return f


def sums_by_input(inputs: int, outputs: int) -> Callable[[Array], Array]:
    """Sums of a nonlinear function of each input; the terms of an output lie side by side in memory."""
    scales = jnp.asarray(np.random.default_rng(5).uniform(0.5, 1.5, (outputs, inputs)), jnp.float32)
    return lambda x: jnp.sum(jnp.exp(jnp.sin(scales * x)), axis=1)


def sums_by_output(inputs: int, outputs: int) -> Callable[[Array], Array]:
    """The same, where the terms of an input lie side by side."""
    scales = jnp.asarray(np.random.default_rng(5).uniform(0.5, 1.5, (inputs, outputs)), jnp.float32)
    return lambda x: jnp.sum(jnp.exp(jnp.sin(scales * x[:, None])), axis=0)


FAMILIES = {
    "matrix products": matrix_products,
    "elementwise chain": elementwise_chain,
    "sums, by input": sums_by_input,
    "sums, by output": sums_by_output,
}
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 4.0)


def jacobian_programs(family: str, inputs: int, outputs: int) -> list[Program]:
    """Both modes of a Jacobian."""
    f = FAMILIES[family](inputs, outputs)
    point = jnp.linspace(-1, 1, inputs, dtype=jnp.float32)
    modes: tuple[Mode, ...] = ("forward", "reverse")
    return [compiled(mode, jacobian(f, mode), point) for mode in modes]


def crossover(forward_over_reverse: list[float]) -> str:
    """Inputs for each output at which both modes take the same time, interpolated in logarithms."""
    points = list(zip(np.log(RATIOS), np.log(forward_over_reverse), strict=True))
    found = [
        f"{math.exp(r - t * (next_r - r) / (next_t - t)):.2g}"
        for (r, t), (next_r, next_t) in pairwise(points)
        if t <= 0 < next_t
    ]
    return " and ".join(found) or (f"above {RATIOS[-1]:g}" if points[-1][1] <= 0 else f"below {RATIOS[0]:g}")


def jacobian_row(family: str, outputs: int, rounds: int) -> list[str]:
    """Forward over reverse for each shape, where they cross, and the shape at which `auto` lost most."""
    medians, losses = [], []
    for inputs in (round(ratio * outputs) for ratio in RATIOS):
        programs = jacobian_programs(family, inputs, outputs)
        forward, reverse = (each.run().values for each in programs)
        agree({"the other mode": relative_error(forward, np.asarray(reverse))}, 1e-5)
        seconds = race(programs, rounds)
        medians.append(Ratios.within_rounds(seconds["forward"], seconds["reverse"]).median)
        chosen = chosen_mode(inputs, outputs)
        taken = 1e6 * statistics.median(seconds[chosen])
        loss = medians[-1] if chosen == "forward" else 1 / medians[-1]
        losses.append((loss, f"{loss:.2f} at {inputs}×{outputs}: {taken:,.0f} for {taken / loss:,.0f} µs"))
    worst, text = max(losses)
    cells = [f"{median:.2f}{'*' if loss > SAME else ''}" for median, (loss, _) in zip(medians, losses, strict=True)]
    return [f"{family}, {outputs}", *cells, crossover(medians), text if worst > SAME else "none"]


def jacobian_table(families: list[str], sizes: tuple[int, ...], rounds: int) -> Table:
    """Both modes over shapes."""
    title = (
        "Jacobian: time of forward over that of reverse mode, by inputs for each output.\n"
        f"auto takes reverse mode beyond {REVERSE_FROM}; * where that was the slower one"
    )
    headings = [f"{ratio:g}" for ratio in RATIOS]
    table = Table("function, outputs", *headings, "equal at", "greatest loss of auto", title=title)
    for family in families:
        for outputs in sizes:
            table.add_row(*jacobian_row(family, outputs, rounds))
    return table


SOFTPLUSES: dict[str, Callable[[Any], Any]] = {"optim": log1pexp, "jax.nn.softplus": jax.nn.softplus}


def softplus_errors(f: Callable[[Any], Any]) -> list[float]:
    """Greatest relative error of derivatives 1 to 4 in float32 from −80 to 80, against their formulas in float64."""
    t = np.linspace(-80, 80, 4001, dtype=np.float32)
    exact = t.astype(float)
    sigma, tail = 1 / (1 + np.exp(-exact)), 1 / (1 + np.exp(exact))
    slope = sigma * tail
    expected = np.stack([sigma, slope, slope * (tail - sigma), slope * (1 - 6 * slope)])
    found = np.asarray(jax.jit(derivatives(f, 4))(t), float)
    some = expected != 0
    errors = np.where(some, np.abs(found - expected) / np.where(some, np.abs(expected), 1), np.abs(found))
    return list(errors.max(axis=1))


def softplus_table(rounds: int) -> Table:
    """What the rules of our own cost, and what they give."""
    points = jnp.linspace(-30, 30, 1_000_000, dtype=jnp.float32)
    programs = [
        compiled(name, jax.value_and_grad(lambda t, f=f: jnp.mean(f(t))), points) for name, f in SOFTPLUSES.items()
    ]
    results = [each.run() for each in programs]
    agree({"log1pexp": relative_error(results[0], [np.asarray(leaf) for leaf in results[1]])}, 1e-5)
    seconds = race(programs, rounds)
    title = "log(1 + eᵗ): value and gradient of 1,000,000 numbers, and greatest relative errors of derivatives"
    table = Table("", "µs", "ratio", "rounds", "", "first", "second", "third", "fourth", title=title)
    for name, f in SOFTPLUSES.items():
        ratios = ratio_text(seconds[name], seconds["optim"]) if name != "optim" else [""] * 3
        errors = [f"{error:.0e}" for error in softplus_errors(f)]
        table.add_row(name, f"{1e6 * statistics.median(seconds[name]):,.0f}", *ratios, *errors)
    return table


def agree(errors: dict[str, float], within: float) -> None:
    """End the benchmark if a contender computes something else."""
    if not all(error <= within for error in errors.values()):
        sys.exit(f"the contenders do not compute the same: {errors}")


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description="What the derivatives cost. The file's head says what is measured.")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and functions, three rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each race (default: 9, or 3 with --quick)")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 9)
    jax.config.update("jax_enable_x64", True)
    out = console(120)
    out.print(machine("jax", "optimistix", "lineax"), highlight=False)
    for problem in (dough(), *map(coupled, [1_000] if options.quick else [16, 1_000, 10_000])):
        out.print(fixed_point_table(problem, rounds))
    out.print(product_table(rounds))
    families = list(FAMILIES)
    out.print(
        jacobian_table(families[:2] if options.quick else families, (64,) if options.quick else (64, 128), rounds)
    )
    out.print(softplus_table(rounds))


if __name__ == "__main__":
    main()
