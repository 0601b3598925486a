"""From what happened to an exit code and a message."""

from __future__ import annotations

import sys
from collections.abc import Callable

from optim.cli.output import give_up, lasting
from optim.config.errors import UserError

FAILED = 1


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command; errors that say their own exit code are printed without a traceback.

    Nothing depends on whether somebody reads standard error. Standard output is what most commands are for: where
    nobody reads it they fail.
    """
    with lasting("stderr"):
        return _exit_code_of(command)


def _exit_code_of(command: Callable[[], int]) -> int:
    try:
        return command()
    except UserError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        if len(error.problems) > 1:
            print(f"{len(error.problems)} problems", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `optim config schema | head`
        give_up(sys.stdout.fileno())  # else Python complains of what is still to be written when it ends
        return FAILED
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        print(f"error: {error}", file=sys.stderr)
        return int(code)
