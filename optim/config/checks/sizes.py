"""What is laid out in memory at once has room there: a slip of some zeros is refused before it fills a machine."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from optim.config.schema import Bake, Config, NetworkUtility, PropertyNetwork, Stage
from optim.config.source import Finding, KeyPath

MOST_NUMBERS = 100_000_000
"""Most numbers in one array: 0.8 GB in double precision, of which there are several copies while it is made."""


def simulated(config: Config) -> Iterator[Finding]:
    """Simulated tastings and recipes: an amount of every ingredient for each."""
    if config.data is None or config.data.simulate is None:
        return
    spec, amounts, path = config.data.simulate, len(config.ingredients), ("data", "simulate")
    each = f"{amounts} amounts each"
    if spec.customers * spec.tastings * amounts > MOST_NUMBERS:
        tastings = f"{spec.customers:,} customers with {spec.tastings:,} tastings of {each}"
        yield (*path, "customers"), _too_many(tastings, "simulate fewer customers, or fewer tastings")
    if spec.recipes * amounts > MOST_NUMBERS:
        yield (*path, "recipes"), _too_many(f"{spec.recipes:,} recipes of {each}", "simulate fewer")


def networks(config: Config) -> Iterator[Finding]:
    """The weights of a network, whose inputs and outputs are one at least."""
    for name, block in (("properties", config.model.properties), ("utility", config.model.utility)):
        if isinstance(block, PropertyNetwork | NetworkUtility):
            weights = sum(one * next_one for one, next_one in pairwise((1, *block.hidden, 1)))
            if weights > MOST_NUMBERS:
                yield ("model", name, "hidden"), _too_many(f"{weights:,} weights", "make the layers narrower")


def starts(config: Config, path: KeyPath, stage: Stage) -> Iterator[Finding]:
    """The starts of a bake, which train side by side."""
    if not isinstance(stage, Bake) or not isinstance(stage.starts, int):
        return
    coordinates = len(config.ingredients) + sum(1 + setting.complex for setting in config.settings.values())
    if stage.starts * coordinates > MOST_NUMBERS:
        numbers = f"{stage.starts:,} starts of {coordinates} numbers each"
        yield (*path, "starts"), _too_many(numbers, f"{MOST_NUMBERS // coordinates:,} starts is the most")


def _too_many(what: str, remedy: str) -> str:
    return f"{what} are more than the {MOST_NUMBERS:,} numbers that there is room for at once; {remedy}"


CHECKS = (simulated, networks)
STAGE_CHECKS = (starts,)
