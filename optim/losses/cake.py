"""The cake's loss: minus its score, per customer of the audience; or minus the log-odds of being liked by all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import logsumexp
from jaxtyping import Array, Bool, Float, Int

from optim.autodiff.expansion import first_order
from optim.config import schema
from optim.config.errors import UserError
from optim.config.schema import Aggregate
from optim.losses.audience import Audience
from optim.losses.objective import Parameters, UnitLoss, batch_loss
from optim.losses.scores import (
    Asked,
    BuiltScore,
    Customer,
    Recipe,
    RecipeForStrangers,
    WatchedRecipe,
)
from optim.models.arrays import on_device
from optim.models.cake import Cake
from optim.models.functional import Functional
from optim.models.likelihood import LikelihoodModel
from optim.models.space import RecipeSpace

Climb = Literal["score", "logit"]
"""What a bake climbs: its score, or the logit of a score that is P(like). Both have the same best cake."""


def is_liking_alone(score: schema.Score) -> bool:
    """Whether a score is P(like) and nothing else."""
    return isinstance(score, schema.LikingScore) and score.cost_weight == 0


def climb_of(bake: schema.Bake) -> Climb:
    """What a stage climbs.

    The logit where the score is P(like) alone: where P is 1 or 0 to the last bit, P has no slope left, while its logit
    has. Not for a batch, whose logits have another mean than P; nor with clipping or limits, which are in units of the
    score.
    """
    optimizer = bake.optimizer
    restrained = optimizer.clip_customer_norm is not None or optimizer.clip_global_norm is not None or optimizer.limits
    return "logit" if is_liking_alone(bake.score) and bake.batch == "all" and not restrained else "score"


class AudienceRows(NamedTuple):
    """Customers of the audience."""

    group: Int[Array, "*b"]
    columns: dict[str, Float[Array, "*b"]]
    weight: Float[Array, "*b"]


class CakeConstants(NamedTuple):
    """Arrays of a bake: the frozen likelihood model, the score's numbers, the prices and the audience."""

    model: Parameters
    buffers: Parameters
    weights: Any
    prices: Float[Array, " n"]
    audience: AudienceRows


