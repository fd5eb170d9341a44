"""The guard of one process: starts it, owns its tree, bounds its log, keeps its exit, stops it."""

from __future__ import annotations

import os
import signal
import time

from . import proc, spawn
from .bound import KEEP, LIMIT, Bound
from .handover import TAKES_OVER, Leaving, explain
from .log import begin_run
from .segments import Segments
from .state import PROTOCOL, load_state
from .stop_sequence import STEPS, Stopping, deliver, how_it_ended
from .store import Folder, Refused, read_json, refusal, remove, try_flock, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .shapes import Exit, LastExit, Spec, State

_WAKING = (signal.SIGCHLD, signal.SIGTERM)
_BUSY_LOOK = 0.2
"""Seconds to the next look where much happens: a log that grows fast, a tree that changes."""
_CALM_LOOK = 4.0
"""Where nothing happens. An end or a stop wakes a guard at once."""
_FIRST_BACKOFF = 1.0
_LAST_BACKOFF = 30.0
_LAST_WORDS = 1.0
"""Seconds a guard tries to learn how a stop ended, and to record it where the disk is full."""
_STEADY = 60.0
"""A service that ran for so many seconds starts its backoff at one second again."""
_COMES_UP = 20.0
"""Seconds in which a new process has to take over: whoever starts it waits 30."""
_CLAIM = 1.0
"""Seconds to wait for the guard of the run before: it has recorded the exit and is about to end."""


