"""What may change when a run is resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from optim.config.dumping import differences
from optim.config.durations import steps
from optim.config.errors import Problem, UserError
from optim.config.optimizers import depends_on_length
from optim.config.schema import Bake, Config, Fit
from optim.runs.files import digest_of_file
from optim.runs.info import RunInfo
from optim.study.study import Study

CADENCES = ("log.", "checkpoint.", "chunk", "max_rollbacks")
TABLES = ("data.recipes", "data.ratings", "data.customers")


def accepted_changes(before: Config, study: Study, info: RunInfo, running: Callable[[], int]) -> dict[str, list[Any]]:
    """The changes of a resumed run by key, each as [before, after].

    Args:
        before: the config so far.
        study: of the config asked for.
        info: of the run so far.
        running: gives the index of the running stage, where it matters.

    Raises:
        UserError: some may not change, with both values and the reason.
    """
    problems, changes = [], {}
    for key, old, new in differences(before, study.config):
        reason = _refusal(key, study, before, info, running)
        if reason:
            message = f"was {_shown(old)}, now {_shown(new)}: {reason}"
            problems.append(Problem(place="resume", key=key, message=message))
        changes[key] = [old, new]
    # Other settings give other simulated customers: that is said above already.
    told = {"simulated"} if problems else set()
    problems += _changed_files(info.digests, study.digests, told)
    if info.imports is not None:
        problems += _changed_files(info.imports, _again(info.imports) | study.written_imports, set())
    if problems:
        raise UserError(problems)
    return changes


def imports_now(info: RunInfo, study: Study) -> tuple[dict[str, str], list[str]]:
    """SHA-256 of what the user's own code imports, for run.json, and the files that the run so far does not know of.

    Of those nobody can tell whether they have changed: what is loaded may depend on more than the code.
    """
    known = {} if info.imports is None else _again(info.imports)
    now = known | study.imports
    return now, [] if info.imports is None else sorted(now.keys() - known.keys())


def _again(imports: dict[str, str]) -> dict[str, str]:
    """SHA-256 of the same files as they are now; without those that are gone.

    A module that an earlier study of this process has loaded is not loaded once more, and is not found by that.
    """
    return {file: digest_of_file(Path(file)) for file in imports if Path(file).is_file()}


def imports_warning(files: list[str]) -> str:
    """What to say of imported files that the run so far does not know of."""
    what = f"your own code imports {', '.join(files)}, of which the run so far has no SHA-256"
    return f"{what}: whether it has changed since is not known"


def environment_changes(before: RunInfo, now: RunInfo) -> dict[str, list[Any]]:
    """What is another on this machine, by name, each as [before, after]; null for a flag that is not set.

    What the run so far does not know of, because an older version recorded it, is not compared.
    """
    pairs: dict[str, tuple[Any, Any]]
    pairs = {name: (old, now.versions[name]) for name, old in before.versions.items() if name in now.versions}
    pairs["device"] = (before.device, now.device)
    if before.cores is not None:
        pairs["cores"] = (before.cores, now.cores)
    if before.flags is not None and now.flags is not None:
        names = sorted(before.flags.keys() | now.flags.keys())
        pairs |= {name: (before.flags.get(name), now.flags.get(name)) for name in names}
    return {name: [old, new] for name, (old, new) in pairs.items() if old != new}


def environment_warning(changes: dict[str, list[Any]]) -> str:
    """What to say of an environment that is not the one so far."""
    told = "; ".join(f"{name} was {_shown(old)}, now {_shown(new)}" for name, (old, new) in changes.items())
    return f"the run goes on in another environment ({told}): its answer may differ from that of an uninterrupted run"


def _changed_files(before: dict[str, str], now: dict[str, str], told: set[str]) -> list[Problem]:
    """What to say of everything whose digest is another, but for what has been told."""
    return [
        Problem(
            place="resume",
            message=f"{name} has changed: the SHA-256 was {_shown(before.get(name))}, now {_shown(now.get(name))}; "
            "put it back as it was, or start a new run",
        )
        for name in sorted((before.keys() | now.keys()) - told)
        if before.get(name) != now.get(name)
    ]


def _refusal(key: str, study: Study, before: Config, info: RunInfo, running: Callable[[], int]) -> str:
    """Why a key may not change; empty if it may."""
    if key.startswith(CADENCES) or key in TABLES:  # a table may move: its contents are compared
        return ""
    parts = key.split(".")
    if parts[0] == "stages" and parts[1] in before.stages and parts[2:] == ["length"]:
        return _length_refusal(parts[1], study, before, info, running())
    if parts[0] == "stages" and parts[2:] == ["evaluate", "every"] and not _stops_early(before, parts[1]):
        return ""
    return "it shapes what was trained so far; start a new run"


def _stops_early(config: Config, name: str) -> bool:
    block = config.stages[name]
    return isinstance(block, Fit) and block.evaluate.patience is not None


def _length_refusal(name: str, study: Study, before: Config, info: RunInfo, running: int) -> str:
    index = list(before.stages).index(name)
    if index < running:
        return "this stage is over; start a new run"
    if info.chosen_end is not None and info.chosen_end.stage == name:
        end = info.chosen_end
        return f"this stage was ended at step {end.step}, its best checkpoint in {end.run}; start a new run"
    old, new = before.stages[name], study.config.stages[name]
    if _depends_on_length(old):
        return "its schedule, or its early stopping, depends on the length; start a new run"
    stage = study.stages[index]
    if stage.length < steps(old.length, steps_per_epoch=stage.steps_per_epoch, total=None):
        return f"a stage may only become longer ({new.length} is shorter); start a new run"
    return ""


def _depends_on_length(block: Fit | Bake) -> bool:
    # Early stopping counts the evaluation at the end of a stage: at another end it would be another count.
    return depends_on_length(block.optimizer) or (isinstance(block, Fit) and block.evaluate.patience is not None)


def _shown(value: Any) -> str:
    return "absent" if value is None else str(value)
