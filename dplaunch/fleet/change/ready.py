"""Readiness: follow every process from exec until it is ready, asked on its own node.

A process that exits although it should not is a failure at once. A node whose link breaks is reached again;
its processes continue meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection

from dplaunch.errors import DplaunchError, NotReadyError
from dplaunch.fleet.change.awaited import SUSPECTS, Awaited, patterns
from dplaunch.fleet.job import Job, authorization
from dplaunch.fleet.logs.follow import RECONNECT_EVERY
from dplaunch.fleet.logs.suspects import Suspects
from dplaunch.model.event import Failed
from dplaunch.model.plan import Process
from dplaunch.model.remote import HealthSeen, LineSeen, Signal, Stream

AFTERMATH = 1.0
"""Seconds to keep listening after the first failure: the cause may be in another log."""
RECONNECT_FOR = 60.0
"""Seconds until a node whose link broke counts as lost."""


class Readiness:
    """Waits until all of ``processes`` are ready. Used once."""

    def __init__(self, job: Job, processes: tuple[Process, ...], patience: float) -> None:
        self._job = job
        self._patience = patience
        self._deadline = job.now + patience
        self._awaited = Awaited(job.plan, processes, job.now)
        self._suspects = Suspects(job, processes)
        self._quiet_until: float | None = None
        self._lost_since: dict[str, float] = {}
        self._tried_at = 0.0
        self._streams: list[Stream] = []

    def wait(self) -> tuple[Failed, ...]:
        """The failures, each with the cause in its own log; empty when all are ready.

        Raises NotReadyError when time is up (what hangs is named), HostError when a node stays away.
        """
        self._watch(self._nodes())
        try:
            self._follow()
        finally:
            for stream in self._streams:
                self._job.driver.cancel(stream)
        return tuple(self._awaited.failed)

    @property
    def loud(self) -> frozenset[str]:
        """Processes in whose logs errors were seen while they loaded."""
        return frozenset(self._suspects.loud)

    def _follow(self) -> None:
        while not self._settled():
            tick = min(self._deadline, self._job.now + RECONNECT_EVERY)
            self._job.driver.listen(self._take, until=self._settled_or_lost, deadline=tick)
            self._reach_again()
            if not self._awaited.failed:
                self._suspects.report()
            if not self._settled() and self._job.now >= self._deadline:
                raise self._out_of_time()

    def _nodes(self) -> set[str]:
        return {process.node for process in self._awaited.waiting}

    def _watch(self, nodes: Collection[str]) -> None:
        headers = authorization(self._job)
        wanted = patterns(self._job.plan.stages)
        for node in nodes:
            mine = [process for process in self._awaited.waiting if process.node == node]
            stream = self._job.driver.watch(node, mine, wanted, headers)
            if stream is not None:
                self._streams.append(stream)

    def _settled(self) -> bool:
        if self._awaited.failed:
            return self._quiet_until is None or self._job.now >= self._quiet_until
        return not self._awaited.waiting

    def _settled_or_lost(self) -> bool:
        """Done, or a lost node was not yet tried again."""
        return self._settled() or bool(self._lost() - set(self._lost_since))

    def _lost(self) -> set[str]:
        return self._nodes() - set(self._job.driver.reached)

    def _take(self, signal: Signal) -> None:
        if isinstance(signal, LineSeen) and signal.pattern == SUSPECTS:
            if self._awaited.pending.get(signal.process):
                self._suspects.add(signal.process, signal.node, signal.text)
            return
        for event in self._awaited.take(signal, self._job.now):
            if isinstance(event, Failed):
                self._quiet_until = self._quiet_until or self._job.now + AFTERMATH
            self._job.emit(event)
        if isinstance(signal, HealthSeen | LineSeen) and self._awaited.pending.get(signal.process) == set():
            self._suspects.clear(signal.process)

    def _reach_again(self) -> None:
        """Open sessions again where the link broke; the processes there keep running."""
        lost = self._lost()
        for node in lost:
            if node not in self._lost_since:
                self._lost_since[node] = self._job.now
                self._job.lost(node)
            elif self._job.now - self._lost_since[node] > RECONNECT_FOR:
                raise self._job.driver.unreached[node]
        if not lost or self._job.now - self._tried_at < RECONNECT_EVERY:
            return
        self._tried_at = self._job.now
        self._job.driver.open(lost)
        back = lost & set(self._job.driver.reached)
        for node in back:
            del self._lost_since[node]
            self._job.note(f"{node} is back; nothing it logged was lost")
        self._watch(back)

    def _out_of_time(self) -> DplaunchError:
        return NotReadyError(
            f"not ready after {self._patience:.0f} s: {'; '.join(self._awaited.describe())}",
            hint=f"dplaunch logs {self._awaited.slowest()} -n 50",
        )
