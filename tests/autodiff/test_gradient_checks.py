"""The gradient checker passes what is right, finds what is wrong, and names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.typing import ArrayLike
from jaxtyping import Array

from optim.autodiff import limit_gradient
from optim.autodiff.gradient_checks.check import check_gradients
from optim.autodiff.gradient_checks.finite_differences import difference_of, samples_along
from optim.autodiff.gradient_checks.report import GradientReport, GradientRow
from optim.autodiff.gradient_checks.second_differences import second_difference_of
from optim.models.properties import Bakery

NAMES = ("butter", "eggs", "flour", "sugar")
START = (1.0, 3.0, 2.0, 1.5)
SCORE_GRADIENT = dict(zip(NAMES, (-0.1525816, -0.91666603, -0.66476905, 8.810353), strict=True))
FIRST_ORDER = ("forward", "reverse", "reverse against forward")
SECOND_ORDER = ("forward over reverse", "reverse over reverse", "forward over forward", "second differences")
FEATURES = np.array([[0.8, 0.9, -0.5], [0.7, 0.8, -0.4], [0.3, 0.4, -0.8], [0.9, 0.7, -0.3]], np.float32)
SIGNS = np.array([1.0, 1.0, -1.0, 1.0], np.float32)  # liked: yes, yes, no, yes

bakery = Bakery(NAMES)


@pytest.fixture(autouse=True)
def precision_is_left_as_found() -> Iterator[None]:
    assert not jax.config.jax_enable_x64
    yield
    assert not jax.config.jax_enable_x64
    assert jnp.zeros(()).dtype == jnp.float32


def deliciousness(recipe: Array) -> Array:
    sweetness, fluffiness, cost = bakery(recipe)
    return -((sweetness - 10.0) ** 2) - (fluffiness - 5.0) ** 2 - 0.5 * cost


def row(report: GradientReport, kind: str) -> GradientRow:
    (found,) = (row for row in report.rows if row.kind == kind)
    return found


def verdicts(report: GradientReport) -> dict[str, str]:
    return {row.kind: row.verdict for row in report.rows}


def wrong_backward(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The identity, with a changed gradient."""
    identity = jax.custom_vjp(lambda x: x)
    identity.defvjp(lambda x: (x, None), lambda _, cotangent: (change(cotangent),))
    return identity


def test_the_score_passes_in_every_mode_to_second_order() -> None:
    report = check_gradients(deliciousness, jnp.array(START), names=NAMES)
    assert report.passed
    assert verdicts(report) == dict.fromkeys(FIRST_ORDER + SECOND_ORDER, "ok")
    assert all(row.error <= 1e-9 * (1.0 + abs(row.reference)) for row in report.rows[:-1])
    assert row(report, "second differences").error <= 1e-6
    for kind in FIRST_ORDER:
        np.testing.assert_allclose(row(report, kind).derivative, SCORE_GRADIENT[row(report, kind).entry], rtol=2e-6)


@pytest.mark.long
def test_the_other_formulas_pass_as_one_function_of_a_tree() -> None:
    """Among them a complex number, and data in single precision that the function closes over."""

    def formulas(point: dict[str, Any]) -> Array:
        logits = FEATURES @ point["model"]["W"] + point["model"]["b"]
        loss = jnp.sum(jax.nn.softplus(-SIGNS * logits))
        vibration = 3.0 * jnp.real(point["z"]) - jnp.abs(point["z"]) ** 2
        x, (retention, boost) = point["x"], point["dough"]
        return loss + vibration + jnp.tanh(x) + x**3 + 2.0 * x**2 - 3.0 * x + 1.0 + boost / (1.0 - retention)

    model = {"W": jnp.array([0.2, -0.4, 0.9]), "b": jnp.array(0.3)}
    report = check_gradients(formulas, {"model": model, "z": 2.0 + 1.0j, "x": 2.0, "dough": (0.75, 10.0)})
    assert report.passed, report
    assert len(report.rows) == 7
    assert report.scope == "9 components"


