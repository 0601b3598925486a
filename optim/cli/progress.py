"""A progress bar a stage."""

from __future__ import annotations

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from optim.cli.consoles import plain_console


class ProgressReport:
    """Shows a run on standard error; where that is no terminal, a line when a stage begins instead of bars."""

    def __init__(self) -> None:
        self._console = plain_console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressReport:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Something that the user should know."""
        self._console.print(text, style="dim", soft_wrap=True)

    def warn(self, text: str) -> None:
        """Something that the user should know before relying on the answer."""
        self._console.print(text, style="yellow", soft_wrap=True)

    def stage(self, name: str, steps: int, done: int) -> None:
        """A stage begins, or goes on."""
        if self._bars.disable:
            self._console.print(f"{name}: {steps - done} steps")
            return
        self._task = self._bars.add_task(name, total=steps, completed=done, loss="…")

    def progress(self, done: int, loss: float) -> None:
        """Steps of the stage completed, and its loss."""
        if self._task is not None:
            self._bars.update(self._task, completed=done, loss=f"{loss:.6g}")
