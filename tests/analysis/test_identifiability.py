"""What a design determines, and in whose words: against ranks by construction, exact relations and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.random import Generator, default_rng

from optim.analysis.design import Block
from optim.analysis.identifiability import determined_by, reasons, reduction
from tests.analysis.fits import Fit, at_maximum, make_fit

SEGMENTS = ["south"] * 8 + ["north"] * 8


@pytest.fixture
def random() -> Generator:
    return default_rng(7)


def fit(random: Generator, amounts: np.ndarray, **arguments: object) -> Fit:
    """A fit of these recipes, each of them liked by some and not by others."""
    likes, dislikes = random.integers(1, 9, (2, len(amounts)))
    return make_fit(amounts, likes, dislikes, **arguments)  # type: ignore[arg-type]


def said(block: Block) -> str:
    return "; ".join(reasons(block, determined_by(block.rows)))


def seen(block: Block) -> list[str]:
    """The coefficients, in the user's units, that are determined."""
    return [n for n, ok in zip(block.names, determined_by(block.rows).determines(block), strict=True) if ok]


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
@pytest.mark.parametrize("unit", [[1.0, 1.0, 1.0], [1e6, 1e-6, 1.0]])
def test_recipes_that_vary_freely_determine_everything(random: Generator, kind: str, unit: list[float]) -> None:
    block = fit(random, random.uniform(1, 5, (14, 3)) * unit, kind=kind).block
    found = determined_by(block.rows)
    assert (found.rank, found.all, reasons(block, found)) == (len(block.names), True, ())
    assert found.condition == pytest.approx(np.linalg.cond(block.rows / np.linalg.norm(block.rows, axis=0)), rel=1e-9)
    assert seen(block) == list(block.names)


def test_an_amount_that_varies_little_beside_its_size_is_determined(random: Generator) -> None:
    amounts = random.uniform(1, 5, (14, 3))
    amounts[:, 0] = 30_000 + random.uniform(-0.1, 0.1, 14)
    block = fit(random, amounts).block
    assert seen(block) == list(block.names)


def test_what_a_group_always_tasted_at_one_amount_is_named(random: Generator) -> None:
    amounts = random.uniform(1, 5, (16, 3))
    amounts[8:, 0] = 50.0
    north, south = fit(random, amounts, names=("butter", "sugar", "eggs"), segments=SEGMENTS).design.blocks
    assert said(north) == (
        "north: 4 coefficients, 8 distinct recipes: rank 3; "
        "in north butter was always 50, so what it does there cannot be told from the constant"
    )
    assert seen(north) == ["sugar", "eggs"]
    assert said(south) == ""


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (lambda a, b: 9 - a - b, "a + b + c is always 9, so the constant is not determined: leave it out"),
        (lambda a, b: 5 - 2 * a + 3 * b, "2 a - 3 b + c is always 5, so the constant is not determined: leave it out"),
        (lambda a, b: 0.37 * a, "a - 2.703 c is always 0, so they cannot be told apart"),
        (lambda a, b: 2e4 * a, "20000 a - c is always 0, so they cannot be told apart"),
    ],
)
def test_a_relation_between_amounts_is_spelt_out(random: Generator, last: object, expected: str) -> None:
    a, b = random.uniform(1, 5, (2, 12))
    block = fit(random, np.stack([a, b, last(a, b)], axis=1)).block  # type: ignore[operator]
    assert said(block) == f"4 coefficients, 12 distinct recipes: rank 3; {expected}"


def test_two_relations_at_once_are_both_named(random: Generator) -> None:
    a, c = random.uniform(1, 5, (2, 12))
    block = fit(random, np.stack([a, 5 - a, c, 2 * c], axis=1)).block
    text = said(block)
    assert "rank 3" in text
    assert "a + b is always 5, so they and the constant cannot be told apart" in text
    assert "2 c - d is always 0, so they cannot be told apart" in text


def test_leaving_the_constant_out_is_advised_only_where_it_is_enough(random: Generator) -> None:
    a, c = random.uniform(1, 5, (2, 12))
    amounts = np.stack([a, 5 - a, c, 3 - c / 2], axis=1)
    assert not determined_by(fit(random, amounts, intercept=False).block.rows).all
    assert "leave it out" not in said(fit(random, amounts).block)


