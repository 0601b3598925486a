"""The user's own models, losses and scores: imported only by a path that the config names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from optim.config.errors import UserError
from optim.config.naming import did_you_mean
from optim.models.sources import importable, in_environment


def load_object(path: str) -> Any:
    """The class or function that `package.module:name` or `file.py:name` names.

    A file finds the modules beside it, as a script does.

    Raises:
        UserError: the module cannot be imported, or has no class or function of that name.
    """
    module_name, _, name = path.rpartition(":")
    try:
        module = _from_file(Path(module_name)) if module_name.endswith(".py") else _from_package(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's module raises while it is imported is theirs to see
        raise UserError(f"{path}: importing {module_name} failed: {_described(error)}") from error
    if not hasattr(module, name):
        raise UserError(f"{path}: {module_name} has no {name!r}{did_you_mean(name, dir(module))}")
    found = getattr(module, name)
    if not callable(found):
        raise UserError(f"{path}: expected a class or a function, and {name} is of type {type(found).__name__}")
    return found


def construct(path: str, place: str, **arguments: Any) -> Any:
    """What the class at a path makes of keyword arguments.

    Args:
        path: import path of the class.
        place: the key of the config that gives the path.
        arguments: for the class.

    Raises:
        UserError: the class cannot be imported, or raises an error.
    """
    maker = load_object(path)
    with own_code(place, path, f"making it with {', '.join(arguments)}"):
        return maker(**arguments)


@contextmanager
def own_code(place: str, path: str, doing: str) -> Iterator[None]:
    """Turns an error raised by the user's own code into one that says where: for code that is called early.

    Later errors surface as they are: the traceback is what the author of the code needs.

    Raises:
        UserError: whatever is raised inside.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{place}: {path}: {doing} failed: {_described(error)}") from error


def _described(error: BaseException) -> str:
    """An error with the line at which it came up, if that is in a file of the user's own."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if not _installed(frame.filename)]
    return f"{type(error).__name__}: {error}" + (f" ({lines[-1].filename}:{lines[-1].lineno})" if lines else "")


def _installed(file: str) -> bool:
    """Whether code is ours, a library's or the import system's."""
    return not file.endswith(".py") or in_environment(Path(file))


def _from_file(file: Path) -> ModuleType:
    # The name is unlike any other module's, and registered: dataclasses look their module up while they are made.
    name = f"own_{file.stem}_{zlib.crc32(str(file.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with importable(file.resolve().parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_package(module_name: str) -> ModuleType:
    # A console script does not have the working directory on its path, `python -m` does: treat both alike.
    with importable(Path.cwd()):
        return importlib.import_module(module_name)
