"""``watch``: log lines that match, health as it changes, exits as they happen."""

from __future__ import annotations

import threading

from . import ask
from .lines import Cursor, compile_regex, read_last_lines
from .log import Log
from .observe import ALIVE, is_known, observe_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .call import Call
    from .lines import Chunk
    from .shapes import Endpoint, Process

READY = "ready"
"""The pattern that a process's own ``line`` is reported under."""
TAIL = 40
"""Lines of its log that go with an exit."""
_LOOK = 0.15
_HEALTH_TIMEOUT = 2.0
_OK = 200


def answer(call: Call) -> dict[str, Any]:
    """Stream until cancelled."""
    patterns = [_Pattern(str(p["id"]), p["regex"], p.get("most")) for p in call.get("patterns", [])]
    watched = [_Watched(call, entry, patterns) for entry in call.get("processes", [])]
    asking = threading.Thread(target=_keep_asking, args=(call, watched), daemon=True)
    asking.start()
    while True:
        for one in watched:
            one.look()
        if call.pause(_LOOK):
            break
    asking.join(_HEALTH_TIMEOUT + 1.0)
    return {}


def _keep_asking(call: Call, watched: list[_Watched]) -> None:
    """Ask every endpoint of a live process, all at once, again and again.

    One that is healthy is asked for its models until it names the right one.
    """
    interval = max(0.05, float(call.get("interval", 0.5)))
    while True:
        alive = [endpoint for one in watched if one.alive for endpoint in one.endpoints]
        asked = [one for one in alive if one.spec["health"]]
        for one, answered in zip(asked, _ask(asked, "health")):
            one.take_health(answered)
        asked = [one for one in asked if one.wants_model()]
        for one, answered in zip(asked, _ask(asked, "models")):
            one.take_models(answered)
        for one in alive:
            one.report()
        if call.pause(interval):
            return


def _ask(endpoints: list[_Endpoint], path: str) -> list[dict[str, Any]]:
    urls = [one.spec["url"] + str(one.spec.get(path)) for one in endpoints]
    headers = [one.headers for one in endpoints]
    return ask.ask_all(
        [{"url": url, "headers": head, "timeout": _HEALTH_TIMEOUT} for url, head in zip(urls, headers)]
    )


class _Pattern:
    """A regular expression to look for. ``most``: lines of one log that are reported; None is all."""

    def __init__(self, name: str, regex: str, most: int | None = None) -> None:
        self.name = name
        self.most = most
        self.regex = compile_regex(regex)


class _Endpoint:
    """One endpoint under watch."""

    def __init__(self, call: Call, process: str, spec: Endpoint, headers: dict[str, str]) -> None:
        self.spec = spec
        self.headers = headers
        self._call = call
        self._process = process
        self._asked = False
        self._status: int | None = None
        self._named = False
        self._reported: tuple[bool, bool, int | None] | None = None

    def take_health(self, answered: dict[str, Any]) -> None:
        """Take in a response of its health path."""
        self._asked, self._status = True, answered["status"]
        self._named = self._named and self._status == _OK

    def wants_model(self) -> bool:
        """Whether it is healthy and has not named its model yet."""
        return self._status == _OK and self._has_model() and not self._named

    def _has_model(self) -> bool:
        return bool(self.spec["models"] and self.spec["model"])

    def take_models(self, answered: dict[str, Any]) -> None:
        """Take in a response of its models path."""
        self._named = ask.names_model(answered["body"], self.spec["model"])

    def report(self) -> None:
        """Send an event when the responses have changed."""
        ok = self._status == _OK
        now = (ok, ok and (self._named or not self._has_model()), self._status)
        if self._asked and now != self._reported:
            self._reported = now
            names = {"name": self._process, "endpoint": self.spec["name"]}
            self._call.emit("health", {**names, "ok": now[0], "models": now[1], "status": now[2]})


class _Watched:
    """One process under watch. ``entry``: name, offset, endpoints, headers, line."""

    def __init__(self, call: Call, entry: dict[str, Any], patterns: list[_Pattern]) -> None:
        self.alive = True
        headers = entry.get("headers") or {}
        name: str = entry["name"]
        self.endpoints = [_Endpoint(call, name, spec, headers) for spec in entry.get("endpoints") or ()]
        self._name = name
        self._call = call
        self._patterns = [*patterns, _Pattern(READY, entry["line"])] if entry.get("line") else patterns
        self._matched: dict[str, int] = {}
        self._log = Log(call.folder.proc(name))
        self._cursor = Cursor(self._log, int(entry.get("offset") or 0))
        self._exits: tuple[Any, ...] | None = None

    def look(self) -> None:
        """Report new lines, then the exit: its last lines come before it."""
        found = observe_process(self._call.folder, self._name)
        self.alive = found is not None and found["state"] in ALIVE
        while not self._call.over():
            chunk = self._cursor.next(ended=not self.alive)
            if chunk is None:
                break
            self._match(chunk)
        if found is not None and is_known(found):
            self._report_exit(found)

    def _match(self, chunk: Chunk) -> None:
        for text in chunk.lines:
            for pattern in self._patterns:
                seen = self._matched.get(pattern.name, 0)
                match = pattern.regex.search(text) if pattern.most is None or seen < pattern.most else None
                if match:
                    self._matched[pattern.name] = seen + 1
                    place = {"name": self._name, "pattern": pattern.name, "offset": chunk.offset}
                    self._call.emit("line", {**place, "text": text, "groups": match.groupdict()})

    def _report_exit(self, found: Process) -> None:
        """Once per exit; ``again``: its guard starts it again."""
        again = self.alive and found["restarts"] > 0
        seen = (found["started_at"], found["restarts"])
        if self.alive and self._exits is None:
            self._exits = seen
        gone = not self.alive and self._exits != (*seen, "gone")
        if not gone and not (again and self._exits is not None and seen != self._exits):
            return
        self._exits = (*seen, "gone") if gone else seen
        ending = {"code": found["exit_code"], "signal": found["signal"], "log": found["log"]}
        why = {"again": again, "asked": found["state"] == "stopped", "done": found["state"] == "done"}
        tail = read_last_lines(self._log, TAIL)
        self._call.emit("exit", {"name": self._name, **ending, **why, "tail": tail})
