"""The walk of ``analyze``: the start-up lines of every engine, of this run and the one before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dplaunch import timeline
from dplaunch.fleet.ask import audit_trail
from dplaunch.fleet.follow import FETCH_DEADLINE
from dplaunch.fleet.job import Job
from dplaunch.model.observed import Observed
from dplaunch.model.plan import Process
from dplaunch.model.timeline import StartLog, StartUp

ENTRIES = 100
"""Lines of the audit trail looked through for earlier starts; each start leaves two."""


def analyze(job: Job, processes: Sequence[Process], observed: Observed) -> StartUp:
    """Where these engines' start-up time went; nothing in it when none of them was ever started."""
    began = {p.place: p.started_at for p in observed.processes if p.started_at}
    engines = [p for p in processes if p.kind == "engine" and p.place in began]
    if not engines:
        return StartUp()
    now = _Lines(job, engines, previous=False)
    before = _Lines(job, engines, previous=True)
    return timeline.analyse(
        [now.log(p, began[p.node, p.name]) for p in engines],
        [before.log(p, None) for p in engines],
        job.plan.stages,
        timeline.walk(audit_trail(job, ENTRIES)),
    )


class _Lines:
    """The lines that mark a stage, one question per node; a node is let go once its engines have served."""

    def __init__(self, job: Job, engines: Sequence[Process], *, previous: bool) -> None:
        self._job = job
        self._serving = re.compile(job.plan.stages[-1].pattern) if job.plan.stages else None
        self._lines: dict[str, list[str]] = {p.name: [] for p in engines}
        self._lost: set[str] = set()
        self._waiting: dict[str, set[str]] = {}
        for process in engines:
            self._waiting.setdefault(process.node, set()).add(process.name)
        fields = {"grep": _any(job), "tail": None, "since": None, "previous": previous, "follow": False}
        requests = {n: ("follow", {"names": sorted(names), **fields}) for n, names in self._waiting.items()}
        job.fleet.gather(requests, FETCH_DEADLINE, self._take)

    def log(self, process: Process, started_at: float | None) -> StartLog:
        """What was found of one engine."""
        return StartLog(
            process=process.name,
            role=process.role,
            group=process.group,
            node=process.node,
            started_at=started_at,
            lines=tuple(self._lines[process.name]),
            lost=process.name in self._lost,
        )

    def _take(self, node: str, message: Mapping[str, Any]) -> None:
        name = message.get("name", "")
        if name not in self._lines:
            return
        if message.get("event") == "gap" and name in self._waiting[node]:
            self._lost.add(name)
        elif message.get("event") == "log":
            self._lines[name] += message["lines"]
            self._let_go(node, message)

    def _let_go(self, node: str, message: Mapping[str, Any]) -> None:
        """What an engine says after its start may fill a disk: it is not read to its end."""
        waiting = self._waiting[node]
        if self._serving and message["name"] in waiting and any(map(self._serving.search, message["lines"])):
            waiting.discard(message["name"])
            if not waiting:
                self._job.fleet.send(node, ("cancel", {"target": message["id"]}))


def _any(job: Job) -> str:
    """One pattern for all stages; named groups would meet themselves."""
    return "|".join(f"(?:{re.sub(r'[(][?]P<[^>]+>', '(?:', stage.pattern)})" for stage in job.plan.stages)
