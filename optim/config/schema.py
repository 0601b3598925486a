"""The config as typed, frozen models: every key that a YAML file may hold, with its meaning.

A config names a panel of customers, a cake to design and the stages of training. Nothing here is heavier than
pydantic; the objects themselves are built in the rooms that own them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from optim.config.block import Block, Expected
from optim.config.durations import Duration, Length
from optim.config.optimizers import Optimizer

Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$"),
    Expected("a name of letters, digits, _ and -, the first a letter"),
]
ImportPath = Annotated[
    str,
    Field(pattern=r"^[^:]+:[A-Za-z_][A-Za-z0-9_]*$", examples=["my_scores.py:sweet_tooth"]),
    Expected("an import path: `package.module:Name` or `file.py:Name`"),
]


class Ingredient(Block):
    """One amount of the recipe: its bounds, unit and price."""

    min: float = Field(0.0, ge=0.0)
    """Least amount allowed, in `unit`."""
    max: float | None = Field(None, ge=0.0)
    """Greatest amount allowed, in `unit`. Required unless the ingredient is fixed."""
    unit: str = ""
    """Unit of the amounts, such as g or cup; for display."""
    price: float = 0.0
    """Price of one unit; the cost of a recipe is the sum of price × amount."""
    fixed: float | None = Field(None, ge=0.0)
    """Hold the amount at this value: the ingredient is in the recipe but is not trained. `min` and `max`, where they
    are given, are what it has to lie within, and no more."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest amount; equal where it is fixed."""
        if self.fixed is not None:
            return self.fixed, self.fixed
        assert self.max is not None  # the config's checks hold it
        return self.min, self.max


Pair = Annotated[tuple[float, float], Field(strict=False)]
"""A complex number: its real and its imaginary part."""
Value = Annotated[float | Pair, Expected("a number (of a complex setting [real, imaginary])")]


class Setting(Block):
    """A setting of a process, such as a temperature: trained beside the amounts, in no total, without a price."""

    min: float | None = None
    """Least value allowed, in `unit`; of a complex setting, of both its parts. Required unless it is fixed."""
    max: float | None = None
    """Greatest value allowed, in `unit`; of a complex setting, of both its parts. Required unless it is fixed."""
    unit: str = ""
    """Unit of the values, such as °C; for display."""
    complex: bool = False
    """A complex number, such as a vibration with amplitude and phase. Its values are written as [real, imaginary], or
    as one number where they are real."""
    fixed: Value | None = None
    """Hold the setting at this value: the process has it, but it is not trained. `min` and `max`, where they are given,
    are what it has to lie within, and no more."""


class Like(Block):
    """How a rating becomes a like."""

    column: str = "liking"
    """Column of the ratings table that holds the rating. High means liked."""
    at_least: float
    """A rating of at least this much is a like."""
    scale: tuple[float, float] | None = Field(None, strict=False)
    """Lowest and highest rating that the scale allows; a rating outside it is refused."""


class Segment(Block):
    """A group of simulated customers who share an ideal recipe."""

    share: PositiveFloat = 1.0
    """Size of the segment relative to the others."""
    ideal: dict[str, float]
    """The amount of every free ingredient that this segment likes best."""


class Simulate(Block):
    """Simulated customers: utility = appeal − Σ ((amount − own ideal) / (tolerance × range))², like ~ Bernoulli(σ)."""

    customers: PositiveInt = 400
    """How many customers taste."""
    recipes: PositiveInt = 60
    """How many recipes are designed, spread evenly inside the bounds."""
    tastings: PositiveInt = 12
    """How many different recipes each customer tastes."""
    segments: dict[Name, Segment] = Field(min_length=1)
    """The segments by name."""
    spread: float = Field(0.1, ge=0.0)
    """Standard deviation of a customer's ideal around the segment's, as a share of each ingredient's range."""
    tolerance: PositiveFloat = 0.3
    """Distance from the ideal that costs one unit of utility, as a share of each ingredient's range."""
    appeal: float = 2.0
    """Utility (log-odds of a like) of a customer's own ideal recipe."""


class Split(Block):
    """Responses held out of the fit."""

    share: float = Field(gt=0.0, lt=1.0)
    """Share of the responses, recipes or customers held out, drawn at random (from `seed`)."""
    by: Literal["response", "recipe", "customer"] = "response"
    """What is drawn: single responses, within each customer; or, with all their responses, recipes among those tasted
    (can a new recipe be predicted? Those of equal amounts count as one) or customers among those who responded."""


