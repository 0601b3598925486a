"""Small fits for the tests of what a fit is worth: panels, their designs, and where the likelihood has its maximum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.special import expit

from optim.analysis.design import Block, Design, design_of
from optim.analysis.evidence import BlockEvidence, Slopes, evidence_of
from optim.config import schema
from optim.data.panel import Panel, assemble
from optim.data.tallies import Tally, tally
from optim.losses.objective import Parameters
from optim.models.build import Tasted, build_model
from optim.models.functional import Functional
from optim.models.likelihood import LikelihoodModel
from optim.models.links import Logit

SLOPES = Slopes(lambda utility, like: -Logit().log_probability(utility, like))


@dataclass(frozen=True)
class Fit:
    """A panel, a model of it, and the design of the fit."""

    panel: Panel
    group: Int[np.ndarray, " customers"]
    counted: Tally
    model: Functional[LikelihoodModel]
    parameters: Parameters
    groups: tuple[str, ...]
    design: Design

    @property
    def block(self) -> Block:
        """The only block."""
        (block,) = self.design.blocks
        return block


def make_panel(
    amounts: Float64[np.ndarray, "recipes n"],
    customer: Int[np.ndarray, " responses"],
    recipe: Int[np.ndarray, " responses"],
    like: Bool[np.ndarray, " responses"],
    names: Sequence[str] = (),
    customers: int | None = None,
) -> Panel:
    """A panel of these responses."""
    count = int(customer.max()) + 1 if customers is None else customers
    return assemble(
        customers=[f"c{i}" for i in range(count)],
        recipes=[str(i) for i in range(len(amounts))],
        ingredients=list(names) or list("abcdefgh"[: amounts.shape[1]]),
        amounts=np.asarray(amounts, float),
        customer=np.asarray(customer),
        recipe=np.asarray(recipe),
        like=np.asarray(like, bool),
        properties={},
        columns={},
        digests={},
    )


def make_fit(
    amounts: Float64[np.ndarray, "recipes n"],
    likes: Sequence[int] | np.ndarray,
    dislikes: Sequence[int] | np.ndarray,
    *,
    kind: str = "linear",
    names: Sequence[str] = (),
    segments: Sequence[str] | None = None,
    features: str = "amounts",
    intercept: bool | None = None,
    fixed: Mapping[str, float] = MappingProxyType({}),
    by_customer: bool = False,
) -> Fit:
    """A fit in which every response is a customer's own.

    Args:
        amounts: recipes; with segments there is one a cell, tasted by that segment alone.
        likes, dislikes: how often each was liked and not.
        segments: of each recipe; None for one group.
    """
    likes, dislikes = np.asarray(likes), np.asarray(dislikes)
    recipe = np.repeat(np.arange(len(amounts)), likes + dislikes)
    like = np.concatenate([np.repeat([True, False], [a, b]) for a, b in zip(likes, dislikes, strict=True)])
    panel = make_panel(np.asarray(amounts, float), np.arange(len(recipe)), recipe, like, names)
    groups, of_recipe = np.unique(["everyone"] * len(amounts) if segments is None else segments, return_inverse=True)
    group = of_recipe[panel.recipe]
    return of_panel(
        panel,
        group,
        tuple(map(str, groups)),
        kind=kind,
        features=features,
        intercept=intercept,
        fixed=fixed,
        by_customer=by_customer,
    )


def of_panel(
    panel: Panel,
    group: Int[np.ndarray, " customers"],
    groups: tuple[str, ...] = ("everyone",),
    *,
    kind: str = "linear",
    features: str = "amounts",
    intercept: bool | None = None,
    fixed: Mapping[str, float] = MappingProxyType({}),
    by_customer: bool = False,
) -> Fit:
    """The fit of a linear or quadratic utility to a panel, at coefficients of 0."""
    block: dict[str, Any] = {"kind": kind, "features": [features]}
    block |= {} if intercept is None else {"intercept": intercept}
    counts = np.bincount(panel.recipe, minlength=len(panel.recipes)).astype(float)
    module = build_model(
        schema.Model.model_validate({"utility": block}),
        panel.ingredients,
        Tasted(panel.amounts, {}, counts, len(groups)),
        lambda: None,  # type: ignore[arg-type, return-value]
        tuple(fixed),
    )
    model, parameters = Functional.split(module)
    counted = tally(panel, group, np.ones(len(panel.like), bool), by_customer=by_customer)
    design = design_of(model, parameters, panel.amounts, counted, groups, fixed)
    assert design is not None
    return Fit(panel, group, counted, model, parameters, groups, design)


def newton(block: Block, steps: int = 60) -> Float64[np.ndarray, " m"]:
    """Where the likelihood of a block is greatest, and of such places the nearest to 0; plain Newton, in float64."""
    theta = np.zeros(len(block.names))
    for _ in range(steps):
        mean = expit(block.rows @ theta)
        gradient = block.rows.T @ (block.likes - block.counts * mean)
        hessian = (block.rows.T * (block.counts * mean * (1 - mean))) @ block.rows
        theta = theta + np.linalg.pinv(hessian, rcond=1e-11, hermitian=True) @ gradient
    return theta


def at(design: Design, *thetas: Float64[np.ndarray, " m"]) -> Design:
    """The design at other coefficients, one vector a block."""
    blocks = tuple(replace(block, theta=theta) for block, theta in zip(design.blocks, thetas, strict=True))
    return replace(design, blocks=blocks)


def at_maximum(design: Design) -> Design:
    """The design where the likelihood is greatest."""
    return at(design, *(newton(block) for block in design.blocks))


def evidence(design: Design, strength: float = 0.0) -> tuple[BlockEvidence, ...]:
    """What there is to be said for a logistic fit."""
    return evidence_of(design, SLOPES, schema.Ridge(kind="ridge", strength=strength) if strength else None)
