"""Checkpoints of the training state: written in the background, verified when read. The only file that imports orbax.

A checkpoint is one folder, named by its step. orbax writes the leaves of the state into it as plain arrays under
neutral names; beside them stands a manifest (`optim.runs.manifest`) of what they are called in the state, their types
and shapes, the caller's description, and digests of everything. The folder gets its name when all of that is on disk.
So any pytree can be saved, a difference of structure can be named, and damaged data is never taken for good, nor
handed to orbax, whose readers report damage in their own words and from their own threads.

orbax's own `Checkpointer` is not used: it refuses in silence to save at a step below its latest, has no way past an
unreadable checkpoint, and blocks for more than twice as long.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from types import TracebackType
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from optim.config.errors import Problem, UserError
from optim.runs.manifest import DamagedError, Manifest, StructureError

_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_STEP = re.compile(r"\d+")
_SYSTEM_ERROR = re.compile(r"os_error_code='(\d+)'")
_LEAST_ROOM = 1 << 20  # bytes to leave for all else that a run writes
_LEFTOVER = re.compile(r"(saving|deleting)-.*")
SET_ASIDE = re.compile(r"set-aside-(\d+)(?:-\d+)?")
"""Name of a checkpoint that was set aside, with its step."""

Failures = dict[int, DamagedError | StructureError]


class CheckpointError(Exception):
    """Checkpoints could not be read or written, through no fault of the config. The command line exits with 1."""

    exit_code = 1


@dataclass(frozen=True)
class Restored:
    """A state read back."""

    step: int
    tree: PyTree
    """NumPy arrays for leaves, bit for bit as they were saved."""
    description: dict[str, Any]
    set_aside: list[str]
    """For each newer checkpoint that could not be used: which it was, why, and where it is now."""


class Checkpoints:
    """The checkpoints of one run; a context manager, because closing waits for the last of them.

    Opened by the one process that writes the run: leftovers of a killed save are removed at once. `save` always saves.
    Kept are the latest `keep`, those at multiples of `keep_every`, and the one whose metric `best` is lowest (of
    equals the first); the others are deleted as soon as a later save is complete. One that was saved for the best
    alone takes the place of none of the latest.
    """

    def __init__(self, directory: Path, *, keep: int, keep_every: int | None, best: str | None) -> None:
        logging.getLogger("absl").setLevel(logging.CRITICAL)  # 66 lines a save from orbax; its errors are told here
        self._directory = directory.absolute()
        self._keep = keep
        self._keep_every = keep_every
        self._best = best
        self._manifests: dict[int, Manifest | None] = {}
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._link: TemporaryDirectory[str] | None = None
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{directory}: no checkpoints can be kept there: {error.strerror}") from error
        for entry in entries_of(self._directory):
            if _LEFTOVER.fullmatch(entry.name):
                _remove(entry)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, rising."""
        return sorted(int(entry.name) for entry in entries_of(self._directory) if _STEP.fullmatch(entry.name))

    def save(
        self,
        step: int,
        tree: PyTree,
        *,
        description: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
        due: bool = True,
        for_best: bool = False,
    ) -> bool:
        """Save the state after `step` updates. Returns when it is copied; the rest happens in the background.

        Where the same state is saved already, nothing is written. Where another state is saved for this step, it is
        set aside: whoever saves now knows better, and nothing is lost.

        Args:
            step: updates completed.
            tree: any pytree of arrays and numbers.
            description: JSON that tells a reader which structure to expect.
            metrics: what `best` looks at; values that are not finite do not count.
            due: it is one that every run of the study saves. One that a stop asked for is not: it is kept only while
                it is the newest, and takes the place of no other.
            for_best: it is due only because its metric is the lowest so far.

        Returns:
            Whether anything is written.

        Raises:
            CheckpointError: the folder takes no new entries, or the save before failed.
        """
        self.wait()
        arrays = [np.array(leaf) for leaf in jax.device_get(jax.tree.leaves(tree))]
        manifest = Manifest.of(tree, arrays, description, metrics or {}, due, for_best)
        if self._folder(step).exists():
            if self._holds(step, manifest):
                return False
            self._set_aside(step)
        partial = self._directory / f"saving-{step}"
        try:
            _refuse_unwritable(partial, sum(array.nbytes for array in arrays))
        except Exception as error:
            raise _write_failed(step, error) from error
        self._pending = self._worker.submit(self._complete, step, partial, manifest, arrays)
        return True

    def wait(self) -> None:
        """Return when the save in progress is complete and those no longer wanted are deleted.

        Raises:
            CheckpointError: it failed.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        """Wait for the last save; no other can follow.

        Raises:
            CheckpointError: it failed.
        """
        try:
            self.wait()
        finally:
            self._worker.shutdown()
            if self._link is not None:
                self._link.cleanup()
                self._link = None

    def discard_after(self, step: int) -> list[int]:
        """Delete the checkpoints later than `step`: the run goes on from there by another way. Returns their steps."""
        self.wait()
        later = [other for other in self.steps() if other > step]
        for other in later:
            self._delete(other)
        return later

    def improves(self, metric: str, value: float) -> bool:
        """Whether a state with this value would be the best one kept: `best` is this metric, and none is as low.

        The checkpoints themselves say what was best so far, so that a run which was interrupted, or went back, knows
        it as any other does.

        Raises:
            CheckpointError: the save in progress failed.
        """
        if metric != self._best:
            return False
        self.wait()
        return not any(other <= value for other, _ in self._ranked(metric))

    def restore(
        self, expected: Callable[[dict[str, Any]], PyTree], *, at_most: int | None = None, due_only: bool = False
    ) -> Restored | None:
        """Read the newest checkpoint that is whole and of the expected structure.

        Newer ones that are not are set aside once such a one is found: their folders are renamed, nothing is lost.

        Args:
            expected: from a checkpoint's description, the pytree of `jax.ShapeDtypeStruct` that it should hold.
            at_most: leave later checkpoints out of account.
            due_only: leave those out that a stop asked for.

        Returns:
            None where there is no checkpoint.

        Raises:
            UserError: every one has another structure; the paths that differ are named. Nothing is renamed.
            CheckpointError: there are checkpoints, but none can be used. Nothing is renamed.
        """
        self.wait()
        failures: Failures = {}
        for step in reversed(self.steps()):
            if (at_most is not None and step > at_most) or (due_only and not self._is_due(step)):
                continue
            try:
                tree, description = self._read(step, expected)
            except (DamagedError, StructureError) as failure:
                failures[step] = failure
                continue
            return Restored(step, tree, description, self._set_all_aside(failures))
        earlier = sorted(path.name for path in self._directory.glob("set-aside-*"))
        if failures or earlier:
            raise _refusal(self._directory, failures, earlier)
        return None

    def _folder(self, step: int) -> Path:
        return self._directory / str(step)

    def _complete(self, step: int, partial: Path, manifest: Manifest, arrays: list[np.ndarray]) -> None:
        """In the background: have orbax write, verify, add the manifest, give the folder its name, delete others."""
        from orbax.checkpoint import v1 as ocp  # takes as long as a small model takes to compile

        try:
            context = ocp.Context()
            # Else threads that wait for a folder which cannot be made keep the process from its end for 300 seconds.
            context.asynchronous.create_directories_asynchronously = False
            with context:
                ocp.save(self._plain(partial), _named(arrays))
            self._arrays(partial, manifest)  # read back: what orbax took for a pattern in the path would not be there
            manifest.write(partial)
            partial.rename(self._folder(step))
        except Exception as error:
            for entry in self._directory.glob(f"{partial.name}*"):
                shutil.rmtree(entry, ignore_errors=True)  # makes room for run.json
            raise _write_failed(step, error) from error
        self._manifests[step] = manifest
        for old in sorted(set(self.steps()) - self._wanted()):
            self._delete(old)

    def _read(self, step: int, expected: Callable[[dict[str, Any]], PyTree]) -> tuple[PyTree, dict[str, Any]]:
        folder = self._folder(step)
        manifest = Manifest.read(folder)
        manifest.check_files(folder)
        arrays = self._arrays(folder, manifest)
        wanted = expected(manifest.description)
        manifest.compare(wanted)
        return jax.tree.unflatten(jax.tree.structure(wanted), arrays), manifest.description

    def _arrays(self, folder: Path, manifest: Manifest) -> list[np.ndarray]:
        """The arrays in a folder, which are those of the manifest. Raises DamagedError."""
        from orbax.checkpoint import v1 as ocp

        empty = [np.empty(leaf.shape, leaf.dtype) for leaf in manifest.leaves]
        try:
            loaded = ocp.load(self._plain(folder), _named(empty))
        except Exception as error:  # whatever orbax stumbles on
            raise DamagedError(f"its arrays cannot be read: {error}") from error
        arrays = [np.asarray(loaded.get(_name(i), array)) for i, array in enumerate(empty)]
        if manifest.digest_with(arrays) != manifest.digest:
            raise DamagedError("its contents do not match the digest that was saved with them")
        return arrays

    def _plain(self, folder: Path) -> Path:
        """The same folder by a path that orbax takes literally: it reads brackets and backslashes as patterns."""
        if _PLAIN.fullmatch(str(folder)):
            return folder
        if self._link is None:
            self._link = TemporaryDirectory(prefix="optim-", dir=None if _PLAIN.fullmatch(gettempdir()) else "/tmp")
            (Path(self._link.name) / "checkpoints").symlink_to(self._directory, target_is_directory=True)
        return Path(self._link.name) / "checkpoints" / folder.name

    def _holds(self, step: int, manifest: Manifest) -> bool:
        try:
            return Manifest.read(self._folder(step)).digest == manifest.digest
        except DamagedError:
            return False

    def _wanted(self) -> set[int]:
        """Steps of the checkpoints to keep."""
        steps = self.steps()
        due = [step for step in steps if self._is_due(step)]
        regular = [step for step in due if not self._is_for_best(step)]
        wanted = {*regular[-self._keep :], *steps[-1:]}
        if self._keep_every is not None:
            wanted |= {step for step in due if step > 0 and step % self._keep_every == 0}
        if self._best is not None:  # what cannot be read may be the best
            wanted |= {step for _, step in self._ranked(self._best)[:1]}
            wanted |= {step for step in steps if self._manifest_of(step) is None}
        return wanted

    def _ranked(self, metric: str) -> list[tuple[float, int]]:
        """Values of a metric with their steps, the lowest first, and of equals the first."""
        values = {step: self._metrics_of(step).get(metric) for step in self.steps() if self._is_due(step)}
        return sorted((value, step) for step, value in values.items() if value is not None)

    def _metrics_of(self, step: int) -> dict[str, float]:
        manifest = self._manifest_of(step)
        return {} if manifest is None else manifest.metrics

    def _is_due(self, step: int) -> bool:
        """Whether a checkpoint was due; one that cannot be read is left for `restore` to judge."""
        manifest = self._manifest_of(step)
        return manifest is None or manifest.due

    def _is_for_best(self, step: int) -> bool:
        manifest = self._manifest_of(step)
        return manifest is not None and manifest.for_best

    def _manifest_of(self, step: int) -> Manifest | None:
        """What a checkpoint says of itself; one that an earlier process saved is read once."""
        if step not in self._manifests:
            try:
                self._manifests[step] = Manifest.read(self._folder(step))
            except DamagedError:
                self._manifests[step] = None
        return self._manifests[step]

    def _delete(self, step: int) -> None:
        """Delete a checkpoint; a process killed in between leaves no half of one under its old name."""
        _remove(self._folder(step).rename(self._directory / f"deleting-{step}"))
        self._manifests.pop(step, None)

    def _set_aside(self, step: int) -> Path:
        names = itertools.chain([f"set-aside-{step}"], (f"set-aside-{step}-{n}" for n in itertools.count(2)))
        free = next(path for name in names if not (path := self._directory / name).exists())
        self._manifests.pop(step, None)
        return self._folder(step).rename(free)

    def _set_all_aside(self, failures: Failures) -> list[str]:
        return [
            f"checkpoint {step}: {failure}; set aside as {self._set_aside(step).name}"
            for step, failure in failures.items()
        ]


def entries_of(folder: Path) -> list[Path]:
    """All that is in a folder of checkpoints; nothing where there is no such folder.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        message = f"{folder}: the checkpoints cannot be read: {error.strerror}; when that is mended, try again"
        raise CheckpointError(message) from error


