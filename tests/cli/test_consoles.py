"""Names and folders are printed as they are, whatever brackets and colons are in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from optim.cli.coefficients import coefficient_tables
from optim.cli.consoles import plain_console
from optim.cli.main import main

FOLDER = "runs [old] a[/b]"


@pytest.mark.long
def test_brackets_and_colons_in_names_are_no_markup(
    small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "small.yaml", "--runs-dir", FOLDER, 'ingredients.sugar.unit="[/b] :smile:"']
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "stages.fit.length=3", "stages.bake.length=3", "stop_after_steps=4"])
    assert stopped.value.code == 75
    assert f"optim resume '{FOLDER}/small'" in capsys.readouterr().out
    with pytest.raises(SystemExit) as finished:
        main(["resume", f"{FOLDER}/small"])
    assert finished.value.code == 0
    output = capsys.readouterr().out
    assert "[/b] :smile:" in output
    assert f"tensorboard --logdir '{FOLDER}'" in output


def test_groups_and_coefficients_are_told_by_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"by_group": {"[/x]": {"weights": {"[r1]": 1.5}}, ":smile:": {"weights": {"[r1]": 2.5}}}}
    for table in coefficient_tables({"parameters": values}):
        plain_console().print(table)
    output = capsys.readouterr().out
    assert "[/x]" in output
    assert ":smile:" in output
    assert "[r1]" in output
