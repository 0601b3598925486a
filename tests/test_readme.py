"""What the README shows is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from optim.config.loading import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_its_config_is_right(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0])
    assert list(load(tmp_path / "study.yaml").stages) == ["fit", "bake"]


@pytest.mark.parametrize("name", ["Saturating", "squared_hinge", "sweet_and_cheap", "Oven"])
def test_its_own_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from optim.study.study import build_study

    monkeypatch.chdir(tmp_path)
    source = next(code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if name in code)
    (tmp_path / "mine.py").write_text(source)
    key, block = next(
        re.findall(rf"# (\S+): ({{kind: own.*{name}.*}})", line)[0]
        for line in source.splitlines()
        if f":{name}" in line
    )
    overrides = [f"{key}={block}", "data.simulate.customers=120"]
    if name == "Oven":
        overrides += ["settings={temperature: {min: 150, max: 220}}"]
        overrides += ["stages.bake.score={kind: deliciousness, targets: {crust: 1}}"]
    study = build_study(load(ROOT / "configs" / "cake.yaml", overrides))
    assert any(path.endswith(f"mine.py:{name}") for path in study.digests)


def test_its_questions_to_a_recipe_have_the_answers_shown(capsys: pytest.CaptureFixture[str]) -> None:
    source = next(code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "# ask.py" in code)
    exec(compile(source, "ask.py", "exec"), {})
    output = capsys.readouterr().out
    shown = re.findall(r"^ +butter .*\n(?:.+\n){12}", README, re.MULTILINE)
    assert shown[0].removesuffix("```\n") == output


def test_nothing_is_left_to_fill_in() -> None:
    assert "@@" not in README
