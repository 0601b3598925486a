"""Every derivative that the framework delivers, S1 to S22: our figure beside the source's, and a tour of the calls.

    python experiments/derivative_course.py                   (about 15 seconds on 2 cores; the table, and pictures)
    python experiments/derivative_course.py --row S7          (one section: its code, what it shows, all its figures)
    python experiments/derivative_course.py --no-pictures     (the table alone)

The source is the tutorial that this project grew out of: JAX's automatic differentiation, told as baking a cake.
All 22 rows should agree: each of our figures a lies within 1e-6 + 1e-5 |b| of the source's b, and what is claimed
beyond the figures holds. The exit code is 1 if a row disagrees or fails. The source printed its figures in float32, and
so they are computed here. The pictures are

- landscape.png: deliciousness over sugar and flour, with the paths of a run from four starting recipes;
- yeast.png: the activity of yeast and its derivatives to the fourth, and its activity by temperature;
- customers.png: the gradients of 400 customers, each with targets of their own, before and after clipping.

The ingredients are butter, eggs, flour and sugar; a section is a function whose first line says what it is about.
"""

from __future__ import annotations

import argparse
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from rich.console import Console, Group
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from optim import autodiff
from optim.autodiff import Labelled
from optim.autodiff.matrices import Mode
from optim.config.schema import Bake, Config
from optim.data.panel import Panel
from optim.losses.audience import Audience, everyone
from optim.losses.cake import CakeConstants, CakeObjective
from optim.losses.customers import CustomerGradients, customer_gradients
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import batch_loss
from optim.losses.scores import build_score
from optim.models.build import build_model
from optim.models.features import FeatureMap
from optim.models.functional import Functional
from optim.models.likelihood import LikelihoodModel
from optim.models.links import Logit
from optim.models.processes import (
    Yeast,
    dough_maturity,
    flavour_stability,
    smooth_process,
    tricky_process,
    vibration_score,
    yeast_activity,
)
from optim.models.properties import Bakery
from optim.models.space import build_space
from optim.models.utilities import LinearUtility
from optim.study.stage import Stage, initial_state
from optim.study.study import build_study
from optim.train.loop import Loop
from optim.train.program import ChunkRecord
from optim.train.sinks import NoSinks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Figures = Mapping[str, Any]
"""Numbers, vectors and matrices by name; a complex number counts as its real and its imaginary part."""

INGREDIENTS = ("butter", "eggs", "flour", "sugar")
START = (1.0, 3.0, 2.0, 1.5)
CAKES = ((0.8, 0.9, -0.5), (0.7, 0.8, -0.4), (0.3, 0.4, -0.8), (0.9, 0.7, -0.3))
LIKED = (True, True, False, True)
CUSTOMERS = {"Ada": 9.5, "Ben": 10.0, "Cleo": 10.5, "Dan": 9.8}  # the sweetness that each wants
VIBRATION = 2.0 + 1.0j

JACOBIAN = ((0.1, 0, -0.2, 4.0), (0.2, 1.6666667, 0, 0), (0.6, 0.5, 0.41986483, 0.5727589))
SCORE_GRADIENT = (-0.1525816, -0.91666603, -0.66476905, 8.810353)
HESSIAN = (
    (-0.16000001, -0.6666667, 0.04, -0.8),
    (-0.6666667, -5.555556, 0, 0),
    (0.04, 0, 0.33049622, 1.6),
    (-0.8, 0, 1.6, -35.657787),
)
OF_CUSTOMERS = (
    (-0.12741832, 0, 0.25483665, -5.096733),
    (-0.22741833, 0, 0.45483667, -9.096733),
    (-0.32741833, 0, 0.65483665, -13.096733),
    (-0.18741837, 0, 0.37483674, -7.4967346),
)
LIKELIHOOD = {"W": (-0.05690404, 0.03078762, -0.52113414), "b": 0.45482203}

SOURCE: dict[str, Figures] = {
    "S1": {"slope": 0.07065082},
    "S2": {"derivatives": (4.0, 10.0, 6.0, 0.0)},
    "S3": LIKELIHOOD,
    "S4": LIKELIHOOD,
    "S5": {"loss": 2.2477274, **LIKELIHOOD},
    "S6": {"properties": (8.862908, 5.2, 3.714068)},
    "S7": {"chosen": JACOBIAN, "reverse": JACOBIAN},
    "S8": {"change": (0.40999997, 0, 0.03628265)},
    "S9": {"pull": (0, -0.16666667, -0.04, 0.8)},
    "S10": {"gradient": SCORE_GRADIENT, "Hessian": HESSIAN},
    "S11": {"product": (0.03933334, 1.0444444, 0.18052481, -3.5657785)},
    "S12": {"held": (-0.04000015, -0.3333346, 0, 0), "moving": (0.06000023, -0.13333383, -0.02000008, 0)},
    "S13": {"gradients": OF_CUSTOMERS},
    "S14": {"jax.grad": (-1, 2)},
    "S15": {"value": (5, 5), "derivative": (5, 2)},
    "S16": {"misleading": (1, 0), "Jacobian": ((1, 0), (0, -1))},
    "S17": {"stability": 10.0, "slope": 6.0},
    "S18": {"slope": 1.0},
    "S19": {"clipped": (-0.1, *SCORE_GRADIENT[1:])},
    "S20": {"maturity": 40.0, "gradient": (160.0, 4.0), "Hessian": ((1280.0, 16.0), (16.0, 0.0))},
}
"""What the source printed; it has no figures for S21 and S22."""


