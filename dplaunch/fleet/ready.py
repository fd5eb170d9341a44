"""Readiness: follow every engine from exec to a served model, asked on its own node.

Ready is /health 200 and /v1/models naming the model. A process that exits, with code 0 too, is a
failure at once. A node whose link breaks is reached again; its engines go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dplaunch import wire
from dplaunch.diagnose import SUSPECT
from dplaunch.errors import DplaunchError, NotReadyError
from dplaunch.fleet.cause import find_cause
from dplaunch.fleet.follow import RECONNECT_EVERY
from dplaunch.fleet.job import Job, authorization
from dplaunch.fleet.suspects import Suspects
from dplaunch.model.event import Failed, Milestone, NodeFailed, Note, Ready
from dplaunch.model.observed import ending
from dplaunch.model.plan import Process
from dplaunch.ranges import fold

AFTERMATH = 1.0
"""Seconds to go on listening after the first failure: the cause may stand in another log."""
HTTP_OK = 200
RECONNECT_FOR = 60.0
"""Seconds until a node whose link broke counts as lost."""


class Readiness:
    """Waits until all of ``processes`` serve. One use."""

    def __init__(self, job: Job, processes: tuple[Process, ...], patience: float) -> None:
        self._job = job
        self._began = job.now
        self._deadline = self._began + patience
        self._patience = patience
        self._processes = {p.name: p for p in processes if p.endpoints}
        self._pending = set(self._processes)
        self._failed: list[Failed] = []
        self._quiet_until: float | None = None
        self._lost_since: dict[str, float] = {}
        self._tried_at = 0.0
        self._stage: dict[str, int] = {}
        self._status: dict[str, int | None] = {}
        self._watches: dict[str, int] = {}
        """node → number of the request that watches there."""
        self._suspects = Suspects(job, self._processes.values())

    def wait(self) -> tuple[Failed, ...]:
        """The failures, each with what its own log says; empty when all are ready.

        Raises NotReadyError when time is up (what hangs is named), HostError when a node stays away.
        """
        self._watch(self._nodes())
        try:
            self._follow()
        finally:
            for node, number in self._watches.items():
                self._job.fleet.send(node, ("cancel", {"target": number}))
        return tuple(self._failed)

    @property
    def loud(self) -> frozenset[str]:
        """Processes in whose logs errors were seen while they loaded."""
        return frozenset(self._suspects.loud)

    def _follow(self) -> None:
        while not self._settled():
            tick = min(self._deadline, self._job.now + RECONNECT_EVERY)
            self._job.fleet.listen(self._take, until=self._settled_or_lost, deadline=tick)
            self._reach_again()
            if not self._failed:
                self._suspects.tell()
            if not self._settled() and self._job.now >= self._deadline:
                raise self._out_of_time()

    def _nodes(self) -> set[str]:
        return {self._processes[name].node for name in self._pending}

    def _watch(self, nodes: set[str]) -> None:
        headers = authorization(self._job)
        for node in nodes:
            mine = [self._processes[n] for n in sorted(self._pending) if self._processes[n].node == node]
            request = wire.watch_request(mine, self._job.plan, headers=headers, suspect=SUSPECT)
            number = self._job.fleet.send(node, ("watch", request))
            if number is not None:
                self._watches[node] = number

    def _settled(self) -> bool:
        if self._failed:
            return self._quiet_until is None or self._job.now >= self._quiet_until
        return not self._pending

    def _settled_or_lost(self) -> bool:
        """Done, or a node has to be reached again that was not tried yet."""
        return self._settled() or bool(self._lost() - set(self._lost_since))

    def _lost(self) -> set[str]:
        return self._nodes() - set(self._job.fleet.sessions)

    def _take(self, node: str, message: Mapping[str, Any]) -> None:
        name, kind = message.get("name", ""), message.get("event")
        if kind == "exit" and name in self._processes:
            self._on_exit(name, node, message)
        elif kind == "line" and name in self._pending:
            self._on_line(name, node, message)
        elif kind == "health" and name in self._pending:
            self._on_health(name, message)

    def _on_health(self, name: str, message: Mapping[str, Any]) -> None:
        self._status[name] = message.get("status")
        if message["ok"] and message.get("models"):
            self._pending.discard(name)
            self._suspects.clear(name)
            self._job.emit(Ready(at=self._job.now, process=name, seconds=self._job.now - self._began))

    def _on_line(self, name: str, node: str, message: Mapping[str, Any]) -> None:
        if message["pattern"] == wire.SUSPECT:
            self._suspects.hear(name, node, message["text"])
        stages = self._job.plan.stages
        index = wire.stage_index(message["pattern"])
        if index is None:
            return
        self._stage[name] = max(index, self._stage.get(name, index))
        self._job.emit(
            Milestone(
                at=self._job.now,
                process=name,
                stage=stages[index].name,
                index=index,
                count=len(stages),
                fraction=float(message.get("groups", {}).get("percent") or 0.0) / 100,
            )
        )

    def _on_exit(self, name: str, node: str, message: Mapping[str, Any]) -> None:
        when = "before it was ready" if name in self._pending else "while others were still starting"
        tail = tuple(message.get("tail", ()))
        cause = find_cause(tail)
        failed = Failed(
            at=self._job.now,
            process=name,
            node=node,
            text=f"{name} on {node} {_how_it_ended(message)} {when}",
            cause=cause.line,
            hint=cause.hint,
            log=message.get("log", ""),
            mute=bool(message.get("signal")) or message.get("code") == 0,
            tail=tail[-12:],
        )
        self._pending.discard(name)
        self._failed.append(failed)
        self._quiet_until = self._quiet_until or self._job.now + AFTERMATH
        self._job.emit(failed)

    def _reach_again(self) -> None:
        """Open sessions again where the link broke; engines there did not notice."""
        lost = self._lost()
        for node in lost:
            if node not in self._lost_since:
                self._lost_since[node] = self._job.now
                error = self._job.fleet.unreached[node]
                self._job.emit(NodeFailed(at=self._job.now, node=node, text=error.text, hint=error.hint))
            elif self._job.now - self._lost_since[node] > RECONNECT_FOR:
                raise self._job.fleet.unreached[node]
        if not lost or self._job.now - self._tried_at < RECONNECT_EVERY:
            return
        self._tried_at = self._job.now
        self._job.fleet.open(lost)
        back = lost & set(self._job.fleet.sessions)
        for node in back:
            del self._lost_since[node]
            self._job.emit(Note(at=self._job.now, text=f"{node} is back; nothing it logged was lost"))
        self._watch(back)

    def _out_of_time(self) -> DplaunchError:
        waiting = sorted(self._pending, key=self._how_far)
        alike: dict[str, list[str]] = {}
        for name in waiting:
            alike.setdefault(self._hangs_at(name), []).append(name)
        shown = [
            f"{fold(names)} on {fold(self._processes[n].node for n in names)} ({where})"
            for where, names in alike.items()
        ]
        return NotReadyError(
            f"not ready after {self._patience:.0f} s: {'; '.join(shown)}",
            hint=f"dplaunch logs {waiting[0]} -n 50",
        )

    def _how_far(self, name: str) -> tuple[bool, int]:
        """Engines before what waits for them, the one that came least far first."""
        return self._processes[name].kind != "engine", self._stage.get(name, -1)

    def _hangs_at(self, name: str) -> str:
        status, stage = self._status.get(name), self._stage.get(name)
        if status == HTTP_OK:
            return "serves, but /v1/models does not name the model"
        if status is not None:
            return f"/health answers {status}"
        if self._processes[name].kind != "engine":
            return "no answer yet"
        return "no start-up line yet" if stage is None else f"last at `{self._job.plan.stages[stage].name}`"


def _how_it_ended(message: Mapping[str, Any]) -> str:
    signal = str(message.get("signal") or "")
    return ("was " if signal else "") + ending(message.get("code"), signal)
