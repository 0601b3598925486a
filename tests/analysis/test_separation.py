"""Separated likes: Albert and Anderson's cases, other linear programs, and fits that run away."""

from __future__ import annotations

import time

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.random import Generator, default_rng
from scipy.optimize import linprog

from optim.analysis.design import Block
from optim.analysis.evidence import has_finite_maximum, with_separation
from optim.analysis.separation import Separation, separation_of
from tests.analysis.fits import Fit, at, at_maximum, evidence, make_fit, newton

SUGAR = np.array([[1.0], [1.5], [1.75], [2.0]])


def found(fit: Fit) -> Separation:
    separation = separation_of(fit.block)
    assert separation is not None
    return separation


def signed_rows(block: Block) -> np.ndarray:
    """One row a kind of response of a cell, which a separating direction must not find negative."""
    return np.concatenate([block.rows[block.likes > 0], -block.rows[block.dislikes > 0]])


def separable(block: Block) -> np.ndarray:
    """Which cells some direction separates strictly: one linear program a cell, in coordinates of full rank."""
    left, sizes, _ = np.linalg.svd(block.rows, full_matrices=False)
    points = left[:, sizes > 1e-9 * sizes[0]]
    both = np.concatenate([points[block.likes > 0], -points[block.dislikes > 0]])
    strict = []
    for point, likes, dislikes in zip(points, block.likes, block.dislikes, strict=True):
        outward = np.sign(likes - dislikes) if not likes or not dislikes else 0.0
        best = linprog(-outward * point, A_ub=-both, b_ub=np.zeros(len(both)), bounds=(-1, 1))
        strict.append(-best.fun > 1e-7)
    return np.array(strict)


def random_fit(random: Generator) -> Fit | None:
    """Up to nine recipes on a grid, some of them twice, with pure and mixed cells; None where a column is constant."""
    columns, cells = random.integers(1, 4), random.integers(2, 10)
    amounts = random.integers(0, 4, (cells, columns)).astype(float)
    if columns > 1 and random.random() < 0.3:
        amounts[:, -1] = 3 - amounts[:, 0]
    if (np.ptp(amounts, axis=0) == 0).any():
        return None
    likes = random.integers(0, 3, cells)
    mixed = random.random(cells) < 0.3
    dislikes = np.where((likes == 0) | mixed, random.integers(1, 3, cells), 0)
    segments = None if random.random() < 0.7 else random.choice(["n", "s"], cells).tolist()
    return make_fit(amounts, likes, dislikes, segments=segments, intercept=bool(random.random() < 0.8))


def test_complete_separation_names_the_amount_that_tells() -> None:
    up = found(make_fit(SUGAR, [0, 0, 2, 1], [3, 2, 0, 0], names=["sugar"]))
    assert up.complete
    assert (up.rises, up.falls, up.determined.rank) == (("sugar",), (), 0)
    assert up.text == (
        "the likes are separated: everything with sugar of 1.75 or more was liked, everything with 1.5 or less was not"
    )
    down = found(make_fit(SUGAR, [3, 2, 0, 0], [0, 0, 2, 1], names=["sugar"]))
    assert (down.rises, down.falls) == ((), ("sugar",))
    assert "sugar of 1.75 or more was not liked, everything with 1.5 or less was" in down.text


def test_quasi_complete_separation_leaves_the_border_determined() -> None:
    """Likes and dislikes at 1.5, nothing but dislikes below and likes above: P(like) there is 1/4 in the limit."""
    fit = make_fit(SUGAR, [0, 1, 2, 1], [3, 3, 0, 0], names=["sugar"])
    separation = found(fit)
    assert not separation.complete
    assert separation.separated.tolist() == [True, False, True, True]
    assert separation.rises == ("sugar",)
    assert separation.determined.sees(fit.block.rows).tolist() == [False, True, False, False]
    far = at(fit.design, newton(fit.block, steps=18)).blocks[0]
    assert 1 / (1 + np.exp(-far.utilities[1])) == pytest.approx(0.25, abs=1e-5)


def test_an_ingredient_that_was_always_liked_where_it_was_in() -> None:
    """The nuts' coefficient alone has no finite value; sugar's is that of the rows without nuts (statsmodels)."""
    amounts = np.array([[0, 0.0], [0, 1], [0, 2], [1, 1]])
    fit = make_fit(amounts, [2, 5, 4, 3], [4, 3, 1, 0], names=["nuts", "sugar"])
    separation = found(fit)
    assert separation.separated.tolist() == [False, False, False, True]
    assert separation.rises == ("nuts",)
    sees = separation.determined.sees(fit.block.to_user)
    assert dict(zip(fit.block.names, sees.tolist(), strict=True)) == {"constant": True, "nuts": False, "sugar": True}
    far = at(fit.design, newton(fit.block, steps=16)).blocks[0]
    counts = np.stack([far.likes, far.dislikes], axis=1)[:3]
    limit = sm.GLM(counts, sm.add_constant(amounts[:3, 1]), family=sm.families.Binomial()).fit(tol=1e-12)
    np.testing.assert_allclose((far.to_user @ far.theta)[sees], limit.params, rtol=1e-5)


