"""Derivative rules and operators. Knows nothing of cakes, runs or files."""

from optim.autodiff.complex_numbers import NotHolomorphicError, ascent_direction, holomorphic_derivative, real_jacobian
from optim.autodiff.curvature import Curvature, curvature
from optim.autodiff.derivatives import derivatives
from optim.autodiff.expansion import first_order
from optim.autodiff.fixed_points import Convergence, NotConvergedError, fixed_point
from optim.autodiff.gradient_checks.check import check_gradients
from optim.autodiff.gradient_checks.report import GradientReport, GradientRow
from optim.autodiff.labels import Labelled
from optim.autodiff.limits import limit_gradient
from optim.autodiff.matrices import chosen_mode, hessian, jacobian
from optim.autodiff.operators import hvp, jvp, vjp
from optim.autodiff.powers import power_with_floored_slope
from optim.autodiff.softplus import log1pexp

__all__ = [
    "Convergence",
    "Curvature",
    "GradientReport",
    "GradientRow",
    "Labelled",
    "NotConvergedError",
    "NotHolomorphicError",
    "ascent_direction",
    "check_gradients",
    "chosen_mode",
    "curvature",
    "derivatives",
    "first_order",
    "fixed_point",
    "hessian",
    "holomorphic_derivative",
    "hvp",
    "jacobian",
    "jvp",
    "limit_gradient",
    "log1pexp",
    "power_with_floored_slope",
    "real_jacobian",
    "vjp",
]
