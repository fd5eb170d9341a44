"""``follow``: logs of some processes as lines with offsets."""

from __future__ import annotations

import glob

from .lines import Cursor, compile_regex
from .log import Log
from .observe import ALIVE, is_known, observe_process
from .own_file import OwnFile
from .state import load_state
from .store import Folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Pattern
    from typing import Any

    from .call import Call
    from .lines import Chunk
    from .shapes import Process, Source, Stream

_LOOK = 0.15
_ALIVE_EVERY = 3
"""Looks without a new line between two questions whether a process is still alive."""


def answer(call: Call) -> dict[str, Any]:
    """Stream until all is read, or with ``follow`` until cancelled; the reply has the ``offsets`` reached."""
    pattern = compile_regex(call.get("grep") or "")
    wanted: list[Stream] = call.get("streams", [])
    if call.get("previous"):  # of the run before only stdout is known
        wanted = [one for one in wanted if not one.get("file")]
    streams = [_Following(call, one, pattern) for one in wanted]
    forever = bool(call.get("follow"))
    while not call.over():
        busy = [stream for stream in streams if stream.pump(last=not forever)]
        if busy:
            continue
        if not forever or call.pause(_LOOK):
            break
        for stream in streams:
            stream.look_for_end()
    return {"offsets": [{**stream.label, "offset": stream.cursor.offset} for stream in streams]}


def open_log(folder: Folder, process: str, file: str, *, previous: bool) -> Source:
    """The log of stdout and stderr (``file`` is empty), or one that the process writes itself.

    A log that the process does not know has no bytes.
    """
    if not file:
        return Log(folder.proc(process), "log.prev" if previous else "log")
    state = load_state(folder, process)
    paths = [log["path"] for log in state["logs"] if log["name"] == file] if state else []
    return OwnFile(f"{glob.escape(folder.root)}/{paths[0]}" if paths else "")


class _Following:
    """One log on its way to the launcher."""

    def __init__(self, call: Call, wanted: Stream, pattern: Pattern[str]) -> None:
        self.label = {"process": wanted["process"], "file": wanted.get("file") or ""}
        self._name = wanted["process"]
        self._names = {"name": self._name, "file": self.label["file"]}
        self._call = call
        self._pattern = pattern
        self._ended = False
        self._reported = False
        self._looks = 0
        log = open_log(call.folder, **self.label, previous=bool(call.get("previous")))
        self.cursor = Cursor(log, self._begin(log, wanted.get("offset")))
        self._runs = 0
        self._look_at_process()

    def _begin(self, log: Source, offset: int | None) -> int:
        """An offset to resume from wins; else the later of ``since`` and ``tail``; else the beginning."""
        if offset is not None:
            return int(offset)
        log.run()
        since, tail = self._call.get("since"), self._call.get("tail")
        start = 0 if since is None else log.since(float(since))
        return start if tail is None else max(start, log.tail(int(tail)))

    def _look_at_process(self) -> Process | None:
        """Learn whether it has ended: then nothing will complete a last partial line."""
        found = observe_process(self._call.folder, self._name)
        self._ended = found is None or (is_known(found) and found["state"] not in ALIVE and not found["left"])
        return found

    def look_for_end(self) -> None:
        """All is read: report, once, that this run will not log any more."""
        self._looks += 1
        if self._reported or self._looks % _ALIVE_EVERY:
            return
        was_ended, found = self._ended, self._look_at_process()
        if was_ended and self._ended and found:
            self._reported = True
            ending = {"code": found["exit_code"], "signal": found["signal"], "state": found["state"]}
            self._call.emit("ended", {**self._names, **ending})

    def pump(self, *, last: bool) -> bool:
        """Send the next lines; False when there are none."""
        chunk = self.cursor.next(ended=self._ended or last)
        if self.cursor.runs != self._runs:
            self._runs, self._ended, self._reported = self.cursor.runs, False, False
            self._call.emit("restarted", self._names)
        if chunk is None:
            return False
        self._send(chunk)
        return True

    def _send(self, chunk: Chunk) -> None:
        if chunk.lost:
            self._call.emit("gap", {**self._names, "lost": chunk.lost})
        lines = [line for line in chunk.lines if self._pattern.search(line)]
        if lines:
            span = {"offset": chunk.offset, "end": chunk.end}
            self._call.emit("log", {**self._names, **span, "lines": lines})