@dataclass(frozen=True)
class Result:
    """What a section finds.

    Attributes:
        figures: to be compared with the source's.
        claims: what is so beyond the figures, and whether it is.
        shown: what the tour prints.
        beside: what the figures are compared with where the source has none.
    """

    figures: Figures = field(default_factory=dict)
    claims: Mapping[str, bool] = field(default_factory=dict)
    shown: object = ""
    beside: Figures | None = None


# What the sections share: the starting recipe, its properties, and a bake as a config describes it.


def recipe() -> Labelled:
    """The starting recipe."""
    return Labelled.vector(INGREDIENTS, START)


def properties(recipe: Labelled) -> Labelled:
    """Sweetness, fluffiness and cost of a recipe."""
    bakery = Bakery(INGREDIENTS)
    return Labelled(bakery(recipe.values), (bakery.names,))


def study(score: Mapping[str, Any]) -> Config:
    """A bake of flour and sugar for a score; butter and eggs stay as they are in the starting recipe."""
    corners = [{"flour": flour, "sugar": sugar} for sugar in (0.6, 2.4) for flour in (1.1, 2.8)]
    cosine = {"schedule": "cosine_decay_schedule", "init_value": 0.03, "decay_steps": "100%"}
    bake = {
        "kind": "bake",
        "length": 150,
        "starts": corners,
        "score": {"kind": "deliciousness", **score},
        "optimizer": {"name": "adam", "b1": 0.6, "learning_rate": cosine},
    }
    free = {"flour": {"min": 1.0, "max": 3.0}, "sugar": {"min": 0.5, "max": 2.5}}
    return Config.model_validate(
        {
            "ingredients": {"butter": {"fixed": START[0]}, "eggs": {"fixed": START[1]}, **free},
            "model": {"properties": {"kind": "bakery"}},
            "stages": {"bake": bake},
            "log": {"every": 1},
        }
    )


def bake_of(score: Mapping[str, Any], audience: Audience | None = None) -> tuple[CakeObjective, CakeConstants]:
    """What a bake minimises, with its arrays."""
    config = study(score)
    stage = config.stages["bake"]
    assert isinstance(stage, Bake)
    space = build_space(config)
    model, parameters = Functional.split(build_model(config.model, space.names, None, lambda _: nnx.Rngs(0)))
    cake, _ = Functional.split(space.cake())
    whom = audience or everyone(None, np.zeros(0, int), ())
    objective = CakeObjective(space, model, cake, build_score(stage.score), whom)
    return objective, objective.constants({"model": parameters})


def deliciousness() -> Callable[[Labelled], jax.Array]:
    """−(sweetness − 10)² − (fluffiness − 5)² − 0.5 cost, which is the score's default."""
    objective, constants = bake_of({})
    return jax.jit(lambda recipe: objective.mean_score({"amounts": recipe.values}, constants))


def seed_parameters() -> tuple[jax.Array, jax.Array]:
    """Weights and bias of the likelihood model, as the source draws them."""
    _, for_weights, for_bias = jax.random.split(jax.random.key(42), 3)
    return jax.random.normal(for_weights, (3,)), jax.random.normal(for_bias, ())


@jax.jit
def negative_log_likelihood(utilities: jax.Array) -> jax.Array:
    """Of the four cakes, from logits."""
    return -jnp.sum(jax.vmap(Logit().log_probability)(utilities, jnp.array(LIKED, float)))


def linear_utility() -> LinearUtility:
    """The utility with the source's parameters; it keeps a row for each group of customers, here one."""
    weights, bias = seed_parameters()
    utility = LinearUtility(features=3, groups=1, intercept=True)
    utility.weights[...] = weights[None]
    assert utility.bias is not None
    utility.bias[...] = bias[None]
    return utility


# The sections.


def s1_gradient() -> Result:
    """Slope of tanh at 2"""
    return Result({"slope": autodiff.derivatives(jnp.tanh, 1)(2.0)[0]})


def s2_higher_derivatives() -> Result:
    """Derivatives 1 to 4 of the quality x³ + 2x² − 3x + 1 at 1"""
    return Result({"derivatives": autodiff.derivatives(lambda x: x**3 + 2 * x**2 - 3 * x + 1, 4)(1.0)})


