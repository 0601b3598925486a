"""Keeps the memory of each test process within bounds, and says how much it was.

JAX keeps what it traced and compiled for as long as the process lives: a few megabytes a program, and the tests make
thousands of them. They are given up between tests; what is needed again is read from the session's compilation cache.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import pytest

CLEARED_ABOVE = 900
"""In megabytes: where a test leaves more than this, what JAX keeps is given up."""

GROWTH = 150
"""In megabytes: nor is it before the process holds so much more than the last time has left, or where fixtures hold on
to nearly all of it, every test would have to trace anew what it shares with the one before."""

AT_MOST = 1200
"""In megabytes: no test process may ever have held more than this."""

COLLECTED_AFTER = (20_000, 20, 100)
"""Thresholds of the garbage collector: tracing makes so many small objects that with Python's own (700, 10, 10) a tenth
of the tests' time goes into looking for cycles among them."""

LEFT = pytest.StashKey[int]()
PEAKS = pytest.StashKey[dict[str, int]]()


def megabytes(what: Literal["VmRSS", "VmHWM"]) -> int:
    """Memory of this process: what it holds, or the most that it has held; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith(f"{what}:")), 0)


def give_back() -> None:
    """Give up what JAX has traced and compiled, and return the memory to the system."""
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def pytest_configure() -> None:
    """Before the first test."""
    gc.set_threshold(*COLLECTED_AFTER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """After a test, its fixtures included."""
    result = yield
    if megabytes("VmRSS") > min(max(CLEARED_ABOVE, item.config.stash.get(LEFT, 0) + GROWTH), AT_MOST - GROWTH):
        give_back()
        item.config.stash[LEFT] = megabytes("VmRSS")
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands its peak on; the process that speaks to the user fails where one is too high."""
    config: Any = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["peak"] = megabytes("VmHWM")
        return
    peaks = config.stash.setdefault(PEAKS, {})
    if not config.getoption("numprocesses", None):
        peaks["this process"] = megabytes("VmHWM")
    if max(peaks.values(), default=0) > AT_MOST and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended: its peak, unless it was killed."""
    peak = getattr(node, "workeroutput", {}).get("peak")
    if peak is not None:
        node.config.stash.setdefault(PEAKS, {})[node.gateway.id] = peak


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The peak of each process."""
    for name, peak in sorted(config.stash.get(PEAKS, {}).items()):
        verdict = f"more than the {AT_MOST} MB that it may hold" if peak > AT_MOST else f"of {AT_MOST} that it may hold"
        terminalreporter.write_line(f"peak memory of {name}: {peak} MB, {verdict}", red=peak > AT_MOST)
