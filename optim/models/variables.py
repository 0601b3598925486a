"""Kinds of variables that modules hold beside their parameters."""

from flax import nnx
from jaxtyping import Array


class Statistic(nnx.Variable[Array]):
    """A statistic of the training data, such as a feature's mean: computed once, never trained."""
