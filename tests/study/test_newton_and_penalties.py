"""Newton's method and penalties in the stages of a study: the printed figures, and where each one acts."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optim.study.study as studies
from optim.config.errors import UserError
from optim.config.loading import load
from optim.data.panel import Panel
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import batch_loss
from optim.study.stage import initial_state
from optim.study.state import State
from optim.study.study import Study, build_study
from optim.train.loop import Loop
from optim.train.sinks import NoSinks
from tests.conftest import Studies

CONFIGS = Path(__file__).parent.parent.parent / "configs"
NEWTON = "stages.fit.optimizer={name: newton}"
RIDGE = "{kind: likelihood, penalty: {kind: ridge, strength: 4}"


def fitted(study: Study) -> State:
    """After the first stage."""
    loop = Loop(study.stages[:1], 100, NoSinks())
    return loop.run(loop.begin(study.stages[0], initial_state(study.parameters)))


def weights_of(study: Study, state: State) -> np.ndarray:
    return np.asarray(state.parameters["model"]["utility"]["weights"][0], float)


def log_likelihood(study: Study, state: State) -> float:
    assert study.panel is not None
    member = {"model": jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), state.parameters["model"])}
    objective = PanelObjective(study.panel, study.group, study.model, (), None, "sum")
    constants = objective.constants(member)
    return -float(batch_loss(objective, {"model": {}}, objective.everyone(constants), constants))


def cocktails(folder: Path, *overrides: str) -> Study:
    tables = [f"data.recipes={folder}/recipes.csv", f"data.ratings={folder}/ratings.csv"]
    return build_study(load(CONFIGS / "cocktail.yaml", [*tables, NEWTON, "stages.fit.length=8", *overrides]))


@pytest.mark.long
@pytest.mark.usefixtures("float64")
def test_the_cocktails_are_fitted_in_eight_steps_from_zeros(cocktail: Path) -> None:
    study = cocktails(cocktail)
    state = fitted(study)
    scale = np.asarray(study.model(jax.tree.map(lambda leaf: leaf[0], state.parameters["model"])).scale[...])
    assert log_likelihood(study, state) == pytest.approx(-974.3173, abs=1e-4)
    np.testing.assert_allclose(weights_of(study, state)[0] / scale, [-0.046, 1.620, 2.833, -19.090], atol=6e-4)


@pytest.mark.long
def test_the_cocktails_are_fitted_in_single_precision(cocktail: Path) -> None:
    study = cocktails(cocktail)
    assert log_likelihood(study, fitted(study)) == pytest.approx(-974.3173, abs=1e-3)


@pytest.mark.long
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("aggregate", [pytest.param("sum", marks=pytest.mark.long), "mean_responses"])
def test_newton_finds_the_ridge_that_lbfgs_finds(small: Studies, aggregate: str) -> None:
    loss = f"stages.fit.loss={RIDGE}, aggregate: {aggregate}}}"
    found = []
    for optimizer, length in (("newton", 8), ("lbfgs", 200)):
        more = ["stages.fit.batch=all", f"stages.fit.optimizer={{name: {optimizer}}}", f"stages.fit.length={length}"]
        study = build_study(small(loss, *more))
        found.append(weights_of(study, fitted(study)))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert np.abs(found[0]).max() > 0.1


@pytest.mark.long
@pytest.mark.parametrize("aggregate", ["sum", pytest.param("mean_customers", marks=pytest.mark.long)])
@pytest.mark.parametrize("batch", ["16", pytest.param("all", marks=pytest.mark.long)])
def test_customers_are_clipped_apart_from_the_penalty(small: Studies, aggregate: str, batch: str) -> None:
    """A limit that nobody reaches changes nothing; one that stops everybody leaves the penalty to shrink weights."""
    loss = f"stages.fit.loss={RIDGE}, aggregate: {aggregate}}}"
    rate = "0.003" if aggregate == "sum" else "0.5"
    sgd = f"stages.fit.optimizer={{name: sgd, learning_rate: {rate}"
    more = [loss, f"stages.fit.batch={batch}", "stages.fit.length=5"]
    plain, wide, closed = (
        build_study(small(*more, f"{sgd}{clip}}}"))
        for clip in ("", ", clip_customer_norm: 1e6", ", clip_customer_norm: 1e-12")
    )
    np.testing.assert_allclose(weights_of(plain, fitted(plain)), weights_of(wide, fitted(wide)), rtol=1e-4, atol=1e-6)
    start = {"model": {**closed.parameters["model"], "utility": _ones(closed.parameters["model"]["utility"])}}
    loop = Loop(closed.stages[:1], 100, NoSinks())
    end = loop.run(loop.begin(closed.stages[0], initial_state(start)))
    assert closed.panel is not None
    expected = _shrunk(float(rate), closed.panel, closed.stages[0].batch, aggregate)
    np.testing.assert_allclose(weights_of(closed, end), expected, rtol=1e-5)
    np.testing.assert_array_equal(end.parameters["model"]["utility"]["bias"], 1.0)


def _ones(tree: object) -> object:
    return jax.tree.map(lambda leaf: np.ones_like(np.asarray(leaf)), tree)


def _shrunk(rate: float, panel: Panel, batch: int | None, aggregate: str) -> float:
    """1 after five steps of −rate × strength × share × weight; each customer has 8 of the 320 responses."""
    share = 1 / panel.number_of_responses
    if aggregate == "sum":
        steps = [40] * 5 if batch is None else [16, 16, 8, 16, 16]
        return float(np.prod([1 - rate * 4.0 * customers * 8 * share for customers in steps]))
    return float((1 - rate * 4.0 * share) ** 5)


def test_the_held_out_loss_is_free_of_the_penalty(small: Studies) -> None:
    study = build_study(small("data.evaluation={share: 0.2}", f"stages.fit.loss={RIDGE}}}"))
    (fit, _) = study.stages
    assert isinstance(fit.objective, PanelObjective)
    assert isinstance(fit.evaluation, PanelObjective)
    assert fit.objective.penalty is not None
    assert fit.evaluation.penalty is None


def test_newton_fits_properties(tmp_path: Path) -> None:
    """A Scheffé polynomial is linear least squares, whose bottom is one step away."""
    (tmp_path / "recipes.csv").write_text("recipe,a,b,sour\n1,1,0,3\n2,0,1,5\n3,0.5,0.5,4.5\n4,0.25,0.75,5\n")
    (tmp_path / "ratings.csv").write_text("customer,recipe,liking\nx,1,1\nx,2,0\nx,3,1\nx,4,0\n")
    (tmp_path / "study.yaml").write_text(
        "data: {recipes: recipes.csv, ratings: ratings.csv, like: {at_least: 1}}\n"
        "ingredients: {a: {max: 1}, b: {max: 1}}\n"
        "total: 1\n"
        "model: {properties: {kind: scheffe, columns: [sour], degree: 2}}\n"
        "stages: {fit: {kind: fit, length: 2, loss: {kind: property_error}, optimizer: {name: newton}}}\n"
    )
    study = build_study(load(tmp_path / "study.yaml"))
    state = fitted(study)
    model = study.model(jax.tree.map(lambda leaf: leaf[0], state.parameters["model"]))
    found = jax.vmap(model.properties_of)(jnp.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.25, 0.75]]))
    blend = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.25], [0.25, 0.75, 0.1875]])
    measured = np.array([3.0, 5.0, 4.5, 5.0])
    np.testing.assert_allclose(found[:, 0], blend @ np.linalg.lstsq(blend, measured)[0], rtol=1e-5)


def test_more_parameters_than_a_hessian_has_room_for_are_refused(
    small: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quadratic utility of four amounts: 4 weights, 10 products and a constant."""
    newton = small("stages.fit.batch=all", NEWTON)
    monkeypatch.setattr(studies, "MOST_PARAMETERS", 15)
    build_study(newton)
    monkeypatch.setattr(studies, "MOST_PARAMETERS", 14)
    with pytest.raises(
        UserError,
        match=r"^stages\.fit\.optimizer: newton takes the Hessian of all trained parameters, and 15 are more than the "
        r"14 that it has room for: use lbfgs or adam$",
    ):
        build_study(newton)
    build_study(small("stages.fit.batch=all"))


