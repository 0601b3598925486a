"""Standard errors and P(like) intervals: the cocktails' printed figures, statsmodels, and a parametric bootstrap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import statsmodels.api as sm
from numpy.random import default_rng
from scipy.special import expit, logit

import optim.analysis.uncertainty as uncertainty
from optim.analysis.evidence import BlockEvidence
from optim.analysis.fit_findings import FitExaminer
from optim.analysis.uncertainty import Liking, Scores, Standing, customer_scores, estimates, liking_at, mean_liking
from optim.analysis.verdicts import CHECKED, NOT_DETERMINED, NOT_KNOWN
from optim.config.loading import load
from tests.analysis.fits import SLOPES, Fit, at, at_maximum, evidence, make_fit, make_panel, newton, of_panel
from tests.conftest import Studies
from tests.helpers import in_memory

CONFIGS = Path(__file__).parent.parent.parent / "configs"
FIT_ALONE = "stages={fit: {kind: fit, length: 12, batch: 16, optimizer: {name: adam, learning_rate: 0.05}}}"
RECIPE = np.array([2.0, 3.0])


@pytest.fixture(scope="module")
def grouped() -> tuple[Fit, tuple[BlockEvidence, ...], tuple[Scores, ...]]:
    """90 customers, a third of them in the north; three to nine responses each, weighed alike."""
    random = default_rng(6)
    amounts = random.uniform(1, 4, (12, 2))
    customer = np.repeat(np.arange(90), random.integers(3, 10, 90))
    recipe, group = random.integers(0, 12, len(customer)), (np.arange(90) % 3 > 0).astype(int)
    utility = (amounts @ [0.9, -0.7])[recipe] - 0.4 * group[customer] + random.standard_normal(90)[customer]
    panel = make_panel(amounts, customer, recipe, random.random(len(customer)) < expit(utility))
    fit = of_panel(panel, group, ("north", "south"))
    design = at_maximum(fit.design)
    return fit, evidence(design), customer_scores(design, fit.counted, panel, group, SLOPES)


def places(grouped: tuple[Fit, tuple[BlockEvidence, ...], tuple[Scores, ...]]) -> list[Standing]:
    fit, blocks, scores = grouped
    rows = [fit.design.row(RECIPE, index)[0] for index in range(2)]
    customers = np.bincount(fit.group).tolist()
    parts = zip(blocks, rows, scores, customers, strict=True)
    return [Standing(one, row, 0.0, score, count) for one, row, score, count in parts]


def test_the_cocktails_have_the_printed_errors(cocktail: Path) -> None:
    tables = [f"data.recipes={cocktail}/recipes.csv", f"data.ratings={cocktail}/ratings.csv"]
    newton_steps = "stages={fit: {kind: fit, length: 8, optimizer: {name: newton}}}"
    study, state, _, _ = in_memory(load(CONFIGS / "cocktail.yaml", [*tables, newton_steps]))
    member = jax.tree.map(lambda leaf: leaf[0], state.parameters["model"])
    examiner = FitExaminer(study, study.stages[0])
    findings = examiner.findings(member, ended="")
    assert findings.design is not None
    assert study.panel is not None
    assert examiner.counted is not None
    scores = customer_scores(findings.design, examiner.counted, study.panel, study.group, examiner.slopes)
    (one,) = findings.blocks
    found = estimates(one, one.block.to_user, scores[0])
    np.testing.assert_allclose([each.value for each in found], [-0.046, 1.620, 2.833, -19.090], atol=6e-4)
    np.testing.assert_allclose([each.standard_error for each in found], [0.190, 0.253, 0.268, 1.403], atol=6e-4)
    columns = (study.panel.amounts / study.panel.amounts.sum(axis=1, keepdims=True))[study.panel.recipe]
    clusters = {"groups": study.panel.customer_of_response(), "use_correction": False}
    robust = sm.GLM(study.panel.like.astype(float), columns, family=sm.families.Binomial()).fit(
        tol=1e-14, cov_type="cluster", cov_kwds=clusters
    )
    np.testing.assert_allclose([each.robust_standard_error for each in found], robust.bse, rtol=1e-5)


def test_intervals_of_a_liking_are_those_of_statsmodels(
    grouped: tuple[Fit, tuple[BlockEvidence, ...], tuple[Scores, ...]],
) -> None:
    """On the scale of the logit, as statsmodels' predictions have them."""
    fit, _, _ = grouped
    customer = fit.panel.customer_of_response()
    for index, place in enumerate(places(grouped)):
        mine = fit.group[customer] == index
        columns = sm.add_constant(fit.panel.amounts[fit.panel.recipe[mine]])
        model = sm.GLM(fit.panel.like[mine].astype(float), columns, family=sm.families.Binomial())
        clusters = {"groups": customer[mine], "use_correction": False}
        plain, robust = model.fit(tol=1e-14), model.fit(tol=1e-14, cov_type="cluster", cov_kwds=clusters)
        here = np.array([[1.0, *RECIPE]])
        liking = liking_at(place)
        assert liking.status == CHECKED
        for error, result in ((liking.logit_error, plain), (liking.robust_logit_error, robust)):
            expected = result.get_prediction(here).summary_frame()
            assert liking.mean == pytest.approx(float(expected["mean"].iloc[0]), rel=1e-6)
            bounds = (float(expected["mean_ci_lower"].iloc[0]), float(expected["mean_ci_upper"].iloc[0]))
            assert liking.interval(error) == pytest.approx(bounds, rel=1e-6)


