"""Verdicts on fits of a study: settled or not, a minimum or not, separated, and what each kind of loss allows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.analysis.evidence import general_curvature
from optim.analysis.fit_findings import FitExaminer, FitFindings
from optim.analysis.total_loss import TotalLoss
from optim.analysis.uncertainty import Standing, liking_at
from optim.analysis.verdicts import CHECKED, NOT_DETERMINED, NOT_SETTLED
from optim.config.loading import load
from optim.losses.objective import Parameters
from optim.study.stage import initial_state
from optim.study.study import Study, build_study
from optim.train.loop import Loop
from optim.train.sinks import NoSinks
from tests.conftest import SMALL, Studies

NEWTON = ("stages.fit.optimizer={name: newton}", "stages.fit.batch=all", "stages.fit.length=8")
LINEAR = "model.utility.kind=linear"
MLP = "model.utility={kind: mlp, features: [amounts], hidden: [3]}"
OWN = """\
import jax.numpy as jnp
from flax import nnx

class Linear(nnx.Module):
    def __init__(self, features, groups, rngs):
        self.weights = nnx.Param(jnp.zeros(len(features)))
        self.bias = nnx.Param(jnp.zeros(()))
    def __call__(self, features, group):
        return jnp.sum(self.weights[...] * features) + self.bias[...]

class Hidden(nnx.Module):
    def __init__(self, features, groups, rngs):
        self.weights = nnx.Param(jnp.full(len(features), 0.1))
        self.out = nnx.Param(jnp.ones(()))
    def __call__(self, features, group):
        return self.out[...] * jnp.tanh(jnp.sum(self.weights[...] * features))

def squared(utility, like):
    return (like - 0.5 - utility) ** 2
"""


class Fitted:
    """A study whose first stage has been trained, and what is found of it."""

    def __init__(self, study: Study, member: Parameters) -> None:
        self.study, self.member = study, member
        self.examiner = FitExaminer(study, study.stages[0])

    @cached_property
    def findings(self) -> FitFindings:
        return self.at(self.member)

    @property
    def text(self) -> str:
        return self.findings.certificate.text

    def at(self, member: Parameters) -> FitFindings:
        return self.examiner.findings(member, ended="")


Fits = Callable[..., Fitted]


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fits:
    """The first stage of the small study, trained with overrides; once for the same ones."""
    folder = tmp_path_factory.mktemp("fits")
    (folder / "small.yaml").write_text(SMALL)
    (folder / "own.py").write_text(OWN)
    made: dict[tuple[str, ...], Fitted] = {}

    def fitted(*overrides: str) -> Fitted:
        if overrides not in made:
            study = build_study(
                load(folder / "small.yaml", [one.replace("OWN", f"{folder}/own.py") for one in overrides])
            )
            loop = Loop(study.stages[:1], 100, NoSinks())
            state = loop.run(loop.begin(study.stages[0], initial_state(study.parameters)))
            made[overrides] = Fitted(study, jax.tree.map(lambda leaf: leaf[0], state.parameters["model"]))
        return made[overrides]

    return fitted


def zeros(member: Parameters) -> Parameters:
    return {**member, "utility": jax.tree.map(lambda leaf: 0 * leaf, member["utility"])}


def test_a_fit_at_its_maximum_has_settled(fit: Fits) -> None:
    found = fit(*NEWTON, LINEAR)
    certificate = found.findings.certificate
    assert (certificate.status, certificate.rank, certificate.parameters) == (CHECKED, 5, 5)
    assert certificate.delta is not None
    assert certificate.delta < 1e-4
    assert found.text == "within 0.001 standard errors of the best coefficients"
    assert certificate.as_json()["settled"] is True
    assert [one.about for one in found.findings.caveats] == ["likelihood"]  # a line does not fit tastes with a peak


def test_a_fit_after_few_steps_says_how_far_it_is_and_what_to_do(fit: Fits) -> None:
    """δ is that of the design, by NumPy."""
    found = fit("stages.fit.length=3", LINEAR)
    certificate = found.findings.certificate
    (one,) = found.findings.blocks
    block = one.block
    mean = 1 / (1 + np.exp(-block.utilities))
    gradient = block.rows.T @ (block.counts * mean - block.likes)
    hessian = (block.rows.T * (block.counts * mean * (1 - mean))) @ block.rows
    delta = np.sqrt(gradient @ np.linalg.solve(hessian, gradient))
    assert certificate.delta == pytest.approx(delta, rel=1e-9)
    assert certificate.gradient_norm == pytest.approx(np.linalg.norm(gradient) / 320, rel=1e-9)
    assert certificate.status == NOT_SETTLED
    assert found.text == (
        f"off by up to {delta:.3g} standard errors; raise stages.fit.length, or another learning rate, or use "
        "`optimizer: {name: newton}` with `batch: all`, which needs no rate"
    )
    assert found.examiner.delta(found.member) == pytest.approx(delta)
    early = found.examiner.findings(found.member, ended="early stopping at step 3 of 9")
    assert early.certificate.text == f"off by up to {delta:.3g} standard errors"
    assert early.certificate.modifications == ("early stopping at step 3 of 9",)
    assert [caveat.status for caveat in early.caveats] == [NOT_SETTLED]


@pytest.mark.parametrize(
    ("aggregate", "batch"),
    [
        ("sum", "16"),
        ("mean_customers", "all"),
        pytest.param("mean_responses", "16", marks=pytest.mark.long),
        pytest.param("sum", "all", marks=pytest.mark.long),
        pytest.param("mean_responses", "all", marks=pytest.mark.long),
        pytest.param("mean_customers", "16", marks=pytest.mark.long),
    ],
)
def test_delta_is_the_same_for_every_aggregate_and_batch(fit: Fits, small: Studies, aggregate: str, batch: str) -> None:
    """At the same parameters, of customers with eight responses each; the gradient's norm is that of the loss."""
    first = fit("stages.fit.length=3", LINEAR)
    loss = f"stages.fit.loss={{kind: likelihood, aggregate: {aggregate}}}"
    study = build_study(small(LINEAR, loss, f"stages.fit.batch={batch}"))
    found = FitExaminer(study, study.stages[0]).findings(first.member, ended="").certificate
    assert found.delta == pytest.approx(first.findings.certificate.delta, rel=1e-9)
    times = 320 if aggregate == "sum" else 1
    assert found.gradient_norm == pytest.approx(times * first.findings.certificate.gradient_norm, rel=1e-9)