class Data(Block):
    """The panel: tables that the user has, or simulated customers."""

    recipes: str | None = None
    """Table of the tasted recipes (CSV or Parquet): `recipe`, one column an ingredient; more columns are properties."""
    ratings: str | None = None
    """Table of the responses (CSV or Parquet): `customer`, `recipe` and the column that `like` names."""
    customers: str | None = None
    """Optional table of the customers (CSV or Parquet): `customer` and columns for groups and targets."""
    like: Like | None = None
    """How a rating becomes a like. Required with tables."""
    simulate: Simulate | None = None
    """Simulate the customers instead of reading tables."""
    evaluation: Split | None = None
    """Hold responses out of the fit, for evaluation and early stopping."""


class Bakery(Block):
    """Sweetness, fluffiness and cost of a cake of butter, eggs, flour and sugar, by formula."""

    kind: Literal["bakery"]
    """Property model."""


class Sourdough(Block):
    """A dough that yeast matures and a mixer vibrates: activity, maturity, acidity and smoothness, by formula.

    It needs the ingredients `flour`, `sugar` and `yeast` and the settings `temperature` and `vibration` (complex).
    """

    kind: Literal["sourdough"]
    """Property model."""


class Scheffe(Block):
    """A Scheffé mixture polynomial in the ingredients' fractions, fitted to measured properties."""

    kind: Literal["scheffe"]
    """Property model."""
    degree: Literal[1, 2] = 1
    """1: linear in the fractions; 2: with every product of two fractions."""
    columns: list[str] = Field(min_length=1)
    """The measured properties: columns of the recipes table."""


class PropertyNetwork(Block):
    """A multilayer perceptron of the amounts, fitted to measured properties."""

    kind: Literal["mlp"]
    """Property model."""
    hidden: list[PositiveInt] = Field([16], min_length=1)
    """Width of each hidden layer."""
    columns: list[str] = Field(min_length=1)
    """The measured properties: columns of the recipes table."""


class OwnProperties(Block):
    """A property model of the user's own."""

    kind: Literal["own"]
    """Property model."""
    path: ImportPath
    """`package.module:Class` or `file.py:Class`, a Flax NNX module (see `optim.models.properties`)."""
    arguments: dict[str, bool | int | float | str] = Field({})
    """Keyword arguments for the class."""
    settings: list[str] = Field([])
    """Settings that the model reads: where there are some, it is called as `model(amounts, settings)`."""


Properties = Annotated[Bakery | Sourdough | Scheffe | PropertyNetwork | OwnProperties, Field(discriminator="kind")]


SOURDOUGH_SETTINGS = {"temperature": False, "vibration": True}
"""The settings of a sourdough, and whether each is complex."""


def settings_read(properties: Properties | None) -> tuple[str, ...]:
    """The settings that a property model reads."""
    if isinstance(properties, Sourdough):
        return tuple(SOURDOUGH_SETTINGS)
    return tuple(properties.settings) if isinstance(properties, OwnProperties) else ()


class UtilityBase(Block):
    """What every utility has: the features it sees, and for whom its weights are."""

    features: list[str] = Field(["amounts"], min_length=1)
    """`fractions`, `amounts` or `properties` (all of the property model's), or single properties by name."""
    groups: str | None = None
    """Column of the customers' table: separate weights for each of its values. Absent: one set of weights for all."""


class LinearUtility(UtilityBase):
    """Utility linear in the features."""

    kind: Literal["linear"]
    """Form of the utility."""
    intercept: bool | None = None
    """Add a constant. Default: yes, unless `fractions` are among the features (they sum to 1)."""


class QuadraticUtility(UtilityBase):
    """Utility quadratic in the features: linear terms, products and squares (no squares of fractions)."""

    kind: Literal["quadratic"]
    """Form of the utility."""
    intercept: bool | None = None
    """Add a constant. Default: yes, unless `fractions` are among the features (they sum to 1)."""


class NetworkUtility(UtilityBase):
    """Utility by a multilayer perceptron of the features."""

    kind: Literal["mlp"]
    """Form of the utility."""
    hidden: list[PositiveInt] = Field([16], min_length=1)
    """Width of each hidden layer."""


class OwnUtility(UtilityBase):
    """A utility of the user's own."""

    kind: Literal["own"]
    """Form of the utility."""
    path: ImportPath
    """`package.module:Class` or `file.py:Class`, a Flax NNX module (see `optim.models.utilities`)."""
    arguments: dict[str, bool | int | float | str] = Field({})
    """Keyword arguments for the class."""


