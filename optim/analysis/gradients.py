"""Derivatives of every loss and score of a config, checked against finite differences before a run relies on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optim.autodiff.gradient_checks.check import check_gradients
from optim.autodiff.gradient_checks.report import GradientReport
from optim.config.modifications import modifications_of_updates
from optim.config.schema import Bake, Config
from optim.data.streams import stream
from optim.losses.cake import CakeObjective
from optim.losses.objective import Parameters, batch_loss
from optim.models.arrays import first_member
from optim.models.space import RecipeSpace, widths
from optim.optimize.starts import build_starts
from optim.study.precision import set_precision
from optim.study.stage import Stage
from optim.study.study import Study, build_study, cake_layout

_SCORE = "score {}, of amounts and settings in units of their ranges"
SPREAD = 0.1
"""Standard deviation of what is added to initial parameters: at zeros many a wrong rule would look right."""


@dataclass(frozen=True)
class StageCheck:
    """What was found for one stage.

    Attributes:
        stage: its name.
        function: what was differentiated, and in which variables.
        report: the derivatives.
        modifications: what the stage declares to do to its gradient in training, which was left out.
        recipe: where: the amounts and settings, of a bake; empty for a fit.
    """

    stage: str
    function: str
    report: GradientReport
    modifications: tuple[str, ...]
    recipe: dict[str, float]


def check_study(config: Config) -> Iterator[StageCheck]:
    """Check the loss or score of one stage after the other, in double precision, without training anything.

    Each is checked at one point. What fits train stands at its initial value with some noise added; a cake at the first
    start that its stage gives by hand, else halfway between the centre of its bounds and a random start. What is
    random is drawn from the config's seed.

    Raises:
        UserError: the tables are wrong, or do not fit the config.
    """
    config = config.model_copy(update={"precision": "float64"})
    set_precision(config)
    study = build_study(config)
    parameters = _with_noise(study, stream(config.seed, "check-gradients"))
    for stage, block in zip(study.stages, config.stages.values(), strict=True):
        function = _SCORE.format(block.score.kind) if block.kind == "bake" else f"loss {block.loss.kind}"
        recipe = _recipe(study, block) if isinstance(block, Bake) else np.zeros(0)
        report = _score(study, stage, parameters, recipe) if stage.bakes else _loss(stage, parameters)
        where = dict(zip(study.space.coordinates, recipe.tolist(), strict=True)) if stage.bakes else {}
        yield StageCheck(stage.name, function, report, modifications_of_updates(config, stage.name), where)


def _with_noise(study: Study, random: np.random.Generator) -> Parameters:
    """The initial parameters, with noise on those that a stage trains: constants of formulas are what they are."""
    model = first_member(study.parameters["model"])
    trained = {part for stage in study.stages for part in stage.train or ()}

    def noisy(leaf: Array) -> Array:
        noise = SPREAD * random.standard_normal((2, *leaf.shape))
        return leaf + (noise[0] + 1j * noise[1] if jnp.iscomplexobj(leaf) else noise[0])

    return {"model": {part: jax.tree.map(noisy, model[part]) if part in trained else model[part] for part in model}}


def _loss(stage: Stage, parameters: Parameters) -> GradientReport:
    """The loss of all units, in the parameters that the stage trains."""
    objective = stage.objective
    constants = objective.constants(parameters)
    everyone = objective.everyone(constants)
    return check_gradients(
        lambda trained: batch_loss(objective, trained, everyone, constants), stage.trained(parameters)
    )


def _recipe(study: Study, block: Bake) -> Float[np.ndarray, " d"]:
    """The cake at which a score is checked."""
    if isinstance(block.starts, list):
        return np.asarray(build_starts(block.starts, study.space, np.random.default_rng(0)))[0]
    random = stream(study.config.seed, "check-gradients/start")
    return np.asarray(build_starts(2, study.space, random)).mean(axis=0)


def _score(study: Study, stage: Stage, parameters: Parameters, recipe: Float[np.ndarray, " d"]) -> GradientReport:
    """The plain score of a cake, in the amounts and settings that are free, each in units of its range."""
    objective, space = stage.objective, study.space
    assert isinstance(objective, CakeObjective)
    constants = objective.constants(parameters)
    from_unit, point, names = _free(space, recipe)
    layout = cake_layout(space)
    return check_gradients(
        lambda unit: objective.mean_score(layout.unravel(from_unit(unit)), constants), point, names=names
    )


def _free(
    space: RecipeSpace, recipe: Float[np.ndarray, " d"]
) -> tuple[Callable[[Float[Array, " free"]], Float[Array, " d"]], Float[Array, " free"], list[str]]:
    """Free coordinates in units of their ranges → all coordinates; the recipe in the former; and their names."""
    lower, upper = space.bounds
    ranges, free = widths(lower, upper), np.flatnonzero(lower < upper)
    from_unit = lambda unit: jnp.asarray(recipe).at[free].set(unit * ranges[free])
    return from_unit, jnp.asarray(recipe[free] / ranges[free]), [space.coordinates[index] for index in free]
