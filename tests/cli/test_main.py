"""The command line as a user meets it: output, exit codes, messages, and nothing heavy before its time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from optim.cli.main import main
from tests.runs.poison import write_poisoned_study


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    captured = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, captured.out, captured.err


CONFIGS = Path(__file__).parent.parent.parent / "configs"
QUICK = ("stages.fit.length=3", "stages.bake.length=3")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_train_prints_the_cake_and_what_to_type_next(small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = call(capsys, "train", "small.yaml", *QUICK)
    assert code == 0
    assert "The best recipe" in output
    assert "butter" in output
    assert "P(like)" in output
    assert "  tensorboard --logdir runs\n" in output
    assert "  optim resume runs/small\n" in output
    code, again, _ = call(capsys, "resume", "runs/small")
    assert code == 0
    assert again == output


@pytest.mark.long
def test_a_second_run_gets_a_name_of_its_own(small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        call(capsys, "train", "small.yaml", "stop_after_steps=1")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["small", "small-2"]


def test_overrides_may_stand_after_options(small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("stages.fit.length=3", "--name", "here", "stop_after_steps=2", "--runs-dir", "other")
    code, _, _ = call(capsys, "train", "small.yaml", *words)
    assert code == 75
    assert json.loads(Path("other/here/run.json").read_text())["history"][-1]["step"] == 2
    assert "length: 3\n" in Path("other/here/config.yaml").read_text()


def test_an_interrupted_run_exits_75_and_goes_on(small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = call(capsys, "train", "small.yaml", *QUICK, "stop_after_steps=2")
    assert code == 75
    assert "stopped after step 2" in output
    assert "  optim resume runs/small\n" in output
    code, output, errors = call(capsys, "resume", "runs/small")
    assert code == 0
    assert "resuming at step 2" in errors
    assert "The best recipe" in output


def test_a_diverged_run_exits_3(capsys: pytest.CaptureFixture[str]) -> None:
    write_poisoned_study(Path())
    code, _, errors = call(capsys, "train", "study.yaml", "max_rollbacks=1")
    assert code == 3
    assert "error: stage fit: the loss is not finite at step " in errors
    assert "Traceback" not in errors


def test_a_config_with_many_mistakes_tells_them_all(small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = small_file.read_text().replace("starts: 4", "start: 4").replace("max: 3.0", "max: 0.5")
    small_file.write_text(text)
    code, _, errors = call(capsys, "train", "small.yaml", "stages.fit.lenght=3")
    assert code == 2
    assert "error: small.yaml:27: stages.bake.start: unknown key" in errors
    assert "did you mean `starts`?" in errors
    assert "error: small.yaml:13: ingredients.flour.min: min 1 is above max 0.5" in errors
    assert "error: command line: stages.fit.lenght" in errors
    assert "Traceback" not in errors
    assert not Path("runs").exists()


def test_tables_with_mistakes_write_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with (write_poisoned_study(Path()) / "ratings.csv").open("a") as file:
        file.write("c99,unheard,1\nc99,1,lots\n")
    code, _, errors = call(capsys, "train", "study.yaml")
    assert code == 2
    assert "ratings.csv:" in errors
    assert "unheard" in errors
    assert "lots" in errors
    assert "Traceback" not in errors
    assert not Path("runs").exists()


def test_missing_tables_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    cocktail = Path(__file__).parent.parent.parent / "configs" / "cocktail.yaml"
    code, _, errors = call(capsys, "train", str(cocktail))
    assert code == 2
    assert "data.recipes=PATH data.ratings=PATH" in errors


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "a b"])
def test_a_name_cannot_leave_the_runs_folder(small_file: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, _, errors = call(capsys, "train", "small.yaml", *QUICK, "--name", name)
    assert code == 2
    assert "error: " in errors
    assert not list(Path().rglob("run.json"))


def test_resuming_what_is_not_there(small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "train", "small.yaml", "stop_after_steps=1")
    code, _, errors = call(capsys, "resume", "runs/smal")
    assert code == 2
    assert "small" in errors


def test_the_users_own_score_and_its_mistakes(small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text("def sweet(recipe, customer):\n    return recipe.properties['sweetness']\n")
    score = "stages.bake.score={kind: own, path: 'mine.py:sweet'}"
    code, _, _ = call(capsys, "train", "small.yaml", *QUICK, score)
    assert code == 0
    code, _, errors = call(capsys, "train", "small.yaml", *QUICK, score.replace("sweet'", "swet'"))
    assert code == 2
    assert "did you mean `sweet`?" in errors


def test_config_commands(small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = call(capsys, "config", "check", "small.yaml")
    assert (code, output) == (0, "small.yaml: fine (4 ingredients; stages: fit, bake)\n")
    code, output, _ = call(capsys, "config", "show", "small.yaml", "seed=9")
    assert code == 0
    Path("shown.yaml").write_text(output)
    assert call(capsys, "config", "show", "shown.yaml")[1] == output
    assert "seed: 9" in output
    code, output, _ = call(capsys, "config", "schema")
    assert code == 0
    assert json.loads(output)["properties"]["stages"]["description"]


def _modules_after(*arguments: str) -> set[str]:
    program = (
        "import sys\nfrom optim.cli.main import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.rpartition("MODULES ")[2].split())


HEAVY = {"jax", "flax", "optax", "numpy", "polars", "scipy", "orbax", "tensorboardX"}


def test_help_imports_almost_nothing() -> None:
    assert not _modules_after("--help") & (HEAVY | {"pydantic", "ruamel", "rich"})


def test_a_wrong_config_is_rejected_before_anything_heavy_is_imported(small_file: Path) -> None:
    assert not _modules_after("train", str(small_file), "sead=1") & HEAVY
    assert not _modules_after("config", "show", str(small_file)) & HEAVY


@pytest.mark.long
def test_a_designed_process_is_shown_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = call(capsys, "train", str(CONFIGS / "sourdough.yaml"), "stages.bake.length=20")
    assert code == 0
    lines = {line.split("│")[0].strip(): line.split("│")[1].strip() for line in output.splitlines() if "│" in line}
    assert re.fullmatch(r"[\d.]+ [+−-] [\d.e-]+i", lines["vibration"])
    assert 20.0 <= float(lines["temperature"]) <= 38.0  # °C
    assert "1 of 16 starts agree" in output
    assert "not settled: 1 of 16 starts agree: the best recipe may not have been found" in output


def test_check_gradients_of_a_wrong_config_is_refused(small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = call(capsys, "check-gradients", "small.yaml", "stages.bake.optimizer.limits={suger: 1}")
    assert code == 2
    assert "unknown ingredient `suger`; did you mean `sugar`?" in errors


@pytest.mark.long
def test_a_new_run_goes_on_from_the_best_checkpoint(small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = ["data.evaluation={share: 0.2}", "stages.fit.evaluate.every=1", "checkpoint.best=fit/eval/loss"]
    call(capsys, "train", "small.yaml", *QUICK, *best)
    code, _, errors = call(capsys, "resume", "runs/small", "--name", "other")
    assert (code, "--name is for the new run that --best makes" in errors) == (2, True)
    code, _, errors = call(capsys, "resume", "runs/small", "--best", "seed=4")
    assert (code, "--best takes no changes" in errors) == (2, True)
    code, output, errors = call(capsys, "resume", "runs/small", "--best", "--name", "other")
    assert code == 0
    assert "other, a new run from the best checkpoint of small: stage fit stopped at step " in errors
    assert "fitted with: stage fit stopped at step" in " ".join(output.replace("│", " ").split())
    assert "  optim resume runs/other\n" in output
