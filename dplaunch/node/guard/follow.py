"""``follow``: the logs of some processes as lines with offsets."""

from __future__ import annotations

import re

from .lines import Cursor
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

_LOOK = 0.15
_ALIVE_EVERY = 3
"""Looks without a new line between two questions whether a process still runs."""


def answer(call: Call) -> dict[str, Any]:
    """Stream until all is read, or with ``follow`` until cancelled; the reply has the ``offsets`` reached."""
    pattern = compiled(call.get("grep"))
    streams = [_Stream(call, name, pattern) for name in call.get("names", [])]
    forever = bool(call.get("follow"))
    while not call.over():
        busy = [stream for stream in streams if stream.pump(last=not forever)]
        if busy:
            continue
        if not forever or call.pause(_LOOK):
            break
        for stream in streams:
            stream.rest()
    return {"offsets": {stream.name: stream.cursor.offset for stream in streams}}


def compiled(text: str | None) -> Pattern[str] | None:
    """Raises Refused for what is no regular expression."""
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise Refused("request", f"{text!r} is no regular expression: {error}") from error


class _Stream:
    """One process's log on its way out."""

    def __init__(self, call: Call, name: str, pattern: Pattern[str] | None) -> None:
        self.name = name
        self._call = call
        self._pattern = pattern
        self._home = call.folder.proc(name)
        self._ended = False
        self._told = False
        self._looks = 0
        log = Log(self._home, "log.prev" if call.get("previous") else "log")
        self.cursor = Cursor(log, self._begin(log))
        self._runs = 0
        self._look_at_process()

    def _begin(self, log: Log) -> int:
        """An offset to resume from wins; else the later of ``since`` and ``tail``; else the beginning."""
        call = self._call
        offset = call.get("offsets", {}).get(self.name)
        if offset is not None:
            return int(offset)
        start = 0
        if call.get("since") is not None:
            start = log.since(float(call.get("since")))
        if call.get("tail") is not None:
            start = max(start, log.tail(int(call.get("tail"))))
        return start

    def _look_at_process(self) -> Process | None:
        """Learn whether it ended: then a last partial line is all that will come of it."""
        found = observe_process(self._call.folder, self.name)
        self._ended = found is None or (found["state"] not in ALIVE and not found["left"])
        return found

    def rest(self) -> None:
        """All is read: tell, once, that no more will come of this run."""
        self._looks += 1
        if self._told or self._looks % _ALIVE_EVERY:
            return
        was_ended, found = self._ended, self._look_at_process()
        if was_ended and self._ended and found:
            self._told = True
            said = {"code": found["exit_code"], "signal": found["signal"], "state": found["state"]}
            self._call.emit("ended", {"name": self.name, **said})

    def pump(self, *, last: bool) -> bool:
        """Send the next lines; False when there are none."""
        chunk = self.cursor.next(ended=self._ended or last)
        if self.cursor.runs != self._runs:
            self._runs, self._ended, self._told = self.cursor.runs, False, False
            self._call.emit("restarted", {"name": self.name})
        if chunk is None:
            return False
        self._send(chunk)
        return True

    def _send(self, chunk: Chunk) -> None:
        if chunk.lost:
            self._call.emit("gap", {"name": self.name, "lost": chunk.lost})
        lines = [line for line in chunk.lines if self._pattern is None or self._pattern.search(line)]
        if lines:
            span = {"offset": chunk.offset, "end": chunk.end}
            self._call.emit("log", {"name": self.name, **span, "lines": lines})