def test_softplus_passes_where_its_exponential_overflows() -> None:
    report = check_gradients(lambda t: jnp.sum(jax.nn.softplus(t)), jnp.array([500.0, -1e4, 1e4]))
    assert report.passed, report


def test_steep_bends_small_domains_and_entries_of_very_different_size_pass() -> None:
    def f(x: Array) -> Array:
        return jnp.log(x[0]) + jnp.tanh(1e3 * x[1]) + 1e6 * x[2] ** 2 + 1e-3 * x[3] + jnp.sqrt(x[0]) * x[3]

    report = check_gradients(f, jnp.array([1e-3, 1e-4, 300.0, 0.0]))
    assert report.passed, report


def test_the_differences_are_as_exact_as_those_of_arbitrary_precision() -> None:
    functions = (
        (jnp.exp, mpmath.exp),
        (lambda x: jnp.sin(30.0 * x), lambda x: mpmath.sin(30 * x)),
        (lambda x: x**-0.9, lambda x: x ** mpmath.mpf(-0.9)),
        (lambda x: jnp.log(x - 0.499), lambda x: mpmath.log(x - mpmath.mpf(0.499))),  # undefined 0.001 away
    )
    with jax.enable_x64(True):
        samples = samples_along(
            lambda x: jnp.stack([ours(x[0]) for ours, _ in functions]), jnp.array([0.5]), jnp.array([2.0])
        )
    found = difference_of(np.asarray(samples))
    exact = [2.0 * float(mpmath.diff(theirs, mpmath.mpf(0.5))) for _, theirs in functions]
    np.testing.assert_allclose(found.derivative, exact, rtol=1e-9)
    assert bool(np.all(np.abs(found.derivative - exact) <= found.rounding + 1e-9 * np.abs(exact)))


def test_a_wrong_sign_in_a_rule_is_found() -> None:
    @jax.custom_jvp
    def cosine(x: Array) -> Array:
        return jnp.cos(x)

    cosine.defjvp(lambda primals, tangents: (cosine(*primals), jnp.sin(primals[0]) * tangents[0]))
    report = check_gradients(cosine, 0.7, order=1)
    assert not report.passed
    assert verdicts(report) == {"forward": "WRONG", "reverse": "WRONG", "reverse against forward": "ok"}
    np.testing.assert_allclose(row(report, "forward").reference, -np.sin(0.7), rtol=1e-9)
    np.testing.assert_allclose(row(report, "forward").derivative, np.sin(0.7), rtol=1e-9)


def test_a_thousandth_too_much_in_a_backward_rule_is_found_and_the_missing_forward_mode_is_noted() -> None:
    for factor, passes in ((1.001, False), (1.0, True)):
        identity = wrong_backward(lambda cotangent, factor=factor: factor * cotangent)
        report = check_gradients(lambda x, identity=identity: jnp.sum(jnp.sin(identity(x))), jnp.array([0.3, 2.0]))
        assert report.passed is passes
        assert [row.kind for row in report.rows] == ["reverse", *SECOND_ORDER[:2], "second differences"]
        assert [note.split(":")[0] for note in report.notes] == [
            "forward",
            "reverse against forward",
            "forward over forward",
        ]
        assert "a jax.custom_vjp rule has no forward mode" in str(report)


def test_a_rule_right_to_first_order_and_wrong_to_second_is_found() -> None:
    @jax.custom_jvp
    def square(x: Array) -> Array:
        return x**2

    square.defjvp(lambda primals, tangents: (square(*primals), 2.0 * jax.lax.stop_gradient(primals[0]) * tangents[0]))
    report = check_gradients(square, 1.5)
    assert verdicts(report) == dict.fromkeys(FIRST_ORDER, "ok") | dict.fromkeys(SECOND_ORDER, "WRONG")
    assert (row(report, "forward over reverse").derivative, round(report.worst.reference, 9)) == (0.0, 2.0)


