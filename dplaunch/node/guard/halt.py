"""``stop``: tell the guards, or do it ourselves where a guard is gone; then look whether all is free."""

from __future__ import annotations

import threading
import time

from . import observe, ports, proc, stop
from .store import Folder, read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Call

_LOOK = 0.02
_LAST_LOOK = 0.25
_PORTS_FREE = 2.0
"""Seconds a port may take to be free after the last of its process."""
_STEPS = [["TERM", 30], ["KILL", 10]]


def answer(call: Call) -> dict[str, Any]:
    """Stop all ``names`` at once: a verdict each, as event and in ``results``."""
    names = list(call.get("names", []))
    results: dict[str, dict[str, Any]] = {}

    def one(name: str) -> None:
        try:
            results[name] = _Halt(call, name).verdict()
        except Exception as error:
            problem = f"the stop of {name} failed: {error}"
            results[name] = {"how": "failed", "seconds": 0.0, "left": [], "ports": [], "problem": problem}
        results[name]["name"] = name
        call.emit("stopped", results[name])

    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"results": [results[name] for name in names]}


class _Halt:
    """The stop of one process."""

    def __init__(self, call: Call, name: str) -> None:
        self.call = call
        self.name = name
        self.folder: Folder = call.folder
        grace = call.get("grace")
        self.grace: float | None = None if grace is None else float(grace)
        self._told = ""

    def verdict(self) -> dict[str, Any]:
        """How it went, what is left of it, which of its ports are still taken."""
        began = time.monotonic()
        found = observe.process(self.folder, self.name)
        state = read_json(self.folder.proc(self.name, "state.json")) or {}
        verdict: dict[str, Any] = {"how": "was not running", "left": []}
        if found and found["state"] == "foreign":
            verdict["problem"] = f"the state of {self.name} was written by host {found['host']}: left alone"
        elif found and found["problem"]:
            verdict["problem"] = found["problem"]
        elif found and found["state"] in observe.ALIVE and found["guard_pid"] and observe.guard_lives(state):
            verdict = self._by_guard(state)
        elif found and (found["state"] in observe.ALIVE or found["left"]):
            verdict = self._by_us(state)
        verdict["ports"] = self._ports(state) if self.call.get("ports") else []
        verdict["seconds"] = round(time.monotonic() - began, 3)
        return verdict

    def _by_guard(self, state: dict[str, Any]) -> dict[str, Any]:
        """Ask the guard and wait for it; it goes on alone should this session end."""
        request = {"grace": self.grace, "at": time.time()}
        self._ask(state, request)
        patience = stop.patience(state.get("stop") or _STEPS, self.grace)
        deadline = time.monotonic() + float(self.call.get("patience", patience))
        look = _LOOK
        while observe.guard_lives(state) and time.monotonic() < deadline:
            self._tell(read_json(self.folder.proc(self.name, "state.json")) or {})
            if self.call.over():
                break
            self.call.pause(look)
            look = min(look * 1.3, _LAST_LOOK)
        self._tell(read_json(self.folder.proc(self.name, "state.json")) or {})
        ended = read_json(self.folder.proc(self.name, "exit.json"))
        if ended and ended.get("asked"):
            return {"how": ended["how"], "left": ended["left"]}
        if self.call.over():
            return {"how": "asked", "left": []}
        return self._instead_of_guard(state)

    def _instead_of_guard(self, state: dict[str, Any]) -> dict[str, Any]:
        """It did not answer in time, or could not write its verdict: end it and look ourselves."""
        stop.deliver(proc.Proc(state["guard"][0], 0, 0, state["guard"][1]), "KILL")
        verdict = self._by_us(read_json(self.folder.proc(self.name, "state.json")) or state)
        if verdict["how"] == "was not running":  # its guard had done it
            verdict["how"] = self._told or (state.get("stop") or _STEPS)[0][0]
        return verdict

    def _ask(self, state: dict[str, Any], request: dict[str, Any]) -> None:
        self._note("stop.json", request)  # on a full disk the signal alone asks for the ordinary sequence
        guard = proc.Proc(state["guard"][0], 0, 0, state["guard"][1])
        stop.deliver(guard, "TERM")

    def _tell(self, state: dict[str, Any]) -> None:
        name = state.get("signal") or ""
        if name not in ("", self._told):
            self._notify(name)

    def _notify(self, name: str) -> None:
        self._told = name
        self.call.emit("stopping", {"name": self.name, "signal": name})

    def _by_us(self, state: dict[str, Any]) -> dict[str, Any]:
        """No guard: what its last record leads to is stopped from here."""
        recorded = [*state["tree"], [*state["main"], state["main"][0]]]
        main = (state["main"][0], state["main"][1])
        stopping = stop.Stopping(
            main, lambda: proc.survivors(recorded), time.sleep, self._hurry, self._notify
        )
        verdict = stopping.run(state.get("stop") or _STEPS, self.grace)
        self._note("exit.json", {"code": None, "signal": "", "at": time.time(), "asked": True, **verdict})
        return verdict

    def _note(self, file: str, value: dict[str, Any]) -> None:
        try:
            write_json(self.folder.proc(self.name, file), value)
        except OSError:
            return  # a full disk must not hinder a stop, nor hide its verdict

    def _hurry(self) -> bool:
        return (read_json(self.folder.proc(self.name, "stop.json")) or {}).get("grace") == 0

    def _ports(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        wanted = [int(port) for port in state.get("ports") or ()]
        deadline = time.monotonic() + float(self.call.get("ports_free", _PORTS_FREE))
        while True:
            held = ports.listening(state.get("address") or "", wanted)
            if not held or time.monotonic() > deadline:
                return [{"port": h.port, "pid": h.pid, "command": h.command} for h in held]
            time.sleep(_LOOK)