def test_the_general_way_gives_the_same_certificate(fit: Fits) -> None:
    """By Hessian–vector products of the whole objective instead of the design."""
    found = fit("stages.fit.length=3", LINEAR)
    total = TotalLoss.of(found.study.stages[0], found.member, found.examiner.counted)
    curvature, whole = general_curvature(total.bind(found.member), 0)
    assert whole
    assert np.sqrt(curvature.squared_decrement) == pytest.approx(found.findings.certificate.delta, rel=1e-7)
    assert curvature.rank == 5


@pytest.mark.long
def test_single_and_double_precision_have_the_same_certificate(fit: Fits) -> None:
    single = fit("stages.fit.length=3", LINEAR)
    jax.config.update("jax_enable_x64", True)
    try:
        double = fit("stages.fit.length=3", LINEAR, "precision=float64")
    finally:
        jax.config.update("jax_enable_x64", False)
    assert double.findings.certificate.delta == pytest.approx(single.findings.certificate.delta, rel=1e-3)
    assert double.findings.certificate.condition == pytest.approx(single.findings.certificate.condition, rel=1e-3)


@pytest.mark.long
def test_a_saddle_is_no_minimum(fit: Fits) -> None:
    """A network at zeros: its output does not bend by one layer alone, and bends both ways by two."""
    found = fit(MLP, "stages.fit.length=3")
    saddle = found.at(zeros(found.member))
    assert saddle.certificate.status == NOT_SETTLED
    assert saddle.certificate.delta is None
    assert saddle.certificate.text.startswith("not a minimum: the Hessian has a negative eigenvalue; ")
    assert saddle.design is None
    assert saddle.blocks == ()


@pytest.mark.parametrize(("name", "linear"), [("Linear", True), ("Hidden", False)])
def test_an_own_utility_has_a_design_where_it_is_linear_in_its_parameters(fit: Fits, name: str, linear: bool) -> None:
    found = fit("stages.fit.length=3", f"model.utility={{kind: own, path: 'OWN:{name}', features: [amounts]}}")
    assert (found.findings.design is not None) == linear
    if linear:
        built_in = fit("stages.fit.length=3", LINEAR)
        theirs, own = built_in.findings.certificate, found.findings.certificate
        assert own.delta == pytest.approx(theirs.delta, rel=1e-3)
        assert (own.rank, own.parameters) == (theirs.rank, theirs.parameters)
        np.testing.assert_array_equal(found.findings.blocks[0].block.penalised.sum(), 4)


