"""`optim config check | show | schema`."""

from __future__ import annotations

import argparse

from optim.config.dumping import as_json_schema, dump
from optim.config.loading import load


def run(options: argparse.Namespace) -> int:
    """Print what was asked for."""
    if options.action == "schema":
        print(as_json_schema())
        return 0
    config = load(options.config, options.overrides)
    if options.action == "show":
        print(dump(config), end="")
    else:
        stages = ", ".join(config.stages)
        print(f"{options.config}: fine ({len(config.ingredients)} ingredients; stages: {stages})")
    return 0
