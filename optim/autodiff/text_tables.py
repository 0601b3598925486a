"""Numbers as a table of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import SupportsFloat

import numpy as np
from jaxtyping import Shaped

SHOWN = 20


def text_table(
    rows: Sequence[str], columns: Sequence[str], numbers: Shaped[np.ndarray, "rows columns"], corner: str = ""
) -> str:
    """The numbers under the names of their columns, each line after the name of its row.

    At most 20 rows and 20 columns are shown; lines at the end say how many more there are.
    """
    lines = [[corner, *columns[:SHOWN]]] if any(columns) else []
    for row, line in zip(rows[:SHOWN], numbers[:SHOWN, :SHOWN], strict=True):
        lines.append([row, *(number_text(number) for number in line)])
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    text = ["  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip() for first, *rest in lines]
    for kind, names in (("rows", rows), ("columns", columns)):
        if len(names) > SHOWN:
            text.append(f"… {len(names) - SHOWN} more {kind}")
    return "\n".join(text)


def number_text(number: SupportsFloat) -> str:
    """A number to five digits, without a negative zero."""
    return f"{float(number) + 0.0:.5g}"