def s3_likelihood() -> Result:
    """Gradient of the likelihood loss for W, for b and for both"""
    loss = lambda weights, bias: negative_log_likelihood(jnp.array(CAKES) @ weights + bias)
    parameters = seed_parameters()
    for_weights, for_bias = jax.grad(loss, 0)(*parameters), jax.grad(loss, 1)(*parameters)
    both = jax.grad(loss, (0, 1))(*parameters)
    far = jax.grad(negative_log_likelihood)(jnp.array([1e4, -1e4, 1e4, -1e4]))
    claims = {
        "both at once give the same": np.array_equal(both[0], for_weights) and np.array_equal(both[1], for_bias),
        "finite and right at logits of ±1e4": np.array_equal(far, [0, -1, 1, -1]),
    }
    return Result({"W": for_weights, "b": for_bias}, claims)


def s4_pytree() -> Result:
    """Gradient of the likelihood loss over a pytree: the parameters of a Flax module"""
    graph, parameters = nnx.split(linear_utility())

    def loss(parameters: nnx.State[Any, Any]) -> jax.Array:
        utility = nnx.merge(graph, parameters)
        return negative_log_likelihood(jax.vmap(utility, in_axes=(0, None))(jnp.array(CAKES), jnp.int32(0)))

    gradient = jax.grad(loss)(parameters)
    return Result({"W": gradient["weights"][0], "b": gradient["bias"][0]}, shown=gradient)


def s5_value_and_gradient() -> Result:
    """Loss and gradient in one pass, as every step of training takes them"""
    panel = Panel(
        customers=tuple(CUSTOMERS),
        recipes=("one", "two", "three", "four"),
        ingredients=("sweetness", "fluffiness", "cost factor"),
        amounts=np.array(CAKES),
        offsets=np.arange(5, dtype=np.int32),
        recipe=np.arange(4, dtype=np.int32),
        like=np.array(LIKED),
        held_out=np.zeros(4, bool),
    )
    features = FeatureMap(panel.ingredients, (), ("amounts",))
    likelihood_model = LikelihoodModel(None, linear_utility(), Logit(), features, np.zeros(3), np.ones(3))
    model, parameters = Functional.split(likelihood_model)
    objective = PanelObjective(panel, np.zeros(4, int), model, ("utility",), None, "sum")
    constants = objective.constants({"model": parameters})
    loss_of = lambda trained: batch_loss(objective, trained, objective.everyone(constants), constants)
    loss, gradient = jax.value_and_grad(loss_of)({"model": parameters})
    utility = gradient["model"]["utility"]
    return Result({"loss": loss, "W": utility["weights"][0], "b": utility["bias"][0]})


def s6_properties() -> Result:
    """Properties of the starting recipe"""
    found = properties(recipe())
    flourless = Labelled.vector(INGREDIENTS, {"butter": 1.0, "eggs": 3.0, "sugar": 1.5})
    slopes = autodiff.jacobian(properties)(flourless)
    claim = {"slopes are finite without any flour": bool(np.isfinite(slopes.values).all())}
    return Result({"properties": found.values}, claim, found)


def s7_jacobian() -> Result:
    """Jacobian of the properties, labelled: its mode chosen from the shapes, and reverse"""
    matrix = autodiff.jacobian(properties)(recipe())
    reverse = autodiff.jacobian(properties, "reverse")(recipe())
    claim = {"chosen: forward, for 4 inputs and 3 outputs": autodiff.chosen_mode(4, 3) == "forward"}
    return Result({"chosen": matrix.values, "reverse": reverse.values}, claim, matrix)


def s8_jvp() -> Result:
    """What if there is less flour and more sugar? (JVP)"""
    _, change = autodiff.jvp(properties, recipe(), {"flour": -0.05, "sugar": 0.1})
    return Result({"change": change.values}, shown=change)


def s9_vjp() -> Result:
    """What makes it sweeter and flatter? (VJP)"""
    _, pull = autodiff.vjp(properties, recipe(), {"sweetness": 0.2, "fluffiness": -0.1})
    return Result({"pull": pull.values}, shown=pull)


def s10_hessian() -> Result:
    """Gradient and Hessian of the score, and how it bends"""
    score = deliciousness()
    bends = jax.jit(autodiff.curvature(score))(recipe())
    figures = {"gradient": jax.grad(score)(recipe()).values, "Hessian": autodiff.hessian(score)(recipe()).values}
    return Result(figures, {"verdict: saddle": bends.verdict == "saddle"}, bends)


def s11_hvp() -> Result:
    """Hessian times a direction, without a Hessian"""
    direction = {"butter": 0.1, "eggs": -0.2, "flour": 0.05, "sugar": 0.1}
    product = autodiff.hvp(deliciousness(), recipe(), direction)
    many = jnp.linspace(0.0, 1.0, 100_000)
    large = autodiff.hvp(lambda x: jnp.sum(x**3), many, jnp.ones_like(many))
    claim = {"right for 100,000 ingredients": np.allclose(large, 6 * many, rtol=1e-6)}
    return Result({"product": product.values}, claim, product)


