"""The run directory: where everything that a run leaves behind has its place."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from optim.config.errors import Problem, UserError
from optim.runs.files import reason_of, write_atomically

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_NAME = 100
_LONGEST_STEM = 90  # leaves room for the number behind it


@dataclass(frozen=True)
class RunDirectory:
    """A run's folder. `path` is absolute; the files exist from the moment that the run has something to put there."""

    path: Path

    @classmethod
    def create(
        cls,
        runs_dir: Path,
        *,
        name: str | None,
        stem: str,
        files: Callable[[str], Mapping[str, str]],
        also: Callable[[Path], None] = lambda folder: None,
    ) -> RunDirectory:
        """Make a new run directory inside `runs_dir`; an existing one is never touched.

        It is made beside its place and renamed: under its name a run is whole from the first moment, and whoever is
        killed before leaves nothing but a hidden folder.

        Args:
            runs_dir: the folder of all runs; made where it is missing.
            name: the name that the user asked for, if any.
            stem: what to call the run otherwise; `stem-2`, `stem-3`, … where the name is taken.
            files: from the run's name, the texts of its first files, run.json among them.
            also: puts whatever else there is from the first into the folder.

        Raises:
            UserError: the name is not allowed or taken, the folder cannot be made, or it lies inside a run.
        """
        if name is not None:
            _check_name(name)
        runs_dir = without_dots(runs_dir)
        _refuse_inside_a_run(runs_dir)
        _make_folder(runs_dir)
        candidates = _numbered(_as_name(stem)) if name is None else iter([name])
        for candidate in candidates:
            path = runs_dir / candidate
            if not os.path.lexists(path) and _make_whole(path, files(candidate), also):
                return cls(path)
        raise _taken(runs_dir / str(name))

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """The run directory at `path`.

        Raises:
            UserError: there is none; the nearest name beside it is given.
        """
        run = cls(without_dots(path))
        if not run.path.is_dir():
            raise UserError(Problem(place=str(path), message=f"there is no such run directory{_nearest(run.path)}"))
        if run.info.is_file():
            return run
        raise UserError(Problem(place=str(path), message="this is not a run directory: it holds no run.json"))

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The resolved config; itself a valid input to `optim train`."""
        return self.path / "config.yaml"

    @property
    def info(self) -> Path:
        """What ran, on what, and what happened to it: see `optim.runs.info`."""
        return self.path / "run.json"

    @property
    def truth(self) -> Path:
        """For simulated customers: what generated them."""
        return self.path / "truth.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """Folder of the event files."""
        return self.path / "tensorboard"

    @property
    def result(self) -> Path:
        """The answer, written when the last stage ends."""
        return self.path / "result.json"

    @property
    def parameters(self) -> Path:
        """The parameters of the likelihood model, written beside the answer."""
        return self.path / "parameters.npz"

    @property
    def recipes(self) -> Path:
        """Table of the recipes, where there are several audiences."""
        return self.path / "recipes.csv"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the right to write here. The system frees it when the process ends, however it ends.

        Raises:
            UserError: another process holds it, or nothing can be written there.
        """
        lock = FileLock(self._lock_file)
        try:
            lock.acquire(blocking=False)
            self._owner_file.write_text(str(os.getpid()))
        except Timeout:
            raise UserError(Problem(place=str(self.path), message=self._held_by_another())) from None
        except OSError as error:
            lock.release()
            message = f"this run cannot be written to: {reason_of(error)}; make the folder and its files writable"
            raise UserError(Problem(place=str(error.filename or self.path), message=message)) from None
        try:
            yield
        finally:
            with suppress(OSError):  # it names the owner of a lock that is held, and this one no longer is
                self._owner_file.unlink(missing_ok=True)
            lock.release()

    @property
    def _lock_file(self) -> Path:
        return self.path / ".lock"

    @property
    def _owner_file(self) -> Path:
        """Who holds the lock, for the message only; the lock itself is what counts."""
        return self.path / ".lock.pid"

    def _held_by_another(self) -> str:
        try:
            owner = f" (pid {int(self._owner_file.read_text())})"
        except (OSError, ValueError):  # the other process is just starting or just ending
            owner = ""
        return f"run {self.name} is being written by another process{owner}"


def without_dots(path: Path) -> Path:
    """The absolute path that names its own last part: `..` is none. Symbolic links after the last `..` keep their name.

    Before one they cannot: it leads out of the folder that the link stands for.
    """
    parts = path.absolute().parts
    up = len(parts) - parts[::-1].index("..") if ".." in parts else 0
    return Path(*parts[:up]).resolve().joinpath(*parts[up:]) if up else path.absolute()


def _refuse_inside_a_run(runs_dir: Path) -> None:
    """Nothing but a run itself writes into its folder."""
    inside = runs_dir.resolve()
    for folder in (inside, *inside.parents):
        run = RunDirectory(folder)
        if run.info.is_file() and run.config.is_file():
            message = f"this folder is in a run, {run.name}, which is not to be written into: choose one outside"
            raise UserError(Problem(place=str(runs_dir), message=message))


def _make_whole(path: Path, files: Mapping[str, str], also: Callable[[Path], None]) -> bool:
    """Make a folder with its files at once; false where something of that name has come up meanwhile."""
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise _cannot_make(path, error) from None
    try:
        staging.chmod(0o777 & ~_umask())  # mkdtemp makes folders for their owner alone
        for name, text in files.items():
            write_atomically(staging / name, text)
        also(staging)
        staging.rename(path)  # fails where a folder with contents has that name, so two processes never share a run
    except OSError as error:
        shutil.rmtree(staging)
        if path.exists():
            return False
        raise _cannot_make(path, error) from None
    except BaseException:
        shutil.rmtree(staging)
        raise
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UserError(
            Problem(
                place="--name",
                message=f"{name!r} cannot name a run: use letters, digits, '.', '_' and '-', "
                f"a letter or a digit first, {_LONGEST_NAME} characters at most",
            )
        )


def _as_name(stem: str) -> str:
    """The nearest allowed name: a config may be called anything that the file system allows."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-")[:_LONGEST_STEM] or "run"


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    for number in itertools.count(2):
        yield f"{stem}-{number}"


def _make_folder(runs_dir: Path) -> None:
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_make(runs_dir, error) from None


def _cannot_make(path: Path, error: OSError) -> UserError:
    return UserError(Problem(place=str(path), message=f"the folder cannot be made: {error.strerror or error}"))


def _taken(path: Path) -> UserError:
    if not (path / "run.json").is_file():
        message = "something of this name is there already, and it is not a run: choose another --name"
    else:
        command = f"optim resume {shlex.quote(str(path))}"
        message = f"this run exists already. Go on with it by `{command}`, or choose another --name"
    return UserError(Problem(place=str(path), message=message))


def _nearest(path: Path) -> str:
    """A hint at the run beside `path` whose name is most like it."""
    try:
        beside = [entry.name for entry in path.parent.iterdir() if (entry / "run.json").is_file()]
    except OSError:
        return ""
    nearest = difflib.get_close_matches(path.name, beside, n=1)
    return f"; the nearest is {path.parent / nearest[0]}" if nearest else ""
