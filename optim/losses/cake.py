"""The cake's loss: minus its score, per customer of the audience."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from optim.autodiff.expansion import first_order
from optim.config.errors import UserError
from optim.config.schema import Aggregate
from optim.losses.audience import Audience
from optim.losses.objective import Parameters, UnitLoss, batch_loss
from optim.losses.scores import BuiltScore, Customer, Recipe
from optim.models.cake import Cake
from optim.models.functional import Functional
from optim.models.likelihood import LikelihoodModel
from optim.models.space import RecipeSpace


class AudienceRows(NamedTuple):
    """Customers of the audience."""

    group: Int[Array, "*b"]
    columns: dict[str, Float[Array, "*b"]]
    weight: Float[Array, "*b"]


class CakeConstants(NamedTuple):
    """Arrays of a bake: the frozen likelihood model, the score's numbers, the prices and the audience."""

    model: Parameters
    weights: Any
    prices: Float[Array, " n"]
    audience: AudienceRows


@dataclass(frozen=True, eq=False)
class CakeObjective:
    """Minus the mean score over the audience. Low is good.

    Args:
        space: the ingredients.
        model: the likelihood model as a function of its parameters; not trained here.
        cake: the cake as a function of its parameters.
        score: what one customer makes of a recipe.
        audience: whom the cake is for.
    """

    space: RecipeSpace
    model: Functional[LikelihoodModel]
    cake: Functional[Cake]
    score: BuiltScore
    audience: Audience
    aggregate: Aggregate = "mean_responses"

    @property
    def units(self) -> int:
        return len(self.audience.weight)

    @property
    def names(self) -> Sequence[str] | None:
        return self.audience.names

    def constants(self, parameters: Parameters) -> CakeConstants:
        audience = self.audience
        columns = {name: jnp.asarray(values) for name, values in audience.columns.items()}
        return CakeConstants(
            model=parameters["model"],
            weights=jax.tree.map(jnp.asarray, self.score.weights),
            prices=jnp.asarray(self.space.prices),
            audience=AudienceRows(jnp.asarray(audience.group, jnp.int32), columns, jnp.asarray(audience.weight)),
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

    def _properties(self, cake: Parameters, constants: CakeConstants) -> Float[Array, " properties"]:
        """What the recipe of a cake turns into."""
        return self.model(constants.model).properties_of(*self.cake(cake)())

    def _score(
        self, cake: Parameters, properties: Float[Array, " properties"], unit: AudienceRows, constants: CakeConstants
    ) -> Float[Array, ""]:
        """Score of a cake for one customer."""
        amounts, settings = self.cake(cake)()
        model = self.model(constants.model)
        names = () if model.properties is None else model.properties.names
        liking = None if model.utility is None else model.expected_response(model.features(amounts), unit.group)
        recipe = Recipe(
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

    @property
    def plain(self) -> CakeObjective:
        """The same loss without the modifications that are made to its gradient in training."""
        return replace(self, score=replace(self.score, trained=self.score.function))
