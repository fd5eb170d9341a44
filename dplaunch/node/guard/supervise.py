"""The guard of one process: starts it, owns its tree, bounds its log, keeps its exit, stops it."""

from __future__ import annotations

import fcntl
import os
import signal
import time

from . import linux, proc, spawn
from .bound import KEEP, LIMIT, Bound
from .log import begin_run
from .stop import Stopping
from .store import Refused, read_json, refusal, remove, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WAKING = (signal.SIGCHLD, signal.SIGTERM)
_BUSY_LOOK = 0.2
"""Seconds to the next look where much happens: a log that grows fast, a tree that changes."""
_CALM_LOOK = 4.0
"""Where nothing happens. An end or a stop wakes a guard at once."""
_FIRST_BACKOFF = 1.0
_LAST_BACKOFF = 30.0
_LAST_WORDS = 1.0
"""Seconds a guard tries to learn how a stop ended, and to write it down where the disk is full."""
_STEADY = 60.0
"""A service that ran so many seconds starts its backoff at one second again."""


class Guard:
    """One guard. ``folder`` is the process's own folder; ``keeps_orphans``: see ``kernel.become_guard``."""

    def __init__(
        self, spec: dict[str, Any], root: str, folder: str, births: proc.Births, *, keeps_orphans: bool
    ) -> None:
        self.spec = spec
        self.root = root
        self.folder = folder
        limits = spec.get("limits") or {}
        self.bound = Bound(folder, int(limits.get("log", LIMIT)), int(limits.get("keep", KEEP)))
        self.tree = proc.Tree(os.getpid(), births, float(limits.get("share", proc.SHARE)))
        self.main = (0, 0)
        self.status: int | None = None
        """What wait said about the main process, once it ended."""
        self.phase = "starting"
        self.signal = ""
        self.restarts = 0
        self.exit: dict[str, Any] = {}
        self.notes: list[str] = []
        self._began = time.time()
        self._spawned = 0.0
        self._first_backoff = float(limits.get("backoff", _FIRST_BACKOFF))
        self._backoff = self._first_backoff
        self._again_at = 0.0
        self._calm_look = float(limits.get("look", _CALM_LOOK))
        self._look = self._calm_look
        self._told = False
        self._childless = False
        self._keeps_orphans = keeps_orphans
        self._saved: dict[str, Any] = {}
        me = proc.read(os.getpid())
        self._me = (os.getpid(), me.start if me else 0)

    def begin(self) -> int:
        """Take the process's place, start it; its pid. Raises Refused and leaves no state behind."""
        self._claim()
        begin_run(self.folder)
        for name in ("exit.json", "stop.json"):
            remove(os.path.join(self.folder, name))
        self.save(must=True)
        try:
            self._spawn()
        except Refused:
            remove(os.path.join(self.folder, "state.json"))
            raise
        self.save(must=True)
        return self.main[0]

    def _claim(self) -> None:
        fd = os.open(os.path.join(self.folder, "guard"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until this guard ends
        except BlockingIOError as error:
            name = self.spec["name"]
            raise Refused(
                "running", f"{name} has a guard already", f"dplaunch status, then stop {name}"
            ) from error
        except OSError:
            return  # a file system without locks: the state file alone tells

    def _spawn(self) -> None:
        self.status, self._spawned, self.signal, self._childless = None, time.time(), "", False
        self.main = spawn.spawn(self.spec, self.root, self.folder)
        self.phase = "running"
        self._look = self._calm_look
        self.tree.adopt(self.main[0])

    def run(self) -> None:
        """Until everything of the process is gone and its exit is written."""
        while self.phase != "done":
            self.wait(self._pause())
            if self._told or os.path.exists(os.path.join(self.folder, "stop.json")):
                self.stop()
            else:
                self.look()
        self.save()

    def _pause(self) -> float:
        pause = self._look
        self._look = min(self._look * 2, self._calm_look)
        if self.phase == "waiting":
            return max(0.0, min(pause, self._again_at - time.time()))
        return pause

    def wait(self, seconds: float) -> None:
        """Sleep until a child ends, a stop is asked for, or time is up; reap what ended."""
        info = signal.sigtimedwait(_WAKING, seconds)
        if info is not None and info.si_signo == signal.SIGTERM:
            self._told = True
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = True
                return
            if pid == 0:
                return
            if pid == self.main[0] and self.status is None:
                self.status = status

    def family(self) -> list[proc.Proc]:
        """The tree now, whatever looking costs."""
        self.wait(0)
        return self.tree.none() if self._alone() else self.tree.current()

    def _alone(self) -> bool:
        """Who keeps all orphans and has no child has nobody: no need to look at all processes."""
        return self._childless and self._keeps_orphans

    def look(self) -> None:
        """One round of the ordinary life: tree, log, exit, restart."""
        if self.bound.tend():
            self._look = _BUSY_LOOK
        before = len(self.tree.members)
        if self._alone():
            self.tree.none()
        else:
            self.tree.refresh()
        if len(self.tree.members) != before:
            self._look = _BUSY_LOOK
        if self.phase == "running" and self.status is not None:
            self._ended()
        elif self.phase == "waiting" and time.time() >= self._again_at:
            self._again()
        elif self.phase == "left":
            self._outlive()
        self.save()

    def _ended(self) -> None:
        """The main process is gone though nobody asked."""
        rest = self.family()
        self.exit = {**how_it_ended(self.status), "at": time.time(), "how": "exited", "asked": False}
        self.exit["left"] = proc.describe(rest)
        if not self.spec.get("restarts"):
            self.phase = "left"
            self._outlive()
            return
        Stopping(self.main, self.family, self.wait).run([["TERM", 0]])
        if time.time() - self._spawned > _STEADY:
            self._backoff = self._first_backoff
        self._wait_to_restart()

    def _outlive(self) -> None:
        """Go when the last of the tree is gone and that is written down; a full disk makes us wait."""
        rest = list(self.tree.members.values())
        if len(rest) != len(self.exit["left"]):
            self.exit["left"] = proc.describe(rest)
        self.save()  # first: who reads that it ended finds in the state who is left
        if self._save_exit() and not rest:
            self.phase = "done"

    def _wait_to_restart(self) -> None:
        self.phase = "waiting"
        self._again_at = time.time() + self._backoff
        end = self.exit["signal"] or f"code {self.exit['code']}"
        self._say(f"{self.spec['name']} ended ({end}), starting it again in {self._backoff:g} s")
        self._backoff = min(2 * self._backoff, _LAST_BACKOFF)

    def _again(self) -> None:
        self.restarts += 1
        try:
            self._spawn()
        except Refused as refused:
            self._say(refused.error["text"])
            self._wait_to_restart()

    def _say(self, text: str) -> None:
        """A line of ours in the process's log, where somebody looks for it."""
        try:
            with open(self.bound.log.path, "ab", buffering=0) as log:
                log.write(f"dplaunch: {text}\n".encode())
        except OSError:
            self.notes = [*self.notes[-9:], text]

    def stop(self) -> None:
        """Somebody asked (``stop.json``), or the machine goes down (SIGTERM alone)."""
        asked = self._asked()
        self.phase = "stopping"
        grace = asked.get("grace")
        stopping = Stopping(self.main, self.family, self.wait, self._hurry, self._notify)
        verdict = stopping.run(self.spec.get("stop") or [["TERM", 30], ["KILL", 10]], grace)
        self._see_it_end()
        self.exit = {**how_it_ended(self.status), "at": time.time(), "asked": True, **verdict}
        deadline = time.monotonic() + _LAST_WORDS
        while not self._save_exit() and time.monotonic() < deadline:
            self.wait(0.2)
        self.bound.tend()
        self.phase = "done"

    def _see_it_end(self) -> None:
        """A main thread is a zombie before the last of its threads has gone: only then wait tells how."""
        self.wait(0)
        deadline = time.monotonic() + _LAST_WORDS
        while self.status is None and self.main[0] and time.monotonic() < deadline:
            if proc.alive(*self.main):
                return  # it could not be killed
            self.wait(0.02)

    def _asked(self) -> dict[str, Any]:
        return read_json(os.path.join(self.folder, "stop.json")) or {}

    def _hurry(self) -> bool:
        return self._asked().get("grace") == 0

    def _notify(self, name: str) -> None:
        self.signal = name
        self.save()

    def _save_exit(self) -> bool:
        try:
            write_json(os.path.join(self.folder, "exit.json"), self.exit)
        except OSError:
            return False
        return True

    def save(self, *, must: bool = False) -> bool:
        """Write state.json if it says something new. ``must`` raises Refused where it cannot."""
        state = self._state()
        if state == self._saved:
            return True
        try:
            write_json(os.path.join(self.folder, "state.json"), state)
        except OSError as error:
            if must:
                raise refusal(error, self.folder) from error
            return False  # tried again with the next look
        self._saved = state
        return True

    def _state(self) -> dict[str, Any]:
        spec = self.spec
        state = {key: spec.get(key) for key in ("name", "ports", "address", "stop", "restarts", "meta")}
        state.update(
            fingerprint=spec.get("fingerprint", ""),
            host=linux.hostname(),
            boot=linux.boot_id(),
            guard=list(self._me),
            main=list(self.main),
            phase=self.phase,
            signal=self.signal,
            started_at=self._spawned or self._began,
            restart_count=self.restarts,
            last_exit={key: self.exit.get(key) for key in ("code", "signal", "at")} if self.exit else None,
            tree=sorted(p.record() for p in self.tree.members.values()),
            notes=[note for note in [self.bound.unbounded, *self.notes] if note],
        )
        return state


def how_it_ended(status: int | None) -> dict[str, Any]:
    """``code`` and ``signal`` (``SIGKILL``) of a wait status; both empty where nobody could wait."""
    if status is None:
        return {"code": None, "signal": ""}
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return {"code": None, "signal": signal.Signals(number).name}
        except ValueError:  # a real-time signal
            return {"code": None, "signal": f"signal {number}"}
    return {"code": os.WEXITSTATUS(status), "signal": ""}