def test_a_network_with_thousands_of_weights_is_refused(small: Studies) -> None:
    network = "model.utility={kind: mlp, features: [amounts], hidden: [100, 50]}"
    with pytest.raises(UserError, match=r"and 5,601 are more than the 4,000 that it has room for"):
        build_study(small(network, "stages.fit.batch=all", NEWTON))


def test_firth_has_room_for_a_group_that_nobody_asked(small: Studies, tmp_path: Path) -> None:
    """The last of the groups, of whom no response is there to be counted."""
    tables = {
        "recipes": "recipe,butter,eggs,flour,sugar\n"
        + "".join(f"r{i},{1 + i % 3 / 3},{2 + i % 2},{2 - i % 4 / 4},{1 + i / 8}\n" for i in range(8)),
        "customers": "customer,who\n" + "".join(f"c{i},{'adults' if i < 6 else 'seniors'}\n" for i in range(8)),
        "ratings": "customer,recipe,liking\n"
        + "".join(f"c{c},r{r},{(3 * c + 5 * r) % 7}\n" for c in range(6) for r in range(8)),
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    paths = ", ".join(f"{name}: {tmp_path}/{name}.csv" for name in tables)
    study = build_study(
        small(
            f"data={{{paths}, like: {{column: liking, at_least: 4}}}}",
            "model.utility={kind: linear, features: [amounts], groups: who}",
            "stages.fit={kind: fit, length: 3, loss: {kind: likelihood, penalty: {kind: firth}}, "
            "optimizer: {name: newton}}",
        )
    )
    assert study.groups == ("adults", "seniors")
    assert study.asked == {0}
