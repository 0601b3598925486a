"""The TensorBoard tags of a chunk's record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from optim.config.numbers import number
from optim.models.space import RecipeSpace
from optim.study.stage import Stage
from optim.train.measure import QUANTILES
from optim.train.program import ChunkRecord


def scalars(stage: Stage, record: ChunkRecord, space: RecipeSpace) -> dict[str, float]:
    """The points of a record, by tag; those of the best member where a stage trains several.

    Args:
        stage: the stage.
        record: what a chunk has measured.
        space: the ingredients and settings.
    """
    values: dict[str, float] = {}
    if record.evaluated:
        values["eval/loss"] = float(record.held_out_loss)
    if record.logged:
        values |= _logged(stage, record, space)
    return {f"{stage.name}/{tag}": value for tag, value in values.items()}


def best_member(losses: Float[np.ndarray | Array, " members"]) -> int:
    """The member with the least loss; NaN is that of a start that was left out."""
    return int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))


def _logged(stage: Stage, record: ChunkRecord, space: RecipeSpace) -> dict[str, float]:
    measured = record.measured
    best = best_member(measured.loss)
    values = {"train/loss": float(measured.loss[best]), "grad_norm": float(measured.gradient_norm[best])}
    if measured.learning_rate is not None:
        values["learning_rate"] = float(measured.learning_rate[best])
    if "global" in measured.clipped:
        values["clipped/global_norm"] = float(measured.clipped["global"][best])
    if "customers" in measured.clipped:
        values["clipped/customer_norm"] = float(measured.clipped["customers"][best])
    if "limits" in measured.clipped:
        shares = measured.clipped["limits"][best]
        values |= {f"clipped/{name}": float(share) for name, share in zip(space.coordinates, shares, strict=True)}
    if measured.recipes is not None and measured.scores is not None:
        best = best_member(-measured.scores)
        values["score"] = float(measured.scores[best])
        kinds = ["recipe"] * len(space.names) + ["settings"] * (len(space.coordinates) - len(space.names))
        coordinates = zip(kinds, space.coordinates, measured.recipes[best], strict=True)
        values |= {f"{kind}/{name}": float(value) for kind, name, value in coordinates}
    if measured.customers is not None:
        quantiles = zip(QUANTILES, measured.customers.quantiles, strict=True)
        values |= {f"customers/grad_norm_{round(100 * q)}": float(norm) for q, norm in quantiles}
        if np.isfinite(measured.customers.clipped_share):
            values["customers/clipped"] = float(measured.customers.clipped_share)
    return values


def worst_customers(stage: Stage, record: ChunkRecord) -> str:
    """A table (Markdown) of the customers with the largest gradients; empty where units are not customers."""
    customers = record.measured.customers
    names = stage.objective.names
    if customers is None or names is None or not record.logged:
        return ""
    worst = zip(customers.worst, customers.worst_norms, strict=True)
    # −1: a place of a short batch
    rows = [f"| {names[int(i)]} | {number(float(norm), 6)} |" for i, norm in worst if norm >= 0]
    return "\n".join(["| customer | gradient norm |", "|---|---|", *rows])


def worth_table(result: Mapping[str, Any]) -> str:
    """A table (Markdown) of what the numbers of an answer are worth, and of what a reader should know."""
    likelihood = result.get("likelihood", {}).get("certificate", {})
    status = {**result.get("status", {}), **({"fit": likelihood["status"]} if likelihood else {})}
    for name, baked in result.get("bakes", {}).items():
        status |= {f"{name}: {key}": worth for key, worth in baked["status"].items()}
    rows = [f"| {name} | {worth} | |" for name, worth in status.items()]
    rows += [f"| {one['about']} | {one['status']} | {one['text']} |" for one in result.get("warnings", ())]
    return "\n".join(["| what | status | |", "|---|---|---|", *rows])