def test_the_one_wrong_component_is_named_by_its_place_or_by_the_name_given() -> None:
    identity = wrong_backward(lambda cotangent: cotangent.at[7].multiply(1.0 + 1e-4))

    def f(point: dict[str, Any]) -> Array:
        return jnp.sum(identity(point["cake"]["amounts"]) ** 3) + jnp.abs(point["z"]) ** 2

    point = {"cake": {"amounts": jnp.linspace(0.5, 1.5, 10)}, "z": 1.0 + 1.0j}
    found = check_gradients(f, point, order=1).worst
    assert (found.kind, found.entry) == ("reverse", "cake.amounts[7]")
    amount = 0.5 + 7.0 / 9.0
    np.testing.assert_allclose((found.reference, found.error), (3.0 * amount**2, 3e-4 * amount**2), rtol=1e-6)
    assert check_gradients(f, point, order=1, names={"cake.amounts[7]": "sugar"}).worst.entry == "sugar"
    assert check_gradients(f, point, order=1, tolerance=1e-3).passed


def test_a_wrong_imaginary_part_is_named() -> None:
    f = lambda z: jnp.real(z) ** 2 + jax.lax.stop_gradient(jnp.imag(z)) ** 2
    report = check_gradients(f, jnp.array(1.0 + 2.0j), order=1)
    assert (report.worst.entry, report.worst.derivative, round(report.worst.reference, 9)) == ("point.imag", 0.0, 4.0)


def test_an_active_gradient_limit_is_wrong_and_an_inactive_one_is_right() -> None:
    for limit, passes in ((0.1, False), (100.0, True)):
        f = lambda recipe, limit=limit: deliciousness(
            limit_gradient(recipe, jnp.array([limit, np.inf, np.inf, np.inf]))
        )
        report = check_gradients(f, jnp.array(START), names=NAMES, order=1)
        assert report.passed is passes
    assert row(report, "reverse").error < 1e-9


def test_a_limited_gradient_is_shown_beside_the_true_one() -> None:
    limit = jnp.array([0.1, np.inf, np.inf, np.inf])
    f = lambda recipe: deliciousness(limit_gradient(recipe, limit))
    worst = check_gradients(f, jnp.array(START), names=NAMES, order=1).worst
    assert (worst.entry, worst.derivative) == ("butter", float(np.float32(-0.1)))
    np.testing.assert_allclose(worst.reference, SCORE_GRADIENT["butter"], rtol=2e-6)


def test_a_target_held_fixed_is_wrong() -> None:
    def loss(recipe: Array) -> Array:
        butter, eggs, flour, _ = recipe
        return (bakery(recipe)[1] - jax.lax.stop_gradient(2.0 + 0.5 * butter + eggs - 0.1 * flour)) ** 2

    worst = check_gradients(loss, jnp.array(START), names=NAMES, order=1).worst
    assert (worst.entry, worst.verdict) == ("butter", "WRONG")
    np.testing.assert_allclose((worst.derivative, worst.reference), (-0.04, 0.06), rtol=1e-5)  # both printed


@pytest.mark.parametrize(
    ("f", "derivative"),
    [(lambda x: x**0.9, np.inf), (jnp.sqrt, np.inf), (lambda x: 0.0 * x**0.9, np.nan)],
    ids=["power", "root", "unused-power"],
)
def test_derivatives_that_are_not_finite_fail_as_such(f: Callable[[Array], Array], derivative: float) -> None:
    report = check_gradients(f, 0.0, order=1)
    assert not report.passed
    assert verdicts(report) == dict.fromkeys(FIRST_ORDER, "DERIVATIVE NOT FINITE")
    np.testing.assert_equal(row(report, "reverse").derivative, derivative)


def test_a_point_without_differences_and_a_value_that_is_not_finite_fail_as_such() -> None:
    edge = check_gradients(lambda x: jnp.where(x > 0.0, jnp.nan, 2.0 * x), 0.0, order=1)
    assert row(edge, "forward").verdict == "REFERENCE NOT FINITE"
    outside = check_gradients(jnp.log, -1.0)
    assert not outside.passed
    assert verdicts(outside) == {"value": "VALUE NOT FINITE"}
    assert "FAILED; the worst entry is the value" in str(outside)


