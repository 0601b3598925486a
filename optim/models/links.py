"""Links: from utility to the distribution of a response."""

from __future__ import annotations

from flax import nnx
from jaxtyping import Array, Float

from optim.autodiff.softplus import log1pexp, sigmoid


class Logit(nnx.Module):
    """P(like) = σ(utility)."""

    def log_probability(self, utility: Float[Array, ""], like: Float[Array, ""]) -> Float[Array, ""]:
        """Log-probability of a response (like: 1, dislike: 0), from the logit, so finite at any finite utility.

        As −log(1 + e^∓utility) rather than like · utility − log(1 + e^utility): nothing cancels, and a response that is
        all but certain keeps its small gradient to full precision.
        """
        return -log1pexp((1.0 - 2.0 * like) * utility)

    def mean(self, utility: Float[Array, ""]) -> Float[Array, ""]:
        """Expected response: P(like)."""
        return sigmoid(utility)

    def log_odds_terms(self, utility: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """log P(like) and log P(dislike), the two terms of the log-odds of a like: each finite at any finite utility.

        Apart rather than as their difference, because the log-odds of a mean over customers need both.
        """
        return -log1pexp(-utility), -log1pexp(utility)
