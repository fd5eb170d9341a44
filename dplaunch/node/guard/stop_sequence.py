"""The stop sequence: ask, wait, kill, sweep the tree, look again; it returns how it went.

A guard runs it, or a session where the guard is gone. Only processes of the tree are ever signalled.
"""

from __future__ import annotations

import os
import signal
import time

from . import proc
from .proc import Proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .shapes import Ending, LastExit

STEPS: list[list[Any]] = [["TERM", 30], ["KILL", 10]]
"""The steps of a process that names none."""
SETTLE = 3.0
"""Seconds that the rest of a tree gets after its main process has ended."""
KILL_GRACE = 10.0
"""Seconds to wait for what was killed, unless the KILL step names another time."""
_FIRST_LOOK = 0.02
_LAST_LOOK = 0.25


class Stopping:
    """One stop. ``family`` lists what lives of the tree; ``wait`` sleeps; ``hurry`` ends every grace.

    ``others`` are asked together with the main process.
    """

    def __init__(
        self,
        main: tuple[int, int],
        family: Callable[[], list[Proc]],
        wait: Callable[[float], None] = time.sleep,
        hurry: Callable[[], bool] = lambda: False,
        notify: Callable[[str], None] = lambda _name: None,
        others: Sequence[Proc] = (),
    ) -> None:
        self.main = main
        self._others = others
        self._family = family
        self._wait = wait
        self._hurry = hurry
        self._notify = notify

    def run(self, steps: list[list[Any]], grace: float | None = None) -> Ending:
        """Go through the steps and return how it went.

        ``how`` is the signal that ended the process, ``swept`` when the rest of its tree outlived it, or
        ``was not running``. ``grace`` replaces the first step's grace and bounds the others'.
        """
        began = time.monotonic()
        how = self._ask(polite_steps(steps, grace))
        rest = self._family()
        if rest and not self._alive():
            rest = self._settle(rest, how or "TERM", SETTLE if grace is None else min(SETTLE, grace))
            how = how or "swept"
        if rest:
            how = "KILL" if self._alive() else "swept"
            self._kill(kill_grace(steps))
            rest = self._family()
        seconds = round(time.monotonic() - began, 3)
        return {"how": how or "was not running", "seconds": seconds, "left": proc.describe(rest)}

    def _alive(self) -> bool:
        return proc.alive(*self.main)

    def _ask(self, steps: list[tuple[str, float]]) -> str:
        """Signal after signal to the engine (not only to a shell around it) until it is gone."""
        if not self._alive():
            return ""
        asked = [*self._heads(), *self._others]
        for name, grace in steps:
            self._notify(name)
            for head in asked:
                deliver(head, name)
            if self._gone(asked, grace):
                return name
        return ""

    def _heads(self) -> list[Proc]:
        """The processes to ask: the main process, and where that is a shell, what it runs."""
        main = proc.read(self.main[0])
        if main is not None and not proc.is_shell(main.pid):
            return [main]
        return proc.heads(self.main[0], self._family())

    def _settle(self, rest: list[Proc], name: str, grace: float) -> list[Proc]:
        for one in rest:
            deliver(one, name)
        self._gone(rest, grace)
        return self._family()

    def _kill(self, grace: float) -> None:
        """Repeat, because processes may be born meanwhile, until nothing is left or time is up."""
        self._notify("KILL")
        deadline = time.monotonic() + grace
        rest = self._family()
        while rest and time.monotonic() < deadline:
            for one in rest:
                deliver(one, "KILL")
            self._gone(rest, min(1.0, deadline - time.monotonic()), hurried=False)
            rest = self._family()

    def _gone(self, procs: list[Proc], grace: float, *, hurried: bool = True) -> bool:
        deadline = time.monotonic() + grace
        look = _FIRST_LOOK
        while True:
            if not any(proc.alive(one.pid, one.start) for one in procs):
                return True
            left = deadline - time.monotonic()
            if left <= 0 or (hurried and self._hurry()):
                return False
            self._wait(min(look, left))
            look = min(look * 1.5, _LAST_LOOK)


def deliver(target: Proc, name: str) -> None:
    """Signal one process, if its pid still belongs to it."""
    if proc.alive(target.pid, target.start):
        try:
            os.kill(target.pid, signal_number(name))
        except OSError:
            return  # gone meanwhile, or no longer ours (a setuid program): the verdict will name it


def signal_number(name: str) -> int:
    """``TERM`` or ``SIGTERM`` → 15; an unknown name counts as TERM, because a stop must continue."""
    known = signal.Signals.__members__
    return known.get("SIG" + name) or known.get(name) or signal.SIGTERM


def polite_steps(steps: list[list[Any]], grace: float | None) -> list[tuple[str, float]]:
    """The steps before KILL, with their graces."""
    asked = [(str(name), float(own)) for name, own in steps if name != "KILL"]
    if grace is None:
        return asked
    return [(name, grace if i == 0 else min(own, grace)) for i, (name, own) in enumerate(asked)]


def kill_grace(steps: list[list[Any]]) -> float:
    """Seconds to wait after KILL."""
    return next((float(grace) for name, grace in steps if name == "KILL"), KILL_GRACE)


def patience(steps: list[list[Any]], grace: float | None) -> float:
    """Seconds after which a guard that was asked to stop must have finished."""
    return sum(own for _, own in polite_steps(steps, grace)) + SETTLE + kill_grace(steps) + 10.0


def how_it_ended(status: int | None) -> LastExit:
    """A wait status as an exit of this moment; neither code nor signal where the guard could not wait."""
    code, name = None, ""
    if status is not None and os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:  # a real-time signal
            name = f"signal {number}"
    elif status is not None:
        code = os.WEXITSTATUS(status)
    return {"code": code, "signal": name, "at": time.time()}
