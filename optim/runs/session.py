"""One process's work on a run directory: train, go round what is not finite, stop when asked, finish."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from optim.analysis.answer import NoAnswerError, answer, final_metrics
from optim.analysis.fit_findings import Examiners
from optim.analysis.forewarnings import forewarnings
from optim.analysis.parameters import parameter_arrays
from optim.analysis.verdicts import Caveat
from optim.autodiff.failures import raised_inside
from optim.config.digests import digest_of_text
from optim.config.dumping import as_mapping, dump
from optim.config.schema import Config
from optim.models.arrays import first_member
from optim.runs.checkpoints import Checkpoints, Restored
from optim.runs.curves import Curves, open_curves
from optim.runs.directory import RunDirectory
from optim.runs.files import write_atomically
from optim.runs.info import EventName, RunInfo, Skip, Status, current_command, write_parameters, write_result
from optim.runs.observer import Observer
from optim.runs.restore import open_checkpoints, restore_due
from optim.runs.scalars import worth_table
from optim.runs.settling import SettlingCurve
from optim.runs.signals import StopSignal
from optim.runs.sinks import RunSinks
from optim.study.stage import initial_state
from optim.study.state import State, place
from optim.study.study import Study
from optim.train.endings import NonFiniteError, StopError
from optim.train.loop import Loop


class DivergedError(Exception):
    """Training came to numbers that are not finite, and could not get round them."""

    exit_code = 3


class OwnRuleError(Exception):
    """A model, loss or score refused its numbers while the run was under way."""

    exit_code = 1


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` or `resume` ended.

    Attributes:
        directory: the run.
        result: the answer; None if the run was interrupted.
        step: updates completed.
        reason: why it was interrupted, or None.
    """

    directory: RunDirectory
    result: dict[str, Any] | None
    step: int
    reason: str | None


