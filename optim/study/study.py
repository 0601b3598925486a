"""From a config to everything that a run needs: panel, modules, initial parameters and stages."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Int

from optim.config import schema
from optim.config.checks.bake import cost_of, targets_of
from optim.config.checks.names import fitted_before, needs_fit
from optim.config.durations import steps
from optim.config.errors import UserError
from optim.config.optimizers import Newton
from optim.config.source import dotted
from optim.data.order import steps_per_epoch
from optim.data.panel import Panel
from optim.data.streams import stream, word
from optim.losses.audience import everyone, merged
from optim.losses.cake import CakeObjective, climb_of
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import Objective, Parameters
from optim.losses.penalties import build_penalty
from optim.losses.properties import PropertyObjective
from optim.losses.scores import build_score
from optim.models.arrays import first_member, on_device
from optim.models.build import Tasted, build_model
from optim.models.flat import Flat
from optim.models.functional import Functional
from optim.models.imports import load_object, own_code
from optim.models.likelihood import LikelihoodModel
from optim.models.loaded import modules_loaded_since
from optim.models.sources import imported_digests, source_digest, source_file
from optim.models.space import RecipeSpace, build_space
from optim.optimize.chains import ChainNumbers, build_chain
from optim.optimize.newton import MOST_PARAMETERS
from optim.optimize.region import region_of
from optim.optimize.starts import build_starts
from optim.study.lengths import MOST_STEPS, bounded_steps, check_sum
from optim.study.schedule_order import check_order
from optim.study.stage import Stage, StageConstants, held_out_metric, initial_state
from optim.study.state import State

MOST_IN_STATE = 500_000_000
"""Most numbers in the state of a stage: 2 GB in single precision, and as much again while it is copied to be saved."""

LoadPanel = Callable[[schema.Config], Panel]
"""As `optim.data.tables.load_panel`."""


@dataclass(frozen=True, eq=False)
class Study:
    """A config turned into objects; nothing in it changes while it runs.

    Attributes:
        config: the config.
        space: the recipes that are allowed.
        panel: customers and responses, or None.
        truth: what generated simulated customers, or None.
        groups: names of the customers' groups; one for everyone where the utility has no groups.
        group: each customer's group.
        model: the likelihood model as a function of its parameters.
        parameters: the initial parameters.
        stages: the stages in order.
        loaded: modules that were loaded with the user's own code (`optim.models.loaded`).
    """

    config: schema.Config
    space: RecipeSpace
    panel: Panel | None
    truth: dict[str, Any] | None
    groups: tuple[str, ...]
    group: Int[np.ndarray, " customers"]
    model: Functional[LikelihoodModel]
    parameters: Parameters
    stages: tuple[Stage, ...]
    loaded: tuple[ModuleType, ...] = ()

    @property
    def first_member(self) -> Parameters:
        """The initial parameters without the member axis."""
        return first_member(self.parameters)

    @cached_property
    def asked(self) -> frozenset[int]:
        """The groups of which somebody has a response in the fit; nothing is known of the others."""
        return frozenset() if self.panel is None else asked_groups(self.panel, self.group)

    @property
    def reads_fitted_properties(self) -> bool:
        """Whether features depend on what a stage will train: then nothing can be said of them yet."""
        features = self.model(self.first_member["model"]).feature_map
        return features.reads_properties and any("properties" in (stage.train or ()) for stage in self.stages)

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of what the config names: the tables, and the files of the user's own code."""
        tables = {} if self.panel is None else dict(self.panel.digests)
        return tables | {path: source_digest(path) for path in _own_paths(self.config)}

    @property
    def imports(self) -> dict[str, str]:
        """SHA-256 of each further file that the user's own code needs, by its path (`optim.models.sources`)."""
        return _imports(self.config, self.loaded)

    @property
    def written_imports(self) -> dict[str, str]:
        """Those among them that the code's own text tells: where the code is as it was, so are these."""
        return _imports(self.config, ())


def asked_groups(panel: Panel, group: Int[np.ndarray, " customers"]) -> frozenset[int]:
    """The groups with a response that is not held out."""
    responses = np.bincount(group[panel.customer_of_response()[~panel.held_out]])  # faster than to sort them
    return frozenset(np.flatnonzero(responses).tolist())


def _imports(config: schema.Config, loaded: tuple[ModuleType, ...]) -> dict[str, str]:
    found = [imported_digests(path, loaded) for path in _own_paths(config)]
    return {file: digest for digests in found for file, digest in digests.items()}


