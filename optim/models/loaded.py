"""Which modules were loaded with the user's own code, however it names them: by a string, say, or by a path."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType

from optim.models.sources import file_of, in_environment


def modules_loaded_since(before: Mapping[str, ModuleType], named: Collection[Path]) -> tuple[ModuleType, ...]:
    """Modules from outside the environment's packages, beside the named ones, that own code has loaded.

    These are the ones that are new in the process, and those that the named ones and these hold by a global name, where
    they were loaded earlier, by another study, or are registered nowhere.

    Args:
        before: `sys.modules`, as it was before the code was loaded and tried.
        named: the files that the config names.

    Returns:
        The modules, in the order of their files; none where no file is named.
    """
    if not named:
        return ()
    known = list(sys.modules.items())
    waiting = [module for name, module in known if before.get(name) is not module and _is_own(module)]
    waiting += [module for _, module in known if _is_own(module) and file_of(module) in named]
    found: dict[Path, ModuleType] = {}
    while waiting:
        module = waiting.pop()
        file = file_of(module)
        if file is not None and file not in found:
            found[file] = module
            waiting += [value for value in vars(module).values() if _is_own(value)]
    return tuple(found[file] for file in sorted(found.keys() - set(named)))


def _is_own(module: object) -> bool:
    """Whether something is a module from outside the environment's packages."""
    if not isinstance(module, ModuleType):
        return False
    file = file_of(module)
    return file is not None and not in_environment(file) and file.is_file()
