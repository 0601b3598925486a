"""Derivatives of every loss and score of a config, checked against finite differences before a run relies on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from optim.autodiff.checks.check import check_gradients
from optim.autodiff.checks.report import GradientReport
from optim.config.modifications import modifications
from optim.config.schema import Config
from optim.data.streams import stream
from optim.losses.cake import CakeObjective
from optim.losses.objective import Parameters, batch_loss
from optim.models.space import RecipeSpace
from optim.optimize.region import region_of
from optim.optimize.starts import build_starts
from optim.train.run import set_precision
from optim.train.stage import Stage
from optim.train.study import Study, build_study, cake_layout

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
    """

    stage: str
    function: str
    report: GradientReport
    modifications: tuple[str, ...]


def check_study(config: Config) -> Iterator[StageCheck]:
    """Check the loss or score of one stage after the other, in double precision, without training anything.

    The likelihood model stands at its initial parameters with some noise added, a cake halfway between the centre of
    its bounds and a random start, all of it drawn from the config's seed.

    Raises:
        UserError: the tables are wrong, or do not fit the config.
    """
    config = config.model_copy(update={"precision": "float64"})
    set_precision(config)
    study = build_study(config)
    parameters = {"model": jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), study.parameters["model"])}
    parameters = _with_noise(parameters, stream(config.seed, "check-gradients"))
    for stage, block in zip(study.stages, config.stages.values(), strict=True):
        function = _SCORE.format(block.score.kind) if block.kind == "bake" else f"loss {block.loss.kind}"
        report = _score(study, stage, parameters) if stage.bakes else _loss(stage, parameters)
        yield StageCheck(stage.name, function, report, modifications(block))


def _with_noise(parameters: Parameters, random: np.random.Generator) -> Parameters:
    return jax.tree.map(lambda leaf: leaf + SPREAD * random.standard_normal(leaf.shape), parameters)


def _loss(stage: Stage, parameters: Parameters) -> GradientReport:
    """The loss of all units, in the parameters that the stage trains."""
    objective = stage.objective
    constants = objective.constants(parameters)
    everyone = objective.everyone(constants)
    return check_gradients(
        lambda trained: batch_loss(objective, trained, everyone, constants), stage.trained(parameters)
    )


def _score(study: Study, stage: Stage, parameters: Parameters) -> GradientReport:
    """The plain score of a cake, in the amounts and settings that are free, each in units of its range."""
    objective, space = stage.objective, study.space
    assert isinstance(objective, CakeObjective)
    constants = objective.constants(parameters)
    from_unit, point, names = _free(space, study.config.seed)
    layout = cake_layout(space)
    return check_gradients(
        lambda unit: objective.mean_score(layout.unravel(from_unit(unit)), constants), point, names=names
    )


def _free(
    space: RecipeSpace, seed: int
) -> tuple[Callable[[Float[Array, " free"]], Float[Array, " d"]], Float[Array, " free"], list[str]]:
    """Free coordinates in units of their ranges → all coordinates; a point inside the bounds; and their names."""
    starts = np.asarray(build_starts(2, space, stream(seed, "check-gradients/start")))
    middle, ranges = starts.mean(axis=0), np.asarray(region_of(space).ranges)
    free = np.flatnonzero(_is_free(space))
    from_unit = lambda unit: jnp.asarray(middle).at[free].set(unit * ranges[free])
    return from_unit, jnp.asarray(middle[free] / ranges[free]), [space.coordinates[index] for index in free]


def _is_free(space: RecipeSpace) -> np.ndarray:
    settings = [setting.lower < setting.upper for setting in space.settings.values()]
    return np.concatenate([space.lower < space.upper, *settings])