Utility = Annotated[LinearUtility | QuadraticUtility | NetworkUtility | OwnUtility, Field(discriminator="kind")]


class Logit(Block):
    """P(like) = σ(utility)."""

    kind: Literal["logit"] = "logit"
    """Link from utility to response."""


class Model(Block):
    """The likelihood model: recipe → properties → utility → distribution of a response."""

    properties: Properties | None = None
    """What a recipe turns into."""
    utility: Utility | None = None
    """What a customer makes of it."""
    link: Logit = Logit()
    """How a utility becomes a response."""


Aggregate = Literal["sum", "mean_responses", "mean_customers"]


class Ridge(Block):
    """½ strength × the sum of the squared weights of the scaled features, products included; intercepts are free."""

    kind: Literal["ridge"]
    """Penalty."""
    strength: PositiveFloat
    """Added to the summed negative log-likelihood of all responses of the fit, whatever the aggregate and the batch."""


class Firth(Block):
    """−½ log det of the Fisher information (Jeffreys' prior): less biased coefficients, and finite ones where likes are
    separated. For a linear or quadratic utility, trained alone with `batch: all`."""

    kind: Literal["firth"]
    """Penalty."""


Penalty = Annotated[Ridge | Firth, Field(discriminator="kind")]


class LikelihoodLoss(Block):
    """Negative log-likelihood of the responses, per customer, from logits."""

    kind: Literal["likelihood"]
    """Loss."""
    aggregate: Aggregate = "mean_responses"
    """Sum over everything, mean over responses, or mean over customers of each one's mean."""
    penalty: Penalty | None = None
    """What the weights of the utility cost; no part of the held-out loss and the log-likelihood. Absent: nothing."""


class PropertyLoss(Block):
    """Squared error of the predicted properties, each in units of its standard deviation over the recipes."""

    kind: Literal["property_error"]
    """Loss."""


class OwnLoss(Block):
    """A loss of the user's own: `loss(utility, like) -> scalar` for one response."""

    kind: Literal["own"]
    """Loss."""
    path: ImportPath
    """`package.module:function` or `file.py:function`."""
    aggregate: Aggregate = "mean_responses"
    """Sum over everything, mean over responses, or mean over customers of each one's mean."""


Loss = Annotated[LikelihoodLoss | PropertyLoss | OwnLoss, Field(discriminator="kind")]


class Column(Block):
    """A target that differs from customer to customer."""

    column: str
    """Column of the customers' table that holds each customer's target."""


class HeldTarget(Block):
    """A target by formula that may be held fixed while the recipe moves."""

    formula: str
    """Formula of ingredients, properties and settings."""
    hold: bool = False
    """Train as if the target were a number: it follows the recipe, but the gradient does not see it move."""


Target = float | str | Column | HeldTarget


class LikingScore(Block):
    """Expected P(like) of the audience less cost_weight × cost. High is good."""

    kind: Literal["liking"]
    """Score."""
    cost_weight: float = Field(0.0, ge=0.0)
    """What one unit of cost takes off the score."""
    cost: Literal["prices", "property"] = "prices"
    """Cost: Σ price × amount, or the `cost` property."""


class DeliciousnessScore(Block):
    """−Σ (property − target)² − cost_weight × cost, mean over the audience. High is good."""

    kind: Literal["deliciousness"]
    """Score."""
    targets: dict[str, Target] = Field({"sweetness": 10.0, "fluffiness": 5.0}, min_length=1)
    """Target of each property: a number, a formula of ingredients, properties and settings, or a customers' column."""
    cost_weight: float = Field(0.5, ge=0.0)
    """What one unit of cost takes off the score."""
    cost: Literal["prices", "property"] = "property"
    """Cost: Σ price × amount, or the `cost` property."""


class OwnScore(Block):
    """A score of the user's own: `score(recipe, customer) -> scalar`, mean over the audience. High is good."""

    kind: Literal["own"]
    """Score."""
    path: ImportPath
    """`package.module:function` or `file.py:function`."""
    columns: list[str] = Field([])
    """Columns of the customers' table that the score reads from `customer`."""


def held_targets(score: DeliciousnessScore) -> tuple[str, ...]:
    """The properties whose target is held."""
    return tuple(name for name, target in score.targets.items() if isinstance(target, HeldTarget) and target.hold)


Score = Annotated[LikingScore | DeliciousnessScore | OwnScore, Field(discriminator="kind")]


