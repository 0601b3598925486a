"""How well probabilities of likes agree with the responses, and what a model of no features reaches.

Responses come as cells, one a recipe and group of customers, in which the model gives all responses one probability.
Their counts may be sums of weights. Probabilities come as utilities (logits), so that one next to 0 or 1 loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Prediction:
    """Predicted probabilities beside the responses.

    Attributes:
        responses: how many responses there are, or their weight.
        log_likelihood: sum over the responses of the log-probability of each. High is good.
        loss_per_response: the mean of its negative, in nats.
        brier: mean squared difference of the probability of a like and the response, 1 or 0. Low is good.
        accuracy: share of the responses whose probability is above 1/2; at 1/2 a response counts as half.
    """

    responses: float
    log_likelihood: float
    loss_per_response: float
    brier: float
    accuracy: float


def predicted(
    likes: Float[np.ndarray, " cells"], dislikes: Float[np.ndarray, " cells"], utility: Float[np.ndarray, " cells"]
) -> Prediction:
    """Scores of a model's utilities.

    Args:
        likes: likes of each cell, or their weight.
        dislikes: dislikes of each cell, or their weight.
        utility: log-odds of a like; infinite for a probability of 0 or 1.

    Raises:
        ValueError: there is no response.
    """
    return _scored(likes, dislikes, utility, _log_probabilities(utility))


def _scored(
    likes: Float[np.ndarray, " cells"],
    dislikes: Float[np.ndarray, " cells"],
    utility: Float[np.ndarray, " cells"],
    logs: _Logs,
) -> Prediction:
    responses = _weight(likes, dislikes)
    total = _log_likelihood(likes, dislikes, logs)
    return Prediction(
        responses=responses,
        log_likelihood=total,
        loss_per_response=-total / responses,
        brier=_brier(likes, dislikes, logs),
        accuracy=accuracy(likes, dislikes, utility),
    )


def null_model(likes: Float[np.ndarray, " cells"], dislikes: Float[np.ndarray, " cells"], rate: float) -> Prediction:
    """Scores of one probability for all.

    Args:
        likes: likes of each cell, or their weight.
        dislikes: dislikes of each cell, or their weight.
        rate: that probability: the share of likes among the responses of the fit, whichever responses are scored.

    Raises:
        ValueError: there is no response, or the rate is no probability.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"a rate lies between 0 and 1, got {rate}")
    utility = _logit(np.array([rate]), np.array([1.0 - rate]))
    everywhere = lambda one: np.broadcast_to(one, len(likes))
    return _scored(likes, dislikes, everywhere(utility), _Logs(*map(everywhere, _log_probabilities(utility))))


def one_mean_a_recipe(
    likes: Float[np.ndarray, " cells"], dislikes: Float[np.ndarray, " cells"], recipe: Int[np.ndarray, " cells"]
) -> float:
    """Log-likelihood of the responses to each recipe at their own share of likes: no utility that is the same for
    everyone reaches more on these responses.

    Args:
        likes: likes of each cell, or their weight.
        dislikes: dislikes of each cell, or their weight.
        recipe: index of each cell's recipe.
    """
    liked, disliked = np.bincount(recipe, likes), np.bincount(recipe, dislikes)
    tasted = liked + disliked > 0
    return log_likelihood(liked[tasted], disliked[tasted], _logit(liked[tasted], disliked[tasted]))


def log_likelihood(
    likes: Float[np.ndarray, " cells"], dislikes: Float[np.ndarray, " cells"], utility: Float[np.ndarray, " cells"]
) -> float:
    """Sum over the responses of the log-probability of each, log σ(±u); 0 · log 0 = 0. High is good."""
    return _log_likelihood(likes, dislikes, _log_probabilities(utility))


def _log_likelihood(likes: Float[np.ndarray, " cells"], dislikes: Float[np.ndarray, " cells"], logs: _Logs) -> float:
    return _sum(likes, logs.like) + _sum(dislikes, logs.dislike)


def brier(
    likes: Float[np.ndarray, " cells"], dislikes: Float[np.ndarray, " cells"], utility: Float[np.ndarray, " cells"]
) -> float:
    """Mean squared difference of probability and response (Brier 1950; of a like alone, so from 0 to 1). Low is good.

    Raises:
        ValueError: there is no response.
    """
    return _brier(likes, dislikes, _log_probabilities(utility))


def _brier(likes: Float[np.ndarray, " cells"], dislikes: Float[np.ndarray, " cells"], logs: _Logs) -> float:
    misses = _sum(likes, np.exp(2.0 * logs.dislike)) + _sum(dislikes, np.exp(2.0 * logs.like))
    return misses / _weight(likes, dislikes)


def accuracy(
    likes: Float[np.ndarray, " cells"], dislikes: Float[np.ndarray, " cells"], utility: Float[np.ndarray, " cells"]
) -> float:
    """Share of the responses whose probability is above 1/2; at 1/2 a response counts as half. High is good.

    Raises:
        ValueError: there is no response.
    """
    side = np.sign(utility)
    right = _sum(likes, (1.0 + side) / 2.0) + _sum(dislikes, (1.0 - side) / 2.0)
    return right / _weight(likes, dislikes)


class _Logs(NamedTuple):
    """Logarithms of the probabilities of a like and of a dislike."""

    like: Float[np.ndarray, " cells"]
    dislike: Float[np.ndarray, " cells"]


def _log_probabilities(utility: Float[np.ndarray, " cells"]) -> _Logs:
    """In double precision."""
    utility = np.asarray(utility, np.float64)
    with np.errstate(invalid="ignore"):  # what is no number stays none, in silence
        rest = np.log1p(np.exp(-np.abs(utility)))  # log σ(u) = min(u, 0) − log(1 + exp(−|u|)), and u = log-odds
        return _Logs(np.minimum(utility, 0.0) - rest, np.minimum(-utility, 0.0) - rest)


def _logit(likes: Float[np.ndarray, " cells"], dislikes: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " cells"]:
    """Log-odds of a like among both; infinite where there is only the one."""
    with np.errstate(divide="ignore"):
        logit: Float[np.ndarray, " cells"] = np.log(likes) - np.log(dislikes)
    return logit


def _sum(counts: Float[np.ndarray, " cells"], values: Float[np.ndarray, " cells"]) -> float:
    """Sum of the values, each so many times: what never happened counts nothing, even where it is infinite."""
    return float(np.sum(counts * np.where(counts > 0, values, 0.0), dtype=np.float64))


def _weight(likes: Float[np.ndarray, " cells"], dislikes: Float[np.ndarray, " cells"]) -> float:
    """Number of responses, or their weight."""
    total = float(np.sum(likes, dtype=np.float64) + np.sum(dislikes, dtype=np.float64))
    if total <= 0.0:
        raise ValueError("there is no response to compare the probabilities with")
    return total
