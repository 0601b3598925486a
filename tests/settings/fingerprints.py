"""What a config comes to, as bytes: at the level where a setting acts, and no later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, PyTree

from optim.config.schema import Bake, Config
from optim.data.panel import Panel
from optim.data.simulate import simulate
from optim.data.tables import load_panel
from optim.losses.objective import Parameters, batch_loss
from optim.losses.scores import Customer, Recipe, build_score
from optim.models.build import Tasted, build_model
from optim.models.flat import Flat
from optim.models.functional import Functional
from optim.models.space import build_space
from optim.study.precision import set_precision
from optim.study.stage import Stage, StageConstants, initial_state
from optim.study.state import no_stopping
from optim.study.study import Study, build_study
from optim.train.measure import evaluated
from optim.train.plan import calls
from optim.train.step import Carry, step_function, units_at


def quickly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled in one piece, and with little effort: it runs once."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def as_bytes(tree: PyTree) -> bytes:
    """Every number of a tree, with its type and shape."""
    leaves, structure = jax.tree.flatten(tree)
    arrays = [np.asarray(leaf) for leaf in leaves]
    told = [(str(structure), *((array.dtype.str, array.shape, array.tobytes()) for array in arrays))]
    return repr(told).encode()


def of_space(config: Config) -> bytes:
    """The recipes that are allowed, and what they cost."""
    return repr(build_space(config)).encode()


def of_panel(config: Config) -> bytes:
    """Who tasted what and liked it, and what is held out."""
    panel = _panel(config)
    assert panel is not None
    kept = replace(panel, digests={})
    return repr([getattr(kept, field.name) for field in fields(kept)]).encode()


def _panel(config: Config) -> Panel | None:
    if config.data is None:
        return None
    return load_panel(config) if config.data.simulate is None else simulate(config)[0]


def of_model(config: Config) -> bytes:
    """Properties and utility of a recipe, at parameters that are not 0."""
    space, panel, tasted = build_space(config), _panel(config), None
    settings = {name: jnp.asarray(2.0 + 0j if one.is_complex else 2.0) for name, one in space.settings.items()}
    if panel is not None:
        groups = 2 if config.model.utility is not None and config.model.utility.groups is not None else 1
        tasted = Tasted(panel.amounts, dict(panel.properties), np.ones(len(panel.recipes)), groups)
    module = build_model(config.model, space.names, tasted, lambda part: nnx.Rngs(params=1), (), settings)
    model, parameters = Functional.split(module)
    names = [module.feature_map.names, () if module.properties is None else module.properties.names]

    def of_recipe(parameters: Parameters, amounts: Array) -> list[Any]:
        made = model(parameters)
        found = [made.properties_of(amounts, settings)]
        if made.utility is not None:
            found += [made.utility(made.features(amounts), jnp.int32(group)) for group in range(groups)]
        return found

    numbers = quickly(of_recipe)(jax.tree.map(_somewhere, parameters), jnp.arange(len(space.names)) + 2.0)
    return repr((names, numbers)).encode()


def of_score(config: Config) -> bytes:
    """What the last stage's score makes of a recipe, and the gradient that it is trained by."""
    bake = list(config.stages.values())[-1]
    assert isinstance(bake, Bake)
    score, space = build_score(bake.score), build_space(config)
    columns = {name: jnp.asarray(float(len(name))) for name in score.columns}

    def of_amounts(amounts: Array) -> Array:
        recipe = Recipe(
            amounts=dict(zip(space.names, amounts, strict=True)),
            properties={name: amounts[0] ** 2 * len(name) for name in ("sour", "cost")},
            cost=jnp.sum(space.prices * amounts),
            liking=jax.nn.sigmoid(amounts[0]),
        )
        return score.trained(recipe, Customer(columns), score.weights)

    return as_bytes(quickly(jax.value_and_grad(of_amounts))(jnp.arange(1.0, len(space.names) + 1)))


def of_study(config: Config) -> bytes:
    """What each stage begins with, minimises and does when: its loss and gradient at parameters that are not 0."""
    study = build_study(config)
    return b"".join(_of_stage(stage, parameters) for stage, parameters in _stages(study))


def _stages(study: Study) -> Iterator[tuple[Stage, dict[str, Any]]]:
    """The stages, with the parameters at which they are looked at."""
    parameters = jax.tree.map(_somewhere, study.parameters)
    for stage in study.stages:
        if stage.starts is not None:
            parameters = {**parameters, "cake": stage.starts}
        yield stage, parameters


def _somewhere(leaf: np.ndarray) -> Array:
    return jnp.asarray(leaf) + 0.3 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape)


def _of_stage(stage: Stage, parameters: dict[str, Any]) -> bytes:
    trained = jax.tree.map(lambda leaf: leaf[0], stage.trained(parameters))
    constants = stage.constants(parameters)

    def losses(trained: Parameters, constants: StageConstants) -> tuple[Any, Any]:
        batch = units_at(stage, constants, jnp.int32(0))
        of_batch = lambda trained: batch_loss(stage.objective, trained, batch, constants.objective)
        return jax.value_and_grad(of_batch)(trained), _held_out(stage, trained, constants)

    found = quickly(losses)(trained, constants)
    chunks = [chunk for call in calls(stage, 0, 0, lambda: 100, frozenset()) for chunk in call]
    return as_bytes((found, stage.starts)) + repr((stage.train, stage.batch, chunks)).encode()


def of_update(config: Config) -> bytes:
    """The first update of the last stage."""
    study = build_study(config)
    stage = study.stages[-1]
    state = stage.begin(initial_state(study.parameters))
    constants = stage.constants(state.parameters)
    flat = Flat.of(stage.trained(state.parameters))
    vectors = flat.ravel(stage.trained(state.parameters))
    zeros = jnp.zeros(len(vectors))
    first = Carry(
        state.step, state.position, state.fault, vectors, state.optimizer, state.clipped, zeros, jnp.zeros_like(vectors)
    )
    return as_bytes(quickly(step_function(stage, flat, constants, state.origin, jax.vmap))(first).flat)


def of_evaluations(config: Config) -> bytes:
    """What the first stage makes of four evaluations: of loss 0.69, a little better, a little better, worse."""
    study = build_study(config)
    stage = study.stages[0]
    parameters = jax.tree.map(jnp.asarray, study.parameters)
    constants = stage.constants(parameters)
    flat = Flat.of(stage.trained(parameters))
    vectors, seen = flat.ravel(stage.trained(parameters)), []
    loss = lambda vectors: _held_out(stage, flat.unravel(vectors[0]), constants)
    downhill = -quickly(jax.grad(loss))(vectors)
    evaluate = quickly(lambda vectors, before: evaluated(stage, flat, constants, vectors, before))
    stopping = no_stopping(1, vectors.shape[1])
    for share in (0.0, 0.01, 0.02, -1.0):
        stopping = evaluate(vectors + share * downhill, stopping)
        seen.append((stopping.best, stopping.stale, stopping.stopped))
    return as_bytes(seen)


def _held_out(stage: Stage, trained: Parameters, constants: StageConstants) -> Array | None:
    """The held-out loss, where there is one."""
    evaluation = stage.evaluation
    if evaluation is None:
        return None
    return batch_loss(evaluation, trained, evaluation.everyone(constants.evaluation), constants.evaluation)


def of_precision(config: Config) -> bytes:
    """The type of new numbers."""
    before = jax.config.jax_enable_x64
    set_precision(config)
    found = jnp.zeros(()).dtype.name.encode()
    jax.config.update("jax_enable_x64", before)
    return found