def s12_held_target() -> Result:
    """Gradient of (fluffiness − target)² for a target held fixed (first), and for one that moves with the recipe"""

    def gradient(hold: bool) -> jax.Array:
        target = {"formula": "2 + 0.5*butter + eggs - 0.1*flour", "hold": hold}
        objective, constants = bake_of({"targets": {"fluffiness": target}, "cost_weight": 0.0})
        loss = lambda amounts: batch_loss(objective, {"cake": {"amounts": amounts}}, constants.audience, constants)
        return jax.jit(jax.grad(loss))(jnp.array(START))

    figures = {"held": gradient(hold=True), "moving": gradient(hold=False)}
    return Result(figures, shown=Labelled(jnp.stack([*figures.values()]), (tuple(figures), INGREDIENTS)))


def gradients_of(customers: Mapping[str, np.ndarray], clip_norm: float) -> CustomerGradients:
    """Each customer's gradient of the squared distances of the starting recipe from their own targets, by property."""
    score = {"targets": {name: {"column": name} for name in customers}, "cost_weight": 0.0}
    columns = {name: np.asarray(values, float) for name, values in customers.items()}
    count = len(next(iter(columns.values())))
    audience = Audience(np.zeros(count, int), columns, np.ones(count), tuple(f"customer {k}" for k in range(count)))
    objective, constants = bake_of(score, audience)
    trained = {"cake": {"amounts": jnp.array(START)}}
    return jax.jit(lambda: customer_gradients(objective, trained, constants, clip_norm=clip_norm))()


def s13_customers() -> Result:
    """The recipe's gradient of (sweetness − target)² for each of four customers, each with a target of their own"""
    limit = 8.0
    found = gradients_of({"sweetness": np.array([*CUSTOMERS.values()])}, limit)
    assert found.gradients is not None
    exact = np.array(OF_CUSTOMERS)
    scaled = exact * np.minimum(1.0, limit / np.linalg.norm(exact, axis=1, keepdims=True))
    mean = found.mean["cake"]["amounts"]
    claims = {
        "clipped to norm 8, their mean is right": np.allclose(mean, scaled.mean(axis=0), rtol=1e-5),
        "half of them were": float(found.clipped_share) == 0.5,
    }
    return Result({"gradients": found.gradients}, claims, Labelled(found.gradients, (tuple(CUSTOMERS), INGREDIENTS)))


def s14_ascent() -> Result:
    """Complex z, real score 3 Re z − |z|² at z = 2 + i: JAX's raw gradient"""
    raw = jax.grad(vibration_score)(VIBRATION)
    ours = autodiff.ascent_direction(vibration_score, VIBRATION)
    climb = jax.jit(lambda z: z + 0.1 * autodiff.ascent_direction(lambda z: jnp.sum(vibration_score(z)), z))
    stray = jax.jit(lambda z: z + 0.1 * jax.grad(vibration_score)(z))
    z, lost = jnp.array([2 + 1j, -9 + 7j, 0j]), jnp.array(VIBRATION)
    for _ in range(100):
        z, lost = climb(z), stray(lost)
    claims = {
        "ours is its conjugate, −1 − 2i": complex(ours) == -1 - 2j,
        "steps along ours reach 1.5 + 0i": np.allclose(z, 1.5, atol=1e-6),
        "steps along the raw one run off": abs(complex(lost)) > 1e6,
    }
    shown = f"jax.grad: {raw}\nascent_direction: {ours}\n100 steps along it end at {z}"
    return Result({"jax.grad": raw}, claims, shown)


def s15_holomorphic() -> Result:
    """Value and complex derivative of the smooth process z² + z at 2 + i"""
    derivative = autodiff.holomorphic_derivative(smooth_process, VIBRATION)
    try:
        autodiff.holomorphic_derivative(tricky_process, VIBRATION)
        refusal = ""
    except autodiff.NotHolomorphicError as error:
        refusal = str(error)
    figures = {"value": smooth_process(VIBRATION), "derivative": derivative}
    return Result(figures, {"the conjugate is refused": bool(refusal)}, refusal)


def s16_real_jacobian() -> Result:
    """The tricky process, conj z: a complex derivative that misleads, and the true 2×2 Jacobian"""
    misleading = jax.grad(tricky_process, holomorphic=True)(VIBRATION)
    matrix = autodiff.real_jacobian(tricky_process, jnp.array(VIBRATION))
    return Result({"misleading": misleading, "Jacobian": matrix}, shown=matrix)


def s17_through_complex() -> Result:
    """Flavour stability 1 + x² at 3, real to real by way of complex numbers, and its slope"""
    slope = autodiff.derivatives(flavour_stability, 1)(3.0)[0]
    return Result({"stability": flavour_stability(3.0), "slope": slope})


