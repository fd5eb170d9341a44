"""The error tree and the exit codes.

::

    DplaunchError            exit  1  something on the cluster failed
    ├── UsageError           exit  2  file or arguments wrong
    │   └── SpecError        exit  2  carries every Problem of a cluster file
    ├── HostError            exit  3  a host was not reached; carries the node's name
    ├── NotReadyError        exit  4  not ready in time
    ├── DegradedError        exit  5  some of it serves
    ├── LockedError          exit  6  another operator holds the lock
    └── Interrupted          exit 130 Ctrl-C

Nothing here knows how an error is shown: the view does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What a verb tells the shell. The README's table is made from these."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHED = 3
    NOT_READY = 4
    DEGRADED = 5
    LOCKED = 6
    INTERRUPTED = 130


PRECEDENCE = (
    ExitCode.INTERRUPTED,
    ExitCode.LOCKED,
    ExitCode.USAGE,
    ExitCode.UNREACHED,
    ExitCode.FAILED,
    ExitCode.NOT_READY,
    ExitCode.DEGRADED,
    ExitCode.DONE,
)
"""When several apply, the first of these wins."""


def worst(*codes: ExitCode) -> ExitCode:
    """The code that wins among those that apply; DONE when none is given."""
    return next((code for code in PRECEDENCE if code in codes), ExitCode.DONE)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong (or suspicious) in a cluster file, with its place.

    ``line`` and ``column`` count from 1; 0 means "no place" (a missing file, a whole-file rule).
    ``key`` is the dotted path (``roles.decode.dp``), ``source_line`` the line itself,
    ``hint`` what would be right, ``source`` where that is known from. ``warning`` problems never stop a verb.
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


class DplaunchError(Exception):
    """Something failed: ``text`` says what and where, ``hint`` what to do next.

    ``detail`` holds lines worth seeing verbatim (a log tail), shown below the message; ``told``: whoever
    listens to events has seen them.
    """

    exit_code = ExitCode.FAILED

    def __init__(
        self, text: str, *, hint: str = "", detail: tuple[str, ...] = (), told: bool = False
    ) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        self.detail = detail
        self.told = told


class UsageError(DplaunchError):
    """The file or the arguments are wrong; nothing was touched."""

    exit_code = ExitCode.USAGE


class SpecError(UsageError):
    """A cluster file with problems: all of them, in file order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        wrong = sum(not p.warning for p in problems)
        super().__init__(f"{wrong} problem{'' if wrong == 1 else 's'} in the cluster file")
        self.problems = problems


class HostError(DplaunchError):
    """A host was not reached, or refused us. ``node`` names it as the cluster file does."""

    exit_code = ExitCode.UNREACHED

    def __init__(self, node: str, text: str, *, hint: str = "", detail: tuple[str, ...] = ()) -> None:
        super().__init__(text, hint=hint, detail=detail)
        self.node = node


class NotReadyError(DplaunchError):
    """Not ready in time."""

    exit_code = ExitCode.NOT_READY


class DegradedError(DplaunchError):
    """Some of it serves, some does not."""

    exit_code = ExitCode.DEGRADED


class LockedError(DplaunchError):
    """Another operator holds the cluster's lock; the text names holder and verb."""

    exit_code = ExitCode.LOCKED


class Interrupted(DplaunchError):  # noqa: N818 - the name of what happened, not of a fault
    """The user pressed Ctrl-C; the text says what goes on and how to stop it."""

    exit_code = ExitCode.INTERRUPTED
