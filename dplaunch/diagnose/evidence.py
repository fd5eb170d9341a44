"""Reads the logs of many ranks line by line and concludes what failed first.

Hundreds of ranks log the same time-out when one of them fails: those lines follow from its failure. Only the
first sighting of each signature is kept for each process, so that logs of any length take little memory.

Inside one log lines are ordered by their place, between logs by time. Many clocks print whole seconds
only, so that a line may be a second younger than it says: where times overlap, the more telling one counts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from dplaunch.diagnose.catalogue import find_place
from dplaunch.diagnose.log import Log
from dplaunch.model.diagnosis import Diagnosis, LineKind, RestartedLog, Sighting
from dplaunch.ranges import grouped
from dplaunch.stamp import Calendar

SUSPECT = (
    r"ERROR|FATAL|CRITICAL|[Ee]rror|[Ee]xception|[Ff]ail|\bE[A-Z0-9]\d{4}\b|[Cc]annot|[Ii]nvalid|[Kk]illed"
    r"|[Aa]bort|denied|refused|[Uu]nable|[Mm]ust |[Tt]imed? ?out|not found|not support|used by process"
    r"|too SMALL|Segfault|    assert |No available|\b[EF]\d{3,8} \d\d:\d\d:\d\d|NCCL WARN|what\(\)|panicked"
    r"|NULL value|non-zero status|[Ee]xpired|Force freed|not available|incompatible|[Mm]ismatch|loopback"
    r"|No RDMA|timeout|NVSHMEM API|is full|repeatedly|already exist|: line \d+: |No healthy|Ignore them"
)
"""Matches every line that a signature knows, and few others: nodes look for it while engines load."""
_NUMBER = re.compile(r"\d+$")


class Evidence:
    """Takes log lines, processes in any order; ``conclude`` returns what failed first.

    ``ahead``: node → seconds by which its clock is ahead.
    """

    def __init__(self, ahead: Mapping[str, float] | None = None) -> None:
        self._ahead = ahead or {}
        self._calendar = Calendar()
        self._logs: dict[str, Log] = {}

    def add(self, process: str, node: str, lines: Iterable[str]) -> None:
        """Take the next lines of a process. One without lines is known to exist, and counts as silent."""
        log = self._logs.setdefault(process, Log(process, node, self._calendar, self._ahead.get(node, 0.0)))
        for line in lines:
            log.take(line)

    def forget(self, process: str) -> None:
        """Drop the lines of a process that serves: they explain no failure."""
        self._logs.pop(process, None)

    def conclude(self, serving: Collection[str] = (), ended: Collection[str] = ()) -> Diagnosis:
        """Return what all lines so far amount to. ``serving``, ``ended``: what nodes say of processes."""
        found = [
            sighting
            for log in self._logs.values()
            for sighting in log.sightings(serves=log.process in serving, ended=log.process in ended)
        ]
        found = _promote(found)
        first = _choose(found)
        merged = _merge(found)
        others = tuple(s for s in merged if first is None or _key(s) != _key(first))
        together = next((s for s in merged if first and _key(s) == _key(first)), None)
        return Diagnosis(
            first=first and together and _lead(first, together),
            others=others,
            silent=self._find_silent(merged) if first and first.follows else (),
            restarted=self._find_restarted(),
            processes=sum(log.number > 0 for log in self._logs.values()),
            lines=sum(log.number for log in self._logs.values()),
        )

    def _find_silent(self, seen: Sequence[Sighting]) -> tuple[str, ...]:
        """Return the processes without any error whose role has failing ones."""
        failing = {name for sighting in seen for name in sighting.processes}
        roles = {_NUMBER.sub("", name) for name in failing}
        return tuple(n for n in self._logs if n not in failing and _NUMBER.sub("", n) in roles)

    def _find_restarted(self) -> tuple[RestartedLog, ...]:
        launches = ((log, *log.last_launch()) for log in self._logs.values())
        return tuple(
            RestartedLog(log.process, earlier + 1, began) for log, began, earlier in launches if earlier
        )


def identify(sighting: Sighting) -> str:
    """Return what equal sightings share: a signature's id, or the message of an unknown error."""
    return sighting.identity


def _promote(sightings: Sequence[Sighting]) -> list[Sighting]:
    """Return the sightings; a warning that explains one of the others is its cause."""
    seen = {sighting.identity for sighting in sightings}
    return [
        replace(s, kind=LineKind.CAUSE)
        if s.kind is LineKind.WARNING and s.signature and seen.intersection(s.signature.explains)
        else s
        for s in sightings
    ]


def _choose(sightings: Sequence[Sighting]) -> Sighting | None:
    """Return where to look first: of the most telling kind, the first of each log, of these the earliest.

    One record of a log is one message, however many lines: the most telling of them counts.
    """
    kind = min((sighting.kind for sighting in sightings), default=None)
    logs = grouped((s.process, s) for s in sightings if s.kind is kind)
    firsts = [min(log, key=lambda s: (s.record, find_place(s.signature), s.number)) for log in logs.values()]
    earliest = min((sighting.until for sighting in firsts), default=0.0)
    return min((s for s in firsts if s.at <= earliest), key=_order_in_time, default=None)


def _order_in_time(sighting: Sighting) -> tuple[int, float]:
    """Order sightings whose times overlap: the more telling first, then by the middle of the time."""
    return find_place(sighting.signature), (sighting.at or sighting.until) + sighting.until


def _merge(sightings: Iterable[Sighting]) -> tuple[Sighting, ...]:
    """Return equal sightings of several processes as one, in order of time."""
    in_time = sorted(sightings, key=lambda s: (s.at, s.number))
    equal = grouped((_key(sighting), sighting) for sighting in in_time)
    return tuple(
        replace(same[0], processes=tuple(s.process for s in same), count=sum(s.count for s in same))
        for same in equal.values()
    )


def _key(sighting: Sighting) -> tuple[str, LineKind]:
    return sighting.identity, sighting.kind


def _lead(first: Sighting, together: Sighting) -> Sighting:
    """Return the first sighting with the processes that share it after its own."""
    others = (name for name in together.processes if name != first.process)
    return replace(first, processes=(first.process, *others), count=together.count)