def test_leaving_the_constant_out_is_not_advised_for_a_quadratic_of_a_mixture(random: Generator) -> None:
    amounts = random.dirichlet([1.0, 1.0, 1.0], 30)
    assert not determined_by(fit(random, amounts, kind="quadratic", intercept=False).block.rows).all
    assert "leave it out" not in said(fit(random, amounts, kind="quadratic").block)


def test_a_relation_between_grams_and_tonnes_names_both(random: Generator) -> None:
    grams = random.uniform(1e6, 5e6, 12)
    amounts = np.stack([grams, 7 - grams * 1e-6, random.uniform(1, 5, 12)], axis=1)
    text = said(fit(random, amounts).block)
    assert "1000000 b is always 7000000" in text
    assert "a + " in text


def test_a_sum_is_stated_beside_a_feature_in_small_units(random: Generator) -> None:
    a = random.uniform(1, 3, 12)
    amounts = np.stack([a, 4 - a, random.uniform(2e6, 5e6, 12)], axis=1)
    assert "a + b is always 4, so the constant is not determined" in said(fit(random, amounts).block)


def test_of_fractions_without_a_constant_only_relations_beside_their_sum_are_named(random: Generator) -> None:
    amounts = random.uniform(1, 5, (12, 3))
    amounts[:, 1] = 2 * amounts[:, 0]
    text = said(fit(random, amounts, features="fractions").block)
    assert text.endswith("rank 2; 2 a - b is always 0, so they cannot be told apart")


def test_without_a_constant_a_constant_sum_hides_nothing(random: Generator) -> None:
    a, c = random.uniform(1, 5, (2, 12))
    block = fit(random, np.stack([a, 5 - a, c, 2 * c], axis=1), intercept=False).block
    assert seen(block) == ["a", "b"]
    assert "a + b" not in said(block)


def test_without_a_constant_nothing_is_told_apart_from_it(random: Generator) -> None:
    amounts = random.uniform(1, 5, (16, 3))
    amounts[8:, :2] = [50.0, 2.0]
    north, _ = fit(random, amounts, segments=SEGMENTS, intercept=False).design.blocks
    assert determined_by(north.rows).rank == 2
    assert "the constant" not in said(north)


def test_a_constant_sum_without_a_constant_determines_all(random: Generator) -> None:
    amounts = random.dirichlet([1.0, 1.0, 1.0], 12)
    for features in ("amounts", "fractions"):
        block = fit(random, amounts, features=features, intercept=False).block
        assert seen(block) == ["a", "b", "c"]
        assert said(block) == ""


def test_a_fixed_ingredient_that_was_always_tasted_at_one_amount_has_no_column(random: Generator) -> None:
    amounts = random.uniform(1, 5, (12, 3))
    amounts[:, 0] = 0.3
    ones = np.ones(12, int)
    block = make_fit(amounts, ones, ones, kind="quadratic", fixed={"a": 0.3}).block
    assert block.names == ("constant", "b", "c", "b*b", "b*c", "c*c")
    assert block.left_out == ("a", "a*a", "a*b", "a*c")
    assert said(block) == ""
    free = make_fit(amounts[:, 1:], ones, ones, kind="quadratic", names=("b", "c")).block
    np.testing.assert_allclose(block.rows, free.rows, rtol=1e-6)


def test_too_few_recipes_are_counted(random: Generator) -> None:
    block = fit(random, random.uniform(1, 5, (8, 4)), kind="quadratic").block
    assert said(block).startswith("15 coefficients, 8 distinct recipes: rank 8; ")
    assert "taste at least 15 different recipes" in said(block)
    assert seen(block) == []
    assert reduction(block, determined_by(block.rows)) is None


def test_recipes_of_the_same_fractions_are_one_recipe(random: Generator) -> None:
    amounts = np.repeat(random.uniform(1, 5, (6, 2)), 2, axis=0) * np.tile([1.0, 3.7], 6)[:, None]
    assert fit(random, amounts, features="fractions").block.distinct == 6


def test_a_constant_that_cannot_be_told_from_butter_is_hidden_beside_an_amount_of_great_size(random: Generator) -> None:
    amounts = random.uniform(1, 5, (16, 3))
    amounts[:, 0] = 30_000 + random.uniform(-0.1, 0.1, 16)
    amounts[8:, 1] = 50.0
    north, _ = fit(random, amounts, segments=SEGMENTS).design.blocks
    assert seen(north) == ["a", "c"]


