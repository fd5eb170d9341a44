"""The walk of ``logs``: one stream per node, resumed from its offsets when a link breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dplaunch.fleet.fleet import Request
from dplaunch.fleet.job import Job
from dplaunch.model.event import NodeFailed, Note
from dplaunch.model.log import LogChunk

FOREVER = 10.0 * 365 * 86400
FETCH_DEADLINE = 600.0
"""Seconds for a fetch that does not follow."""
RECONNECT_EVERY = 3.0


@dataclass(frozen=True, slots=True)
class LogQuery:
    """The flags of ``logs``. ``since`` is seconds ago."""

    tail: int | None = 100
    since: float | None = None
    grep: str | None = None
    previous: bool = False
    follow: bool = False
    patience: float = FETCH_DEADLINE


Sink = Callable[[LogChunk], None]


class Following:
    """Streams of several nodes into one sink; nothing lost, nothing twice.

    ``on_restart`` is told when a process began a new run: its log begins at 0 again.
    """

    def __init__(self, job: Job, names: Iterable[tuple[str, str]], query: LogQuery, sink: Sink) -> None:
        self._job = job
        self._query = query
        self._sink = sink
        self.on_restart: Callable[[str], None] = lambda _: None
        self._names: dict[str, list[str]] = {}
        for process, node in names:
            self._names.setdefault(node, []).append(process)
        self._offsets: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        self._told: set[str] = set()
        self.refusals: list[str] = []

    def run(self) -> None:
        """Until every stream ended; with ``follow`` until interrupted (raises Interrupted)."""
        self._ask(set(self._names) & set(self._job.fleet.sessions))
        deadline = self._job.now + (FOREVER if self._query.follow else self._query.patience)
        while self._waiting:
            tick = min(deadline, self._job.now + RECONNECT_EVERY)
            self._job.fleet.listen(self._take, until=lambda: not self._waiting, deadline=tick)
            self._resume()
            if self._job.now >= deadline:
                return

    def _ask(self, nodes: set[str]) -> None:
        for node in sorted(nodes):
            number = self._job.fleet.send(node, self._request(node))
            if number is not None:
                self._waiting[node] = number

    def _request(self, node: str) -> Request:
        names = self._names[node]
        resumed = {name: self._offsets[name] for name in names if name in self._offsets}
        query = self._query
        clock = float(self._job.fleet.sessions[node].hello["clock"])
        fields = {
            "names": names,
            "offsets": resumed,
            "tail": query.tail,
            "since": None if query.since is None else clock - query.since,
            "grep": query.grep,
            "previous": query.previous,
            "follow": query.follow,
        }
        return "follow", fields

    def _take(self, node: str, message: Mapping[str, Any]) -> None:
        if message.get("event") == "log":
            self._on_log(node, message)
        elif message.get("event") == "restarted":
            self._offsets.pop(message["name"], None)
            self.on_restart(message["name"])
        elif message.get("event") == "gap":
            text = f"{message['name']}: {message['lost']} bytes of its log were dropped before they were read"
            self._job.emit(Note(at=self._job.now, text=text))
        elif "event" not in message and message.get("id") == self._waiting.get(node):
            del self._waiting[node]
            if not message["ok"]:
                self.refusals.append(f"{node}: {message['error']['text']}")

    def _on_log(self, node: str, message: Mapping[str, Any]) -> None:
        name = message["name"]
        if message["end"] <= self._offsets.get(name, -1):
            return
        self._offsets[name] = message["end"]
        lines = tuple(message["lines"])
        self._sink(
            LogChunk(process=name, node=node, offset=message["offset"], end=message["end"], lines=lines)
        )

    def _resume(self) -> None:
        lost = set(self._waiting) - set(self._job.fleet.sessions)
        for node in lost:
            if node not in self._told:  # once per loss, however long it lasts
                error = self._job.fleet.unreached[node]
                self._job.emit(NodeFailed(at=self._job.now, node=node, text=error.text, hint=error.hint))
            self._told.add(node)
            if not self._query.follow:
                del self._waiting[node]
        if not lost or not self._query.follow:
            return
        self._job.fleet.open(lost)
        back = lost & set(self._job.fleet.sessions)
        self._told -= back
        for node in sorted(back):
            self._job.emit(
                Note(at=self._job.now, text=f"{node} is back, its logs go on where they broke off")
            )
        self._ask(back)
