"""The error tree and the exit codes.

::

    DplaunchError            exit  1  something on the cluster failed
    ├── UsageError           exit  2  the file or the arguments are wrong
    │   └── SpecError        exit  2  carries every Problem of a cluster file
    ├── HostError            exit  3  a host is unreachable; carries the node's name
    ├── NotReadyError        exit  4  not ready in time
    ├── LockedError          exit  6  another operator holds the lock
    └── Interrupted          exit 130 Ctrl-C

How an error is printed is decided in ``view``.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct


class ExitCode(IntEnum):
    """The exit code of a verb. The table in the README lists them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_READY = 4
    DEGRADED = 5
    LOCKED = 6
    OUTAGE = 7
    CHANGES = 8
    INTERRUPTED = 130


PRECEDENCE = (
    ExitCode.INTERRUPTED,
    ExitCode.LOCKED,
    ExitCode.USAGE,
    ExitCode.OUTAGE,
    ExitCode.UNREACHABLE,
    ExitCode.FAILED,
    ExitCode.NOT_READY,
    ExitCode.DEGRADED,
    ExitCode.CHANGES,
    ExitCode.DONE,
)
"""If several codes apply, the first of these wins."""


def worst(*codes: ExitCode) -> ExitCode:
    """Return the code that wins among those that apply; DONE without any."""
    return next((code for code in PRECEDENCE if code in codes), ExitCode.DONE)


class Problem(Struct, frozen=True):
    """One mistake in a cluster file, or (``warning``) something suspicious in it that stops no verb.

    ``line`` and ``column`` count from 1; 0 stands for a problem without a place (a missing file, a rule
    about the whole file). ``key`` is the dotted path (``roles.decode.dp``), ``source_line`` the line itself,
    ``hint`` what would be right, ``source`` where that is known from. ``at_key``: the key is wrong, not
    its value.
    """

    text: str
    file: str = ""
    line: int = 0
    column: int = 0
    key: str = ""
    source_line: str = ""
    hint: str = ""
    warning: bool = False
    source: str = ""
    at_key: bool = False


class DplaunchError(Exception):
    """A failure: what failed and where (``text``), and what to do next (``hint``).

    ``detail`` holds lines to print verbatim below the message, such as the end of a log. ``reported``: an
    event has carried text and detail already, so that the view need not print the detail again.
    """

    exit_code = ExitCode.FAILED

    def __init__(
        self, text: str, *, hint: str = "", detail: tuple[str, ...] = (), reported: bool = False
    ) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        self.detail = detail
        self.reported = reported


class UsageError(DplaunchError):
    """The file or the arguments are wrong; nothing was changed."""

    exit_code = ExitCode.USAGE


class SpecError(UsageError):
    """A file (``what``) has problems; carries all of them, in file order."""

    def __init__(self, problems: tuple[Problem, ...], what: str = "the cluster file") -> None:
        wrong = sum(not p.warning for p in problems)
        super().__init__(f"{wrong} problem{'' if wrong == 1 else 's'} in {what}")
        self.problems = problems


class HostError(DplaunchError):
    """A host is unreachable or refused the login. ``node`` is its name in the cluster file."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(self, node: str, text: str, *, hint: str = "", detail: tuple[str, ...] = ()) -> None:
        super().__init__(text, hint=hint, detail=detail)
        self.node = node


class NotReadyError(DplaunchError):
    """Something was not ready in time."""

    exit_code = ExitCode.NOT_READY


class LockedError(DplaunchError):
    """Another operator holds the cluster's lock; the text names the holder and the verb."""

    exit_code = ExitCode.LOCKED


class Interrupted(DplaunchError):  # noqa: N818 - the name of what happened, not of a fault
    """The user pressed Ctrl-C; the text names what keeps running and how to stop it."""

    exit_code = ExitCode.INTERRUPTED
