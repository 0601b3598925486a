"""The benchmark of the customers' gradients compares the same work, whichever of the other packages are there."""

from __future__ import annotations

import numpy as np
import pytest

from cake_workload import Mixture, cake_workload
from customer_contenders import Result, Workload, in_doubles, our_contenders, privacy_contenders, torch_contenders
from customer_gradients import WORKLOADS, differences, greatest_difference, rows_of
from panel_workload import LINEAR, QUADRATIC, Utility, panel_workload, quadratic_inputs
from racing import machine, take_turns


@pytest.fixture(scope="module", params=WORKLOADS)
def workload(request: pytest.FixtureRequest) -> Workload:
    return WORKLOADS[request.param](200)


def test_each_workload_has_ten_parameters(workload: Workload) -> None:
    assert workload.parameters.shape == (10,)
    assert in_doubles(workload)[0].shape == (200, 10)


@pytest.mark.parametrize(
    ("utility", "sizes"),
    [(LINEAR, {"weights": 10}), (QUADRATIC, {"weights": 3, "products": 6, "bias": 1})],
    ids=["linear", "quadratic"],
)
def test_ten_parameters_of_a_utility_meet_ten_inputs(utility: Utility, sizes: dict[str, int]) -> None:
    fit = panel_workload(utility, 5, 2, recipes=20)
    assert {name: array.size for name, array in fit.values.items()} == sizes
    assert fit.inputs.shape == (5, 2, 10)


def test_a_quadratic_utility_is_linear_in_the_inputs() -> None:
    inputs = quadratic_inputs(np.array([[2.0, 3.0, 5.0]]))
    np.testing.assert_array_equal(inputs, [[1, 4, 6, 10, 9, 15, 25, 2, 3, 5]])


def test_a_mixture_is_a_polynomial_in_the_fractions() -> None:
    """10 + 2 (¼ · 1 + ¾ · 2 + ¼ · ¾ · 16)"""
    mixture = Mixture(np.array([10.0]), np.array([2.0]), np.array([[1.0, 2.0, 16.0]]), *np.triu_indices(2, 1))
    np.testing.assert_allclose(mixture.properties(np.array([1.0, 3.0]), np.concat), [19.5], rtol=1e-15)


def test_the_gradients_of_a_recipe_are_those_of_finite_differences() -> None:
    cake = cake_workload(3)
    mixture = Mixture(*(array.astype(float) for array in cake.mixture[:3]), *cake.mixture[3:])
    losses = lambda recipe: ((mixture.properties(recipe, np.concat) - cake.targets) ** 2).sum(axis=1)
    recipe, steps = np.asarray(cake.parameters, float), 1e-5 * np.eye(10)
    expected = np.stack([(losses(recipe + step) - losses(recipe - step)) / 2e-5 for step in steps], axis=1)
    np.testing.assert_allclose(cake.gradients_in_doubles(), expected, rtol=1e-7, atol=1e-9)
    assert (np.ptp(expected, axis=0) > 1e-3).all()  # each customer pulls elsewhere


@pytest.mark.long
def test_our_contenders_compute_the_formulas(workload: Workload) -> None:
    contenders = our_contenders(workload)
    assert len(contenders) == 3
    for _ in range(2):  # once more, over the array of the first result
        assert max(differences(workload, contenders).values()) < 2e-6
    share = np.mean(in_doubles(workload)[1] > 0.8)
    assert 0.05 < share < 0.95  # the limit matters


def test_torch_computes_the_same_in_all_writings(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)  # it takes seconds, and a C++ compiler
    found = differences(workload, torch_contenders(workload))
    assert list(found) == ["torch", "torch, by hand", "torch, compiled"]
    assert max(found.values()) < 2e-6


@pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated:DeprecationWarning")  # it calls that
def test_jax_privacy_computes_the_same(workload: Workload) -> None:
    pytest.importorskip("jax_privacy")
    assert max(differences(workload, privacy_contenders(workload)).values()) < 2e-6


def test_where_torch_cannot_compile_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> Result:
        raise RuntimeError("no C++ compiler")

    cake = cake_workload(3)
    contenders = {"torch": lambda: in_doubles(cake), "torch, compiled": fails}
    assert differences(cake, contenders) == {"torch": 0.0}
    assert list(contenders) == ["torch"]
    assert capsys.readouterr().out == "torch.compile does not work here: RuntimeError\n"
    with pytest.raises(RuntimeError, match=r"no C\+\+ compiler"):
        differences(cake, {"torch": fails})


def test_a_difference_in_any_part_is_seen() -> None:
    result = (None, np.ones(3), np.ones(2))
    assert greatest_difference(result, (np.ones((3, 2)), np.ones(3), np.array([1.0, 1.5]))) == 0.5


def test_a_ratio_is_taken_within_a_round() -> None:
    seconds = {"optim": [1.0, 2.0, 1.0], "optim, no gradients": [1.0, 1.0, 1.0], "torch": [6.0, 8.0, 7.0]}
    rows = rows_of(seconds, dict.fromkeys(seconds))
    assert rows[2] == ["torch", "7000.0", "", "6.00", "4.00 to 7.00", "at least 5", "holds"]


def test_a_ratio_is_wanted_of_the_documented_torch_alone() -> None:
    seconds = {"optim": [1.0], "torch": [4.0], "torch, by hand": [3.0]}
    rows = rows_of(seconds, dict.fromkeys(seconds))
    assert rows[1][3:] == ["4.00", "4.00 to 4.00", "at least 5", "MISSED"]
    assert rows[2][3:] == ["3.00", "3.00 to 3.00"]


def test_every_other_round_goes_from_the_last_contender_to_the_first() -> None:
    order: list[str] = []

    def turn(name: str) -> float:
        order.append(name)
        return float(len(order))

    figures = take_turns({name: lambda name=name: turn(name) for name in "abc"}, 3)
    assert "".join(order) == "abccbaabc"
    assert figures == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_a_package_that_is_missing_is_named() -> None:
    line = machine("numpy", "no-such-package")
    assert f"numpy {np.__version__}" in line
    assert line.endswith("; no-such-package is not installed: its rows are left out")