def _remove(entry: Path) -> None:
    """Delete a folder, or whatever else has the name of one."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _refuse_unwritable(partial: Path, size: int) -> None:
    """Raises OSError where the folder takes no new entries, or its disk is nearly full: orbax would say so with pages
    of its own words, and leave no room for run.json to say that the run has failed.
    """
    partial.mkdir()
    partial.rmdir()
    free = shutil.disk_usage(partial.parent).free
    if free < size + _LEAST_ROOM:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({free:,} bytes are free)", str(partial.parent))


def _named(arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays as orbax saves them: no names that it could trip on, and no empty ones, which it refuses."""
    return {_name(i): array for i, array in enumerate(arrays) if array.size}


def _name(index: int) -> str:
    return f"leaf{index:06d}"


def _refusal(directory: Path, failures: Failures, earlier: list[str]) -> Exception:
    if failures and all(isinstance(failure, StructureError) for failure in failures.values()):
        newest, failure = next(iter(failures.items()))
        place = str(directory / str(newest))
        return UserError([Problem(place=place, message=line) for line in str(failure).splitlines()])
    lines = [f"checkpoint {step}: {failure}" for step, failure in failures.items()]
    lines += [f"{name}: set aside earlier" for name in earlier]
    return CheckpointError("\n".join([f"{directory}: no checkpoint can be used", *lines]))


def _write_failed(step: int, error: Exception) -> CheckpointError:
    code = _SYSTEM_ERROR.search(str(error))  # of which TensorStore says a page
    reason = str(error) if code is None else os.strerror(int(code[1]))
    return CheckpointError(
        f"the checkpoint of step {step} could not be written: {reason}; "
        "when that is mended, `optim resume` goes on from the checkpoint before"
    )