def s18_yeast() -> Result:
    """Slope of the yeast's activity log(1 + eᵗ) at 500"""
    far = jax.jit(autodiff.derivatives(yeast_activity, 4))(jnp.linspace(-1e4, 1e4, 2001))
    claims = {
        "the activity is 500 (the source: inf)": float(yeast_activity(500.0)) == 500.0,
        "all finite to order 4, from −1e4 to 1e4": bool(np.isfinite(far).all()),
    }
    return Result({"slope": autodiff.derivatives(yeast_activity, 1)(500.0)[0]}, claims)


def s19_gradient_limit() -> Result:
    """Gradient of the score with butter's clipped to ±0.1"""
    score = deliciousness()
    amounts = dict(zip(INGREDIENTS, map(jnp.asarray, START), strict=True))

    def limited(amounts: dict[str, jax.Array], tally: dict[str, jax.Array]) -> jax.Array:
        return score(Labelled.vector(INGREDIENTS, autodiff.limit_gradient(amounts, {"butter": 0.1}, tally)))

    gradient, clipped = jax.grad(limited, (0, 1))(amounts, dict.fromkeys(INGREDIENTS, jnp.zeros(())))
    counts = {name: int(count) for name, count in clipped.items()}
    claim = {"clipping is counted": counts == {"butter": 1, "eggs": 0, "flour": 0, "sugar": 0}}
    return Result({"clipped": Labelled.vector(INGREDIENTS, gradient).values}, claim, f"clipped: {counts}")


def s20_fixed_point() -> Result:
    """Dough maturity m = a m + b at (0.75, 10), and its derivatives for (a, b)"""
    maturity = jax.jit(lambda dough: dough_maturity(dough[0], dough[1]))
    dough = jnp.array([0.75, 10.0])
    forward, reverse = jax.jacfwd(maturity)(dough), jax.grad(maturity)(dough)
    _, convergence = autodiff.fixed_point(lambda _, m: 2.0 * m + 1.0, None, 1.0)
    claims = {
        "forward and reverse mode agree": np.allclose(forward, reverse, rtol=1e-6),
        "an update that runs off is flagged": not convergence.converged,
    }
    figures = {"maturity": maturity(dough), "gradient": reverse, "Hessian": autodiff.hessian(maturity)(dough).values}
    return Result(figures, claims, convergence)


def s21_modes() -> Result:
    """Jacobian of the properties by forward mode (ours), beside that by reverse mode; and what both cost"""
    forward, reverse = (autodiff.jacobian(properties, mode)(recipe()) for mode in ("forward", "reverse"))

    def operations(inputs: int, outputs: int, mode: Mode) -> float:
        layer = lambda x: jnp.tanh(jnp.ones((outputs, inputs)) @ x)
        cost: Any = jax.jit(autodiff.jacobian(layer, mode)).lower(jnp.ones(inputs)).cost_analysis()
        return float(cost["flops"])

    claims, shown = {}, ""
    for shape in ((400, 20), (20, 400)):
        costs = {mode: operations(*shape, mode) for mode in get_args(Mode)}
        chosen = autodiff.chosen_mode(*shape)
        claims[f"{shape[0]} → {shape[1]}: {chosen} chosen, and cheaper"] = costs[chosen] == min(costs.values())
        shown += f"{shape[0]} inputs, {shape[1]} outputs: floating-point operations {costs}\n"
    return Result({"Jacobian": forward.values}, claims, shown, {"Jacobian": reverse.values})


def s22_check() -> Result:
    """Derivatives checked against finite differences, in both modes and to second order"""
    right = autodiff.check_gradients(deliciousness(), recipe())
    planted = jax.custom_jvp(lambda t: yeast_activity(t))
    planted.defjvps(lambda tangent, _, t: 1.001 * jax.nn.sigmoid(t) * tangent)
    wrong = autodiff.check_gradients(planted, 0.5, order=1)
    claims = {"passes on the score": right.passed, "fails on a rule that is off by 0.1 %": not wrong.passed}
    return Result({}, claims, f"The score:\n{right}\n\nThe planted rule:\n{wrong}")


SECTIONS: dict[str, Callable[[], Result]] = {
    name.partition("_")[0].upper(): section for name, section in vars().copy().items() if re.match(r"s\d+_", name)
}
"""The functions above whose names begin with s and a number, in their order."""


# The comparison with the source.


class Entry(NamedTuple):
    """One of our figures beside the source's."""

    name: str
    ours: float
    source: float

    @property
    def difference(self) -> float:
        return abs(self.ours - self.source)

    @property
    def allowed(self) -> float:
        return 1e-6 + 1e-5 * abs(self.source)

    @property
    def excess(self) -> float:
        """The difference as a multiple of what is allowed."""
        return self.difference / self.allowed if math.isfinite(self.ours) else math.inf


