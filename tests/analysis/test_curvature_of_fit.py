"""Newton decrement, rank and covariance against their definitions in NumPy, and against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.random import Generator, default_rng

from optim.analysis.curvature_of_fit import Curvature, basis_of, decrement, dense, krylov
from optim.analysis.design import Block
from optim.analysis.evidence import total_decrement
from optim.analysis.identifiability import determined_by
from optim.analysis.uncertainty import customer_scores, estimates
from tests.analysis.fits import SLOPES, Fit, at, at_maximum, evidence, make_panel, newton, of_panel


@pytest.fixture
def random() -> Generator:
    return default_rng(11)


def positive(random: Generator, size: int) -> np.ndarray:
    root = random.standard_normal((size, size + 3))
    return root @ root.T


@pytest.fixture(scope="module")
def tasted() -> dict[str, Fit]:
    """120 customers in two groups, seven of fourteen recipes each, with tastes of their own; units 5, 900, .09."""
    random, found = default_rng(2), {}
    amounts = random.uniform([1, 100, 0.01], [5, 900, 0.09], (14, 3))
    customer = np.repeat(np.arange(120), 7)
    recipe = np.concatenate([random.choice(14, 7, replace=False) for _ in range(120)])
    group = np.arange(120) % 2
    scaled = (amounts - amounts.mean(axis=0)) / amounts.std(axis=0)
    utility = (scaled @ [0.8, -0.5, 0.3] - 0.6 * scaled[:, 0] ** 2)[recipe] + 0.5 * group[customer]
    utility += random.standard_normal(120)[customer]
    panel = make_panel(amounts, customer, recipe, random.random(len(recipe)) < 1 / (1 + np.exp(-utility)))
    for kind in ("linear", "quadratic"):
        found[kind] = of_panel(panel, group, ("n", "s"), kind=kind)
    return found


def test_the_decrement_is_its_definition_in_any_units(random: Generator) -> None:
    hessian, gradient = positive(random, 5), random.standard_normal(5)
    for unit in (np.ones(5), 10.0 ** np.arange(-4, 6, 2)):
        found = Curvature.of(gradient * unit, hessian * np.outer(unit, unit), np.eye(5))
        assert found.squared_decrement == pytest.approx(gradient @ np.linalg.solve(hessian, gradient), rel=1e-9)
        assert (found.rank, found.is_convex) == (5, True)
        functionals = random.standard_normal((3, 5)) * unit
        expected = functionals @ np.linalg.inv(hessian * np.outer(unit, unit)) @ functionals.T
        np.testing.assert_allclose(found.covariance(functionals), expected, rtol=1e-8)
        np.testing.assert_allclose(found.variances(functionals), np.diag(expected), rtol=1e-8)
        half = Curvature.of(gradient[:2] * unit[:2], (hessian * np.outer(unit, unit))[:2, :2], np.eye(2))
        total = np.hypot(decrement([found]), decrement([half]))
        assert decrement([found, half]) == pytest.approx(total, rel=1e-12)


def test_rank_and_condition_are_those_of_the_scaled_hessian(random: Generator) -> None:
    root = random.standard_normal((6, 3))
    found = Curvature.of(np.zeros(6), root @ root.T, np.eye(6))
    size = np.linalg.norm(root, axis=1)
    values = np.linalg.eigvalsh((root / size[:, None]) @ (root / size[:, None]).T)[-3:]
    assert found.rank == 3
    assert found.condition == pytest.approx(values[-1] / values[0], rel=1e-9)
    assert Curvature.of(np.zeros(2), np.zeros((2, 2)), np.eye(2)).condition == np.inf


def test_a_direction_that_bends_downwards_is_no_minimum(random: Generator) -> None:
    turn, _ = np.linalg.qr(random.standard_normal((4, 4)))
    found = Curvature.of(np.zeros(4), turn @ np.diag([3.0, 2.0, 1.0, -1e-3]) @ turn.T, np.eye(4))
    assert not found.is_convex
    assert found.squared_decrement == np.inf


@pytest.mark.parametrize("lowest", [0.5, -0.5])
def test_products_give_what_the_hessian_gives(random: Generator, lowest: float) -> None:
    """All the products, and a Krylov space that has come to its end: the same δ and the same judgement."""
    turn, _ = np.linalg.qr(random.standard_normal((12, 12)))
    hessian = turn @ np.diag([lowest, *range(1, 12)]) @ turn.T
    gradient = random.standard_normal(12)
    product = lambda directions: directions @ hessian
    whole, partial = dense(gradient, product), krylov(gradient, product, 12)
    assert whole.is_convex == partial.is_convex == (lowest > 0)
    if lowest > 0:
        expected = gradient @ np.linalg.solve(hessian, gradient)
        assert whole.squared_decrement == pytest.approx(expected, rel=1e-10)
        assert partial.squared_decrement == pytest.approx(expected, rel=1e-8)


def test_on_a_krylov_space_the_decrement_rises_to_the_true_one(random: Generator) -> None:
    hessian, gradient = positive(random, 40), random.standard_normal(40)
    found = [krylov(gradient, lambda v: v @ hessian, steps).squared_decrement for steps in (1, 2, 5, 10, 20, 40)]
    assert found[0] == pytest.approx((gradient @ gradient) ** 2 / (gradient @ hessian @ gradient), rel=1e-12)
    assert (np.diff(found) > 0).all()
    assert found[-1] == pytest.approx(gradient @ np.linalg.solve(hessian, gradient), rel=1e-6)


def test_a_krylov_space_ends_early_where_few_eigenvalues_differ(random: Generator) -> None:
    turn, _ = np.linalg.qr(random.standard_normal((30, 30)))
    hessian = turn @ np.diag([1.0] * 10 + [2.0] * 10 + [5.0] * 10) @ turn.T
    gradient = random.standard_normal(30)
    found = krylov(gradient, lambda v: v @ hessian, 25)
    assert found.squared_decrement == pytest.approx(gradient @ np.linalg.solve(hessian, gradient), rel=1e-9)
    assert found.rank == 3
    assert krylov(np.zeros(30), lambda v: v @ hessian, 25).squared_decrement == 0.0


def test_a_basis_of_what_rows_determine_spans_their_row_space(random: Generator) -> None:
    rows = random.standard_normal((9, 3)) @ random.standard_normal((3, 5)) * [1, 10, 100, 1e3, 1e4]
    basis = basis_of(determined_by(rows))
    assert basis.shape == (5, 3)
    assert np.linalg.matrix_rank(rows @ basis, tol=1e-8) == 3
    expected = np.linalg.pinv(rows.T @ rows, rcond=1e-13, hermitian=True)
    found = Curvature.of(np.zeros(5), rows.T @ rows, basis).covariance(rows)
    np.testing.assert_allclose(found, rows @ expected @ rows.T, atol=1e-6)


def test_no_combination_is_off_by_more_than_delta_of_its_standard_error(tasted: dict[str, Fit]) -> None:
    """|a·(θ − θ̂)| ≤ δ · se(a) to second order, around the maximum; equality for the worst a."""
    random = default_rng(5)
    fit = tasted["quadratic"]
    best = at_maximum(fit.design)
    for size in (0.3, 0.05, 0.01):
        thetas = []
        for block in best.blocks:
            step = random.standard_normal(len(block.names)) * size / np.sqrt(block.counts.sum())
            thetas.append(block.theta + step)
        now = evidence(at(fit.design, *thetas))
        delta = total_decrement(now)
        shares = []
        for one, block in zip(now, best.blocks, strict=True):
            error = one.block.theta - block.theta
            functionals = np.concatenate([random.standard_normal((200, len(error))), block.to_user, block.rows])
            shares.append(np.abs(functionals @ error) / np.sqrt(one.curvature.variances(functionals)))
            worst = np.sqrt(one.curvature.squared_decrement)
            hessian = np.linalg.inv(one.curvature.covariance(np.eye(len(error))))
            assert np.sqrt(error @ hessian @ error) == pytest.approx(worst, rel=0.5 * size)
        assert np.concatenate(shares).max() <= delta * (1 + size)
        assert delta > 0.1 * size


def user_design(block: Block, amounts: np.ndarray, kind: str) -> np.ndarray:
    columns = [np.ones(len(amounts)), *amounts.T]
    if kind == "quadratic":
        columns += [amounts[:, i] * amounts[:, j] for i in range(3) for j in range(i, 3)]
    assert len(columns) == len(block.names)
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_errors_in_the_users_units_are_those_of_statsmodels(tasted: dict[str, Fit], kind: str) -> None:
    """Observed information, and the sandwich by customer without a correction for few of them; each group apart."""
    fit = tasted[kind]
    design = at_maximum(fit.design)
    customer = fit.panel.customer_of_response()
    scores = customer_scores(design, fit.counted, fit.panel, fit.group, SLOPES)
    for index, (one, block) in enumerate(zip(evidence(design), design.blocks, strict=True)):
        mine = fit.group[customer] == index
        columns = user_design(block, fit.panel.amounts[fit.panel.recipe[mine]], kind)
        size = np.abs(columns).max(axis=0)
        model = sm.GLM(fit.panel.like[mine].astype(float), columns / size, family=sm.families.Binomial())
        clusters = {"groups": customer[mine], "use_correction": False}
        plain, robust = model.fit(tol=1e-14), model.fit(tol=1e-14, cov_type="cluster", cov_kwds=clusters)
        found = estimates(one, block.to_user, scores[index])
        np.testing.assert_allclose([each.value for each in found], plain.params / size, rtol=1e-7)
        np.testing.assert_allclose([each.standard_error for each in found], plain.bse / size, rtol=1e-7)
        np.testing.assert_allclose([each.robust_standard_error for each in found], robust.bse / size, rtol=1e-7)
        np.testing.assert_allclose([each.z for each in found], plain.tvalues, rtol=1e-7)
        np.testing.assert_allclose([each.interval for each in found], plain.conf_int() / size[:, None], rtol=1e-7)
        covariance = one.curvature.covariance(block.to_user)
        np.testing.assert_allclose(covariance, plain.cov_params() / np.outer(size, size), rtol=1e-5)
        assert newton(block) == pytest.approx(block.theta)
