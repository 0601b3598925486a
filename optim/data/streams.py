"""Named streams of random numbers: what one of them draws never changes what another does."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator of a seed and a name; the same on every machine.

    Args:
        seed: the config's seed.
        name: what the numbers are for, such as `held out`.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])))


def word(seed: int, name: str) -> int:
    """32 bits of a seed and a name, where another generator makes a stream of them; the same on every machine.

    Args:
        seed: the config's seed.
        name: what the numbers are for, such as `fit/order`.
    """
    return zlib.crc32(f"{seed}/{name}".encode())