class Session:
    """One process's work on a run directory, whose lock it holds."""

    def __init__(
        self, directory: RunDirectory, study: Study, info: RunInfo, observer: Observer, signal: StopSignal
    ) -> None:
        self.directory, self.study, self.info = directory, study, info
        self.observer, self.signal = observer, signal
        self.examiners = Examiners(study)
        self.forewarned: tuple[Caveat, ...] = ()
        self.step = 0
        self.skips_done = 0

    def resume(
        self,
        restored: Restored | None,
        changes: dict[str, list[Any]],
        environment: dict[str, list[Any]],
        stop_after: int | None,
    ) -> Outcome:
        """Note what is being done, and do it."""
        details: dict[str, Any] = {"command": current_command()}
        if changes:
            details["changes"] = changes
        if environment:
            details["environment"] = environment
        if restored is None:
            step = 0
            self.observer.say("the run had no checkpoint yet: starting at step 0")
        else:
            step = restored.step
            for note in restored.set_aside:
                self.observer.say(note)
            if restored.set_aside:
                details["set_aside"] = restored.set_aside
            self.observer.say(f"resuming at step {step}")
        self.info = self.info.with_status("running").with_event("resume", step=step, **details)
        text = dump(self.study.config)
        if changes:
            self.info = self.info.model_copy(update={"config_hash": digest_of_text(text)})
        self.info.save(self.directory.info)
        if changes:  # after run.json, which knows how to bring it up to date (`own_config`)
            write_atomically(self.directory.config, text)
        return self.go(restored, stop_after)

    def go(self, restored: Restored | None, stop_after: int | None) -> Outcome:
        """Train to the end, or until stopped, and leave run.json saying how it ended."""
        self.step = 0 if restored is None else restored.step
        self.forewarned = forewarnings(self.examiners)
        for caveat in self.forewarned:
            self.observer.warn(str(caveat))
        whole = sum(stage.length for stage in self.study.stages)
        if stop_after is not None and stop_after > whole:
            self.observer.warn(f"stop_after_steps has no effect: the run ends after {whole} steps, before {stop_after}")
        try:
            with (
                open_checkpoints(self.directory, self.study.config) as checkpoints,
                closing(open_curves(self.directory.tensorboard, resumed_at=self.step if restored else None)) as curves,
            ):
                if restored is not None:
                    checkpoints.discard_after(restored.step)  # those beyond a window that is to be skipped
                space, signal = self.study.space, self.signal
                settling = SettlingCurve(self.examiners)
                sinks = RunSinks(space, curves, checkpoints, self.observer, signal, settling, stop_after, self.step)
                try:
                    return self._finish(self._train(restored, sinks), curves)
                finally:
                    self.step = sinks.step
        except StopError as stop:
            self._end("interrupted", "stop", reason=stop.reason)
            return Outcome(self.directory, None, stop.step, stop.reason)
        except DivergedError as error:
            self._end("diverged", "diverge", reason=str(error))
            raise
        except BaseException as error:
            said = raised_inside(error)
            reason = f"{type(error).__name__}: {error}" if said is None else said
            with suppress(OSError):  # a disk that takes no checkpoint may not take this; the free lock says enough
                self._end("failed", "fail", reason=reason)
            if said is not None:
                raise OwnRuleError(f"after step {self.step}: {said}") from error
            raise

    def _end(self, status: Status, event: EventName, **details: Any) -> None:
        self.info = self.info.with_status(status).with_event(event, step=self.step, **details)
        self.info.save(self.directory.info)

    def _train(self, restored: Restored | None, sinks: RunSinks) -> State:
        study = self.study
        loop = Loop(study.stages, study.config.chunk, sinks, skip=self._skipper(sinks.curves))
        if restored is None:
            state = loop.begin(study.stages[0], initial_state(study.parameters))
            sinks.curves.text(0, "config", f"```yaml\n{dump(study.config)}```")
            sinks.save(study.stages[0], state, None, due=True)
        else:
            state = self._restored_state(restored)
        while True:
            halts = {skip.at for skip in self.info.skips}
            loop.halts = frozenset(halts if sinks.stop_after is None else halts | {sinks.stop_after})
            try:
                return loop.run(state)
            except NonFiniteError as fault:
                state = self._roll_back(fault, sinks.checkpoints, sinks.curves)

    def _restored_state(self, restored: Restored) -> State:
        self.skips_done = int(restored.tree.skipped)
        state: State = place(restored.tree)
        return state

    def _skipper(self, curves: Curves) -> Callable[[int, State], State]:
        """Leaves out the windows of data that are due at a step."""

        def skip(step: int, state: State) -> State:
            while self.skips_done < len(self.info.skips) and self.info.skips[self.skips_done].at == step:
                window = self.info.skips[self.skips_done]
                self.skips_done += 1
                state = place(state._replace(position=jnp.int32(window.position), skipped=jnp.int32(self.skips_done)))
                text = f"{window.reason}: went back to step {step}, and on from position {window.position} of the data"
                curves.text(step + 1, "rollback", text)  # after `step`, so that a resume hides it and writes it anew
            return state

        return skip

    def _roll_back(self, fault: NonFiniteError, checkpoints: Checkpoints, curves: Curves) -> State:
        """The state to go on from after a fault.

        The window is noted in run.json before anything else changes. It is left out when the run comes by its start
        again, so that a run killed at any moment takes the same way as one that was not.
        """
        if fault.held_out:
            raise DivergedError(f"{fault}; leaving out training data cannot mend that. {_REMEDY}")
        if fault.stage.batch is None:
            raise DivergedError(f"{fault}; every step sees all the data, so there is nothing to skip. {_REMEDY}")
        if len(self.info.skips) >= self.study.config.max_rollbacks:
            raise DivergedError(f"{fault}, after {len(self.info.skips)} rollbacks (max_rollbacks). {_REMEDY}")
        restored = restore_due(self.study, checkpoints, before=fault.step)
        if restored is None:
            raise DivergedError(f"{fault}, and there is no checkpoint to go back to. {_REMEDY}")
        back = restored.step
        reason = f"the {fault.metric} of stage {fault.stage.name} was not finite at step {fault.step}"
        skip = Skip(at=back, position=fault.position + 1, reason=reason, steps=(back + 1, fault.step))
        self.info = self.info.with_skip(skip).with_event("rollback", step=back, reason=reason, skip_to=skip.position)
        self.info.save(self.directory.info)
        count = f"rollback {len(self.info.skips)} of at most {self.study.config.max_rollbacks}"
        self.observer.say(f"{reason}: back to step {back}, leaving out that window of the data ({count})")
        checkpoints.discard_after(back)
        curves.rewind(back)
        return self._restored_state(restored)

    def _finish(self, state: State, curves: Curves) -> Outcome:
        try:
            result = answer(self.study, state, self.examiners, self.forewarned, self.info.chosen_end)
        except NoAnswerError as error:
            raise DivergedError(f"{error}. {_REMEDY}") from error
        arrays = parameter_arrays(self.study, first_member(state.parameters["model"]))
        if arrays:
            write_parameters(self.directory.parameters, arrays)
            result["parameters_file"] = self.directory.parameters.name
        self.step = step = int(state.step)
        metrics = final_metrics(result)
        curves.text(step + 1, "worth", worth_table(result))  # after `step`, so that a resume writes it anew
        curves.final(step, _hparams(self.study.config), metrics)
        write_result(self.directory.result, result)
        self.info = self.info.model_copy(update={"metrics": metrics})
        self._end("finished", "finish")
        return Outcome(self.directory, result, step, None)


_REMEDY = (
    "A smaller learning rate, clip_global_norm or precision: float64 may help; where a process of a model does not "
    "settle, bounds within which it does."
)


def _hparams(config: Config) -> dict[str, bool | int | float | str]:
    """The config's single values by dotted key, for TensorBoard's table."""
    found: dict[str, bool | int | float | str] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{path}.{key}" if path else str(key))
        elif isinstance(value, bool | int | float | str):
            found[path] = value
        elif value is not None:
            found[path] = str(value)

    walk(as_mapping(config), "")
    return found
