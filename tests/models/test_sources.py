"""What the user's own code consists of, found without running any of it."""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path

import pytest

from optim.models.imports import load_object
from optim.models.sources import imported_digests


def write(folder: Path, **modules: str) -> None:
    """Modules by their dotted names, with two underscores for a dot."""
    for name, source in modules.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def found(path: str, folder: Path) -> set[str]:
    """Imported files, as their paths below a folder."""
    return {Path(file).relative_to(folder).as_posix() for file in imported_digests(path)}


def test_files_beside_a_file_wherever_and_however_they_are_imported(tmp_path: Path) -> None:
    lazily = "import json, jax, optim\n\ndef taste():\n    if True:\n        from third_beside import x\n"
    write(tmp_path, mine="import second_beside as s\n", second_beside=lazily, third_beside="", unread_beside="")
    assert imported_digests(f"{tmp_path}/mine.py:taste") == {
        f"{tmp_path}/second_beside.py": sha256(lazily.encode()).hexdigest(),
        f"{tmp_path}/third_beside.py": sha256(b"").hexdigest(),
    }
    assert "second_beside" not in sys.modules


def test_a_package_of_the_working_directory_with_relative_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, flavours__tastes="from . import salts\nfrom .sweets import sugar\nfrom .. import nothing_above\n")
    write(tmp_path, flavours__salts="from ..flavours import above_the_top\n", flavours__unread="")
    write(tmp_path, flavours__sweets__sugar="from ..salts import x\nfrom .. import more\n")
    (tmp_path / "flavours" / "__init__.py").touch()
    (tmp_path / "flavours" / "sweets" / "__init__.py").touch()
    write(tmp_path, flavours__more="import flavours.sweets.sugar\n")  # a circle
    monkeypatch.chdir(tmp_path)
    below = {"__init__.py", "salts.py", "sweets/__init__.py", "sweets/sugar.py", "more.py"}
    assert set(imported_digests("flavours.tastes:sweet")) == {f"flavours/{file}" for file in below}


def test_packages_without_an_init(tmp_path: Path) -> None:
    write(tmp_path, mine="import spread.inner.deep\n", spread__inner__deep="from . import beside\n")
    write(tmp_path, spread__inner__beside="", spread__unread="")
    assert found(f"{tmp_path}/mine.py:x", tmp_path) == {"spread/inner/deep.py", "spread/inner/beside.py"}


def test_a_star_takes_the_modules_that_a_package_exports(tmp_path: Path) -> None:
    write(tmp_path, mine="from starred import *\n", starred__taken="", starred__left="")
    (tmp_path / "starred" / "__init__.py").write_text("__all__ = ['taken']\n__all__ += ['no_module']\nleft = 1\n")
    assert found(f"{tmp_path}/mine.py:x", tmp_path) == {"starred/__init__.py", "starred/taken.py"}


def test_a_file_that_imports_itself_through_another_is_no_further_file(tmp_path: Path) -> None:
    write(tmp_path, mine_round="import other_round\n", other_round="import mine_round\n")
    assert found(f"{tmp_path}/mine_round.py:x", tmp_path) == {"other_round.py"}


def test_what_is_no_python_counts_and_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, mine="import broken_beside, compiled_beside\nprint('\\d')\n", broken_beside="x = = 1\n")
    (tmp_path / "compiled_beside.so").write_bytes(b"\x00\xff")
    assert found(f"{tmp_path}/mine.py:x", tmp_path) == {"broken_beside.py", "compiled_beside.so"}


def test_a_name_that_is_imported_already_is_what_the_code_gets(tmp_path: Path) -> None:
    write(tmp_path, mine="import random, helper_known\n", random="", helper_known="")
    load_object_from(tmp_path / "elsewhere")
    assert set(imported_digests(f"{tmp_path}/mine.py:x")) == {f"{tmp_path}/elsewhere/helper_known.py"}


def load_object_from(folder: Path) -> None:
    write(folder, mine="import helper_known\n\ndef x():\n    pass\n", helper_known="")
    load_object(f"{folder}/mine.py:x")