@dataclass(frozen=True, eq=False)
class CakeObjective:
    """Minus the mean score over the audience, or minus the logit of that mean. Low is good.

    Args:
        space: the ingredients.
        model: the likelihood model as a function of its parameters; not trained here.
        cake: the cake as a function of its parameters.
        score: what one customer makes of a recipe.
        audience: whom the cake is for.
        aggregate: how the customers' scores become one.
        watched: gets the names of what the score asks of a recipe; None where nobody wants to know.
        strangers: groups in the audience of whom nobody was asked: no P(like) is known of them.
        climbs: `logit` only for a score that is P(like) alone; `unit_loss`, of one customer, is minus P(like) all the
            same.
    """

    space: RecipeSpace
    model: Functional[LikelihoodModel]
    cake: Functional[Cake]
    score: BuiltScore
    audience: Audience
    aggregate: Aggregate = "mean_responses"
    climbs: Climb = "score"
    strangers: tuple[str, ...] = ()
    watched: set[str] | None = None

    @property
    def units(self) -> int:
        return len(self.audience.weight)

    @property
    def names(self) -> Sequence[str] | None:
        return self.audience.names

    def constants(self, parameters: Parameters) -> CakeConstants:
        audience = self.audience
        columns = {name: on_device(values) for name, values in audience.columns.items()}
        return CakeConstants(
            model=parameters["model"],
            buffers=self.model.buffers,
            weights=jax.tree.map(on_device, self.score.weights),
            prices=on_device(self.space.prices),
            audience=AudienceRows(on_device(audience.group.astype(np.int32)), columns, on_device(audience.weight)),
        )

    @property
    def width(self) -> int:
        return 1

    def everyone(self, constants: CakeConstants) -> AudienceRows:
        return constants.audience

    def batch(self, constants: CakeConstants, index: Int[Array, " b"], mask: Bool[Array, " b"]) -> AudienceRows:
        rows: AudienceRows = jax.tree.map(lambda values: values[index], constants.audience)
        return rows._replace(weight=jnp.where(mask, rows.weight, 0.0))

    def unit_loss(
        self, trained: Parameters, unit: AudienceRows, constants: CakeConstants
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return self._loss(trained["cake"], self._properties(trained["cake"], constants), unit, constants)

    def losses(
        self, trained: Parameters, batch: AudienceRows, constants: CakeConstants
    ) -> tuple[Float[Array, " parts"], Float[Array, " parts"]]:
        """`unit_loss` of every customer of a batch; of the logit, which is one of them all together, a single part."""
        if self.climbs == "score":
            return jax.vmap(self.unit_loss, in_axes=(None, 0, None))(trained, batch, constants)
        log_odds = self._log_odds(trained["cake"], batch, constants)
        return -log_odds[None], jnp.ones_like(log_odds[None])

    def expanded(self, trained: Parameters, constants: CakeConstants, units: int) -> UnitLoss:
        """`unit_loss` with the property model differentiated once, where there are more customers than properties."""
        properties = lambda cake: self._properties(cake, constants)
        if jax.eval_shape(properties, trained["cake"]).size >= units:
            return self.unit_loss
        expansion = first_order(properties, trained["cake"])
        return lambda trained, unit, constants: self._loss(trained["cake"], expansion(trained["cake"]), unit, constants)

    def _loss(
        self, cake: Parameters, properties: Float[Array, " properties"], unit: AudienceRows, constants: CakeConstants
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Minus the score times the customer's weight, and the weight."""
        return -self._score(cake, properties, unit, constants) * unit.weight, unit.weight

    def _frozen(self, constants: CakeConstants) -> LikelihoodModel:
        return self.model(constants.model, constants.buffers)

    def _properties(self, cake: Parameters, constants: CakeConstants) -> Float[Array, " properties"]:
        """What the recipe of a cake turns into."""
        return self._frozen(constants).properties_of(*self.cake(cake)())

    @property
    def _recipe_kind(self) -> Callable[..., Recipe]:
        """What the score is given of a recipe."""
        if self.watched is not None:
            return partial(WatchedRecipe, noted=self.watched)
        return partial(RecipeForStrangers, strangers=self.strangers) if self.strangers else Recipe

    def asked(self, constants: CakeConstants) -> Asked:
        """What the score asks of a recipe and of a customer; nothing is computed to tell."""
        noted: set[str] = set()
        watched = replace(self, watched=noted, climbs="score")
        cake = Functional.split(self.space.cake())[1]
        unit = jax.tree.map(lambda values: jax.ShapeDtypeStruct((), values.dtype), constants.audience)
        loss = lambda columns, unit: watched.unit_loss({"cake": cake}, unit._replace(columns=columns), constants)[0]
        traced = jax.make_jaxpr(loss)(unit.columns, unit).jaxpr
        read = {id(variable) for equation in traced.eqns for variable in equation.invars}
        read |= {id(variable) for variable in traced.outvars}
        inputs = zip(sorted(unit.columns), traced.invars, strict=False)  # a tree of a mapping goes by its sorted keys
        return Asked(frozenset(noted), frozenset(name for name, variable in inputs if id(variable) in read))

    def _score(
        self, cake: Parameters, properties: Float[Array, " properties"], unit: AudienceRows, constants: CakeConstants
    ) -> Float[Array, ""]:
        """Score of a cake for one customer."""
        amounts, settings = self.cake(cake)()
        model = self._frozen(constants)
        names = () if model.properties is None else model.properties.names
        liking = None if model.utility is None else model.expected_response(model.features(amounts), unit.group)
        recipe = self._recipe_kind(
            amounts=dict(zip(self.space.names, amounts, strict=True)),
            properties=dict(zip(names, properties, strict=True)),
            cost=jnp.sum(constants.prices * amounts),
            liking=liking,
            settings=settings,
        )
        score = jnp.asarray(self.score.trained(recipe, Customer(unit.columns), constants.weights))
        if score.shape != ():
            raise UserError(f"the score gives an array of shape {score.shape} for one customer: expected a scalar")
        if not jnp.issubdtype(score.dtype, jnp.floating):
            hint = "take its real part, or its modulus" if jnp.iscomplexobj(score) else "write 1.0 for 1"
            raise UserError(f"the score gives {score.dtype} for one customer: expected a real floating number; {hint}")
        return score

    def mean_score(self, cake: Parameters, constants: CakeConstants) -> Float[Array, ""]:
        """Score of a cake for the whole audience: pure, free of gradient limits and held targets. High is good.

        Args:
            cake: its parameters: `amounts` of shape (n,) and, where there are some, `settings`.
            constants: the stage's.
        """
        return -batch_loss(self.plain, {"cake": cake}, constants.audience, constants)

    def mean_log_odds(self, cake: Parameters, constants: CakeConstants) -> Float[Array, ""]:
        """Logit of the audience's mean P(like), for a model with a utility, whatever the score. High is good.

        Args:
            cake: its parameters, as for `mean_score`.
            constants: the stage's.
        """
        return self._log_odds(cake, constants.audience, constants)

    def climbed(self, cake: Parameters, constants: CakeConstants) -> Float[Array, ""]:
        """What training climbs: the mean score, or the logit of the mean P(like)."""
        return self.mean_log_odds(cake, constants) if self.climbs == "logit" else self.mean_score(cake, constants)

    def utilities(self, cake: Parameters, constants: CakeConstants) -> Float[Array, " groups"]:
        """Utility of a cake for each group that occurs in the audience, in the order of their numbers.

        Args:
            cake: its parameters, as for `mean_score`.
            constants: the stage's.
        """
        return self._utilities(cake, jnp.asarray(np.unique(self.audience.group), jnp.int32), constants)

    def _log_odds(self, cake: Parameters, rows: AudienceRows, constants: CakeConstants) -> Float[Array, ""]:
        """Logit of the mean P(like) of some rows."""
        terms = jax.vmap(self._frozen(constants).link.log_odds_terms)
        return log_odds_of_mean(*terms(self._utilities(cake, rows.group, constants)), rows.weight)

    def _utilities(self, cake: Parameters, group: Int[Array, " b"], constants: CakeConstants) -> Float[Array, " b"]:
        """Utility of a cake for customers of these groups."""
        amounts, _ = self.cake(cake)()
        model = self._frozen(constants)
        assert model.utility is not None  # the config's checks hold it
        return jax.vmap(model.utility, in_axes=(None, 0))(model.features(amounts), group)

    @property
    def plain(self) -> CakeObjective:
        """Minus the score itself, without what is made of it or of its gradient in training."""
        return replace(self, score=replace(self.score, trained=self.score.function), climbs="score")


def log_odds_of_mean(
    log_like: Float[Array, " b"], log_dislike: Float[Array, " b"], weight: Float[Array, " b"]
) -> Float[Array, ""]:
    """Logit of the weighted mean of probabilities of which only logarithms are known: log Σ w p − log Σ w (1 − p).

    Probabilities that are 1 or 0 to the last bit keep their distance from it in the other logarithm. Rows of weight 0
    count nothing, whatever stands in them; without any weight there is no mean, and NaN.

    Args:
        log_like: log p.
        log_dislike: log (1 − p).
        weight: 0 or more; only their ratios matter.
    """
    share = weight / jnp.max(weight)  # of a lone row exactly 1, so that its logit is not rounded by the weight
    return logsumexp(log_like, b=share) - logsumexp(log_dislike, b=share)