def test_a_nan_is_named_in_reverse_mode_where_forward_mode_gives_it_along_every_axis() -> None:
    report = check_gradients(lambda x: x[0] ** 2 + 0.0 * jnp.sqrt(x[1]), jnp.array([3.0, 0.0]), order=1)
    assert (row(report, "reverse").entry, row(report, "reverse").verdict) == ("[1]", "DERIVATIVE NOT FINITE")


def many(x: Array) -> Array:
    return jnp.sum(jnp.log1p(x**2)) + jnp.mean(x) ** 2 + jnp.sum(x[1:] * x[:-1])


LARGE = np.random.default_rng(1).normal(size=20_000)


@pytest.mark.long
def test_a_large_point_passes_along_a_fixed_number_of_directions() -> None:
    report = check_gradients(many, LARGE)
    assert report.passed, report
    assert report.scope == "20000 components along 16 directions"
    assert len(report.rows) == 6
    assert report.notes[0].startswith("second differences: left out")  # so many terms drown a step along a direction


@pytest.mark.long
def test_among_twenty_thousand_components_the_wrong_one_is_named_to_both_orders() -> None:
    identity = wrong_backward(lambda cotangent: cotangent.at[12_345].multiply(1.01))
    report = check_gradients(lambda x: many(identity(x)), LARGE)
    x = LARGE[12_344:12_347]
    exact = 2.0 * x[1] / (1.0 + x[1] ** 2) + 2.0 * LARGE.mean() / 20_000 + x[0] + x[2]
    found = row(report, "reverse")
    assert found.entry == "[12345]"
    np.testing.assert_allclose((found.derivative, found.reference), (1.01 * exact, exact), rtol=1e-4)
    assert "[12345]" in row(report, "reverse over reverse").entry


def test_the_table_tells_the_worst_entry_and_the_outcome() -> None:
    report = check_gradients(lambda x: x[0] ** 2 + jax.lax.stop_gradient(x[1]) ** 2, jnp.ones(2), order=1)
    head, *_, last = str(report).splitlines()
    assert head.split() == ["kind", "worst", "entry", "derivative", "reference", "error", "allowed"]
    assert last == "2 components: FAILED; the worst entry is [1] (forward)"
    assert str(report).count("WRONG") == 2


def test_a_value_in_single_precision_is_not_checked_however_wrong_or_right_its_rule() -> None:
    """At 1.1 the sine has a slope of 0.45, and differences in single precision may be off by 0.003."""
    for factor in (1.0, 1.005):
        identity = wrong_backward(lambda cotangent, factor=factor: factor * cotangent)
        report = check_gradients(
            lambda x, identity=identity: jnp.sin(jnp.asarray(identity(x), jnp.float32)), 1.1, order=1
        )
        assert not report.passed
        assert verdicts(report) == {"reverse": "NOT CHECKED"}
        assert report.notes[0].startswith("the value is float32")
        assert "compute in the precision of the input, and without large constants" in report.notes[-1]
        assert str(report).splitlines()[-1].startswith("1 component: NOT CHECKED; the worst entry is")
    assert "second differences: left out" in str(check_gradients(lambda x: jnp.sin(jnp.asarray(x, jnp.float32)), 1.1))
    twice = lambda x: jnp.asarray(wrong_backward(lambda c: 2.0 * c)(x), jnp.float32) ** 2
    report = check_gradients(twice, 1.5, order=1)
    assert verdicts(report) == {"reverse": "WRONG"}
    assert "FAILED" in str(report)


def test_a_derivative_drowned_by_a_constant_is_not_checked_and_one_of_zero_is() -> None:
    drowned = check_gradients(lambda x: 1e9 + x, 1.0, order=1)
    assert verdicts(drowned) == dict.fromkeys(FIRST_ORDER[:2], "NOT CHECKED") | {"reverse against forward": "ok"}
    assert (drowned.passed, drowned.worst.verdict) == (False, "NOT CHECKED")
    for f in (lambda x: 5.0 + (x - 1.0) ** 2, lambda x: 5.0 + 0.0 * x, lambda x: 3.0 * x + 5.0):  # 0 in one order
        report = check_gradients(f, 1.0)
        assert report.passed, report


