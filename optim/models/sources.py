"""Which files the user's own code consists of: the one that the config names, and all that it imports.

Found by reading, so that a module that is imported only inside a function counts as well; and, as names may be put
together while the code runs, by what has been loaded when the code was (`optim.models.loaded`).
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from optim.config.digests import digest_of_file


def source_digest(path: str) -> str:
    """SHA-256 of the file that an import path leads to."""
    return digest_of_file(source_file(path))


def source_file(path: str) -> Path:
    """The file that an import path leads to."""
    module_name = path.rpartition(":")[0]
    if not module_name.endswith(".py"):
        with importable(Path.cwd()):
            spec = importlib.util.find_spec(module_name)
        module_name = "" if spec is None or spec.origin is None else spec.origin
    return Path(module_name)


def imported_digests(path: str, loaded: Sequence[ModuleType] = ()) -> dict[str, str]:
    """SHA-256 of each file, beside the named one, that an import path needs from outside the environment's packages.

    Args:
        path: the import path, of whose code `import` and `from … import` are read.
        loaded: modules from outside the environment's packages that were loaded with it, and what those import.

    Returns:
        The digests by file: beside a file that the config names as a whole path, as in the resolved config, and else
        relative to the working directory, from which a package is imported.
    """
    module_name = path.rpartition(":")[0]
    importlib.invalidate_caches()
    beside = module_name.endswith(".py")
    file = Path(module_name).resolve()
    folder = file.parent if beside else Path.cwd()
    with importable(folder):
        modules = [_Module("", file, ())] if beside else _Finder().along(module_name)
        further = [_Module(one.__name__, file_of(one), tuple(getattr(one, "__path__", ()))) for one in loaded]
        files = _reached([*modules, *further])
    named = {modules[-1].file} if modules else set()
    shown = folder if beside else Path()
    within = {file: shown / file.relative_to(folder) if file.is_relative_to(folder) else file for file in files}
    return {within[file].as_posix(): digest_of_file(file) for file in sorted(files - named)}


def file_of(module: ModuleType) -> Path | None:
    """The file of a module that has been loaded; None where it has none."""
    file = vars(module).get("__file__")  # not as an attribute, of which some modules make something
    return Path(file).absolute() if isinstance(file, str) else None


def in_environment(file: Path) -> bool:
    """Whether code is ours, the standard library's or an installed package's."""
    return str(file).startswith(_environment())


@cache
def _environment() -> tuple[str, ...]:
    """The folders of our code, the standard library and the installed packages, as what their files' paths begin with.

    Found once: thousands of modules are asked about, and it takes longer to tell them than to compare a path.
    """
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {*map(sysconfig.get_path, kinds), *site.getsitepackages(), site.getusersitepackages()}
    return tuple(sorted(f"{Path(folder)}{os.sep}" for folder in {*folders, str(Path(__file__).parents[1])}))


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Modules in a folder are found first, as those beside a script are."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@dataclass(frozen=True)
class _Module:
    """A module from outside the environment's packages.

    Attributes:
        name: its dotted name; empty for a file that is imported by its path.
        file: where its code is; None for a namespace package.
        locations: folders in which its own modules are found; empty unless it is a package.
    """

    name: str
    file: Path | None
    locations: tuple[str, ...]

    @property
    def tree(self) -> ast.Module:
        """Its code; empty where it cannot be read as Python, as an extension module cannot."""
        if self.file is None:
            return ast.Module([], [])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come up when the module itself is imported
            try:
                return ast.parse(self.file.read_bytes())
            except (SyntaxError, ValueError):
                return ast.Module([], [])

    @property
    def imports(self) -> set[str]:
        """Dotted names that it imports; those in `from … import` may be modules or not."""
        names = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                names |= {f"{base}.{alias.name}" for alias in node.names} if base else set()
        return names

    @property
    def exports(self) -> set[str]:
        """Names that `from … import *` takes out of it by `__all__`: those of its modules are imported by that."""
        assigned = (ast.Assign, ast.AugAssign, ast.AnnAssign)
        nodes = [node for node in ast.walk(self.tree) if isinstance(node, assigned) and _assigns_all(node)]
        inner = [part for node in nodes if node.value is not None for part in ast.walk(node.value)]
        return {part.value for part in inner if isinstance(part, ast.Constant) and isinstance(part.value, str)}

    def _absolute(self, node: ast.ImportFrom) -> str:
        """The module of a `from … import`; empty where it lies above the top."""
        package = self.name if self.locations else self.name.rpartition(".")[0]
        try:
            return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        except ImportError:
            return ""


def _assigns_all(node: ast.Assign | ast.AugAssign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


class _Finder:
    """Finds modules as an import does, but imports none of them."""

    def __init__(self) -> None:
        self._found: dict[str, _Module | None] = {}

    def along(self, name: str) -> list[_Module]:
        """A module after the packages that hold it, as far as they exist outside the environment's packages."""
        parts = name.split(".")
        found = [self._find(".".join(parts[: count + 1])) for count in range(len(parts))]
        return [module for module in found if module is not None]

    def _find(self, name: str) -> _Module | None:
        if name not in self._found:
            self._found[name] = self._look(name)
        return self._found[name]

    def _look(self, name: str) -> _Module | None:
        package, _, tail = name.rpartition(".")
        parent = self._find(package) if package else None
        if package and parent is None:
            return None
        # By its last part alone, as a finder asks for the packages above, which need not have been imported.
        spec = PathFinder.find_spec(tail, parent.locations) if parent else _top_level(name)
        if spec is None or spec.origin in ("built-in", "frozen"):
            return None
        file = Path(spec.origin).absolute() if spec.has_location and spec.origin else None
        locations = tuple(spec.submodule_search_locations or ())
        outside = bool(locations) if file is None else file.is_file() and not in_environment(file)
        return _Module(name, file, locations) if outside else None


def _top_level(name: str) -> ModuleSpec | None:
    """What `import name` takes: what has been imported before, whatever else is found by that name now."""
    known: ModuleSpec | None = getattr(sys.modules.get(name), "__spec__", None)
    if known is not None:
        return known
    specs = (finder.find_spec(name, None) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


def _reached(modules: list[_Module]) -> set[Path]:
    """The files of modules and of all that they import, directly or not."""
    finder, waiting, seen = _Finder(), list(modules), set(modules)
    while waiting:
        for name in waiting.pop().imports:
            base, _, last = name.rpartition(".")
            found = finder.along(base if last == "*" else name)
            if last == "*" and found and found[-1].name == base:
                found += [module for export in found[-1].exports for module in finder.along(f"{base}.{export}")]
            waiting += set(found) - seen
            seen |= set(found)
    return {module.file for module in seen if module.file is not None}
