"""``survey``: the commands of a preflight in parallel lanes, each bounded, and who holds which port.

A tool that hangs, floods or crashes delays its own lane by its own timeout, and nothing else.
"""

from __future__ import annotations

import re
import threading
import time

from . import claims, observe, ports, strangers
from .store import Refused, read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .call import Call

TEXT = 64 << 10
"""Characters kept of each stream: what a probe reads is short."""
FREE_LANES = 8
"""Commands without a lane that run at once."""
TRIES = 6
PAUSE = 0.3
"""Seconds before a busy tool is asked again, growing by as much each time."""
NOT_FOUND = 127
TIMED_OUT = "timed out after"
REPORT_EVERY = 0.5
LOOK = 0.1
"""Seconds between two looks whether the survey is still wanted."""
STUCK = "did not end, could not be killed"
NOT_RUN = "not run: the survey's time was up"
LATE = 3.0
"""Seconds after the survey's time in which a lane ends what it runs; after that it is given up."""
HANGS = 3
"""Commands of one lane that hang in a row before the rest of the lane is given up."""


class Survey:
    """One request: its lanes, and the results so far."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.began = time.monotonic()
        self._begun: dict[int, float] = {}
        """When a lane began a command, by its place in the request."""
        self._done: dict[int, dict[str, Any]] = {}
        """Results by place, in the order they ended."""
        self._ends = self.began + float(call.get("limit", 300.0))
        self._slots = threading.Semaphore(FREE_LANES)
        self._reported = self.began

    def run(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The results of all commands; a lane that never returns loses only its own."""
        lanes: dict[Any, list[tuple[int, dict[str, Any]]]] = {}
        for place, command in enumerate(commands):
            lanes.setdefault(command.get("lane") or place, []).append((place, command))
        threads = [
            threading.Thread(target=self._lane, args=(name, lane, len(commands)), daemon=True)
            for name, lane in lanes.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and not self._late():
                thread.join(LOOK)
        done = dict(self._done)  # a lane may still add to it
        lost = (self._lost(place, commands[place]) for place in range(len(commands)) if place not in done)
        return [*done.values(), *lost]

    def _late(self) -> bool:
        if self.call.over():  # nothing waits for the results any more: end now
            self._ends = min(self._ends, time.monotonic())
        return time.monotonic() > self._ends + LATE

    def _lost(self, place: int, command: dict[str, Any]) -> dict[str, Any]:
        now = time.monotonic()
        problem = STUCK if place in self._begun else NOT_RUN
        seconds = round(now - self._begun.get(place, now), 4)
        return {"key": command.get("key"), **_nothing(problem), "seconds": seconds}

    def _lane(self, name: Any, commands: list[tuple[int, dict[str, Any]]], count: int) -> None:
        own = threading.Semaphore()
        hangs = 0
        for place, command in commands:
            with own if isinstance(name, str) else self._slots:
                self._begun[place] = time.monotonic()
                result = self._one(command) if hangs < HANGS else self._given_up(command)
            hangs = hangs + 1 if result["problem"].startswith(TIMED_OUT) else hangs * (hangs >= HANGS)
            self._done[place] = result
            self._report(count)

    def _given_up(self, command: dict[str, Any]) -> dict[str, Any]:
        problem = f"not run: the {HANGS} calls before it did not end"
        return {"key": command.get("key"), **_nothing(problem), "seconds": 0.0}

    def _report(self, count: int) -> None:
        now = time.monotonic()
        if now - self._reported > REPORT_EVERY:
            self._reported = now
            self.call.emit("surveyed", {"done": len(self._done), "count": count})

    def _one(self, command: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        answer = self._patiently(command)
        return {"key": command.get("key"), **answer, "seconds": round(time.monotonic() - began, 4)}

    def _patiently(self, command: dict[str, Any]) -> dict[str, Any]:
        """Run a command, and repeat it a few times while its output matches ``again``."""
        answer = self._run(command)
        if not command.get("again"):
            return answer
        busy = re.compile(command["again"])
        for attempt in range(1, TRIES):
            if not busy.search(answer["out"] + answer["err"]) or self.call.pause(PAUSE * attempt):
                return answer
            answer = self._run(command)
        still = busy.search(answer["out"] + answer["err"])
        return {**answer, "problem": f"busy, tried {TRIES} times"} if still else answer

    def _run(self, command: dict[str, Any]) -> dict[str, Any]:
        if command.get("path"):
            return _read(command["path"])
        argv, timeout = [str(word) for word in command.get("argv", [])], float(command.get("timeout", 10.0))
        left = self._ends - time.monotonic()
        if left <= 0 or self.call.over():
            return _nothing(NOT_RUN)
        from .exec_verb import run  # noqa: PLC0415 - reading files needs no subprocess

        try:
            done = run(argv, "/", min(timeout, left), self.call.over)
        except Refused as refused:
            return _nothing(_why(refused, min(timeout, left)))
        problem = "not found" if done["code"] == NOT_FOUND else ""
        return {
            "code": done["code"],
            "out": done["out"][:TEXT],
            "err": done["err"][:TEXT],
            "problem": problem,
        }


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            text = file.read(TEXT).decode("utf-8", "replace")
    except OSError as error:
        return _nothing("not found" if isinstance(error, FileNotFoundError) else str(error.strerror))
    return {"code": 0, "out": text, "err": "", "problem": ""}


def _why(refused: Refused, timeout: float) -> str:
    if isinstance(refused.__cause__, FileNotFoundError):
        return "not found"
    kind, text = refused.error["kind"], refused.error["text"]
    late = f"{TIMED_OUT} {timeout:g} s"
    return {"timeout": late, "unkillable": f"{late}, could not be killed"}.get(kind, str(text))


def _nothing(problem: str) -> dict[str, Any]:
    return {"code": None, "out": "", "err": "", "problem": problem}


def answer(call: Call) -> dict[str, Any]:
    """The verb ``survey``. ``seconds`` is the time that this node took."""
    survey = Survey(call)
    results = survey.run(call.get("commands", []))
    address, wanted = str(call.get("address", "")), call.get("ports", [])
    taken = [
        {"port": h.port, "pid": h.pid, "user": h.user, "command": h.command}
        for h in ports.list_holders(address, wanted)
    ]
    others = claims.overlapping(claims.list_claims(call.folder), address, wanted, call.get("devices", []))
    ours, titles = observe.list_pids(call.folder), call.get("titles", [])
    return {
        "results": results,
        "taken": taken,
        "claims": others,
        "ours": ours,
        "strangers": strangers.find_strangers(ours, titles) if titles else [],
        "saved": read_json(call.folder.path("fingerprint.json")),
        "seconds": round(time.monotonic() - survey.began, 4),
    }
