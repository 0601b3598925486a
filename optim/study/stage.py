"""A stage: a loss, the parameters it trains, an optimizer and a length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, UInt32

from optim.losses.objective import Objective, Parameters, batch_loss
from optim.models.arrays import float_dtype, on_device
from optim.models.flat import Flat
from optim.optimize.chains import Chain, ChainNumbers, initialise
from optim.optimize.region import Region
from optim.study.state import Ended, State, no_stopping


class StageConstants(NamedTuple):
    """Traced arrays of a stage, none of them baked into its program.

    Attributes:
        objective: the loss's own.
        evaluation: those of the held-out loss; None without one.
        order_seed: seed of the data order.
        region: what a cake must keep to; None for a fit.
        limits: greatest absolute gradient of each coordinate of a cake; None where none is limited.
        clip_customer_norm: greatest norm of a customer's own gradient; None for no limit.
        min_improvement: by how much an evaluation must beat the best one.
        optimizer: the numbers of the optax chain.
    """

    objective: PyTree
    evaluation: PyTree
    order_seed: UInt32[Array, ""]
    region: Region | None
    limits: Float[Array, " d"] | None
    clip_customer_norm: Float[Array, ""] | None
    min_improvement: Float[Array, ""]
    optimizer: ChainNumbers


class Beginning(NamedTuple):
    """What a stage begins with that may be each run's own.

    Attributes:
        starts: initial cakes of a bake, along a member axis; None to go on from those of the bake before, or for a fit.
        optimizer: the numbers of the optax chain.
    """

    starts: Parameters | None
    optimizer: ChainNumbers


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage of a run.

    Attributes:
        name: its name in the config.
        index: its place among the stages.
        objective: what it minimises.
        evaluation: the held-out loss, or None.
        chain: the optax chain.
        train: parts of the likelihood model that it trains; None where it bakes a cake.
        starts: initial cakes of a bake, along a member axis; None to go on from those of the bake before, or for a fit.
        length: steps.
        batch: units a step, or None for all of them.
        steps_per_epoch: steps in which every unit is seen once.
        log_every, save_every, evaluate_every: cadences in steps, counted from the stage's start.
        keep_every: saved at its multiples as well, counted in steps of the run; None for no others.
        keep_best: the state with the lowest held-out loss is saved, so each evaluation is looked at.
        patience: evaluations without improvement after which it stops; None never to stop.
        fixed: the constants that do not depend on parameters.
    """

    name: str
    index: int
    objective: Objective
    evaluation: Objective | None
    chain: Chain
    train: tuple[str, ...] | None
    starts: Parameters | None
    length: int
    batch: int | None
    steps_per_epoch: int
    log_every: int
    save_every: int
    evaluate_every: int
    keep_every: int | None
    keep_best: bool
    patience: int | None
    fixed: StageConstants

    @property
    def bakes(self) -> bool:
        """Whether it trains a cake rather than the likelihood model."""
        return self.train is None

    @property
    def evaluations(self) -> int:
        """How often the held-out loss is computed if it is trained to its end, which is evaluated as well."""
        return 0 if self.evaluation is None else -(-self.length // self.evaluate_every)

    @property
    def chooses_its_end(self) -> bool:
        """Whether its held-out losses choose where it ends: it goes back to the best of several."""
        return self.patience is not None and self.evaluations > 1

    def trained(self, parameters: Parameters) -> Parameters:
        """The part of all parameters that this stage trains."""
        if self.train is None:
            return {"cake": parameters["cake"]}
        return {"model": {part: parameters["model"][part] for part in self.train}}

    def with_trained(self, parameters: Parameters, trained: Parameters) -> Parameters:
        """All parameters, with the trained ones replaced."""
        if self.train is None:
            return {**parameters, "cake": trained["cake"]}
        return {**parameters, "model": {**parameters["model"], **trained["model"]}}

    def constants(self, parameters: Parameters) -> StageConstants:
        """The stage's constants, given what the stages before it have trained."""
        member = {"model": _first_member(parameters["model"])}
        return self.fixed._replace(
            objective=self.objective.constants(member),
            evaluation=None if self.evaluation is None else self.evaluation.constants(member),
        )

    def first_loss(self, parameters: Parameters) -> Float[Array, ""]:
        """Loss of the first unit, for the first member: touches all the code that a step does."""
        member = jax.tree.map(lambda leaf: leaf[0], self.trained(parameters))
        constants = self.constants(parameters).objective
        batch = self.objective.batch(constants, jnp.zeros(1, jnp.int32), jnp.ones(1, bool))
        return batch_loss(self.objective, member, batch, constants)

    @property
    def beginning(self) -> Beginning:
        """What it begins with."""
        return Beginning(self.starts, self.fixed.optimizer)

    def begin(self, state: State, beginning: Beginning | None = None) -> State:
        """The state with which this stage starts, from the one with which the stage before it ended.

        Args:
            state: that state.
            beginning: that of another run of the same program; None for its own.
        """
        beginning = self.beginning if beginning is None else beginning
        parameters = state.parameters
        if beginning.starts is not None:
            parameters = {**parameters, "cake": beginning.starts}
        flat = Flat.of(self.trained(parameters)).ravel(self.trained(parameters))
        members, width = flat.shape
        return state._replace(
            position=state.step,
            stage=jnp.int32(self.index),
            origin=state.step,
            parameters=parameters,
            optimizer=initialise(self.chain(beginning.optimizer), flat),
            clipped=self._nothing_clipped(members, width),
            stopping=no_stopping(members, 0 if self.patience is None else width),
        )

    def _nothing_clipped(self, members: int, width: int) -> dict[str, Int[Array, "members ..."]]:
        clipped = {}
        if self.fixed.limits is not None:
            clipped["limits"] = jnp.zeros((members, width), jnp.int32)
        if self.fixed.optimizer.clip_global_norm is not None:
            clipped["global"] = jnp.zeros(members, jnp.int32)
        if self.fixed.clip_customer_norm is not None:
            clipped["customers"] = jnp.zeros(members, jnp.int32)
        return clipped

    def finish(self, state: State) -> State:
        """The state with which this stage leaves the run: at the best held-out loss, where it watched that one."""
        steps = state.step - state.origin
        shares = {kind: count / steps.astype(float_dtype()) for kind, count in state.clipped.items()}
        kept = steps if self.patience is None else self._best(steps, state.stopping.stale)
        left = Ended(state.parameters["cake"] if self.bakes else None, shares, steps, kept)
        state = state._replace(ended={**state.ended, self.name: left})
        if self.patience is None:
            return state
        flat = Flat.of(self.trained(state.parameters))
        known = jnp.isfinite(state.stopping.best)
        now = flat.ravel(self.trained(state.parameters))
        best = jnp.where(known, state.stopping.best_parameters, now)
        return state._replace(parameters=self.with_trained(state.parameters, flat.tree(best)))

    def _best(self, steps: Int[Array, ""], stale: Int[Array, ""]) -> Int[Array, ""]:
        """After how many steps the last evaluation was better, of which `stale` have followed."""
        every = min(self.evaluate_every, self.length)
        evaluations = -(-steps // every)  # the last is at the end of the stage, whatever the cadence
        return jnp.where(stale == 0, steps, (evaluations - stale) * every)


@jax.jit
def _first_member(parameters: Parameters) -> Parameters:
    """Parameters without the member axis: those of a fit, which has one member."""
    return jax.tree.map(lambda leaf: leaf[0], parameters)


def held_out_metric(stage: str) -> str:
    """What `checkpoint.best` calls the held-out loss of a stage."""
    return f"{stage}/eval/loss"


def initial_state(parameters: Parameters) -> State:
    """The untouched state: step 0 of a run, before its first stage begins."""
    zero = on_device(np.int32(0))
    return State(zero, zero, zero, zero, zero, zero, parameters, {}, {}, no_stopping(1, 0), {})