@pytest.mark.long
def test_a_loss_of_ones_own_is_judged_by_its_gradient(fit: Fits) -> None:
    """A squared error is quadratic: Newton is at its bottom after one step."""
    loss = "stages.fit.loss={kind: own, path: 'OWN:squared'}"
    done = fit(*NEWTON, LINEAR, loss)
    assert done.findings.certificate.status == CHECKED
    assert done.findings.certificate.delta is None
    assert done.examiner.delta(done.member) is None
    away = done.at(jax.tree.map(lambda leaf: leaf + 0.3, done.member)).certificate
    assert away.status == NOT_SETTLED
    assert "of what single responses make it by chance" in away.text
    assert "standard errors" not in away.text
    at_zeros = done.at(zeros(done.member)).certificate
    (one,) = done.at(zeros(done.member)).blocks
    gradient = one.block.rows.T @ (one.block.dislikes - one.block.likes)
    assert at_zeros.gradient_norm == pytest.approx(np.linalg.norm(gradient) / 320, rel=1e-6)


def test_a_ridge_is_declared_and_judged_with_its_penalty(fit: Fits) -> None:
    loss = "stages.fit.loss={kind: likelihood, penalty: {kind: ridge, strength: 4}}"
    found = fit(*NEWTON, LINEAR, loss)
    assert found.findings.certificate.status == CHECKED
    assert found.findings.certificate.modifications
    (one,) = found.findings.blocks
    assert one.curvature.squared_decrement > 1e3 * one.penalised.squared_decrement


@pytest.fixture
def separated(tmp_path: Path) -> Callable[..., Fitted]:
    """Likes told apart by sugar alone, fitted with overrides."""
    (tmp_path / "recipes.csv").write_text(
        "recipe,butter,sugar\n1,1.0,1.0\n2,2.0,1.5\n3,1.5,1.75\n4,1.2,2.0\n5,2.1,2.2\n"
    )
    rows = [f"c{c},{recipe},{9 if recipe > 2 else 2}" for c in range(6) for recipe in range(1, 6)]
    (tmp_path / "ratings.csv").write_text("\n".join(["customer,recipe,liking", *rows, ""]))
    (tmp_path / "study.yaml").write_text(
        "data: {recipes: recipes.csv, ratings: ratings.csv, like: {at_least: 6}}\n"
        "ingredients: {butter: {min: 0.5, max: 3}, sugar: {min: 0.5, max: 3}}\n"
        "model: {utility: {kind: linear, features: [amounts]}}\n"
        "stages: {fit: {kind: fit, length: 6, optimizer: {name: newton}}}\n"
    )

    (tmp_path / "always.csv").write_text("recipe,butter,sugar\n1,50,1.0\n2,50,1.5\n3,50,1.75\n4,50,2.0\n5,50,2.2\n")
    mixed = [f"c{c},{recipe},{9 if (c * recipe) % 3 else 2}" for c in range(6) for recipe in range(1, 6)]
    (tmp_path / "mixed.csv").write_text("\n".join(["customer,recipe,liking", *mixed, ""]))
    tables = {"ALWAYS": f"{tmp_path}/always.csv", "MIXED": f"{tmp_path}/mixed.csv"}

    def fitted(*overrides: str) -> Fitted:
        for name, path in tables.items():
            overrides = tuple(one.replace(name, path) for one in overrides)
        study = build_study(load(tmp_path / "study.yaml", overrides))
        loop = Loop(study.stages, 100, NoSinks())
        state = loop.run(loop.begin(study.stages[0], initial_state(study.parameters)))
        return Fitted(study, jax.tree.map(lambda leaf: leaf[0], state.parameters["model"]))

    return fitted


def test_separated_likes_have_no_coefficients(separated: Callable[..., Fitted]) -> None:
    found = separated()
    text = (
        "the likes are separated: everything with sugar of 1.75 or more was liked, everything with 1.5 or less was not"
    )
    assert found.findings.certificate.status == NOT_DETERMINED
    assert found.text == f"{text}: no finite coefficients are best"
    (caveat,) = found.findings.caveats
    assert caveat.status == NOT_DETERMINED
    assert "what is certain: sugar raises the liking" in caveat.text
    assert "penalty: {kind: firth}" in caveat.text
    assert "raise stages.fit.length" not in caveat.text + found.text