def test_the_mean_over_groups_has_the_error_of_finite_differences_and_of_a_bootstrap(
    grouped: tuple[Fit, tuple[BlockEvidence, ...], tuple[Scores, ...]],
) -> None:
    _, blocks, _ = grouped
    both = places(grouped)
    found = mean_liking([liking_at(place) for place in both], both)
    assert (found.customers, found.status) == (90, CHECKED)
    weights = np.array([30, 60]) / 90
    logit_of = lambda thetas: logit(weights @ [expit(p.row @ t) for p, t in zip(both, thetas, strict=True)])
    best = [place.evidence.block.theta for place in both]
    assert found.mean == pytest.approx(expit(logit_of(best)), rel=1e-12)
    variance = 0.0
    for index, one in enumerate(blocks):
        information = np.linalg.inv(one.curvature.covariance(np.eye(3)))
        slope = np.zeros(3)
        for j in range(3):
            step = np.eye(3)[j] * 1e-5
            moved = lambda sign, index=index, step=step: [t + sign * step * (i == index) for i, t in enumerate(best)]
            slope[j] = (logit_of(moved(1)) - logit_of(moved(-1))) / 2e-5
        variance += slope @ np.linalg.solve(information, slope)
    assert found.logit_error == pytest.approx(np.sqrt(variance), rel=1e-6)

    random, drawn = default_rng(8), []
    plain = [one.block for one in blocks]
    for _ in range(700):
        thetas = []
        for block in plain:
            likes = random.binomial(block.counts.astype(int), expit(block.utilities)).astype(float)
            again = replace(block, likes=likes, dislikes=block.counts - likes)
            thetas.append(newton(again, steps=7))
        drawn.append(logit_of(thetas))
    assert found.logit_error == pytest.approx(np.std(drawn), rel=0.08)


def test_customers_of_one_block_share_its_covariance() -> None:
    """Two audiences that share coefficients: the mean is no less certain for being asked twice."""
    fit = make_fit(default_rng(1).uniform(1, 4, (9, 2)), [3, 1, 4, 1, 5, 9, 2, 6, 5], [3, 5, 8, 9, 7, 9, 3, 2, 3])
    (one,) = evidence(at_maximum(fit.design))
    (scores,) = customer_scores(at_maximum(fit.design), fit.counted, fit.panel, fit.group, SLOPES)
    row, _ = fit.design.row(RECIPE, 0)
    twice = [Standing(one, row, 0.0, scores, 10), Standing(one, row, 0.0, scores, 30)]
    alone = liking_at(twice[0])
    assert mean_liking([liking_at(place) for place in twice], twice).logit_error == pytest.approx(alone.logit_error)