def _own_paths(config: schema.Config) -> list[str]:
    """Import paths of the user's own code."""
    blocks: list[Any] = [config.model.properties, config.model.utility]
    blocks += [stage.loss if isinstance(stage, schema.Fit) else stage.score for stage in config.stages.values()]
    own = (schema.OwnProperties, schema.OwnUtility, schema.OwnLoss, schema.OwnScore)
    return [block.path for block in blocks if isinstance(block, own)]


def build_study(config: schema.Config, load: LoadPanel | None = None) -> Study:
    """Read the data and build all objects. Nothing is written; the precision must have been set before.

    Args:
        config: the config.
        load: reads its tables; None for `optim.data.tables.load_panel`.

    Raises:
        UserError: the tables are wrong, or do not fit the config.
    """
    before = dict(sys.modules)
    panel, truth = _load(config, load)
    space = build_space(config)
    groups, group = _groups(config, panel)
    tasted = None if panel is None else _tasted(panel, len(groups))
    fixed = [name for name, ingredient in config.ingredients.items() if ingredient.fixed is not None]
    _, settings = space.cake()()
    module = build_model(config.model, space.names, tasted, partial(_rngs, config.seed), fixed, settings)
    model, parameters = Functional.split(module)
    members = {"model": _with_member_axis(parameters)}
    property_model = model(parameters).properties
    names = () if property_model is None else tuple(property_model.names)
    _check_properties(config, names)
    builder = _Builder(config, space, panel, groups, group, model, names, tuple(parameters))
    stages = tuple(builder.stage(index, name, block) for index, (name, block) in enumerate(config.stages.items()))
    check_sum({stage.name: stage.length for stage in stages})
    _try(config, stages, members)
    _check_own_scores(config, stages, members)
    loaded = modules_loaded_since(before, {source_file(path).absolute() for path in _own_paths(config)})
    return Study(config, space, panel, truth, groups, group, model, members, stages, loaded)


def _check_properties(config: schema.Config, names: tuple[str, ...]) -> None:
    """Targets and costs are properties of the model, which only the model can tell where it is the user's own.

    Raises:
        UserError: one is not.
    """
    for stage, block in config.stages.items():
        path = ("stages", stage)
        for place, message in (*targets_of(config, path, block, names), *cost_of(config, path, block, names)):
            raise UserError(f"{dotted(place)}: {message}")


def _check_own_scores(config: schema.Config, stages: tuple[Stage, ...], parameters: Parameters) -> None:
    """What a score of the user's own reads of a recipe was fitted, which only a call can tell.

    Raises:
        UserError: it reads P(like), or properties that are fitted, and no stage before it fits them.
    """
    for stage, block in zip(stages, config.stages.values(), strict=True):
        if not isinstance(block, schema.Bake) or not isinstance(block.score, schema.OwnScore):
            continue
        assert isinstance(stage.objective, CakeObjective)
        asked = stage.objective.asked(stage.constants(parameters).objective).recipe
        fitted = fitted_before(config, stage.name)
        if "liking" in asked and "utility" not in fitted:
            raise UserError(
                f"stages.{stage.name}.score: reads P(like), and no utility was fitted: put a fit stage that trains it "
                "before this one"
            )
        if "properties" in asked and needs_fit(config) and "properties" not in fitted:
            raise UserError(
                f"stages.{stage.name}.score: reads properties that nothing has fitted: put a fit stage with `loss: "
                "{kind: property_error}` before it"
            )


def _try(config: schema.Config, stages: tuple[Stage, ...], parameters: Parameters) -> None:
    """Trace every loss once, without computing anything: mistakes in the user's own code come up before a run begins.

    Raises:
        UserError: a loss or score of the user's own raises an error or gives no scalar, or the state has no room.
    """
    state = jax.eval_shape(initial_state, parameters)
    for stage, block in zip(stages, config.stages.values(), strict=True):
        state = jax.eval_shape(stage.begin, state)
        _check_room(stage, state)
        kind, own = ("loss", block.loss) if isinstance(block, schema.Fit) else ("score", block.score)
        path = own.path if isinstance(own, schema.OwnLoss | schema.OwnScore) else own.kind
        with own_code(f"stages.{stage.name}.{kind}", path, "calling it"):
            jax.eval_shape(stage.first_loss, state.parameters)
        state = jax.eval_shape(stage.finish, state)


def _check_room(stage: Stage, state: State) -> None:
    """The state of a stage has room: its parameters, and what its optimizer remembers of each.

    Raises:
        UserError: it has not.
    """
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state))
    if count > MOST_IN_STATE:
        raise UserError(
            f"stages.{stage.name}: its parameters and what the optimizer remembers of them are {count:,} numbers, more "
            f"than the {MOST_IN_STATE:,} that there is room for; take fewer starts, narrower layers, or an optimizer "
            "that remembers less (a smaller memory_size)"
        )


