"""Chunks end where the cadences say, however they are cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from optim.study.study import build_study
from optim.train.plan import MOST, Chunk, Pace, calls
from tests.conftest import Studies


def chunks(*arguments: Any) -> list[Chunk]:
    return [chunk for call in calls(*arguments) for chunk in call]


def test_a_call_ends_where_the_host_has_to_act(small: Studies) -> None:
    stage = replace(build_study(small()).stages[0], length=500, log_every=1, save_every=100)
    found = list(calls(stage, 0, 0, lambda: 1000, frozenset({130})))
    assert [call[-1].until for call in found] == [64, 100, 130, 194, 200, 264, 300, 364, 400, 464, 500]
    assert max(len(call) for call in found) == MOST


def test_events_fall_on_the_same_steps_from_wherever_a_stage_goes_on(small: Studies) -> None:
    stage = replace(build_study(small()).stages[0], length=50, log_every=7, save_every=20)
    whole = {c.until: (c.log, c.save) for c in chunks(stage, 100, 100, lambda: 1000, frozenset())}
    for step in range(100, 150):
        for longest in (1, 6):
            rest = {c.until: (c.log, c.save) for c in chunks(stage, 100, step, lambda n=longest: n, frozenset())}
            assert {k: v for k, v in rest.items() if any(v)} == {k: v for k, v in whole.items() if k > step and any(v)}
    assert [step for step, (log, _) in whole.items() if log] == [101, 107, 114, 121, 128, 135, 142, 149, 150]
    assert [step for step, (_, save) in whole.items() if save] == [120, 140, 150]


def test_chunks_stop_at_halts(small: Studies) -> None:
    stage = replace(build_study(small()).stages[0], length=50, log_every=50, save_every=50)
    assert [c.until for c in chunks(stage, 0, 0, lambda: 100, frozenset({33}))] == [1, 33, 50]


def test_the_pace_grows_gently_and_keeps_to_a_fraction_of_a_second() -> None:
    pace = Pace("auto")
    pace.observe(1, 2.0)  # compiling
    assert pace() == 1
    pace.observe(1, 1e-4)
    assert pace() == 4
    for _ in range(20):
        pace.observe(pace(), pace() * 1e-3)
    assert 250 <= pace() <= 350
    fixed = Pace(20)
    fixed.observe(20, 5.0)
    assert fixed() == 20


def test_multiples_of_keep_every_are_saved_and_every_watched_evaluation_ends_a_call(small: Studies) -> None:
    stage = replace(build_study(small()).stages[0], length=50, log_every=50, save_every=20, keep_every=15)
    assert [c.until for c in chunks(stage, 100, 100, lambda: 100, frozenset()) if c.save] == [105, 120, 135, 140, 150]
    watched = replace(stage, evaluation=stage.objective, evaluate_every=7, keep_best=True)
    found = list(calls(watched, 100, 100, lambda: 100, frozenset()))
    assert {call[-1].until for call in found} == {105, 107, 114, 120, 121, 128, 135, 140, 142, 149, 150}
