"""``watch``: log lines that match, health as it changes, exits as they happen."""

from __future__ import annotations

import re
import threading

from . import ask, observe
from .lines import Cursor, last_lines
from .log import Log
from .store import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Pattern
    from typing import Any

    from .lines import Chunk
    from .session import Call

TAIL = 40
"""Lines of its log that go with an exit."""
_LOOK = 0.15
_HEALTH_TIMEOUT = 2.0


def answer(call: Call) -> dict[str, Any]:
    """Stream until cancelled."""
    patterns = [(str(p["id"]), _compiled(p["regex"])) for p in call.get("patterns", [])]
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
    """Ask every live process at once, again and again."""
    interval = max(0.05, float(call.get("interval", 0.5)))
    while True:
        asked = [(one, url) for one in watched if one.alive for url in one.urls()]
        requests = [{"url": u, "headers": one.headers, "timeout": _HEALTH_TIMEOUT} for one, u in asked]
        answers: dict[str, list[dict[str, Any]]] = {}
        for place, said in enumerate(ask.ask_all(requests)):
            answers.setdefault(asked[place][0].name, []).append(said)
        for one in watched:
            if one.name in answers:
                one.judge(answers[one.name])
        if call.pause(interval):
            return


class _Watched:
    """One process under watch. ``spec``: name, offset, url, health, models, model, headers."""

    def __init__(self, call: Call, spec: dict[str, Any], patterns: list[tuple[str, Pattern[str]]]) -> None:
        self.name: str = spec["name"]
        self.headers: dict[str, str] = spec.get("headers") or {}
        self.alive = True
        self._call = call
        self._spec = spec
        self._patterns = patterns
        self._log = Log(call.folder.proc(self.name))
        self._cursor = Cursor(self._log, int(spec.get("offset") or 0))
        self._health: tuple[Any, ...] | None = None
        self._exits: tuple[Any, ...] | None = None

    def urls(self) -> list[str]:
        """What to ask: /health, and /v1/models where a model is expected."""
        base = str(self._spec.get("url") or "").rstrip("/")
        if not base:
            return []
        urls = [base + (self._spec.get("health") or "/health")]
        return urls + ([base + (self._spec.get("models") or "/v1/models")] if self._spec.get("model") else [])

    def judge(self, answers: list[dict[str, Any]]) -> None:
        """Tell the launcher when the answers mean something new."""
        status = answers[0]["status"]
        ok = status == 200  # noqa: PLR2004 - HTTP OK
        model = self._spec.get("model")
        models = ok and (not model or ask.names_model(answers[1]["body"], model))
        if (ok, models, status) != self._health:
            self._health = (ok, models, status)
            self._call.emit("health", {"name": self.name, "ok": ok, "models": models, "status": status})

    def look(self) -> None:
        """New lines, then the exit: its last lines come before it."""
        found = observe.process(self._call.folder, self.name)
        self.alive = found is not None and found["state"] in observe.ALIVE
        while not self._call.over():
            chunk = self._cursor.next(ended=not self.alive)
            if chunk is None:
                break
            self._match(chunk)
        if found is not None:
            self._tell_exit(found)

    def _match(self, chunk: Chunk) -> None:
        for text in chunk.lines:
            for number, pattern in self._patterns:
                match = pattern.search(text)
                if match:
                    fields = {"name": self.name, "pattern": number, "text": text, "offset": chunk.offset}
                    self._call.emit("line", {**fields, "groups": match.groupdict()})

    def _tell_exit(self, found: dict[str, Any]) -> None:
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
