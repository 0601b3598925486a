"""What a checkpoint says about itself: what it holds, by which names, and the digests that show damage."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from optim.config.digests import digest_of_file
from optim.runs.files import reason_of, write_atomically

_NAME = "record.json"


class DamagedError(Exception):
    """A checkpoint cannot be read; the text says why."""


class StructureError(Exception):
    """A checkpoint holds another structure than is expected. The text names every path that differs, one a line."""


@dataclass(frozen=True)
class Leaf:
    """Path in the state, type and shape of one array."""

    path: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Manifest:
    """Contents of record.json, which stands in the checkpoint's folder."""

    description: dict[str, Any]
    """The caller's, to tell which structure to expect."""
    metrics: dict[str, float]
    leaves: list[Leaf]
    digest: str
    """SHA-256 of the arrays and of all the above."""
    files: dict[str, str]
    """SHA-256 of every file that orbax wrote, by its path in the folder."""
    due: bool = True
    """Saved because it was due, and not because the run was asked to stop."""
    for_best: bool = False
    """Due for no other reason than that its metric was the lowest so far."""

    @classmethod
    def of(
        cls,
        tree: PyTree,
        arrays: list[np.ndarray],
        description: Mapping[str, Any],
        metrics: Mapping[str, float],
        due: bool,
        for_best: bool,
    ) -> Manifest:
        """The manifest of a state; `arrays` are its leaves on the host. Metrics that are not finite are left out."""
        plain = json.loads(json.dumps(dict(description), allow_nan=False))
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        manifest = cls(plain, finite, leaves_of(tree, arrays), digest="", files={}, due=due, for_best=for_best)
        return replace(manifest, digest=manifest.digest_with(arrays))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest in `folder`. Raises DamagedError."""
        try:
            content = json.loads((folder / _NAME).read_text())
            if content.pop("seal") != _seal(content):
                raise DamagedError(f"{_NAME} is truncated or damaged")
            leaves = [Leaf(leaf["path"], leaf["dtype"], tuple(leaf["shape"])) for leaf in content.pop("leaves")]
            return cls(leaves=leaves, **content)
        except FileNotFoundError:
            raise DamagedError(f"{_NAME} is missing") from None
        except OSError as error:
            raise DamagedError(f"{_NAME} cannot be read: {reason_of(error)}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedError(f"{_NAME} is truncated or damaged") from error

    def write(self, folder: Path) -> None:
        """Write record.json into a folder whose other files are complete."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = {str(path.relative_to(folder)): digest_of_file(path) for path in paths}
        content = json.loads(json.dumps(asdict(replace(self, files=files))))
        write_atomically(folder / _NAME, json.dumps({**content, "seal": _seal(content)}, indent=1) + "\n")

    def check_files(self, folder: Path) -> None:
        """Raises DamagedError where a file is missing or is not what was written."""
        for name, digest in self.files.items():
            path = folder / name
            try:
                if not path.is_file():
                    raise DamagedError(f"{name} is missing")
                if digest_of_file(path) != digest:
                    raise DamagedError(f"{name} is truncated or damaged")
            except OSError as error:
                raise DamagedError(f"{name} cannot be read: {reason_of(error)}") from error

    def digest_with(self, arrays: list[np.ndarray]) -> str:
        """SHA-256 over the arrays, their paths, types and shapes, the description and the metrics."""
        covered = [self.description, self.metrics, [asdict(leaf) for leaf in self.leaves]]
        digest = hashlib.sha256(json.dumps(covered, sort_keys=True).encode())
        for array in arrays:
            digest.update(array.tobytes())
        return digest.hexdigest()

    def compare(self, expected: PyTree) -> None:
        """Raises StructureError unless `expected`, a pytree of `jax.ShapeDtypeStruct`, has the same leaves."""
        wanted = leaves_of(expected, jax.tree.leaves(expected))
        if wanted != self.leaves:
            raise StructureError("\n".join(_differences(self.leaves, wanted)))


def leaves_of(tree: PyTree, leaves: list[Any]) -> list[Leaf]:
    """Paths of `tree`, with types and shapes of `leaves`."""
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(tree)]
    return [Leaf(path, np.dtype(leaf.dtype).name, tuple(leaf.shape)) for path, leaf in zip(paths, leaves, strict=True)]


def _differences(saved: list[Leaf], expected: list[Leaf]) -> list[str]:
    here, there = {leaf.path: leaf for leaf in saved}, {leaf.path: leaf for leaf in expected}
    lines = []
    for path in {**here, **there}:
        if path not in there:
            lines.append(f"{path}: saved {here[path]}, not in this config")
        elif path not in here:
            lines.append(f"{path}: not saved, {there[path]} in this config")
        elif here[path] != there[path]:
            lines.append(f"{path}: saved {here[path]}, {there[path]} in this config")
    return lines or ["the same arrays stand in another order"]


def _seal(content: dict[str, Any]) -> str:
    """SHA-256 of a manifest itself: it says what is damaged, so it must be known to be whole."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