def cake_layout(space: RecipeSpace) -> Flat:
    """Between cakes along a member axis and their real vectors, in the order of `space.coordinates`."""
    return Flat.of_one(Functional.split(space.cake())[1])


def _rngs(seed: int, part: schema.Part) -> nnx.Rngs:
    """The stream of a part's initial parameters. Made only where a module draws some: starting JAX's generator takes a
    while."""
    # The utility's stream has the name that all parts once shared: seeds give the utilities that they gave before.
    return nnx.Rngs(word(seed, "model" if part == "utility" else f"model/{part}"))


def _with_member_axis(parameters: Parameters) -> Parameters:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[None], parameters)


def _load(config: schema.Config, load: LoadPanel | None) -> tuple[Panel | None, dict[str, Any] | None]:
    if config.data is None:
        return None, None
    if config.data.simulate is not None:
        from optim.data.simulate import simulate

        return simulate(config)
    if load is not None:
        return load(config), None
    from optim.data.tables import load_panel

    return load_panel(config), None


def _groups(config: schema.Config, panel: Panel | None) -> tuple[tuple[str, ...], Int[np.ndarray, " customers"]]:
    """Names of the groups, sorted, and each customer's."""
    utility = config.model.utility
    if panel is None or utility is None or utility.groups is None:
        return ("everyone",), np.zeros(0 if panel is None else len(panel.customers), int)
    names, group = np.unique(panel.columns[utility.groups].astype(str), return_inverse=True)
    return tuple(str(name) for name in names), group


def _tasted(panel: Panel, groups: int) -> Tasted:
    counts = np.bincount(panel.recipe[~panel.held_out], minlength=len(panel.recipes)).astype(float)
    return Tasted(panel.amounts, dict(panel.properties), counts, groups)


