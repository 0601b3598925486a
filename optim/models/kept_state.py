"""What a module of the user's own must not hold: chance, and whatever a call would change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flax import nnx

from optim.config.errors import UserError
from optim.config.naming import choices

CONTAINERS = (nnx.List, nnx.Dict, nnx.Sequential)


def refuse_kept_state(module: nnx.Module, place: str, path: str) -> None:
    """A module is a function of its parameters: beside them it holds constants alone.

    Constants are plain `nnx.Variable`s, and kinds of them that are not Flax's.

    Args:
        module: the module.
        place: the key of the config that gives the path.
        path: import path of its class.

    Raises:
        UserError: it holds something else: each layer (or variable) is named, with the reason and the remedy.
    """
    held: dict[tuple[str, str], list[nnx.Variable[Any]]] = {}
    for owner, variable in _kept(module):
        held.setdefault(owner, []).append(variable)
    if not held:
        return
    named = "; ".join(
        f"`{name}` ({kind}) holds {choices(sorted({type(one).__name__ for one in kept}), 'and')}: {_reason(kept)}"
        for (name, kind), kept in held.items()
    )
    raise UserError(f"{place}: {path}: {named}")


def _kept(module: nnx.Module) -> Iterator[tuple[tuple[str, str], nnx.Variable[Any]]]:
    """The variables that a call would change, each with the attribute and class that the user wrote down for it."""
    nodes = dict(nnx.iter_graph(module))
    for path, node in nodes.items():
        if isinstance(node, nnx.Variable) and _is_state(node):
            yield _owner(nodes, path), node


def _is_state(variable: nnx.Variable[Any]) -> bool:
    """Whether it is of a kind that Flax has for something else than parameters and constants."""
    kinds = [kind for kind in type(variable).__mro__ if issubclass(kind, nnx.Variable) and _is_of_flax(kind)]
    return not isinstance(variable, nnx.Param) and kinds != [nnx.Variable]


def _owner(nodes: dict[Any, Any], path: tuple[Any, ...]) -> tuple[str, str]:
    """Attribute and class of the outermost thing of Flax's that a variable belongs to, or of the variable itself."""
    inner = [path[:length] for length in range(1, len(path) + 1)]
    of_flax = [one for one in inner if _is_of_flax(type(nodes[one])) and not isinstance(nodes[one], CONTAINERS)]
    owner = of_flax[0] if of_flax else path
    kind = type(nodes[owner])
    return ".".join(map(str, owner)), f"nnx.{kind.__name__}" if _is_of_flax(kind) else kind.__name__


def _is_of_flax(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "flax"


def _reason(kept: list[nnx.Variable[Any]]) -> str:
    """Why that cannot be, and what to do."""
    if any(isinstance(one, nnx.RngState) for one in kept):
        return (
            "a prediction must not depend on chance; leave it out (`rngs` draws initial values: use it while the "
            "module is made, and do not keep it)"
        )
    if any(isinstance(one, nnx.BatchStat) for one in kept):
        return (
            "a prediction must not depend on a running mean, which no step updates; leave it out, or take a layer "
            "without one, such as nnx.LayerNorm"
        )
    return (
        "a call leaves nothing behind, so that it would always be as it began; leave it out, or make a constant of it "
        "(nnx.Variable)"
    )
