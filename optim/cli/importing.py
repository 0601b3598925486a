"""Importing what is heavy."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 5
"""Times that a process has looked through all it holds, up to which it has done little but import."""


@contextmanager
def importing() -> Iterator[None]:
    """Import without looking for garbage, of which modules make none: that is a fifth of the time.

    Nor is it looked for later on among what a new process has imported; in one that has long been at work, such as a
    notebook, much else would never be looked at again.
    """
    is_new = gc.get_stats()[2]["collections"] < YOUNG
    gc.disable()
    try:
        yield
    finally:
        if is_new:
            gc.freeze()
        gc.enable()