@dataclass(frozen=True)
class Outcome:
    """A row: what its section found, compared with the source; or the error that it ended with."""

    row: str
    title: str
    entries: tuple[Entry, ...] = ()
    claims: Mapping[str, bool] = field(default_factory=dict)
    shown: object = ""
    error: str = ""

    @property
    def worst(self) -> Entry | None:
        """The entry that exceeds, or comes closest to, what is allowed."""
        return max(self.entries, key=lambda entry: entry.excess, default=None)

    @property
    def complaints(self) -> list[str]:
        """What is wrong; empty where the row agrees."""
        if self.error:
            return [f"{self.row} failed: {self.error}"]
        differs = "{} differs: {} is {:.8g}, the source has {:.8g}".format
        figures = [differs(self.row, *entry) for entry in self.entries if entry.excess > 1.0]
        return [*figures, *(f"{self.row} does not hold: {claim}" for claim, holds in self.claims.items() if not holds)]


def reals(numbers: ArrayLike) -> np.ndarray:
    """As real numbers in double precision; those of a complex one along a last axis."""
    array = np.asarray(numbers)
    parts = np.stack([array.real, array.imag], axis=-1) if np.iscomplexobj(array) else array
    return parts.astype(np.float64) + 0.0  # no negative zeros


def compared(ours: Figures, source: Figures) -> tuple[Entry, ...]:
    """All figures entry by entry.

    Raises:
        ValueError: names or shapes differ.
    """
    if set(ours) != set(source):
        raise ValueError(f"ours are {', '.join(ours)}, the source's {', '.join(source)}")
    entries = []
    for name, figures in source.items():
        a, b = reals(ours[name]), reals(figures)
        if a.shape != b.shape:
            raise ValueError(f"{name} has shape {a.shape}, the source's {b.shape}")
        labels = (name + (str([*index]) if index else "") for index in np.ndindex(a.shape))
        entries += [Entry(*each) for each in zip(labels, a.ravel().tolist(), b.ravel().tolist(), strict=True)]
    return tuple(entries)


def outcome_of(row: str) -> Outcome:
    """Run a section; an error becomes the row's."""
    section = SECTIONS[row]
    title = inspect.getdoc(section) or ""
    try:
        result = section()
        source = SOURCE.get(row, {}) if result.beside is None else result.beside
        return Outcome(row, title, compared(result.figures, source), result.claims, result.shown)
    except Exception as error:
        return Outcome(row, title, error=f"{type(error).__name__}: {error}")


# What is printed.

FEW = 8


def claims_text(claims: Mapping[str, bool]) -> Text:
    """A line for each claim: whether it holds."""
    return Text("\n").join(
        Text(f"{'✓' if holds else '✗'} {claim}", style="green" if holds else "bold red")
        for claim, holds in claims.items()
    )


def figures_text(outcome: Outcome, side: str) -> str:
    """All figures where they are few, else the worst."""
    if outcome.worst is None:
        return "" if outcome.error else "no figure"
    if len(outcome.entries) <= FEW:
        return ", ".join(f"{getattr(entry, side):.7g}" for entry in outcome.entries)
    name = outcome.worst.name.replace(", ", ",")
    return f"{getattr(outcome.worst, side):.7g}\n{name}, of {len(outcome.entries)}"


def course_table(outcomes: Iterable[Outcome]) -> Table:
    """A row for each section; of many figures the one that differs most, as a share of what is allowed."""
    table = Table(
        show_edge=False,
        pad_edge=False,
        show_lines=True,
        title="Every derivative, beside what its source, a tutorial, printed",
    )
    table.add_column("")
    table.add_column("what", ratio=1)
    table.add_column("ours", max_width=24)
    table.add_column("source", max_width=24)
    table.add_column("|a − b|", justify="right")
    table.add_column("")
    for outcome in outcomes:
        what = [Text(outcome.title), claims_text(outcome.claims), Text(outcome.error, "bold red")]
        verdict = "FAILED" if outcome.error else "DIFFERS" if outcome.complaints else "ok"
        table.add_row(
            outcome.row,
            Group(*(text for text in what if text)),
            figures_text(outcome, "ours"),
            figures_text(outcome, "source"),
            f"{outcome.worst.difference:.0e}".replace("0e+00", "0") if outcome.worst else "",
            Text(verdict, "bold red" if outcome.complaints else "green"),
        )
    return table


def print_section(console: Console, outcome: Outcome) -> None:
    """A section of the tour: its code, what it shows, its claims and all its figures."""
    console.rule(f"{outcome.row}  {outcome.title}", align="left")
    code = inspect.getsource(SECTIONS[outcome.row])
    console.print(Syntax(code, "python", theme="ansi_dark", background_color="default"))
    console.print(str(outcome.shown), markup=False, highlight=False, soft_wrap=True)
    console.print(claims_text(outcome.claims))
    table = Table("figure", show_edge=False, pad_edge=False)
    for name in ("ours", "source", "difference", "allowed"):
        table.add_column(name, justify="right")
    for one in outcome.entries:
        numbers = (f"{one.ours:.8g}", f"{one.source:.8g}", f"{one.difference:.1e}", f"{one.allowed:.1e}")
        table.add_row(Text(one.name), *numbers, style="bold red" if one.excess > 1.0 else "")
    if outcome.entries:
        console.print(table)