def test_overlap_is_no_separation() -> None:
    assert separation_of(make_fit(SUGAR, [0, 1, 0, 1], [1, 0, 1, 0]).block) is None
    assert separation_of(make_fit(SUGAR, [1, 2, 1, 0], [1, 1, 3, 4]).block) is None
    twice = make_fit(np.array([[1.0], [1.0], [2.0], [2.0]]), [1, 0, 1, 0], [0, 1, 0, 1])
    assert separation_of(twice.block) is None


def test_everything_liked_is_separated() -> None:
    separation = found(make_fit(SUGAR, [1, 2, 1, 3], [0, 0, 0, 0]))
    assert separation.complete
    assert (separation.rises, separation.falls) == ((), ())


@pytest.mark.parametrize(("likes", "dislikes"), [([1, 2, 1, 3], [0] * 4), ([0] * 4, [1, 2, 1, 3])])
def test_everything_liked_is_said_in_so_many_words(likes: list[int], dislikes: list[int]) -> None:
    text = found(make_fit(SUGAR, likes, dislikes)).text
    assert "from those not" not in text
    assert "everything" in text


@pytest.mark.long
def test_random_designs_are_separated_where_other_programs_say_so() -> None:
    random = default_rng(1)
    fits = [fit for fit in (random_fit(random) for _ in range(110)) if fit is not None]
    blocks = [block for fit in fits for block in fit.design.blocks]
    outcomes = []
    for block in blocks:
        expected, separation = separable(block), separation_of(block)
        mine = np.zeros(len(block.rows), bool) if separation is None else separation.separated
        assert mine.tolist() == expected.tolist()
        outcomes.append("none" if not expected.any() else "complete" if expected.all() else "some")
        assert separation is None or separation.complete == expected.all()
        if separation is not None:
            values = signed_rows(block) @ separation.direction
            assert values.min() >= -1e-6 * values.max()
    assert min(outcomes.count(kind) for kind in ("none", "some", "complete")) > 15


@pytest.mark.long
def test_what_rises_and_falls_does_so_along_every_direction_that_separates() -> None:
    """Directions by linear programs with random aims: they reach the corners of the cone."""
    random = default_rng(2)
    signs = set()
    for _ in range(25):
        amounts = random.integers(0, 4, (7, 2)).astype(float)
        above = amounts @ np.array([2.0, 0.0]) + amounts[:, 1] * random.integers(0, 2) > 3
        if (np.ptp(amounts, axis=0) == 0).any() or above.all() or not above.any():
            continue
        fit = make_fit(amounts, above.astype(int), 1 - above)
        separation, block = found(fit), fit.block
        rows = signed_rows(block)
        lows, highs = np.full(3, np.inf), np.full(3, -np.inf)
        for aim in random.standard_normal((40, 3)):
            corner = linprog(aim, A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1)).x
            value = block.to_user @ corner
            lows, highs = np.minimum(lows, value), np.maximum(highs, value)
        for index, name in enumerate(block.names[1:], 1):
            sign = "rises" if name in separation.rises else "falls" if name in separation.falls else "both"
            signs.add(sign)
            assert {"rises": lows[index] >= -1e-9, "falls": highs[index] <= 1e-9}.get(sign, True)
            assert sign != "both" or lows[index] < 0 < highs[index]
    assert signs == {"rises", "both"} or signs == {"rises", "falls", "both"}


def test_a_recipe_is_on_a_side_only_where_every_separating_direction_puts_it() -> None:
    """Liked at 1, 1.5 and 2: the utilities 1 − .4 · sugar and 1 + sugar both say so, and differ at 5."""
    fit = make_fit(np.array([[1.0], [1.5], [2.0]]), [1, 1, 1], [0, 0, 0])
    separation = found(fit)
    sides = set()
    for sugar in (-20.0, 20.0):
        row, _ = fit.design.row(np.array([sugar]), 0)
        sides.add(separation.side_of(row))
    assert sides == {""}


