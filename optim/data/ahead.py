"""Reading the tables while something else is under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from optim.config.schema import Config
from optim.data.panel import Panel
from optim.data.tables import load_panel


@contextmanager
def read_ahead(config: Config) -> Iterator[Callable[[Config], Panel]]:
    """Begin to read the tables of a config; what is given waits for them, and raises what `load_panel` raises.

    Args:
        config: a config that names tables.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tables") as worker:
        panel = worker.submit(load_panel, config)
        yield lambda _: panel.result()
