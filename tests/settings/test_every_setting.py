"""No setting without effect: each changes what a study comes to, or is refused, or is one of a few that may not.

Settings are found by walking the schema: whoever adds one is asked here for a case.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from optim.config.block import Block
from optim.config.errors import UserError
from optim.config.loading import load
from optim.config.optimizers import OptimizerBase
from optim.config.schema import Config
from optim.models.space import build_space
from optim.study.study import build_study
from tests.settings.cases import CASES, NO_NUMBER, OF_WHAT_IS_HELD, Case, Refusal, Setting
from tests.settings.studies import OVEN, write_studies
from tests.settings.test_every_optimizer_and_schedule import covered
from tests.settings.walk import blocks, is_container


class Studies:
    """Loads a study with overrides, whose paths are those of its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_studies(folder)
        self._seen: dict[tuple[Any, ...], bytes] = {}

    def load(self, text: str, *overrides: str) -> Config:
        path = self.folder / "study.yaml"
        path.write_text(text)
        return load(path, overrides)

    def before(self, case: Case) -> bytes:
        """What is seen without the change; many cases share it."""
        key = (case.study, case.first, case.seen)
        if key not in self._seen:
            self._seen[key] = case.seen(self.load(case.study, *case.first))
        return self._seen[key]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    return Studies(tmp_path_factory.mktemp("studies"))


@pytest.fixture(autouse=True)
def in_the_folder(studies: Studies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(studies.folder)


def settings() -> set[Setting]:
    """Every setting, by the block that it stands in; what acts before any optimizer, once for all of them."""
    before = ("clip_customer_norm", "limits")
    return {
        (OptimizerBase if issubclass(block, OptimizerBase) and name in before else block, name)
        for block in blocks(Config)
        for name, info in block.model_fields.items()
        if not is_container(info)
    }


def test_settings_are_found_wherever_they_stand() -> None:
    class Leaf(Block):
        kind: Literal["leaf"]
        size: float = 1.0

    class Knot(Block):
        kind: Literal["knot"]
        inner: dict[str, list[Leaf]] = Field({})

    class Root(Block):
        parts: dict[str, Annotated[Leaf | Knot, Field(discriminator="kind")]] | None = None
        either: float | Leaf = 0.0

    assert blocks(Root) == [Root, Leaf, Knot]
    fields = [(block, name, info) for block in (Root, Leaf, Knot) for name, info in block.model_fields.items()]
    assert [(block, name) for block, name, info in fields if is_container(info)] == [(Root, "parts"), (Knot, "inner")]


@pytest.mark.parametrize("change", ["ingredients.flour.unit=kg", "settings.heat.unit=K"])
def test_a_unit_is_shown_and_changes_no_number(change: str, studies: Studies) -> None:
    plain, changed = build_space(studies.load(OVEN)), build_space(studies.load(OVEN, change))
    told = lambda space: (space.units, *(one.unit for one in space.settings.values()))
    numbers = lambda space: repr((space.bounds, space.prices, space.total, space.coordinates))
    assert told(changed) != told(plain)
    assert numbers(changed) == numbers(plain)


def named(setting: Setting) -> str:
    return f"{setting[0].__name__}.{setting[1]}"


def test_every_setting_has_a_case() -> None:
    missing = settings() - set(CASES) - set(NO_NUMBER) - covered()
    assert not missing, (
        f"no case for {', '.join(sorted(map(named, missing)))}: in tests/settings/cases.py, give CASES a study and an "
        "override that changes what the study comes to (or one that is refused); only where its contract is to change "
        "no number, give NO_NUMBER the reason"
    )
    assert not (set(CASES) | set(NO_NUMBER)) - settings(), "these are no settings any more: remove their cases"
    assert not set(CASES) & set(NO_NUMBER)


@pytest.mark.parametrize("setting", CASES, ids=named)
def test_every_setting_changes_something(setting: Setting, studies: Studies) -> None:
    case = CASES[setting]
    if isinstance(case, Refusal):
        with pytest.raises(UserError) as caught:
            build_study(studies.load(case.study, case.change))
        assert str(caught.value).endswith(case.says)
        return
    changed = studies.load(case.study, *case.first, case.change)
    assert changed != studies.load(case.study, *case.first)
    assert case.seen(changed) != studies.before(case), f"{named(setting)} changes nothing: refuse it, or say so"


@pytest.mark.parametrize("path", OF_WHAT_IS_HELD)
def test_a_bound_of_what_is_held_checks_its_value_and_does_no_more(path: str, studies: Studies) -> None:
    inside, outside = OF_WHAT_IS_HELD[path]
    held = ("ingredients.flour.fixed=2", "settings.heat.fixed=20")
    space = build_space(studies.load(OVEN, *held))
    assert repr(build_space(studies.load(OVEN, *held, f"{path}={inside}"))) == repr(space)
    with pytest.raises(UserError, match="is outside"):
        studies.load(OVEN, *held, f"{path}={outside}")
