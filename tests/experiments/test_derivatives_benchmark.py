"""The benchmark of the derivatives compares the same work: at a tiny size all contenders give the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import jax.numpy as jnp
import numpy as np
import pytest

from derivatives import (
    FAMILIES,
    QUANTITIES,
    RATIOS,
    SOFTPLUSES,
    Contraction,
    NotRun,
    attempted,
    coupled,
    crossover,
    dough,
    finite_differences,
    fixed_point_programs,
    iterations_of,
    jacobian_programs,
    product_programs,
    ratio_text,
    relative_error,
    softplus_errors,
    values_of,
)


@pytest.mark.long
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "problem", [dough, pytest.param(lambda: coupled(5), marks=pytest.mark.long)], ids=["dough", "coupled"]
)
def test_fixed_points_have_the_derivatives_of_finite_differences(problem: Callable[[], Contraction]) -> None:
    assert list(checked_quantities(problem(), "optim", "unrolled")) == list(QUANTITIES)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("problem", "name", "quantities"),
    [(dough, "optimistix", 3), (lambda: coupled(5), "optimistix", 1), (lambda: coupled(5), "optimistix, GMRES", 1)],
    ids=["dough", "coupled", "coupled by GMRES"],
)
def test_optimistix_computes_the_same(problem: Callable[[], Contraction], name: str, quantities: int) -> None:
    pytest.importorskip("optimistix")
    assert len(list(islice(checked_quantities(problem(), name), quantities))) == quantities


def checked_quantities(problem: Contraction, *names: str) -> Iterator[str]:
    """The quantities, after each was found to be that of finite differences."""
    iterations = iterations_of(problem)
    values = {name: value for name, value in values_of(problem, iterations).items() if name in names}
    for quantity, programs, errors in fixed_point_programs(problem, iterations, values):
        assert tuple(errors) == names, programs
        assert max(errors.values()) < 1e-8, errors
        yield quantity


@pytest.mark.usefixtures("float64")
def test_the_finite_differences_are_the_derivatives_of_the_dough() -> None:
    """b / (1 − a) at (0.75, 10)."""
    found = finite_differences(lambda p: p[1] / (1 - p[0]), dough().params)
    assert found.keys() == QUANTITIES.keys()
    np.testing.assert_allclose(found["forward gradient"], (160, 4), rtol=1e-10)
    np.testing.assert_allclose(found["Hessian"], ((1280, 16), (16, 0)), rtol=1e-8, atol=1e-8)


@pytest.mark.usefixtures("float64")
def test_hessian_products_are_those_of_finite_differences() -> None:
    _, programs, errors = product_programs(12)
    assert errors.keys() == {each.name for each in programs}
    assert len(errors) == 3
    assert max(errors.values()) < 1e-9


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_both_modes_give_the_same_jacobian(family: str) -> None:
    forward, reverse = (np.asarray(each.run().values) for each in jacobian_programs(family, inputs=6, outputs=4))
    assert forward.shape == (4, 6)
    assert relative_error(forward, reverse) < 1e-5
    assert np.abs(forward).max() > 0.01


def test_the_errors_of_our_softplus_are_those_of_rounding() -> None:
    errors = softplus_errors(SOFTPLUSES["optim"])
    assert len(errors) == 4
    assert max(errors[:3]) < 1e-6
    assert errors[3] < 1e-5  # relative, near a zero


def test_an_error_of_another_package_is_shown() -> None:
    def fails(x: object) -> object:
        raise NotImplementedError("no such rule\nand more")

    assert attempted("other", fails, jnp.ones(2)) == NotRun("other", "NotImplementedError: no such rule")


def test_ratios_and_crossovers_are_taken_within_a_round() -> None:
    assert ratio_text([6.0, 8.0, 7.0], [1.0, 2.0, 1.0]) == ["6", "4 to 7", ""]
    assert ratio_text([1.0, 1.0, 1.0], [2.0, 2.0, 1.0])[2] == "LOSES"
    assert crossover([ratio / 1.1 for ratio in RATIOS]) == "1.1"
    assert crossover([0.5] * len(RATIOS)) == "above 4"
    assert crossover([2.0] * len(RATIOS)) == "below 0.25"