@pytest.mark.parametrize(("digits", "rank"), [(3, 4), (6, 4), (9, 3)])
def test_a_mixture_printed_with_few_digits_has_full_rank_and_a_condition_that_tells(
    random: Generator, digits: int, rank: int
) -> None:
    """Sums are .999 or 1.001: what tells the constant apart is rounding, and the condition is about its inverse."""
    amounts = np.round(random.dirichlet([2.0, 2.0, 2.0], 12), digits)
    found = determined_by(fit(random, amounts).block.rows)
    assert found.rank == rank
    if rank == 4:
        assert 0.1 < found.condition * 10.0**-digits < 10


@pytest.mark.parametrize(("noise", "rank"), [(1e-5, 4), (1e-9, 3)])
def test_nearly_collinear_amounts(random: Generator, noise: float, rank: int) -> None:
    a, c = random.uniform(1, 5, (2, 12))
    block = fit(random, np.stack([a, a + noise * random.standard_normal(12), c], axis=1)).block
    assert determined_by(block.rows).rank == rank
    assert ("a - b is always 0" in said(block)) == (rank == 3)


def test_what_is_seen_is_what_all_coefficients_of_the_same_utilities_agree_on(random: Generator) -> None:
    """By the definition: a functional is determined where no change of the coefficients that keeps every utility of the
    tasted recipes moves it."""
    rows = random.standard_normal((9, 3)) @ random.standard_normal((3, 6)) * 10.0 ** np.arange(-2, 4)
    found = determined_by(rows)
    assert found.rank == 3
    _, _, directions = np.linalg.svd(rows / np.linalg.norm(rows, axis=0))
    still = directions[3:] / np.linalg.norm(rows, axis=0)
    np.testing.assert_allclose(rows @ still.T, 0, atol=1e-12)
    inside, outside = random.standard_normal((4, 9)) @ rows, random.standard_normal((4, 6))
    assert found.sees(inside).all()
    assert not found.sees(outside).any()
    assert np.abs(outside @ still.T).max(axis=1).min() > 1e-6
    assert determined_by(np.zeros((0, 2))).sees(np.array([[1.0, 0.0], [0.0, 0.0]])).tolist() == [False, True]


@pytest.mark.parametrize("case", ["mixture", "ratio", "north", "quadratic", "fractions"])
def test_the_reduced_utility_predicts_the_same_and_is_statsmodels_without_the_column(
    random: Generator, case: str
) -> None:
    amounts = random.uniform(1, 5, (16, 3))
    arguments: dict[str, object] = {}
    if case == "mixture":
        amounts = random.dirichlet([2.0, 2.0, 2.0], 16)
    elif case == "ratio":
        amounts[:, 2] = 3 * amounts[:, 0]
    elif case == "north":
        amounts[8:, 0] = 50.0
        arguments["segments"] = SEGMENTS
    elif case == "quadratic":
        amounts[:, 2] = 7 - amounts[:, 0]
        arguments["kind"] = "quadratic"
    else:
        amounts[:, 1] = 2 * amounts[:, 0]
        arguments["features"] = "fractions"
    block = at_maximum(fit(random, amounts, **arguments).design).blocks[0]
    found = reduction(block, determined_by(block.rows))
    assert found is not None
    left_out, functionals = found
    kept = [name for name in block.names if name not in left_out]
    features = dict(zip(block.feature_names, block.features.T, strict=True))
    column = lambda name: np.prod([features.get(part, np.ones(len(block.rows))) for part in name.split("*")], axis=0)
    design = np.stack([column(name) for name in kept], axis=1)
    coefficients = functionals @ block.theta
    np.testing.assert_allclose(design @ coefficients, block.utilities, atol=1e-8)
    counts = np.stack([block.likes, block.dislikes], axis=1)
    expected = sm.GLM(counts, design, family=sm.families.Binomial()).fit(tol=1e-14)
    np.testing.assert_allclose(coefficients, expected.params, rtol=1e-6, atol=1e-8)
    assert (
        left_out
        == {
            "mixture": ("constant",),
            "ratio": ("c",),
            "north": ("a",),
            "quadratic": ("constant", "a*c", "b*c", "c*c"),
            "fractions": ("b",),
        }[case]
    )