# The pictures.

BLUE, SKY, ORANGE, GREEN, VERMILION = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00"
"""Of Okabe and Ito's palette, which the colour-blind can tell apart."""


class Recipes(NoSinks):
    """Keeps the recipes of a bake, (starts, ingredients), after every step."""

    def __init__(self, starts: np.ndarray) -> None:
        self.kept = [starts]

    def record(self, stage: Stage, origin: int, record: ChunkRecord, steps_per_second: float) -> None:
        self.kept.append(np.asarray(record.measured.recipes))


def paths_of_a_run() -> np.ndarray:
    """Train the cake for deliciousness, in memory; sugar and flour after every step: (starts, steps + 1, 2)."""
    built = build_study(study({}))
    stage = built.stages[0]
    assert stage.starts is not None
    recipes = Recipes(np.asarray(stage.starts["amounts"]))
    loop = Loop(built.stages, sinks=recipes)
    loop.run(loop.begin(stage, initial_state(built.parameters)))
    return np.stack(recipes.kept, axis=1)[..., [3, 2]]


def landscape(figure: Figure) -> None:
    """Deliciousness over sugar and flour, with the paths of a run."""
    from matplotlib.colors import BoundaryNorm

    axes = figure.subplots()
    sugar, flour = np.meshgrid(np.linspace(0.5, 2.5, 161), np.linspace(1.0, 3.0, 161))
    amounts = np.stack([np.full_like(sugar, START[0]), np.full_like(sugar, START[1]), flour, sugar], axis=-1)
    objective, constants = bake_of({})
    score = jnp.vectorize(lambda amounts: objective.mean_score({"amounts": amounts}, constants), signature="(n)->()")
    levels = [-40, -20, -10, -6, -4, -3, -2.5, -2.2, -2.1, -2.0, -1.9]
    heights = np.asarray(jax.jit(score)(jnp.asarray(amounts)))
    norm = BoundaryNorm(levels, 256, extend="both")
    filled = axes.contourf(sugar, flour, heights, levels, norm=norm, cmap="cividis", extend="both")
    figure.colorbar(filled, label="deliciousness (high is good)", ticks=levels, format="%g")
    for path in paths_of_a_run():
        axes.plot(*path.T, color="white", linewidth=3)
        axes.plot(*path.T, ".-", color=VERMILION, linewidth=1.2, markersize=4, label="a step of the run")
        axes.plot(*path[0], "o", color="white", markeredgecolor="black", markersize=8, label="start", zorder=3)
        axes.plot(*path[-1], "*", color=ORANGE, markeredgecolor="black", markersize=16, label="end", zorder=4)
    axes.plot(START[3], START[2], "D", color=SKY, markeredgecolor="black", markersize=8, label="recipe of the course")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(dict(zip(labels, handles, strict=True)).values(), dict.fromkeys(labels), loc=(0.02, 0.3))
    axes.set(xlabel="sugar (cups)", ylabel="flour (cups)")
    axes.set_title("Deliciousness, and a run from four starts (1 cup of butter, 3 eggs)")


def yeast(figure: Figure) -> None:
    """The activity of yeast, its derivatives, and its activity by temperature."""
    activity, slopes, by_temperature = figure.subplots(1, 3)
    t = jnp.linspace(-8.0, 8.0, 321)
    activity.plot(t, yeast_activity(t), color=BLUE)
    activity.set(xlabel="scaled temperature t", ylabel="activity", title="Yeast activity, log(1 + eᵗ)")
    names, lines = ("first", "second", "third", "fourth"), ("-", "--", "-.", ":")
    curves = jax.jit(autodiff.derivatives(yeast_activity, 4))(t)
    for name, curve, line, colour in zip(names, curves, lines, (BLUE, VERMILION, GREEN, ORANGE), strict=True):
        slopes.plot(t, curve, line, color=colour, linewidth=2, label=name)
    slopes.legend()
    slopes.set(xlabel="scaled temperature t", ylabel="derivative", title="Its derivatives")
    process = Yeast()
    celsius = jnp.linspace(0.0, 65.0, 651)
    active = process(celsius)
    best = int(jnp.argmax(active))
    by_temperature.plot(celsius, active, color=BLUE)
    by_temperature.plot(celsius[best], active[best], "*", color=ORANGE, markeredgecolor="black", markersize=14)
    by_temperature.text(float(celsius[best]) + 8, float(active[best]), f"best at {celsius[best]:.0f} °C", va="center")
    for mark, where in (("onset", process.onset[...]), ("lethal", process.lethal[...])):
        by_temperature.axvline(float(where), color="0.6", linestyle=":")
        by_temperature.text(float(where) + 1, -0.1, mark, color="0.35")
    by_temperature.set(xlabel="temperature (°C)", ylabel="activity", title="Yeast that dies of heat")


