"""Simulated customers: segments with an ideal recipe each, who taste designed recipes and like them or do not.

Customer c likes recipe x with probability σ(u), u = appeal − Σ ((x_i − ideal_ci) / (tolerance × range_i))² over the
free ingredients: those that are not fixed and whose bounds differ. Each kind of draw has its own stream, so that
changing the tolerance, say, changes neither the recipes nor who tastes what.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64

from optim.config.errors import Problem, UserError
from optim.config.schema import Config, Simulate
from optim.data.designs import Bounds, bounds_of, designed_recipes
from optim.data.panel import Panel, assemble
from optim.data.splits import split
from optim.data.streams import stream

# Numbers drawn at once for the tastings, and customers they are drawn for: bounds the memory, changes nothing else.
MOST_DRAWN = 2**24
BLOCK = 4096


def simulate(config: Config) -> tuple[Panel, dict[str, Any]]:
    """Simulate the panel that `data.simulate` describes.

    Returns:
        The panel, whose customers have the text column `segment`, and the truth, ready for JSON: `simulate` (the
        generating block), `seed`, `ranges`, for each of the `segments` its `share`, number of `customers`, `ideal`
        and the `coefficients` of its utility as a polynomial of the amounts (`intercept`, `butter`,
        `butter*butter`), and each of the `customers` with `name`, `segment` and `ideal`. Ideals and amounts are in
        the ingredients' units.

    Raises:
        UserError: no ingredient can vary, or everyone or nobody likes everything.
    """
    spec = config.data.simulate if config.data else None
    if spec is None:
        raise ValueError("the config has no data.simulate")
    bounds = bounds_of(config)
    if not bounds.free.any():
        raise UserError(Problem(place="", key="ingredients", message="no amount can vary, so every recipe is the same"))
    counts = largest_remainder(np.array([segment.share for segment in spec.segments.values()]), spec.customers)
    segment = np.repeat(np.arange(len(counts)), counts)
    amounts = designed_recipes(bounds, spec.recipes, config.total, stream(config.seed, "designed recipes"))
    ideals = _ideals(spec, bounds, segment, config.seed)
    customer = np.repeat(np.arange(spec.customers), spec.tastings)
    recipe = tastings(spec.customers, spec.recipes, spec.tastings, stream(config.seed, "tastings")).ravel()
    free = bounds.free
    scaled = (amounts[recipe][:, free] - ideals[customer]) / (spec.tolerance * bounds.range[free])
    like = _likes(spec.appeal - np.sum(scaled**2, axis=1), config.seed)
    _refuse_one_class(like, spec)
    panel = assemble(
        customers=_names("customer", spec.customers, 4),
        recipes=_names("recipe", spec.recipes, 2),
        ingredients=list(bounds.names),
        amounts=amounts,
        customer=customer,
        recipe=recipe,
        like=like,
        properties={},
        columns={"segment": np.array(list(spec.segments))[segment]},
        digests={"simulated": _digest(bounds.names, amounts, recipe, like, segment)},
    )
    return split(panel, config), _truth(config, spec, bounds, segment, ideals, panel)


def largest_remainder(shares: Float64[np.ndarray, " segments"], total: int) -> Int64[np.ndarray, " segments"]:
    """Whole numbers proportional to the shares that sum to the total exactly (method of the largest remainder)."""
    exact = shares / shares.sum() * total
    counts = np.floor(exact).astype(np.int64)
    remainder_first = np.argsort(counts - exact, kind="stable")
    counts[remainder_first[: total - counts.sum()]] += 1
    return counts


def tastings(
    customers: int, recipes: int, each: int, random: np.random.Generator
) -> Int[np.ndarray, "{customers} {each}"]:
    """Different recipes for each customer, every set of them as likely as any other; in the recipes' order."""
    block = max(1, min(BLOCK, MOST_DRAWN // recipes))
    blocks = [
        np.sort(np.argpartition(random.random((min(block, customers - first), recipes)), each - 1, axis=1)[:, :each])
        for first in range(0, customers, block)
    ]
    return np.concatenate(blocks)


def _ideals(
    spec: Simulate, bounds: Bounds, segment: Int[np.ndarray, " customers"], seed: int
) -> Float64[np.ndarray, "customers free"]:
    """Each customer's own ideal amounts of the free ingredients."""
    free = [name for name, is_free in zip(bounds.names, bounds.free, strict=True) if is_free]
    of_segment = np.array([[ideal.ideal[name] for name in free] for ideal in spec.segments.values()])
    deviation = stream(seed, "ideals").standard_normal((len(segment), len(free)))
    return of_segment[segment] + spec.spread * bounds.range[bounds.free] * deviation


def _likes(utility: Float64[np.ndarray, " responses"], seed: int) -> Bool[np.ndarray, " responses"]:
    """Bernoulli draws with probability σ(utility)."""

    return stream(seed, "likes").random(len(utility)) < 0.5 * (1.0 + np.tanh(utility / 2.0))


def _names(kind: str, count: int, digits: int) -> list[str]:
    """`customer-0001` and so on, all of one width so that they sort."""
    digits = max(digits, len(str(count)))
    return [f"{kind}-{number:0{digits}d}" for number in range(1, count + 1)]


def _refuse_one_class(like: Bool[np.ndarray, " responses"], spec: Simulate) -> None:
    """A panel in which all responses are the same teaches nothing."""
    if like.any() and not like.all():
        return
    found, cure = ("everyone likes every recipe", "lower") if like.all() else ("nobody likes any recipe", "raise")
    message = (
        f"{found} in all {len(like)} simulated tastings: {cure} appeal ({spec.appeal:g}) or tolerance "
        f"({spec.tolerance:g}), or simulate more customers"
    )
    raise UserError(Problem(place="", key="data.simulate", message=message))


def _digest(names: tuple[str, ...], *arrays: np.ndarray) -> str:
    """SHA-256 of the ingredients' names and the arrays' bytes, in one byte order and width on every machine."""
    digest = hashlib.sha256("\n".join(names).encode())
    for array in arrays:
        digest.update(array.astype("<f8").tobytes())
    return digest.hexdigest()


def _truth(
    config: Config,
    spec: Simulate,
    bounds: Bounds,
    segment: Int[np.ndarray, " customers"],
    ideals: Float64[np.ndarray, "customers free"],
    panel: Panel,
) -> dict[str, Any]:
    """What generated the panel, ready for JSON."""
    names = [name for name, is_free in zip(bounds.names, bounds.free, strict=True) if is_free]
    ranges = dict(zip(names, bounds.range[bounds.free].tolist(), strict=True))
    counts = np.bincount(segment, minlength=len(spec.segments))
    total = sum(entry.share for entry in spec.segments.values())
    segments = list(spec.segments)
    return {
        "utility": "appeal - sum(((amount - ideal) / (tolerance * range)) ** 2); P(like) = sigmoid(utility)",
        "seed": config.seed,
        "simulate": spec.model_dump(mode="json"),
        "ranges": ranges,
        "segments": {
            name: {
                "share": entry.share / total,
                "customers": int(count),
                "ideal": {ingredient: entry.ideal[ingredient] for ingredient in names},
                "coefficients": _coefficients(entry.ideal, ranges, spec),
            }
            for (name, entry), count in zip(spec.segments.items(), counts, strict=True)
        },
        "customers": [
            {"name": name, "segment": segments[index], "ideal": dict(zip(names, ideal, strict=True))}
            for name, index, ideal in zip(panel.customers, segment.tolist(), ideals.tolist(), strict=True)
        ],
    }


def _coefficients(ideal: Mapping[str, float], ranges: Mapping[str, float], spec: Simulate) -> dict[str, float]:
    """The utility of an ideal, expanded as a polynomial of the amounts in their units."""
    curvature = {name: -((1 / (spec.tolerance * width)) ** 2) for name, width in ranges.items()}
    return {
        "intercept": spec.appeal + sum(bend * ideal[name] ** 2 for name, bend in curvature.items()),
        **{name: -2 * bend * ideal[name] for name, bend in curvature.items()},
        **{f"{name}*{name}": bend for name, bend in curvature.items()},
    }