@pytest.mark.parametrize("modes", ["both", "reverse"])
def test_a_rule_consistent_with_itself_is_found_where_its_slope_is_zero(modes: str) -> None:
    """x² with a slope of 4x, at 0: every comparison of derivatives among themselves agrees on 4."""
    square = jax.custom_jvp(lambda x: x**2) if modes == "both" else jax.custom_vjp(lambda x: x**2)
    if modes == "both":
        square.defjvps(lambda tangent, _, x: 4.0 * x * tangent)
    else:
        square.defvjp(lambda x: (square(x), x), lambda x, cotangent: (4.0 * x * cotangent,))
    report = check_gradients(lambda x: square(x[0]) + x[1] ** 2, jnp.array([0.0, 3.0]))
    assert {kind for kind, verdict in verdicts(report).items() if verdict != "ok"} == {"second differences"}
    assert (report.worst.entry, report.worst.derivative, round(report.worst.reference, 9)) == ("[0], [0]", 4.0, 2.0)


def test_second_differences_are_within_their_rounding_of_arbitrary_precision() -> None:
    functions = (
        (jnp.exp, mpmath.exp),
        (lambda x: jnp.sin(30.0 * x), lambda x: mpmath.sin(30 * x)),
        (lambda x: 1e4 + x**-0.9, lambda x: 1e4 + x ** mpmath.mpf(-0.9)),
        (lambda x: 100.0 * (x - 0.3), lambda x: 100 * (x - mpmath.mpf(0.3))),  # 0 but for the rounding of x
        (lambda x: jnp.log(x - 0.299), lambda x: mpmath.log(x - mpmath.mpf(0.299))),  # undefined 0.001 away
    )
    with jax.enable_x64(True):
        x, v = jnp.array([0.3]), jnp.array([1.0])
        values = jax.jit(lambda x: jnp.stack([ours(x[0]) for ours, _ in functions]))
        samples, value, slope = (np.asarray(a) for a in (samples_along(values, x, v), values(x), jax.jacfwd(values)(x)))
    for place, (_, theirs) in enumerate(functions):
        found = second_difference_of(samples[:, place], float(value[place]), float(np.abs(slope[place, 0])))
        exact = float(mpmath.diff(theirs, mpmath.mpf(0.3), 2))
        assert abs(found.derivative - exact) <= found.rounding + 1e-7 * abs(exact)
        assert found.rounding <= 1e-6 * (abs(value[place]) + abs(slope[place, 0]) + abs(exact))


@pytest.mark.parametrize(
    ("error", "message", "f", "point", "options"),
    [
        (ValueError, "order is 3", jnp.tanh, 1.0, {"order": 3}),
        (ValueError, "tolerance is 0", jnp.tanh, 1.0, {"tolerance": 0.0}),
        (TypeError, "the point holds int", jnp.tanh, 1, {}),
        (ValueError, "no component", lambda x: 1.0, {}, {}),
        (ValueError, r"\[1\] is nan", jnp.sum, np.array([1.0, np.nan]), {}),
        (ValueError, r"shape \(2,\): check a weighted sum", jnp.tanh, np.ones(2), {}),
        (TypeError, "gives complex128", lambda z: z**2, 1.0j, {}),
        (ValueError, "names has 1 entries, the point 2", jnp.sum, np.ones(2), {"names": ["butter"]}),
        (ValueError, "'butter', which is no component", jnp.sum, np.ones(2), {"names": {"butter": "sugar"}}),
    ],
)
def test_what_cannot_be_checked_is_refused(
    error: type[Exception], message: str, f: Callable[[Any], ArrayLike], point: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(error, match=message):
        check_gradients(f, point, **options)
