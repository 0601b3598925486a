"""Derivative rules and operators. Knows nothing of cakes, runs or files."""

from optim.autodiff.limits import limit_gradient as limit_gradient
from optim.autodiff.powers import power_with_floored_slope as power_with_floored_slope
