"""Configs and tables for the tests of the data room."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optim.config.errors import UserError
from optim.config.schema import Config
from optim.data.tables import load_panel

FIT = {"kind": "fit", "length": 10, "optimizer": {"name": "adam", "learning_rate": 0.1}}


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """A config of butter and sugar with the given blocks in place of its own."""

    def make(**blocks: Any) -> Config:
        ingredients = {"butter": {"min": 0.5, "max": 2.5}, "sugar": {"min": 1.0, "max": 4.0}}
        return Config.model_validate({"ingredients": ingredients, "stages": {"fit": FIT}, **blocks})

    return make


class Study:
    """Tables in a folder, as files, and the config that names them."""

    def __init__(self, folder: Path, make_config: Callable[..., Config]) -> None:
        self.folder, self._make_config = folder, make_config

    def write(self, **tables: str | bytes) -> dict[str, str]:
        """Write CSV tables; the paths of all, by name."""
        paths = {}
        for name, content in tables.items():
            path = self.folder / f"{name}.csv"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths[name] = str(path)
        return paths

    def config(self, paths: dict[str, str], like: dict[str, Any] | None = None, **blocks: Any) -> Config:
        data = {**paths, "like": like or {"at_least": 6}, **blocks.pop("data", {})}
        return self._make_config(data=data, **blocks)

    def load(self, recipes: str | bytes, ratings: str | bytes, **rest: Any) -> Any:
        """The panel of two tables, and a third if `customers` is given."""
        tables = {name: rest.pop(name) for name in ("customers",) if name in rest}
        return load_panel(self.config(self.write(recipes=recipes, ratings=ratings, **tables), **rest))

    def errors(self, *args: Any, **kwargs: Any) -> list[str]:
        """What loading complains of, with file names instead of paths."""
        with pytest.raises(UserError) as caught:
            self.load(*args, **kwargs)
        return self.shown(caught.value)

    def shown(self, error: UserError) -> list[str]:
        return str(error).replace(f"{self.folder}{os.sep}", "").splitlines()


@pytest.fixture
def study(tmp_path: Path, make_config: Callable[..., Config]) -> Study:
    return Study(tmp_path, make_config)


@pytest.fixture
def cocktail() -> Path:
    """The folder of the cocktail data: in `OPTIM_DATA`, else in `shared/data` beside the checkout."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("OPTIM_DATA", beside)) / "cocktail"
    if not (folder / "ratings.csv").is_file():
        pytest.skip(f"the cocktail data are not in {folder} (set OPTIM_DATA to the folder that holds `cocktail`)")
    return folder
