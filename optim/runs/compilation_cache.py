"""Compiled programs, kept between processes in the user's cache folder: the second run need not compile.

JAX keeps them by a key of the program, the compiler's options and jaxlib's version. What its key leaves out names the
folder here: the processor, whose instructions a program uses, the number of cores, over which XLA splits sums, and
JAX's version. Only the command line asks for it; a setting of the user's own, such as JAX_COMPILATION_CACHE_DIR, wins.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TextIO

import jax
import jaxlib.version

from optim.runs.environment import usable_cores

MOST_BYTES = 128 * 2**20
"""What the programs of one processor and version may take before those used longest ago make room."""
MADE_FREE = 0.25
"""Of that, when they do."""
FOLDERS_KEPT = 4
"""Processors and versions of which programs are kept: a home may be shared by several machines."""

Show = Callable[..., None]
"""As `warnings.showwarning`."""

_TROUBLE = re.compile(r"Error (?:reading|writing) persistent compilation cache entry for '(?P<program>[^']*)'")


def compiling(*, keep: bool) -> AbstractContextManager[None]:
    """How a command compiles: with programs that are kept between processes, or everything anew."""
    return compiled_programs_kept() if keep else nothing_kept()


@contextmanager
def compiled_programs_kept() -> Iterator[None]:
    """Keep compiled programs, and use those of earlier processes.

    What cannot be read or written is compiled, as without a cache, and nothing is said: no number depends on it.
    """
    place = cache_place()
    folder = None if place is None or _is_settled_by_the_user() else _own_folder(place)
    if folder is None:
        yield
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", -1)  # else JAX reads the times of all programs at every write
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # many small ones are as long as a large one
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")  # they know no bound
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=_TROUBLE.pattern)
        warnings.showwarning = _silent_of_trouble(folder, warnings.showwarning)
        yield


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Compile everything, also where a setting of the user's would keep it."""
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", True)


def cache_place() -> Path | None:
    """Where the system keeps what can be made again, or None where there is no such place."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if Path(chosen).is_absolute():  # the standard has others ignored
        return Path(chosen) / "optim"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "optim"
    return home / ".cache" / "optim"


def _is_settled_by_the_user() -> bool:
    config: Any = jax.config  # whose attributes are made at run time
    return bool(config.jax_compilation_cache_dir) or not config.jax_enable_compilation_cache


def _own_folder(place: Path) -> Path | None:
    """The folder for this machine and these versions, made where it is missing; None where that cannot be.

    Programs are machine code: they are read from folders alone that nobody else can write to.
    """
    folder = place / "compiled" / _digest()
    try:
        for path in (place, folder.parent, folder):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
            if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
                return None
        os.utime(folder)
        _remove_folders(folder.parent)
        _make_room(folder)
    except OSError:
        return None
    return folder


def _digest() -> str:
    return hashlib.sha256("\n".join(_traits()).encode()).hexdigest()[:20]


def _traits() -> tuple[str, ...]:
    """What compiled programs depend on beside JAX's own key."""
    told = os.environ.get("NPROC", "")  # XLA takes this for the number of cores
    return (
        platform.system(),
        platform.machine(),
        *_processor(),
        f"{usable_cores()} {told}",
        jax.__version__,
        jaxlib.version.__version__,
    )


def _processor() -> tuple[str, ...]:
    """Model and instruction sets, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return (platform.processor(),)
    telling = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return tuple(sorted({line for line in lines if line.startswith(telling)}))


def _make_room(folder: Path) -> None:
    """Remove the programs that were used longest ago, where they take too much: once a process, at its start.

    The system's time of the last reading may be a day old, or missing where a disk does not keep it: then the time of
    writing stands for it.
    """
    found = [(entry.path, entry.stat()) for entry in os.scandir(folder)]
    taken = sum(status.st_size for _, status in found)
    if taken <= MOST_BYTES:
        return
    for path, status in sorted(found, key=lambda one: max(one[1].st_atime, one[1].st_mtime)):
        if taken <= (1 - MADE_FREE) * MOST_BYTES:
            return
        Path(path).unlink(missing_ok=True)
        taken -= status.st_size


def _remove_folders(place: Path) -> None:
    """Remove the folders that were used longest ago."""
    folders = sorted((path for path in place.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in folders[:-FOLDERS_KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def _silent_of_trouble(folder: Path, show: Show) -> Show:
    """Shows every warning but those of programs that cannot be read or written; removes what is kept of such a one."""

    def shown(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        trouble = _TROUBLE.match(str(message))
        if trouble is None:
            show(message, category, filename, lineno, file, line)
        else:
            _remove(folder, trouble["program"])

    return shown


def _remove(folder: Path, program: str) -> None:
    """Remove what is kept under a program's name: some of it cannot be read, and JAX would never replace it."""
    for path in folder.glob(f"{program}-*"):
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return
