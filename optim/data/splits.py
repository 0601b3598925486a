"""Which responses are kept from the fit, for evaluation."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Int32

from optim.config.errors import Problem, UserError
from optim.config.schema import Config
from optim.data.panel import Panel
from optim.data.streams import stream


def held_out(seed: int, offsets: Int32[np.ndarray, "customers_and_1"], share: float) -> Bool[np.ndarray, "responses"]:
    """Draw the held-out responses of each customer at random.

    A customer with n responses holds out `share * n` of them, rounded down or up at random so that the share is right
    on average however few there are, but never all: at least one stays in the fit.

    Args:
        seed: the config's seed; the draw depends on it, `offsets` and `share` alone.
        offsets: where each customer's responses begin.
        share: share of the responses to hold out, above 0 and below 1.
    """
    random = stream(seed, "held out")
    counts = np.diff(offsets)
    wanted = np.floor(share * counts + random.random(len(counts)))
    chosen = np.minimum(wanted, np.maximum(counts - 1, 0))
    customer = np.repeat(np.arange(len(counts)), counts)
    shuffled = np.lexsort((random.random(len(customer)), customer))
    # The shuffle stays within customers, so slot i still belongs to customer[i]; the first slots of each are held out.
    rank = np.arange(len(customer)) - offsets[customer]
    mask = np.zeros(len(customer), dtype=bool)
    mask[shuffled] = rank < chosen[customer]
    return mask


def split(panel: Panel, config: Config) -> Panel:
    """The panel with the responses held out that `data.evaluation` asks for; as it is where nothing is asked.

    Raises:
        UserError: no response can be held out, because no customer has two.
    """
    evaluation = config.data.evaluation if config.data else None
    if evaluation is None:
        return panel
    mask = held_out(config.seed, panel.offsets, evaluation.share)
    if not mask.any():
        message = (
            f"none of the {panel.number_of_responses} responses is held out: every customer keeps at least one, and "
            f"has {panel.most_responses} at most; raise the share, or leave `evaluation` out"
        )
        raise UserError(Problem(place="", key="data.evaluation.share", message=message))
    return dataclasses.replace(panel, held_out=mask)
