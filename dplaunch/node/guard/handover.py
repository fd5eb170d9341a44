"""A process that takes over from the one of its name that runs, and what that one has to finish."""

from __future__ import annotations

import os
import time

from . import proc
from .stop_sequence import STEPS, deliver
from .store import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .proc import Proc
    from .shapes import State

TAKES_OVER = "DPLAUNCH_TAKES_OVER"
"""Names a file, which the new process makes when it does the work."""
LEAVE = "USR1"
"""Asks the old one to finish what it has, and to end."""


class Leaving:
    """Processes that finish what they have. Empty until there are some."""

    def __init__(self) -> None:
        self._procs: list[Proc] = []
        self._due: list[tuple[float, str]] = []
        """When they are asked to end, and when they are killed (monotonic)."""

    def begin(self, state: State, seconds: float) -> list[Proc]:
        """Ask what runs by a state file to finish within ``seconds``; returns it with all below it."""
        self._procs = survivors(state)
        now = time.monotonic()
        term_grace = STEPS[0][1]
        self._due = [(now + seconds, "TERM"), (now + seconds + term_grace, "KILL")]
        for one in self._procs:
            if one.pid == state["main"][0]:
                deliver(one, LEAVE)
        return self._procs

    def tend(self) -> None:
        """End those whose time is over."""
        while self._due and time.monotonic() >= self._due[0][0]:
            _, name = self._due.pop(0)
            for one in self._procs:
                deliver(one, name)

    def alive(self) -> list[Proc]:
        """Those that still live."""
        self._procs = [one for one in self._procs if proc.alive(one.pid, one.start)]
        return self._procs


def survivors(state: State) -> list[Proc]:
    """What lives of the process of a state file."""
    return proc.survivors([*state["tree"], [*state["main"], state["main"][0]]])


def explain(name: str, status: int | None) -> Refused:
    """Why a process did not take over: its wait status, None where it was too slow."""
    if status is None:
        what = "did not take over in time"
    elif os.WIFSIGNALED(status):
        what = f"was killed by signal {os.WTERMSIG(status)} before it took over"
    else:
        what = f"ended with code {os.WEXITSTATUS(status)} before it took over"
    text = f"{name}: the new process {what}; the one that runs was left as it is"
    return Refused("handover", text, f"dplaunch logs {name} -n 20")
