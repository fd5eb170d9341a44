"""Stop processes with a verdict: what was freed, what is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dplaunch.fleet.job import Job, refused
from dplaunch.model.event import NodeFailed, Note, Stopped
from dplaunch.model.observed import ObservedProcess

STOP_SLACK = 60.0
"""Seconds a node may take beyond the graces of its stop steps."""
GRACE = 45.0
"""Seconds the longest default stop sequence waits in all."""


def stop_in_order(
    job: Job, chosen: Iterable[ObservedProcess], grace: float | None = None
) -> tuple[Stopped, ...]:
    """Router first, so that nobody is sent to an engine that goes; then engines; then other services."""
    verdicts: list[Stopped] = []
    for wave in waves(chosen):
        verdicts += stop(job, wave, grace)
    return tuple(verdicts)


def waves(processes: Iterable[ObservedProcess]) -> list[list[ObservedProcess]]:
    """Processes in the order of stopping, empty waves left out."""
    ordered: dict[int, list[ObservedProcess]] = {0: [], 1: [], 2: []}
    for process in processes:
        place = 0 if process.role == "router" else 1 if process.kind == "engine" else 2
        ordered[place].append(process)
    return [wave for wave in ordered.values() if wave]


def stop(job: Job, processes: Iterable[ObservedProcess], grace: float | None) -> list[Stopped]:
    """Stop these at once on all their nodes and wait for every verdict."""
    by_node: dict[str, list[str]] = {}
    for process in processes:
        by_node.setdefault(process.node, []).append(process.name)
    verdicts: dict[tuple[str, Any], Stopped] = {}

    def take(node: str, message: Mapping[str, Any]) -> None:
        place = (node, message.get("name"))
        if message.get("event") == "stopped" and place not in verdicts:
            verdicts[place] = verdict(job, node, message)
            job.emit(verdicts[place])

    requests = {
        node: ("stop", {"names": names, "grace": grace, "ports": True}) for node, names in by_node.items()
    }
    before, job.fleet.on_interrupt = job.fleet.on_interrupt, Hurry(job, by_node).press
    replies = job.fleet.gather(requests, (GRACE if grace is None else grace) + STOP_SLACK, take)
    job.fleet.on_interrupt = before
    for node in requests:
        if node not in replies:
            error = job.fleet.unreached[node]
            job.emit(NodeFailed(at=job.now, node=node, text=error.text, hint=error.hint))
        elif not replies[node]["ok"]:
            raise refused(node, replies[node])
    return list(verdicts.values())


class Hurry:
    """Ctrl-C while stopping: the first says what the second will do, the second skips the grace."""

    def __init__(self, job: Job, by_node: Mapping[str, list[str]]) -> None:
        self._job = job
        self._by_node = by_node
        self._warned = False

    def press(self) -> bool:
        """Always goes on: what is being stopped must be stopped."""
        if self._warned:
            for node, names in self._by_node.items():
                self._job.fleet.send(node, ("stop", {"names": names, "grace": 0, "ports": True}))
        else:
            text = "still stopping; Ctrl-C once more skips the grace and kills what is left"
            self._job.emit(Note(at=self._job.now, text=text))
        self._warned = True
        return True


def verdict(job: Job, node: str, message: Mapping[str, Any]) -> Stopped:
    """One ``stopped`` event of a guard as a value; ``left`` names pids and ports with their commands."""
    left = [f"pid {entry['pid']} ({entry['command']})" for entry in message.get("left", ())]
    left += [str(message["problem"])] if message.get("problem") else []
    left += [f"port {entry['port']} held by {holder(entry)}" for entry in message.get("ports", ())]
    return Stopped(
        at=job.now,
        process=message["name"],
        node=node,
        seconds=message.get("seconds", 0.0),
        how=message.get("how", ""),
        left=tuple(left),
    )


def holder(entry: Mapping[str, Any]) -> str:
    """Who holds a port, as far as the node could tell."""
    return f"pid {entry['pid']} ({entry.get('command', '?')})" if entry.get("pid") else "an unknown process"