def test_rounding_of_a_constant_sum_separates_nothing() -> None:
    """A table written in single precision: the likes overlap in what the recipes determine."""
    said = 0
    for seed in range(20):
        random = default_rng(seed)
        amounts, likes = random.dirichlet([1.0, 1.0, 1.0], 7), random.integers(0, 2, 7)
        if separation_of(make_fit(amounts[:, :2], likes, 1 - likes).block) is None:
            rounded = amounts.astype(np.float32).astype(float)
            said += separation_of(make_fit(rounded, likes, 1 - likes).block) is not None
    assert said == 0


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6])
def test_rows_of_very_different_size(size: float) -> None:
    for seed in range(8):
        random = default_rng(seed)
        amounts = random.uniform(0, 1, (10, 2))
        amounts[:2] *= size
        utility = amounts @ random.standard_normal(2)
        likes = (utility > np.median(utility)).astype(int)
        assert found(make_fit(amounts, likes, 1 - likes)).complete
        assert separation_of(make_fit(amounts, np.ones(10, int), 1 + likes).block) is None


@pytest.mark.long
def test_separated_likes_are_never_proved_to_have_a_maximum() -> None:
    """At random coefficients, along Newton's path and along directions that separate, to where P(like) is 1 − 0."""
    random = default_rng(3)
    tried = 0
    for trial in range(45):
        columns, cells = random.integers(1, 4), random.integers(2, 12)
        amounts = random.uniform(0, 3, (cells, columns))
        utility = amounts @ random.standard_normal(columns)
        counts = random.integers(1, 3_000 if trial % 2 else 3, cells)
        likes = np.where(utility > np.median(utility), counts, 0)
        dislikes = counts - likes
        if trial % 3 == 0:
            border = np.argmin(np.abs(utility - np.median(utility)))
            dislikes[border], likes[border] = 2, 1 + likes[border]
        fit = make_fit(amounts, likes, dislikes)
        separation = separation_of(fit.block)
        if separation is None:
            continue
        width = len(fit.block.names)
        thetas = [newton(fit.block, steps=steps) for steps in (0, 1, 3, 8, 15, 25)]
        aim = separation.direction / np.abs(separation.direction).max()
        for far in (1.0, 10.0, 30.0, 100.0, 700.0, 1e4, 1e6):
            thetas += [far * aim, thetas[1] + far * aim, far * random.standard_normal(width)]
        for theta in thetas:
            (one,) = evidence(at(fit.design, theta))
            assert not has_finite_maximum(one)
            tried += 1
    assert tried > 700


def test_settled_fits_of_overlapping_likes_are_proved_to_have_a_maximum() -> None:
    random = default_rng(4)
    proved = 0
    for kind, columns in (("linear", 2), ("linear", 4), ("quadratic", 3)) * 6:
        amounts = random.uniform(0, 3, (16, columns))
        utility = amounts @ random.standard_normal(columns)
        likes = random.binomial(25, 1 / (1 + np.exp(-(utility - utility.mean()))))
        fit = make_fit(amounts, likes, 25 - likes, kind=kind)
        if separation_of(fit.block) is None:
            (one,) = evidence(at_maximum(fit.design))
            assert has_finite_maximum(one)
            assert with_separation((one,))[0].separation is None
            proved += 1
    assert proved > 15


def test_a_group_nobody_asked_and_a_group_that_is_separated() -> None:
    amounts = np.array([[1.0], [2.0], [3.0], [1.0], [2.0], [3.0]])
    fit = make_fit(amounts, [1, 2, 3, 0, 0, 2], [3, 2, 1, 2, 1, 0], segments=list("nnnsss"))
    north, south = with_separation(evidence(at_maximum(at(fit.design, *(np.zeros(2),) * 2))))
    assert north.separation is None
    assert south.separation is not None
    assert south.separation.text.startswith("s: the likes are separated: everything with a of 3 or more was liked")


def test_large_designs_take_a_few_seconds() -> None:
    """66 coefficients of 80 recipes, and 5,000 recipes by 10."""
    random = default_rng(5)
    wide = random.uniform(0, 1, (80, 10))
    likes = random.integers(0, 2, 80)
    many = random.uniform(0, 1, (5_000, 7))
    noisy = (random.random(5_000) < 1 / (1 + np.exp(-3 * (many @ np.arange(-3, 4.0))))).astype(int)
    names = list("abcdefghij")
    begin = time.perf_counter()
    assert found(make_fit(wide, likes, 1 - likes, kind="quadratic", names=names)).separated.any()
    assert separation_of(make_fit(many, noisy, 1 - noisy, names=names[:7]).block) is None
    assert time.perf_counter() - begin < 20
