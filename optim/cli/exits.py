"""From what happened to an exit code and a message."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from optim.cli.output import lasting
from optim.config.errors import UserError

FAILED = 1

_IN_THE_WAY = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY)
_TO_MEND = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "change its permissions, or choose another place"),
    **dict.fromkeys(_IN_THE_WAY, "move it away, or choose another place"),
    errno.EROFS: "choose a place that can be written to",
    errno.ENOENT: "put it back, or choose another place",
    errno.ELOOP: "mend the symbolic link",
    errno.ENAMETOOLONG: "choose a shorter name",
}
"""Remedies for places that are wrong, which are as much the user's to mend as a wrong config."""

_FULL = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room there")


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
        return FAILED
    except OSError as error:
        if not isinstance(error.filename, str | bytes):  # no place, so not one that is wrong
            raise
        return _misplaced(error)
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        print(f"error: {error}", file=sys.stderr)
        return int(code)


def _misplaced(error: OSError) -> int:
    """Say what is wrong with a file or a folder."""
    remedy = (_TO_MEND | _FULL).get(error.errno or 0, "try again when that is mended")
    places = " and ".join(str(place) for place in (error.filename, error.filename2) if place is not None)
    print(f"error: {places}: {error.strerror or error}; {remedy}", file=sys.stderr)
    return UserError.exit_code if error.errno in _TO_MEND else FAILED