@pytest.mark.long
def test_a_penalty_keeps_separated_likes_finite_and_is_not_advised_again(separated: Callable[..., Fitted]) -> None:
    found = separated("stages.fit.loss={kind: likelihood, penalty: {kind: ridge, strength: 1}}", "stages.fit.length=12")
    assert found.findings.certificate.status == CHECKED
    said = " ".join(caveat.text for caveat in found.findings.caveats)
    assert "separated" in said
    assert "grow for ever" not in said
    assert "add `penalty" not in said


@pytest.mark.long
def test_a_flat_point_of_a_network_is_not_said_to_be_the_best(small: Studies) -> None:
    """Two hidden layers at zeros, the last bias fitted: all derivatives up to the second are 0 but the bias's own."""
    study = build_study(small("model.utility={kind: mlp, features: [amounts], hidden: [3, 3]}"))
    assert study.panel is not None
    rate = study.panel.like.mean()
    fitted_bias = lambda leaf: 0 * leaf[0] + (np.log(rate / (1 - rate)) if leaf[0].shape == (1,) else 0)
    member = jax.tree.map(lambda leaf: jnp.asarray(fitted_bias(leaf)), study.parameters["model"])
    found = FitExaminer(study, study.stages[0]).findings(member, ended="").certificate
    assert found.rank == 1
    assert found.status != CHECKED


def test_an_ingredient_held_where_it_was_never_tasted_is_not_determined(separated: Callable[..., Fitted]) -> None:
    """Butter is held at 60 and was always tasted at 50: what the 10 more do to the liking, nobody can know."""
    found = separated("ingredients.butter={fixed: 60}", "data.recipes=ALWAYS", "data.ratings=MIXED")
    (one,) = found.findings.blocks
    assert found.findings.design is not None
    row, offset = found.findings.design.row(np.array([60.0, 1.5]), 0)
    assert "butter" not in one.block.left_out or liking_at(Standing(one, row, offset, None, 6)).mean is None


def test_a_property_fit_is_judged_by_its_own_errors(tmp_path: Path) -> None:
    """Least squares: δ² is what is left to gain, Σe² less the best fit's, by the errors' mean square."""
    (tmp_path / "recipes.csv").write_text("recipe,a,b,sour\n1,1,0,3\n2,0,1,5\n3,0.5,0.5,4.5\n4,0.25,0.75,5\n")
    (tmp_path / "ratings.csv").write_text("customer,recipe,liking\nx,1,1\nx,2,0\nx,3,1\nx,4,0\n")
    (tmp_path / "study.yaml").write_text(
        "data: {recipes: recipes.csv, ratings: ratings.csv, like: {at_least: 1}}\n"
        "ingredients: {a: {max: 1}, b: {max: 1}}\n"
        "total: 1\n"
        "model: {properties: {kind: scheffe, columns: [sour], degree: 2}}\n"
        "stages: {fit: {kind: fit, length: 3, loss: {kind: property_error}, optimizer: {name: newton}}}\n"
    )
    study = build_study(load(tmp_path / "study.yaml"))
    loop = Loop(study.stages, 100, NoSinks())
    state = loop.run(loop.begin(study.stages[0], initial_state(study.parameters)))
    member = jax.tree.map(lambda leaf: leaf[0], state.parameters["model"])
    examiner = FitExaminer(study, study.stages[0])
    settled = examiner.findings(member, ended="").certificate
    assert (settled.status, settled.rank, settled.parameters) == (CHECKED, 3, 3)
    at_zero = jax.tree.map(lambda leaf: 0 * leaf, member)
    away = examiner.findings(at_zero, ended="")
    assert away.certificate.status == NOT_SETTLED
    blend = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.25], [0.25, 0.75, 0.1875]])
    measured = np.array([3.0, 5.0, 4.5, 5.0])
    scaled = (measured - measured.mean()) / measured.std()
    left = np.sum((scaled - blend @ np.linalg.lstsq(blend, scaled)[0]) ** 2)
    variance = np.sum(scaled**2) / 4
    assert away.certificate.delta == pytest.approx(np.sqrt((np.sum(scaled**2) - left) / variance), rel=1e-5)
    assert away.design is None