def test_scores_are_summed_alike_however_many_are_laid_out_at_once(
    grouped: tuple[Fit, tuple[BlockEvidence, ...], tuple[Scores, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a loop over customers."""
    fit, blocks, scores = grouped
    monkeypatch.setattr(uncertainty, "ROWS", 11)
    design = at(fit.design, *(one.block.theta for one in blocks))
    chunked = customer_scores(design, fit.counted, fit.panel, fit.group, SLOPES)
    rows = np.concatenate([block.rows for block in design.blocks])[fit.counted.of_response]
    residual = expit(design.utilities)[fit.counted.of_response] - fit.panel.like
    customer = fit.panel.customer_of_response()
    for index in range(2):
        outer = np.zeros((3, 3))
        for each in np.flatnonzero(fit.group == index):
            score = residual[customer == each] @ rows[customer == each]
            outer += np.outer(score, score)
        np.testing.assert_allclose(chunked[index].outer, outer, rtol=1e-10)
        np.testing.assert_allclose(scores[index].outer, outer, rtol=1e-10)
    assert [each.customers for each in chunked] == [30, 60]


def test_a_ridge_has_the_curvature_of_what_was_minimised() -> None:
    """A dozen recipes in user units; H = XᵀWX + λ on the scaled weights, the constant free."""
    random = default_rng(9)
    fit = make_fit(random.uniform(1, 400, (12, 2)), random.integers(1, 9, 12), random.integers(1, 9, 12))
    theta = np.array([0.3, -0.2, 0.5])
    design = at(fit.design, theta)
    (one,) = evidence(design, strength=3.0)
    mean = expit(fit.block.rows @ theta)
    hessian = (fit.block.rows.T * (fit.block.counts * mean * (1 - mean))) @ fit.block.rows + np.diag([0.0, 3.0, 3.0])
    gradient = fit.block.rows.T @ (fit.block.counts * mean - fit.block.likes) + 3.0 * theta * [0, 1, 1]
    assert one.penalised.squared_decrement == pytest.approx(gradient @ np.linalg.solve(hessian, gradient), rel=1e-9)
    (scores,) = customer_scores(design, fit.counted, fit.panel, fit.group, SLOPES)
    found = estimates(one, fit.block.to_user, scores)
    inverse = fit.block.to_user @ np.linalg.inv(hessian)
    plain, robust = inverse @ fit.block.to_user.T, inverse @ scores.outer @ inverse.T
    np.testing.assert_allclose([each.standard_error for each in found], np.sqrt(np.diag(plain)), rtol=1e-9)
    np.testing.assert_allclose([each.robust_standard_error for each in found], np.sqrt(np.diag(robust)), rtol=1e-9)


def test_errors_of_a_mean_over_customers_are_those_of_its_sampling_distribution() -> None:
    """Half of the customers give 1 response and half 19, all independent: simulated, and H⁻¹ (Σ w² p q x xᵀ) H⁻¹."""
    random = default_rng(10)
    amounts = np.linspace(-1, 1, 6)[:, None]
    customer = np.repeat(np.arange(200), np.tile([1, 19], 100))
    recipe = random.integers(0, 6, len(customer))
    utility = 0.2 + 0.8 * amounts[recipe, 0]
    drawn, claimed = [], []
    for _ in range(60):
        panel = make_panel(amounts, customer, recipe, random.random(len(customer)) < expit(utility))
        fit = of_panel(panel, np.zeros(200, int), by_customer=True)
        (one,) = evidence(at_maximum(fit.design))
        drawn.append(one.block.to_user[1] @ one.block.theta)
        scores = Scores(np.eye(2), 200)
        claimed.append(estimates(one, one.block.to_user, scores)[1].standard_error)
    assert np.mean(claimed) == pytest.approx(np.std(drawn), rel=0.3)


@pytest.mark.long
def test_firth_has_the_information_at_its_estimate(small: Studies) -> None:
    loss = "stages.fit.loss={kind: likelihood, penalty: {kind: firth}}"
    steps = ["stages.fit.optimizer={name: newton}", "stages.fit.batch=all", "stages.fit.length=12"]
    study, state, _, _ = in_memory(small(FIT_ALONE, loss, *steps, "model.utility.kind=linear"))
    member = jax.tree.map(lambda leaf: leaf[0], state.parameters["model"])
    findings = FitExaminer(study, study.stages[0]).findings(member, ended="")
    (one,) = findings.blocks
    mean = expit(one.block.utilities)
    information = (one.block.rows.T * (one.block.counts * mean * (1 - mean))) @ one.block.rows
    np.testing.assert_allclose(one.penalised.covariance(np.eye(5)), np.linalg.inv(information), rtol=1e-8)
    leverage = np.einsum("ci,ij,cj->c", one.block.rows, np.linalg.inv(information), one.block.rows)
    weights = one.block.counts * mean * (1 - mean)
    score = one.block.rows.T @ (one.block.likes - one.block.counts * mean + weights * leverage * (0.5 - mean))
    np.testing.assert_allclose(score, 0, atol=2e-3)
    assert findings.certificate.status == CHECKED


def test_what_is_not_determined_has_no_number() -> None:
    amounts = np.stack([np.arange(6.0), 5 - np.arange(6.0)], axis=1)
    fit = make_fit(amounts, [1, 2, 3, 3, 2, 4], [4, 3, 2, 3, 1, 1])
    design = at_maximum(fit.design)
    (one,), (scores,) = evidence(design), customer_scores(design, fit.counted, fit.panel, fit.group, SLOPES)
    inside, _ = design.row(np.array([2.5, 2.5]), 0)
    outside, _ = design.row(np.array([2.5, 4.0]), 0)
    assert liking_at(Standing(one, inside, 0.0, scores, 5)).status == CHECKED
    unknown = liking_at(Standing(one, outside, 0.0, scores, 5))
    assert (unknown.status, unknown.mean, unknown.interval(1.0)) == (NOT_DETERMINED, None, None)
    both = mean_liking([liking_at(Standing(one, inside, 0.0, scores, 5)), unknown], [])
    assert (both.status, both.mean, both.customers) == (NOT_DETERMINED, None, 10)
    assert mean_liking([], []).status == NOT_KNOWN


def test_as_many_customers_as_coefficients_say_nothing_robust() -> None:
    fit = make_fit(np.array([[1.0], [2.0]]), [1, 0], [0, 1])
    (scores,) = customer_scores(fit.design, fit.counted, fit.panel, fit.group, SLOPES)
    (one,) = evidence(fit.design)
    assert np.isnan([each.robust_standard_error for each in estimates(one, np.eye(2), scores)]).all()


def test_an_interval_stays_between_0_and_1() -> None:
    low, high = Liking(1, CHECKED, 0.999, 4.0).interval(4.0) or (0.0, 0.0)
    assert (low, high) == pytest.approx(tuple(expit(logit(0.999) + np.array([-1.959963985, 1.959963985]) * 4.0)))
    assert Liking(1, CHECKED, 1.0).interval(2.0) is None
    assert Liking(1, CHECKED, 0.5).interval(float("nan")) is None