@dataclass(frozen=True, eq=False)
class _Builder:
    """Builds the stages of a study."""

    config: schema.Config
    space: RecipeSpace
    panel: Panel | None
    groups: tuple[str, ...]
    group: Int[np.ndarray, " customers"]
    model: Functional[LikelihoodModel]
    properties: tuple[str, ...]
    parts: tuple[str, ...]
    """The parts of the model that have parameters."""

    def stage(self, index: int, name: str, block: schema.Fit | schema.Bake) -> Stage:
        objective = self._objective(block)
        self._check_newton(name, block)
        batch = self._batch(name, block, objective.units)
        per_epoch = 1 if batch is None else steps_per_epoch(objective.units, batch)
        place = f"stages.{name}"
        length = bounded_steps(block.length, steps_per_epoch=per_epoch, total=None, place=f"{place}.length")
        resolve = partial(steps, steps_per_epoch=per_epoch, total=length)
        of_rate = partial(bounded_steps, steps_per_epoch=per_epoch, total=length, place=f"{place}.optimizer")
        check_order(getattr(block.optimizer, "learning_rate", None), of_rate, f"{place}.optimizer.learning_rate")
        chain = build_chain(block.optimizer, of_rate, f"{self.config.seed}/{name}/noise")
        evaluate = block.evaluate if isinstance(block, schema.Fit) else schema.Evaluate()
        return Stage(
            name=name,
            index=index,
            objective=objective,
            evaluation=self._evaluation(objective),
            chain=chain,
            train=self._trained_parts(block) if isinstance(block, schema.Fit) else None,
            starts=self._starts(name, block),
            length=length,
            batch=batch,
            steps_per_epoch=per_epoch,
            log_every=resolve(self.config.log.every),
            save_every=resolve(self.config.checkpoint.every),
            keep_every=self.config.checkpoint.keep_every,
            keep_best=self.config.checkpoint.best == held_out_metric(name),
            evaluate_every=resolve(evaluate.every),
            # Counted in 32 bits; there are no more evaluations than steps.
            patience=None if evaluate.patience is None else min(evaluate.patience, MOST_STEPS),
            fixed=self._constants(name, block, evaluate, chain.numbers),
        )

    def _objective(self, block: schema.Fit | schema.Bake) -> Objective:
        if isinstance(block, schema.Bake):
            score = build_score(block.score)
            audience, strangers = everyone(self.panel, self.group, score.columns), self._strangers()
            if strangers and isinstance(block.score, schema.LikingScore):
                audience, strangers = audience.only(~np.isin(audience.group, strangers)), ()
            if block.batch == "all" and block.optimizer.clip_customer_norm is None:  # which is of a single customer
                audience = merged(audience)
            cake, _ = Functional.split(self.space.cake())
            unknown = tuple(self.groups[index] for index in strangers)
            return CakeObjective(
                self.space, self.model, cake, score, audience, climbs=climb_of(block), strangers=unknown
            )
        assert self.panel is not None  # the config's checks hold it
        if isinstance(block.loss, schema.PropertyLoss):
            return PropertyObjective(self.panel, self.model, self.properties)
        own = load_object(block.loss.path) if isinstance(block.loss, schema.OwnLoss) else None
        priced = block.loss.penalty if isinstance(block.loss, schema.LikelihoodLoss) else None
        panel, group = self._counting(held_out=False)
        return PanelObjective(
            panel,
            group,
            self.model,
            self._trained_parts(block),
            own,
            block.loss.aggregate,
            penalty=build_penalty(priced, panel, group, len(self.groups)),
        )

    def _evaluation(self, objective: Objective) -> Objective | None:
        """The same loss over the responses held out of the fit, free of a penalty; None where there are none."""
        if self.panel is None or not isinstance(objective, PanelObjective) or not self.panel.held_out.any():
            return None
        panel, group = self._counting(held_out=True)
        return replace(objective, panel=panel, group=group, held_out=True, penalty=None)

    def _counting(self, *, held_out: bool) -> tuple[Panel, Int[np.ndarray, " customers"]]:
        """The customers with a response that counts, and their groups: a step on nobody else would learn nothing."""
        assert self.panel is not None  # the config's checks hold it
        chosen = np.zeros(self.panel.number_of_customers, bool)
        chosen[self.panel.customer_of_response()[self.panel.held_out == held_out]] = True
        return self.panel.of_customers(chosen), self.group[chosen]

    def _strangers(self) -> tuple[int, ...]:
        """Groups of the utility of whom nobody was asked."""
        if self.panel is None or self.config.model.utility is None:
            return ()
        return tuple(sorted(set(range(len(self.groups))) - asked_groups(self.panel, self.group)))

    def _check_newton(self, name: str, block: schema.Fit | schema.Bake) -> None:
        """A Hessian of the trained parameters has room.

        Raises:
            UserError: there are too many of them.
        """
        if not isinstance(block, schema.Fit) or not isinstance(block.optimizer, Newton):
            return
        parameters = nnx.to_pure_dict(self.model.template)
        trained = jax.tree.leaves([parameters[part] for part in self._trained_parts(block)])
        count = sum(leaf.size * (2 if jnp.iscomplexobj(leaf) else 1) for leaf in trained)
        if count > MOST_PARAMETERS:
            raise UserError(
                f"stages.{name}.optimizer: newton takes the Hessian of all trained parameters, and {count:,} are more "
                f"than the {MOST_PARAMETERS:,} that it has room for: use lbfgs or adam"
            )

    def _batch(self, name: str, block: schema.Fit | schema.Bake, units: int) -> int | None:
        if block.batch == "all":
            return None
        if block.batch > units:
            raise UserError(
                f"stages.{name}.batch: {block.batch} is more than the {units} there are; use `batch: all` for everyone"
            )
        return block.batch

    def _starts(self, name: str, block: schema.Fit | schema.Bake) -> Parameters | None:
        if isinstance(block, schema.Fit) or block.starts == "previous":
            return None
        starts = build_starts(block.starts, self.space, stream(self.config.seed, f"{name}/starts"))
        tree: Parameters = jax.jit(cake_layout(self.space).tree)(starts)
        return tree

    def _constants(
        self, name: str, block: schema.Fit | schema.Bake, evaluate: schema.Evaluate, numbers: ChainNumbers
    ) -> StageConstants:
        optimizer = block.optimizer
        limits = None
        if optimizer.limits:
            limits = on_device(np.array([optimizer.limits.get(name, np.inf) for name in self.space.owners]))
        clip = optimizer.clip_customer_norm
        return StageConstants(
            objective=None,
            evaluation=None,
            order_seed=on_device(np.uint32(word(self.config.seed, f"{name}/order"))),
            region=region_of(self.space) if isinstance(block, schema.Bake) else None,
            limits=limits,
            clip_customer_norm=None if clip is None else on_device(clip),
            min_improvement=on_device(evaluate.min_improvement),
            optimizer=numbers,
        )

    def _trained_parts(self, block: schema.Fit) -> tuple[str, ...]:
        """The parts of the model that a fit trains, in a fixed order."""
        default = ("properties",) if isinstance(block.loss, schema.PropertyLoss) else ("utility", "link")
        chosen = default if block.train is None else block.train
        return tuple(part for part in self.parts if part in chosen)
