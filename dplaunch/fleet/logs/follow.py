"""The walk of ``logs``: one stream per node, resumed from its offsets when a link breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dplaunch.fleet.job import Job
from dplaunch.model.log import LogChunk
from dplaunch.model.remote import (
    LinesLost,
    LinesRead,
    LogQuery,
    LogRestarted,
    LogSource,
    Signal,
    Stream,
    StreamEnded,
)
from dplaunch.ranges import grouped

FOREVER = 10.0 * 365 * 86400
FETCH_DEADLINE = 600.0
"""Seconds for a fetch that does not follow."""
QUIET = 60.0
"""Seconds of a fetch without a line: a node may search a long log for a rare one."""
RECONNECT_EVERY = 3.0

Sink = Callable[[LogChunk], None]
Source = tuple[str, str]
"""Process and file; the file is empty for the output."""


def log_name(process: str, file: str) -> str:
    """``decode-3``, or ``decode-3:workerlog`` for a file it writes itself."""
    return f"{process}:{file}" if file else process


class Following:
    """Streams of several nodes into one sink; no line lost, none twice.

    ``names``: process, node and, for a file the process writes itself, the file. ``on_restart`` is called
    when a process began a new run: its log begins at 0 again.
    """

    def __init__(
        self,
        job: Job,
        sources: Iterable[tuple[str, str, str]],
        query: LogQuery,
        sink: Sink,
        patience: float = FETCH_DEADLINE,
    ) -> None:
        self._job = job
        self._query = query
        self._sink = sink
        self._patience = FOREVER if query.follow else patience
        self.on_restart: Callable[[str], None] = lambda _: None
        self._sources = grouped((node, (process, file)) for process, node, file in sources)
        self._offsets: dict[Source, int] = {}
        self._waiting: dict[str, Stream] = {}
        self._heard = job.now
        self._reported: set[str] = set()
        """Nodes whose loss was reported: once per loss, however long it lasts."""
        self.refusals: list[str] = []

    def run(self) -> None:
        """Until every stream ended; with ``follow`` until interrupted (raises Interrupted)."""
        self._ask([node for node in self._sources if node in self._job.driver.reached])
        self._heard = self._job.now
        deadline = self._job.now + self._patience
        while self._waiting:
            tick = min(deadline, self._job.now + RECONNECT_EVERY)
            self._job.driver.listen(self._take, until=lambda: not self._waiting, deadline=tick)
            self._resume()
            if self._job.now >= deadline or (not self._query.follow and self._job.now >= self._heard + QUIET):
                self.refusals += [f"{node} did not send its logs to their end" for node in self._waiting]
                return

    def _ask(self, nodes: Iterable[str]) -> None:
        for node in sorted(nodes):
            sources = [LogSource(p, f, self._offsets.get((p, f))) for p, f in self._sources[node]]
            stream = self._job.driver.follow(node, sources, self._query)
            if stream is not None:
                self._waiting[node] = stream

    def _take(self, signal: Signal) -> None:
        self._heard = self._job.now
        match signal:
            case LinesRead() if (signal.process, signal.file) in self._sources.get(signal.node, ()):
                self._on_lines(signal)
            case LogRestarted():
                self._offsets.pop((signal.process, signal.file), None)
                self.on_restart(signal.process)
            case LinesLost():
                self._job.note(
                    f"{signal.process}: {signal.bytes} bytes of its log were dropped before they were read"
                )
            case StreamEnded() if signal.stream == self._waiting.get(signal.node):
                del self._waiting[signal.node]
                if signal.refusal:
                    self.refusals.append(f"{signal.node}: {signal.refusal.text}")

    def _on_lines(self, read: LinesRead) -> None:
        source = read.process, read.file
        if read.end <= self._offsets.get(source, -1):
            return
        self._offsets[source] = read.end
        name = log_name(read.process, read.file)
        self._sink(LogChunk(process=name, node=read.node, offset=read.offset, end=read.end, lines=read.lines))

    def _resume(self) -> None:
        lost = [node for node in self._waiting if node not in self._job.driver.reached]
        for node in lost:
            if node not in self._reported:
                self._job.lost(node)
            self._reported.add(node)
            if not self._query.follow:
                del self._waiting[node]
        if not lost or not self._query.follow:
            return
        self._job.driver.open(lost)
        back = [node for node in lost if node in self._job.driver.reached]
        self._reported.difference_update(back)
        for node in back:
            self._job.note(f"{node} is back; its logs continue where they broke off")
        self._ask(back)
