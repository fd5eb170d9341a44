"""``stop``: ask the guards, or stop what has lost its guard; then look whether everything is free."""

from __future__ import annotations

import threading
import time

from . import ports, proc
from .handover import survivors
from .observe import ALIVE, is_guarded, observe_process
from .segments import Segments
from .state import guard_lives, load_exit, load_state
from .stop_sequence import STEPS, Stopping, deliver, patience
from .store import read_json, write_json
from .strays import find_strays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .call import Call
    from .proc import Proc
    from .shapes import Process, State, Verdict

_ASKING = threading.Lock()
_LOOK = 0.02
_LAST_LOOK = 0.25
_REWRITE = 10.0
"""Seconds in which a guard notices that its state was lost: it looks every four."""
_PORTS_FREE = 10.0
"""Seconds a port may take to become free after the last process that held it: the kernel ends an engine of
hundreds of threads and gigabytes thread by thread."""


def answer(call: Call) -> dict[str, Any]:
    """Stop all ``names`` at once: a verdict each, as event and in ``results``."""
    names = list(call.get("names", []))
    results: dict[str, Verdict] = {}
    search = _Search(call.folder.root)

    def stop_one(name: str) -> None:
        try:
            results[name] = _Stop(call, name, search).run()
        except Exception as error:
            results[name] = _verdict(name, "failed")
            results[name]["kind"], results[name]["problem"] = "guard", f"the stop of {name} failed: {error}"
        call.emit("stopped", {**results[name]})

    threads = [threading.Thread(target=stop_one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"results": [results[name] for name in names]}


def _verdict(name: str, how: str) -> Verdict:
    return {
        "name": name,
        "how": how,
        "seconds": 0.0,
        "left": [],
        "ports": [],
        "kind": "",
        "problem": "",
        "hint": "",
    }


class _Search:
    """``find_strays`` for several at once: looking at all processes of a machine takes its time."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._began = 0.0
        self._found: dict[str, list[Proc]] = {}

    def of(self, name: str) -> list[Proc]:
        """Those of one process, by a look that began after this call."""
        asked = time.monotonic()
        with self._lock:
            if self._began < asked:
                self._began = time.monotonic()
                self._found = find_strays(self._root)
            return self._found.get(name, [])


class _Stop:
    """The stop of one process."""

    def __init__(self, call: Call, name: str, search: _Search) -> None:
        self._call = call
        self._name = name
        self._search = search
        self._folder = call.folder
        grace = call.get("grace")
        self._grace: float | None = None if grace is None else float(grace)
        self._reported = ""

    def run(self) -> Verdict:
        """How it went, what is left of it, which of its ports are still taken."""
        began = time.monotonic()
        verdict = _verdict(self._name, "was not running")
        found, state = self._observe(), load_state(self._folder, self._name)
        if found and found["state"] in ("foreign", "incompatible"):
            verdict["how"], verdict["kind"] = "left alone", found["state"]
            verdict["problem"], verdict["hint"] = found["problem"], found["hint"]
        elif found and state and found["state"] in ALIVE and guard_lives(state):
            self._stop_by_guard(state, verdict)
        elif found and state and (found["state"] in ALIVE or found["left"]):
            self._stop_by_us(state, verdict)
        if verdict["how"] not in ("left alone", "asked"):
            self._end_strays(verdict)
            verdict["problem"] = "" if verdict["left"] or state else self._find_silent_guard()
            verdict["kind"] = "unreadable" if verdict["problem"] else ""
        if state and self._call.get("ports"):
            verdict["ports"] = self._held_ports(state)
        verdict["seconds"] = round(time.monotonic() - began, 3)
        return verdict

    def _observe(self) -> Process | None:
        """The process; where its state was lost under its guard, once the guard has written it again."""
        deadline = time.monotonic() + float(self._call.get("rewrite", _REWRITE))
        while True:
            found = observe_process(self._folder, self._name)
            if found is None or found["state"] != "unknown" or time.monotonic() > deadline:
                return found
            if not is_guarded(self._folder, self._name) or self._call.pause(_LAST_LOOK):
                return found

    def _stop_by_guard(self, state: State, verdict: Verdict) -> None:
        """Ask the guard and wait for it; it finishes the stop even if this session ends."""
        self._ask(state)
        limit = patience(state["stop"], self._grace)
        deadline = time.monotonic() + float(self._call.get("patience", limit))
        look = _LOOK
        while guard_lives(state) and time.monotonic() < deadline:
            self._report_signal()
            if self._call.over():
                break
            self._call.pause(look)
            look = min(look * 1.3, _LAST_LOOK)
        self._report_signal()
        ended = load_exit(self._folder, self._name)
        if ended and ended.get("asked"):
            verdict["how"], verdict["left"] = ended["how"], ended["left"]
        elif self._call.over():
            verdict["how"] = "asked"
        else:
            self._stop_instead_of_guard(state, verdict)

    def _stop_instead_of_guard(self, state: State, verdict: Verdict) -> None:
        """It did not answer in time, or could not write its verdict: end it and look ourselves."""
        deliver(_guard_of(state), "KILL")
        self._stop_by_us(load_state(self._folder, self._name) or state, verdict)
        if verdict["how"] == "was not running":  # the guard had stopped it
            verdict["how"] = self._reported or state["stop"][0][0]

    def _ask(self, state: State) -> None:
        # On a full disk the signal alone asks for the ordinary sequence.
        with _ASKING:
            if not self._hurry():  # a later request that skips the grace may have been faster
                self._write("stop.json", {"grace": self._grace, "at": time.time()})
        deliver(_guard_of(state), "TERM")

    def _report_signal(self) -> None:
        state = load_state(self._folder, self._name)
        name = state["signal"] if state else ""
        if name not in ("", self._reported):
            self._notify(name)

    def _notify(self, name: str) -> None:
        self._reported = name
        self._call.emit("stopping", {"name": self._name, "signal": name})

    def _stop_by_us(self, state: State, verdict: Verdict) -> None:
        """Without a guard: stop from here what its last record leads to."""
        main = (state["main"][0], state["main"][1])
        segments = Segments(state["started_at"], state["shared"])
        segments.note(lambda: [one.pid for one in survivors(state)])
        stopping = Stopping(main, lambda: survivors(state), time.sleep, self._hurry, self._notify)
        ending = stopping.run(state["stop"], self._grace)
        segments.sweep()
        self._write("exit.json", {"code": None, "signal": "", "at": time.time(), "asked": True, **ending})
        verdict["how"], verdict["left"] = ending["how"], ending["left"]

    def _end_strays(self, verdict: Verdict) -> None:
        """End what the state did not lead to, but carries the names of this process in its environment."""

        def family() -> list[proc.Proc]:
            return self._search.of(self._name)

        rest = family()
        if rest:
            main = (rest[0].pid, rest[0].start)
            ending = Stopping(main, family, time.sleep, self._hurry, self._notify).run(STEPS, self._grace)
            verdict["how"], verdict["left"] = ending["how"], ending["left"]

    def _find_silent_guard(self) -> str:
        """What is left where no state could be read: a guard that neither wrote it again nor ended."""
        deadline = time.monotonic() + _LAST_LOOK
        while is_guarded(self._folder, self._name):
            if time.monotonic() > deadline:
                return f"a guard of {self._name} lives, but does not write its state"
            time.sleep(_LOOK)
        return ""

    def _write(self, file: str, value: Mapping[str, Any]) -> None:
        try:
            write_json(self._folder.proc(self._name, file), value)
        except OSError:
            return  # a full disk must neither prevent a stop nor hide its verdict

    def _hurry(self) -> bool:
        return (read_json(self._folder.proc(self._name, "stop.json")) or {}).get("grace") == 0

    def _held_ports(self, state: State) -> list[dict[str, Any]]:
        wanted = [int(port) for port in state["ports"]]
        deadline = time.monotonic() + float(self._call.get("ports_free", _PORTS_FREE))
        while True:
            held = ports.list_holders(state["address"], wanted)
            if not held or time.monotonic() > deadline:
                return [{"port": h.port, "pid": h.pid, "command": h.command} for h in held]
            time.sleep(_LOOK)


def _guard_of(state: State) -> proc.Proc:
    return proc.Proc(state["guard"][0], 0, 0, state["guard"][1])