class Evaluate(Block):
    """Loss on the held-out responses, and early stopping by it."""

    every: Duration = "5%"
    """How often the held-out loss is computed, counted from the start of the stage."""
    patience: PositiveInt | None = None
    """Stop after this many evaluations without improvement, and go back to the best parameters. Absent: never stop."""
    min_improvement: float = Field(0.0, ge=0.0)
    """With `patience`: an evaluation improves if it is lower than the best by more than this."""


Part = Literal["properties", "utility", "link"]


class StageBase(Block):
    """What every stage has."""

    length: Length
    """How long the stage trains: steps (an integer) or epochs (`20 epochs`)."""
    batch: PositiveInt | Literal["all"] = "all"
    """Customers a step; `all` takes everyone."""
    optimizer: Optimizer
    """The optax optimizer."""


class Fit(StageBase):
    """Train the likelihood model (or its property model) on the panel."""

    kind: Literal["fit"]
    """Kind of stage."""
    loss: Loss = LikelihoodLoss(kind="likelihood")
    """What the stage minimises."""
    train: list[Part] | None = None
    """Parts of the model to train. Default: utility and link; the property model for `property_error`."""
    evaluate: Evaluate = Evaluate()
    """Evaluation on the held-out responses, which `data.evaluation` holds out of the fit of responses."""


class Bake(StageBase):
    """Train the cake against the score."""

    kind: Literal["bake"]
    """Kind of stage."""
    score: Score
    """What the stage maximises."""
    starts: PositiveInt | list[dict[str, Value]] | Literal["previous"] = 8
    """How many initial recipes (the centre of the bounds, then random ones), the recipes themselves, or `previous`:
    go on from the recipes of the bake before."""

    @field_validator("optimizer")
    @classmethod
    def _without_default_decay(cls, optimizer: Optimizer) -> Optimizer:
        """A weight decay pulls amounts towards 0, whatever the score: a recipe has none unless somebody asks for it."""
        if "weight_decay" not in type(optimizer).model_fields or "weight_decay" in optimizer.model_fields_set:
            return optimizer
        return optimizer.model_copy(update={"weight_decay": 0.0})


Stage = Annotated[Fit | Bake, Field(discriminator="kind")]


class Checkpoint(Block):
    """When the run is saved, and what is kept."""

    every: Duration = "10%"
    """How often a checkpoint is saved, counted from the start of the stage; stage ends are saved as well."""
    keep: PositiveInt = 3
    """How many of the latest checkpoints are kept."""
    keep_every: PositiveInt | None = None
    """Also save, and keep, at every multiple of this, in steps of the run."""
    best: str | None = None
    """Also keep the state with the lowest value of this metric, of equals the first. `STAGE/eval/loss`: of all
    evaluations of the stage; it is saved where it is found. `STAGE/train/loss`: of the saves, each with the loss of its
    last step."""


class Log(Block):
    """When scalars are written to TensorBoard."""

    every: Duration = "1%"
    """How often, counted from the start of the stage; its first and last step are always logged."""


class Config(Block):
    """A study: a panel of customers, a cake to design, and the stages of training."""

    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of everything random: simulated customers, splits, data order, initial parameters."""
    precision: Literal["float32", "float64"] = "float32"
    """Floating-point type of the whole run."""
    data: Data | None = None
    """The panel."""
    ingredients: dict[Name, Ingredient] = Field(min_length=1)
    """The ingredients, in the order of the recipe vector."""
    settings: dict[Name, Setting] = Field({})
    """The settings of the processes, which bake stages train beside the amounts."""
    total: PositiveFloat | None = None
    """Exact sum of all the amounts, fixed ones included. Absent: free."""
    model: Model = Model()
    """The likelihood model."""
    stages: dict[Name, Stage] = Field(min_length=1)
    """The stages, in the order in which they run: every fit before the first bake."""
    checkpoint: Checkpoint = Checkpoint()
    """Checkpoints."""
    log: Log = Log()
    """Scalars."""
    chunk: PositiveInt | Literal["auto"] = "auto"
    """Most steps in one compiled call. `auto`: about a third of a second's worth. Results do not depend on it."""
    stop_after_steps: PositiveInt | None = None
    """Stop (resumable) after this step of the run, for debugging; schedules do not notice. It holds for the call that
    gives it: a later `resume` goes on."""
    max_rollbacks: int = Field(3, ge=0)
    """How often a non-finite loss or gradient may send the run back to its last checkpoint before it gives up."""