class Guard:
    """One guard, made before its own process is forked. ``folder`` is the guarded process's own folder."""

    def __init__(self, spec: Spec, root: str, folder: str, births: proc.Births) -> None:
        self.spec = spec
        self.root = root
        self.folder = folder
        limits = spec.get("limits") or {}
        self.bound = Bound(folder, int(limits.get("log", LIMIT)), int(limits.get("keep", KEEP)))
        self.tree = proc.Tree(births, float(limits.get("share", proc.SHARE)))
        self.main = (0, 0)
        self.status: int | None = None
        """The wait status of the main process, once it has ended."""
        self.phase = "starting"
        self.signal = ""
        self.restarts = 0
        is_job = (spec.get("ready") or {}).get("kind") == "exit"
        self._restarts = bool(spec.get("restarts")) and not is_job
        self.exit: Exit | None = None
        self._leaving = Leaving()
        """What was started before under this name, and finishes what it has."""
        self.notes: list[str] = []
        self._began = time.time()
        self._spawned = 0.0
        self._first_backoff = float(limits.get("backoff", _FIRST_BACKOFF))
        self._backoff = self._first_backoff
        self._again_at = 0.0
        self._calm_look = float(limits.get("look", _CALM_LOOK))
        self._comes_up = float(limits.get("comes_up", _COMES_UP))
        self._look = self._calm_look
        self._terminated = False
        self._childless = False
        self._segments = Segments(self._began)
        self._environment = spawn.environment(spec, root)
        self._keeps_orphans = False
        self._saved: State | None = None
        self._written: tuple[int, ...] = ()
        """What tells whether state.json still is the file that this guard wrote."""
        self._claimed = -1
        """The descriptor whose lock says that this guard owns the folder."""
        self._me = (0, 0)

    def enter(self, *, keeps_orphans: bool) -> None:
        """This process is the guard from now on. ``keeps_orphans``: see ``kernel.become_guard``."""
        self._keeps_orphans = keeps_orphans
        pid = os.getpid()
        me = proc.read(pid)
        self._me = (pid, me.start if me else 0)
        self.tree.take_root(pid)

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
            os.close(self._claimed)  # before the refusal is reported: who reads it finds nothing guarded
            raise
        self.save(must=True)
        return self.main[0]

    def take_over(self, before: State, seconds: float) -> int:
        """Start the process beside the one that runs (``before``), and take its place; the new one's pid.

        The old one then has ``seconds`` to finish what it has. Raises Refused, and leaves everything as it
        is, where the new one does not take over. The log continues.
        """
        done = os.path.join(self.folder, "took-over")
        remove(done)
        try:
            self._spawn({TAKES_OVER: done})
            if not self._takes_over(done):
                raise explain(self.spec["name"], self.status)
            deliver(proc.Proc(before["guard"][0], 0, 0, before["guard"][1]), "KILL")
            self._claim()
        except Refused:
            Stopping(self.main, self.family, self.wait).run([["TERM", 1], ["KILL", 5]])
            raise
        finally:
            remove(done)
        latest = load_state(Folder(self.root), self.spec["name"]) or before
        self.tree.members.update((one.pid, one) for one in self._leaving.begin(latest, seconds))
        for name in ("exit.json", "stop.json"):
            remove(os.path.join(self.folder, name))
        self.save()
        return self.main[0]

    def _takes_over(self, done: str) -> bool:
        """Wait until the new process has made this file; False where it does not."""
        deadline = time.monotonic() + self._comes_up
        while self.status is None and not self._terminated and time.monotonic() < deadline:
            if os.path.exists(done):
                return True
            self.wait(0.05)
        return False

    def _claim(self) -> None:
        deadline = time.monotonic() + _CLAIM
        while not self._try_claim():  # held until this guard ends
            if time.monotonic() > deadline:
                name = self.spec["name"]
                raise Refused("running", f"{name} has a guard already", "stop it first: dplaunch down")
            time.sleep(0.02)

    def _try_claim(self) -> bool:
        """Lock the file ``guard`` of the folder, which may have been removed since; whether it is ours."""
        path = os.path.join(self.folder, "guard")
        if self._claimed >= 0 and identify(path)[:2] == identify(self._claimed)[:2]:
            return True
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not try_flock(fd):
            os.close(fd)
            return False
        if self._claimed >= 0:
            os.close(self._claimed)
        self._claimed = fd
        return True

    def _spawn(self, more: dict[str, str] | None = None) -> None:
        self.status, self._spawned, self.signal, self._childless = None, time.time(), "", False
        self.main = spawn.spawn(self.spec, self.root, self.folder, {**self._environment, **(more or {})})
        self.phase = "running"
        self._look = self._calm_look
        self._segments = Segments(self._spawned)
        self.tree.adopt(self.main[0])

    def run(self) -> None:
        """Guard until everything of the process is gone and its exit is recorded."""
        while self.phase != "done":
            self.wait(self._pause())
            if self._terminated or os.path.exists(os.path.join(self.folder, "stop.json")):
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
            self._terminated = True
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
        return self.tree.clear() if self._is_alone() else self.tree.current()

    def _own_family(self) -> list[proc.Proc]:
        """The tree now, without what only finishes."""
        leaving = {one.pid for one in self._leaving.alive()}
        return [one for one in self.family() if one.pid not in leaving]

    def _is_alone(self) -> bool:
        """A guard that keeps all orphans and has no child has no tree: no need to look at all processes."""
        return self._childless and self._keeps_orphans and not self._leaving.alive()

    def look(self) -> None:
        """One round of ordinary life: tree, log, exit, restart."""
        if self.bound.tend():
            self._look = _BUSY_LOOK
        self._leaving.tend()
        before = len(self.tree.members)
        if self._is_alone():
            self.tree.clear()
        else:
            self.tree.refresh()
        if len(self.tree.members) != before:
            self._look = _BUSY_LOOK
        self._segments.note(lambda: self.tree.members)
        if self.phase == "running" and self.status is not None:
            self._end_unasked()
        elif self.phase == "waiting" and time.time() >= self._again_at:
            self._restart()
        elif self.phase == "left" and self.exit is not None:
            self._outlive(self.exit)
        self.save()

    def _end_unasked(self) -> None:
        """The main process has ended though no stop was asked for."""
        left = proc.describe(self.family())
        ended = how_it_ended(self.status)
        self.exit = {**ended, "how": "exited", "asked": False, "left": left}
        if not self._restarts:
            self.phase = "left"
            self._outlive(self.exit)
            return
        Stopping(self.main, self._own_family, self.wait).run([["TERM", 0]])
        self._segments.sweep()
        if time.time() - self._spawned > _STEADY:
            self._backoff = self._first_backoff
        self._wait_to_restart(ended)

    def _outlive(self, ended: Exit) -> None:
        """End when the last of the tree is gone and that is recorded; a full disk makes us wait."""
        rest = list(self.tree.members.values())
        if len(rest) != len(ended["left"]):
            ended["left"] = proc.describe(rest)
        self.save()  # first: a reader of the exit finds in the state who is left
        if not rest:
            self._segments.sweep()
        if self._save_exit(ended) and not rest:
            self.phase = "done"

    def _wait_to_restart(self, ended: LastExit) -> None:
        self.phase = "waiting"
        self._again_at = time.time() + self._backoff
        end = ended["signal"] or f"code {ended['code']}"
        self._log(f"{self.spec['name']} ended ({end}), starting it again in {self._backoff:g} s")
        self._backoff = min(2 * self._backoff, _LAST_BACKOFF)

    def _restart(self) -> None:
        self.restarts += 1
        try:
            self._spawn()
        except Refused as refused:
            self._log(refused.error["text"])
            self._wait_to_restart(self.exit or how_it_ended(None))

    def _log(self, text: str) -> None:
        """Add a line of ours to the process's log, where people look for it."""
        try:
            with open(self.bound.log.path, "ab", buffering=0) as log:
                log.write(f"dplaunch: {text}\n".encode())
        except OSError:
            self.notes = [*self.notes[-9:], text]

    def stop(self) -> None:
        """A stop was asked for (``stop.json``), or the machine goes down (SIGTERM alone)."""
        grace = self._read_request().get("grace")
        self.phase = "stopping"
        self._segments.note(lambda: [one.pid for one in self.family()])
        others = self._leaving.alive()
        stopping = Stopping(self.main, self.family, self.wait, self._hurry, self._notify, others)
        ending = stopping.run(self.spec.get("stop") or STEPS, grace)
        self._see_it_end()
        self._segments.sweep()
        self.exit = {**how_it_ended(self.status), "how": ending["how"], "asked": True, "left": ending["left"]}
        deadline = time.monotonic() + _LAST_WORDS
        while not self._save_exit(self.exit) and time.monotonic() < deadline:
            self.wait(0.2)
        self.bound.tend()
        self.phase = "done"

    def _see_it_end(self) -> None:
        """A main thread is a zombie before the last of its threads has gone: only then wait has a status."""
        self.wait(0)
        deadline = time.monotonic() + _LAST_WORDS
        while self.status is None and self.main[0] and time.monotonic() < deadline:
            if proc.alive(*self.main):
                return  # it could not be killed
            self.wait(0.02)

    def _read_request(self) -> dict[str, Any]:
        return read_json(os.path.join(self.folder, "stop.json")) or {}

    def _hurry(self) -> bool:
        return self._read_request().get("grace") == 0

    def _notify(self, name: str) -> None:
        self.signal = name
        self.save()

    def _save_exit(self, ended: Exit) -> bool:
        try:
            write_json(os.path.join(self.folder, "exit.json"), ended)
        except OSError:
            return False
        return True

    def save(self, *, must: bool = False) -> None:
        """Write state.json if anything in it has changed, or somebody else has changed the file.

        ``must`` raises Refused where it cannot.
        """
        state, path = self._state(), os.path.join(self.folder, "state.json")
        damaged = self.phase != "done" and self._saved is not None and identify(path) != self._written
        if state == self._saved and not damaged:
            return
        try:
            if damaged:
                os.makedirs(self.folder, 0o700, exist_ok=True)
            if damaged and not self._try_claim():
                return  # the folder was removed, and another guard has begun in its place
            write_json(path, state)
        except OSError as error:
            if must:
                raise refusal(error, self.folder) from error
            return  # tried again with the next look
        self._saved, self._written = state, identify(path)

    def _state(self) -> State:
        spec, ended = self.spec, self.exit
        return {
            "protocol": PROTOCOL,
            "version": spec.get("version", ""),
            "name": spec["name"],
            "ports": spec.get("ports") or [],
            "address": spec.get("address") or "",
            "stop": spec.get("stop") or STEPS,
            "restarts": self._restarts,
            "endpoints": spec.get("endpoints") or [],
            "ready": spec.get("ready") or {"kind": "http"},
            "logs": spec.get("logs") or [],
            "meta": spec.get("meta") or {},
            "fingerprint": spec.get("fingerprint", ""),
            "host": proc.hostname(),
            "boot": proc.boot_id(),
            "guard": list(self._me),
            "main": list(self.main),
            "phase": self.phase,
            "signal": self.signal,
            "started_at": self._spawned or self._began,
            "restart_count": self.restarts,
            "last_exit": {"code": ended["code"], "signal": ended["signal"], "at": ended["at"]}
            if ended
            else None,
            "tree": sorted(p.record() for p in self.tree.members.values()),
            "shared": self._segments.record(),
            "notes": [note for note in [self.bound.unbounded, *self.notes] if note],
        }


def identify(file: str | int) -> tuple[int, ...]:
    """What changes when a file is replaced or written: device, inode, size, time; empty without it."""
    try:
        found = os.stat(file)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
