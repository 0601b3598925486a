"""Numbers as a table of plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsFloat

import numpy as np
from jaxtyping import Shaped

SHOWN = 20


def text_table(
    rows: Sequence[str],
    columns: Sequence[str],
    numbers: Shaped[np.ndarray, "rows columns"],
    corner: str = "",
    resolution: float = 0.0,
) -> str:
    """The numbers under the names of their columns, each line after the name of its row.

    At most 20 rows and 20 columns are shown; lines at the end say how many more there are. `resolution` is that of
    `number_text`.
    """
    lines = [[corner, *columns[:SHOWN]]] if any(columns) else []
    for row, line in zip(rows[:SHOWN], numbers[:SHOWN, :SHOWN], strict=True):
        lines.append([row, *(number_text(number, resolution) for number in line)])
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    text = ["  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip() for first, *rest in lines]
    for kind, names in (("rows", rows), ("columns", columns)):
        if len(names) > SHOWN:
            text.append(f"… {len(names) - SHOWN} more {kind}")
    return "\n".join(text)


def number_text(number: SupportsFloat, resolution: float = 0.0) -> str:
    """A number to five digits, and to no digit that is worth less than `resolution`; without a negative zero."""
    value = float(number)
    if resolution > 0 and math.isfinite(value):
        value = round(value, -math.ceil(math.log10(resolution)))
    return f"{value + 0.0:.5g}"
