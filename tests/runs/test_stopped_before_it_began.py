"""Before there is anything to save a signal ends the process within seconds, whatever the main thread is busy with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WATCH = """\
import hashlib, sys
from optim.runs.signals import watch_signals

with watch_signals() as stop:
    stop.resumable = {resumable}
    if {begun}:
        stop.begin()
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", {rounds})  # busy outside Python, where no handler runs
    print(stop.name, flush=True)
"""


def stopped(*, begun: bool, resumable: bool = False, rounds: int) -> tuple[int, str, str]:
    """Exit code, output and errors of a process that is asked to stop while it is busy."""
    program = WATCH.format(begun=begun, resumable=resumable, rounds=rounds)
    command, pipe = [sys.executable, "-c", program], subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        try:
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    return process.returncode, output, errors


@pytest.mark.parametrize(("resumable", "code"), [(False, 1), pytest.param(True, 75, marks=pytest.mark.long)])
def test_it_ends_where_nothing_is_to_be_saved(resumable: bool, code: int) -> None:
    before = time.monotonic()
    found = stopped(begun=False, resumable=resumable, rounds=2_000_000_000)
    assert found == (code, "", "stopped (SIGTERM) before there was anything to save\n")
    assert time.monotonic() - before < 20.0


@pytest.mark.long
def test_it_waits_where_something_is() -> None:
    assert stopped(begun=True, rounds=10_000_000) == (0, "SIGTERM\n", "")
