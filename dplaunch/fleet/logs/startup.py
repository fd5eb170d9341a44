"""The walk of ``analyze``: the start-up lines of every engine, of this run and the one before."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dplaunch import timeline
from dplaunch.fleet.job import Job
from dplaunch.fleet.logs.follow import FETCH_DEADLINE, QUIET
from dplaunch.model.observed import Observed
from dplaunch.model.plan import Process
from dplaunch.model.remote import LinesLost, LinesRead, LogQuery, LogSource, Signal, Stream, StreamEnded
from dplaunch.model.timeline import StartLog, StartUp
from dplaunch.ranges import grouped

ENTRIES = 100
"""Lines of the audit trail looked through for earlier starts; each start leaves two."""


def analyze(job: Job, processes: Sequence[Process], observed: Observed) -> StartUp:
    """Where these engines' start-up time went; empty when none of them was ever started."""
    began = {p.place: p.started_at for p in observed.processes if p.started_at}
    engines = [p for p in processes if p.kind == "engine" and p.place in began]
    if not engines:
        return StartUp()
    now = _Lines(job, engines, previous=False)
    before = _Lines(job, engines, previous=True)
    return timeline.analyse(
        [now.log(p, began[p.place]) for p in engines],
        [before.log(p, None) for p in engines],
        job.plan.stages,
        timeline.compare_phases(job.driver.trail(ENTRIES)),
    )


class _Lines:
    """The lines that mark a stage, one stream per node, which ends once its engines have served."""

    def __init__(self, job: Job, engines: Sequence[Process], *, previous: bool) -> None:
        self._job = job
        self._serving = re.compile(job.plan.stages[-1].pattern) if job.plan.stages else None
        self._lines: dict[str, list[str]] = {p.name: [] for p in engines}
        self._lost: set[str] = set()
        self._waiting = {node: set(names) for node, names in grouped(p.place for p in engines).items()}
        self._streams: set[Stream] = set()
        query = LogQuery(tail=None, grep=_any(job), previous=previous)
        for node, names in self._waiting.items():
            stream = job.driver.follow(node, [LogSource(name) for name in sorted(names)], query)
            self._streams |= {stream} if stream else set()
        self._heard = job.now
        job.driver.listen(self._take, until=self._is_over, deadline=job.now + FETCH_DEADLINE)

    def _is_over(self) -> bool:
        """All is read, or nothing more comes."""
        reading = any(stream.node in self._job.driver.reached for stream in self._streams)
        return not reading or self._job.now >= self._heard + QUIET

    def log(self, process: Process, started_at: float | None) -> StartLog:
        """The lines of one engine."""
        return StartLog(
            process=process.name,
            role=process.role,
            group=process.group,
            node=process.node,
            started_at=started_at,
            lines=tuple(self._lines[process.name]),
            lost=process.name in self._lost,
        )

    def _take(self, signal: Signal) -> None:
        self._heard = self._job.now
        match signal:
            case StreamEnded():
                self._streams.discard(signal.stream)
            case LinesLost() if signal.process in self._waiting.get(signal.node, ()):
                self._lost.add(signal.process)
            case LinesRead() if signal.process in self._lines and signal.node in self._waiting:
                self._lines[signal.process] += signal.lines
                self._let_go(signal)

    def _let_go(self, read: LinesRead) -> None:
        """Logs after the start may fill a disk, so they are not read to their end."""
        waiting = self._waiting[read.node]
        if self._serving and read.process in waiting and any(map(self._serving.search, read.lines)):
            waiting.discard(read.process)
            if not waiting:
                self._job.driver.cancel(read.stream)


def _any(job: Job) -> str:
    """One pattern for all stages, without named groups, which would clash."""
    return "|".join(f"(?:{re.sub(r'[(][?]P<[^>]+>', '(?:', stage.pattern)})" for stage in job.plan.stages)