def customers(figure: Figure) -> None:
    """Norms of 400 customers' gradients, and the gradients for eggs and sugar, before and after clipping."""
    from matplotlib.patches import Circle

    limit, draws = 12.0, np.random.default_rng(0)
    targets = {"sweetness": 10.0 + 0.5 * draws.standard_t(3, 400), "fluffiness": 5.0 + 0.8 * draws.standard_t(3, 400)}
    found = gradients_of(targets, limit)
    norms, both = np.asarray(found.norms), [1, 3]
    own, mean = np.asarray(found.gradients)[:, both], np.asarray(found.mean["cake"]["amounts"])[both]
    long = norms > limit
    clipped = own[long] * (limit / norms[long])[:, None]
    histogram, cloud = figure.subplots(1, 2)
    histogram.hist(norms, bins=np.arange(0.0, norms.max() + 1.0), color=SKY, edgecolor="white")
    histogram.axvline(
        limit, color=VERMILION, linestyle="--", label=f"limit: {float(found.clipped_share):.0%} are above"
    )
    histogram.legend()
    histogram.set(xlabel="norm of a customer's gradient", ylabel="customers", title="How hard each customer pulls")
    cloud.axhline(0, color="0.85", zorder=0)
    cloud.axvline(0, color="0.85", zorder=0)
    cloud.scatter(own[:, 0], own[:, 1], s=12, color=SKY, label="a customer's gradient")
    for before, after in zip(own[long], clipped, strict=True):
        cloud.plot(*np.stack([before, after]).T, color="0.7", linewidth=0.6, zorder=0.5)
    cloud.scatter(clipped[:, 0], clipped[:, 1], s=12, color=VERMILION, label="clipped")
    cloud.add_patch(Circle((0, 0), limit, fill=False, color=VERMILION, linestyle="--", linewidth=0.8))
    cloud.plot(*own.mean(axis=0), "D", color=BLUE, markeredgecolor="white", markersize=8, label="mean")
    cloud.plot(*mean, "D", color=ORANGE, markeredgecolor="black", markersize=8, label="mean after clipping")
    cloud.legend(loc="lower left")
    cloud.set(xlabel="for eggs (per egg)", ylabel="for sugar (per cup)", title="Their gradients", aspect="equal")


PICTURES = {landscape: (7.5, 5.5), yeast: (14.0, 4.5), customers: (11.0, 5.5)}
"""What draws each picture, and its width and height in inches."""


def save_pictures(folder: Path) -> list[Path]:
    """Draw all pictures into a folder, which is made; returns their paths."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for draw, size in PICTURES.items():
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        paths.append(folder / f"{draw.__name__}.png")
        figure.savefig(paths[-1], dpi=130)
    return paths


def main(words: Sequence[str] | None = None) -> int:
    """Run the course; returns the exit code."""
    parser = argparse.ArgumentParser(description="Every derivative, beside the source's figures.")
    parser.add_argument("--row", type=str.upper, choices=list(SECTIONS), metavar="S7", help="show one section alone")
    parser.add_argument("--pictures", type=Path, default=Path("runs/derivative_course"), help="folder for the pictures")
    parser.add_argument("--no-pictures", action="store_true", help="draw none")
    options = parser.parse_args(words)
    draws = not options.row and not options.no_pictures
    if draws and find_spec("matplotlib") is None:
        parser.error("pictures need matplotlib: `pip install matplotlib`, or give --no-pictures")
    console = Console()
    if not console.is_terminal:
        console.width = 120
    outcomes = []
    with console.status("") as status:
        for row in [options.row] if options.row else SECTIONS:
            status.update(f"{row}  {inspect.getdoc(SECTIONS[row])}")
            outcomes.append(outcome_of(row))
    if options.row:
        print_section(console, outcomes[0])
    else:
        console.print(course_table(outcomes))
        console.print("One section with its code and all its figures: --row S7", highlight=False)
    if draws:
        with console.status("Drawing the pictures"):
            pictures = save_pictures(options.pictures)
        console.print(f"Pictures: {', '.join(map(str, pictures))}", highlight=False, soft_wrap=True)
    complaints = [complaint for outcome in outcomes for complaint in outcome.complaints]
    for complaint in complaints:
        console.print(complaint, style="bold red", markup=False, highlight=False, soft_wrap=True)
    disagreeing = sum(bool(outcome.complaints) for outcome in outcomes)
    console.print(f"{len(outcomes) - disagreeing} of {len(outcomes)} rows agree.", highlight=False)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
