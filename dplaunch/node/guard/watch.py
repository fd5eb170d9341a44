"""``watch``: log lines that match, health as it changes, exits as they happen."""

from __future__ import annotations

import re
import threading

from . import ask
from .lines import Cursor, last_lines
from .log import Log
from .observe import ALIVE, observe_process
from .store import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Pattern
    from typing import Any

    from .call import Call
    from .lines import Chunk
    from .shapes import Process

TAIL = 40
"""Lines of its log that go with an exit."""
_LOOK = 0.15
_HEALTH_TIMEOUT = 2.0
_OK = 200


def answer(call: Call) -> dict[str, Any]:
    """Stream until cancelled."""
    patterns = [
        _Pattern(str(p["id"]), _compiled(p["regex"]), p.get("most")) for p in call.get("patterns", [])
    ]
    watched = [_Watched(call, spec, patterns) for spec in call.get("processes", [])]
    asking = threading.Thread(target=_ask_on, args=(call, watched), daemon=True)
    asking.start()
    while True:
        for one in watched:
            one.look()
        if call.pause(_LOOK):
            break
    asking.join(_HEALTH_TIMEOUT + 1.0)
    return {}


def _compiled(text: str) -> Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise Refused("request", f"{text!r} is no regular expression: {error}") from error


def _ask_on(call: Call, watched: list[_Watched]) -> None:
    """Ask every live process at once, again and again; for its models only until it names the right one."""
    interval = max(0.05, float(call.get("interval", 0.5)))
    while True:
        for one, said in _ask([one for one in watched if one.alive and one.url], "health", "/health"):
            one.heard_health(said)
        for one, said in _ask([one for one in watched if one.model_wanted()], "models", "/v1/models"):
            one.heard_models(said)
        for one in watched:
            one.tell_health()
        if call.pause(interval):
            return


def _ask(asked: list[_Watched], path: str, default: str) -> list[tuple[_Watched, dict[str, Any]]]:
    requests = [
        {"url": one.url + (one.spec.get(path) or default), "headers": one.headers, "timeout": _HEALTH_TIMEOUT}
        for one in asked
    ]
    return [(asked[place], said) for place, said in enumerate(ask.ask_all(requests))]


class _Pattern:
    """``most``: how many lines of one log are told; None is all."""

    def __init__(self, name: str, regex: Pattern[str], most: int | None) -> None:
        self.name = name
        self.regex = regex
        self.most = most


class _Watched:
    """One process under watch. ``spec``: name, offset, url, health, models, model, headers."""

    def __init__(self, call: Call, spec: dict[str, Any], patterns: list[_Pattern]) -> None:
        self.name: str = spec["name"]
        self.headers: dict[str, str] = spec.get("headers") or {}
        self.alive = True
        self._call = call
        self.spec = spec
        self.url = str(spec.get("url") or "").rstrip("/")
        self._patterns = patterns
        self._matched: dict[str, int] = {}
        self._log = Log(call.folder.proc(self.name))
        self._cursor = Cursor(self._log, int(spec.get("offset") or 0))
        self._status: int | None = None
        self._asked = False
        self._models = False
        self._told: tuple[Any, ...] | None = None
        self._exits: tuple[Any, ...] | None = None

    def heard_health(self, said: dict[str, Any]) -> None:
        """An answer of /health."""
        self._status = said["status"]
        self._asked = True
        if self._status != _OK:
            self._models = False

    def model_wanted(self) -> bool:
        """Healthy, and it has yet to name the model that is waited for."""
        return self.alive and self._status == _OK and bool(self.spec.get("model")) and not self._models

    def heard_models(self, said: dict[str, Any]) -> None:
        """An answer of /v1/models."""
        self._models = ask.names_model(said["body"], self.spec["model"])

    def tell_health(self) -> None:
        """Tell the launcher when the answers mean something new."""
        ok = self._status == _OK
        told = (ok, ok and (self._models or not self.spec.get("model")), self._status)
        if self._asked and told != self._told:
            self._told = told
            fields = {"name": self.name, "ok": told[0], "models": told[1], "status": told[2]}
            self._call.emit("health", fields)

    def look(self) -> None:
        """New lines, then the exit: its last lines come before it."""
        found = observe_process(self._call.folder, self.name)
        self.alive = found is not None and found["state"] in ALIVE
        while not self._call.over():
            chunk = self._cursor.next(ended=not self.alive)
            if chunk is None:
                break
            self._match(chunk)
        if found is not None:
            self._tell_exit(found)

    def _match(self, chunk: Chunk) -> None:
        for text in chunk.lines:
            for pattern in self._patterns:
                seen = self._matched.get(pattern.name, 0)
                match = pattern.regex.search(text) if pattern.most is None or seen < pattern.most else None
                if match:
                    self._matched[pattern.name] = seen + 1
                    fields = {
                        "name": self.name,
                        "pattern": pattern.name,
                        "text": text,
                        "offset": chunk.offset,
                    }
                    self._call.emit("line", {**fields, "groups": match.groupdict()})

    def _tell_exit(self, found: Process) -> None:
        """Once per exit; ``again``: its guard starts it again."""
        again = self.alive and found["restarts"] > 0
        seen = (found["started_at"], found["restarts"])
        if self.alive and self._exits is None:
            self._exits = seen
        gone = not self.alive and self._exits != (*seen, "gone")
        if not gone and not (again and self._exits is not None and seen != self._exits):
            return
        self._exits = (*seen, "gone") if gone else seen
        said = {"code": found["exit_code"], "signal": found["signal"], "log": found["log"]}
        more = {"again": again, "asked": found["state"] == "stopped", "tail": last_lines(self._log, TAIL)}
        self._call.emit("exit", {"name": self.name, **said, **more})
