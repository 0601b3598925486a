"""Derivative rules and operators. Knows nothing of cakes, runs or files."""

from optim.autodiff.checks.check import check_gradients as check_gradients
from optim.autodiff.checks.report import GradientReport as GradientReport
from optim.autodiff.checks.report import GradientRow as GradientRow
from optim.autodiff.complex_numbers import NotHolomorphicError as NotHolomorphicError
from optim.autodiff.complex_numbers import ascent_direction as ascent_direction
from optim.autodiff.complex_numbers import holomorphic_derivative as holomorphic_derivative
from optim.autodiff.complex_numbers import real_jacobian as real_jacobian
from optim.autodiff.curvature import Curvature as Curvature
from optim.autodiff.curvature import curvature as curvature
from optim.autodiff.derivatives import derivatives as derivatives
from optim.autodiff.fixed_points import Convergence as Convergence
from optim.autodiff.fixed_points import NotConvergedError as NotConvergedError
from optim.autodiff.fixed_points import fixed_point as fixed_point
from optim.autodiff.labels import Labelled as Labelled
from optim.autodiff.limits import limit_gradient as limit_gradient
from optim.autodiff.matrices import chosen_mode as chosen_mode
from optim.autodiff.matrices import hessian as hessian
from optim.autodiff.matrices import jacobian as jacobian
from optim.autodiff.operators import hvp as hvp
from optim.autodiff.operators import jvp as jvp
from optim.autodiff.operators import vjp as vjp
from optim.autodiff.powers import power_with_floored_slope as power_with_floored_slope
from optim.autodiff.softplus import log1pexp as log1pexp
