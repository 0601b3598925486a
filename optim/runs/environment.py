"""What the last bits of a run depend on, beside its config, its data and the user's own code."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata

_PACKAGES = ("optim", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorboardX")

# Words in the name of a flag that gives a place or a secret, or decides what is kept or shown: no arithmetic.
_ELSEWHERE = re.compile(
    r"(^|[-_])(cache|dir|dump|path|file|to|log|logs|logging|verbose|explain|traceback|address|addresses|proxy|token|"
    r"password|secret|credential|credentials|api_key)([-_]|$)",
    re.IGNORECASE,
)


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # optim itself, run from a folder that was never installed
            versions[package] = "not installed"
    return versions


def usable_cores() -> int:
    """Cores that this process may use, over which XLA splits the sums of wide layers."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def arithmetic_flags(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that shape what XLA and JAX compute.

    Args:
        variables: the environment.

    Returns:
        `XLA_FLAGS`, `NPROC` (which XLA takes for the number of cores) and the `JAX_…` variables that are set, by name,
        without those that give a place or a secret.
    """
    chosen = {
        name: value for name, value in sorted(variables.items()) if name == "NPROC" or _is_arithmetic(name, "JAX_")
    }
    flags = [flag for flag in variables.get("XLA_FLAGS", "").split() if _is_arithmetic(flag.partition("=")[0], "--")]
    return chosen | ({"XLA_FLAGS": " ".join(flags)} if flags else {})


def _is_arithmetic(name: str, start: str) -> bool:
    return name.startswith(start) and _ELSEWHERE.search(name) is None
