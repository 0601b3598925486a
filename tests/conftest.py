"""What many tests share: a small study, and the real data that may stand beside the checkout."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import pytest

from optim.config.loading import load
from optim.config.schema import Config

SMALL = """\
seed: 3
data:
  simulate:
    customers: 40
    recipes: 16
    tastings: 8
    segments:
      classic: {share: 0.6, ideal: {butter: 1.0, eggs: 3.0, flour: 2.0, sugar: 1.5}}
      sweet: {share: 0.4, ideal: {butter: 1.2, eggs: 2.5, flour: 1.8, sugar: 1.9}}
ingredients:
  butter: {min: 0.4, max: 2.0, unit: cup}
  eggs: {min: 1.0, max: 5.0}
  flour: {min: 1.0, max: 3.0, unit: cup}
  sugar: {min: 0.5, max: 2.5, unit: cup}
model:
  properties: {kind: bakery}
  utility: {kind: quadratic, features: [amounts]}
stages:
  fit:
    kind: fit
    length: 40
    batch: 16
    optimizer: {name: adam, learning_rate: 0.05}
  bake:
    kind: bake
    length: 30
    starts: 4
    score: {kind: liking}
    optimizer:
      name: adam
      learning_rate: {schedule: cosine_decay_schedule, init_value: 0.05, decay_steps: 100%}
checkpoint: {every: 10}
log: {every: 7}
"""

pytest_plugins = ["tests.memory"]

Studies = Callable[..., Config]


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep compiled programs for the session, for all its workers: many tests run the same study."""
    folder = tmp_path_factory.getbasetemp()
    session = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    jax.config.update("jax_compilation_cache_dir", str(session / "compiled"))
    os.environ["XDG_CACHE_HOME"] = str(session / "caches")  # of the processes that tests start
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    """The small study as a file."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def small(small_file: Path) -> Studies:
    """The small study, loaded with overrides."""
    return lambda *overrides: load(small_file, overrides)


@pytest.fixture
def cocktail() -> Path:
    """Folder of the cocktail tables; the test is skipped where they are absent."""
    roots = [Path(os.environ["OPTIM_DATA"])] if "OPTIM_DATA" in os.environ else []
    roots.append(Path(__file__).parent.parent.parent / "shared" / "data")
    for root in roots:
        if (root / "cocktail" / "ratings.csv").is_file():
            return root / "cocktail"
    pytest.skip("the cocktail data are absent: set OPTIM_DATA to the folder that holds cocktail/")


@pytest.fixture(scope="session")
def case() -> Callable[[str], Path]:
    """Folder of one of the small inputs that once failed; the test is skipped where it is absent."""

    def folder(name: str) -> Path:
        found = Path(__file__).parent.parent.parent / "shared" / "cases" / name
        if not (found / "expected.md").is_file():
            pytest.skip(f"{found} is absent: it stands beside the checkout")
        return found

    return folder


@pytest.fixture
def float64() -> Iterator[None]:
    """Double precision for one test."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
