"""The logs of many ranks, line by line, and what they say together.

Hundreds of ranks print the same time-out when one of them fails: those lines follow from its failure. Kept
is only the first sighting of each signature per process, so that logs of any length take little room.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from dplaunch.diagnose.catalogue import place_of, recognise
from dplaunch.model.diagnosis import Diagnosis, Kind, Sighting, Signature
from dplaunch.ranges import grouped
from dplaunch.stamp import Calendar, common, stamp

_CALM = re.compile(r"(?:\([^()]* pid=\d+\) ?)*(?:(?:INFO|DEBUG)\b|.*Found ulimit of )")
"""Most lines of a log: they explain no failure. The warning about ulimit quotes an error it never met."""
SUSPECT = (
    r"ERROR|FATAL|CRITICAL|[Ee]rror|[Ee]xception|[Ff]ail|\bE[A-Z]\d{4}\b|[Cc]annot|[Ii]nvalid|[Kk]illed"
    r"|[Aa]bort|denied|refused|[Uu]nable|[Mm]ust |[Tt]imed? ?out|not found|not support|used by process"
    r"|too SMALL|Segfault|    assert |No available"
)
"""Every line that is known from a failure matches it, few others do: nodes look for it while engines load."""
_LEVEL = re.compile(r"^(?:ERROR|FATAL|CRITICAL)\b ?(?:\[[^\]]*\] ?)?")
_ERROR = re.compile(r"\b(?:ERROR|FATAL|CRITICAL)\b|error: ")
_EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception)(?:: |$)")
_FRAME = re.compile(r"^(?:\s|Traceback|TraceBack|During handling of|The above exception was|\^+|$)")
"""Lines of a traceback but its last: they say where, not what."""
_NUMBER = re.compile(r"\d+$")


class Evidence:
    """Takes lines of any process in any order of processes; ``conclude`` says what came first.

    ``ahead``: by how many seconds a node's clock is ahead.
    """

    def __init__(self, ahead: Mapping[str, float] | None = None) -> None:
        self._ahead = ahead or {}
        self._calendar = Calendar()
        self._logs: dict[str, _Log] = {}

    def add(self, process: str, node: str, lines: Iterable[str]) -> None:
        """The next lines of a process; without any it is known to exist, and may be silent."""
        log = self._logs.setdefault(process, _Log(process, node, self._calendar, self._ahead.get(node, 0.0)))
        for line in lines:
            log.take(line)

    def forget(self, process: str) -> None:
        """It serves: whatever it has said explains no failure."""
        self._logs.pop(process, None)

    def conclude(self) -> Diagnosis:
        """What all lines so far say together."""
        seen = _merged(sighting for log in self._logs.values() for sighting in log.sightings())
        first = min(seen, key=_weight, default=None)
        return Diagnosis(
            first=first,
            others=tuple(s for s in seen if s is not first),
            silent=self._silent(seen) if first and first.follows else (),
            processes=sum(log.number > 0 for log in self._logs.values()),
            lines=sum(log.number for log in self._logs.values()),
        )

    def _silent(self, seen: Sequence[Sighting]) -> tuple[str, ...]:
        """Processes of the roles that fail which show nothing themselves."""
        failing = {name for sighting in seen for name in sighting.processes}
        roles = {_NUMBER.sub("", name) for name in failing}
        return tuple(n for n in self._logs if n not in failing and _NUMBER.sub("", n) in roles)


class _Log:
    """One process's log: the first line of each signature in it, and the last error that none knows."""

    def __init__(self, process: str, node: str, calendar: Calendar, ahead: float) -> None:
        self.number = 0
        self._calendar = calendar
        self._process = process
        self._node = node
        self._ahead = ahead
        self._dated = ""
        self._known: dict[str, Sighting] = {}
        self._counts: Counter[str] = Counter()
        self._unknown: Sighting | None = None
        self._is_exception = False

    def take(self, line: str) -> None:
        """The next line."""
        self.number += 1
        if _CALM.match(line):
            self._dated = line  # its clock is read only when a line without one needs it
            return
        message = common(line)
        signature = recognise(message)
        if signature is None:
            self._on_unknown(line, message)
        else:
            self._counts[signature.id] += 1
            if signature.id not in self._known:
                self._known[signature.id] = self._sighting(line, signature)
        if stamp(line):
            self._dated = line

    def sightings(self) -> Iterator[Sighting]:
        """What was found. An error that comes after a consequence is one of its many words."""
        yield from (replace(sighting, count=self._counts[name]) for name, sighting in self._known.items())
        follows = (s.number for s in self._known.values() if s.kind is Kind.CONSEQUENCE)
        if self._unknown and self._unknown.number < min(follows, default=self.number + 1):
            yield self._unknown

    def _on_unknown(self, line: str, message: str) -> None:
        """The last exception counts, as the innermost; without one the last error."""
        said = _LEVEL.sub("", message)
        is_exception = bool(_EXCEPTION.match(said))
        if not (is_exception or _ERROR.search(message)) or _FRAME.match(said):
            return
        if is_exception or not self._is_exception:
            self._unknown = self._sighting(line, None)
            self._is_exception = is_exception

    def _sighting(self, line: str, signature: Signature | None) -> Sighting:
        at = self._calendar.place(line) or self._calendar.place(self._dated)
        return Sighting(
            signature=signature,
            process=self._process,
            node=self._node,
            number=self.number,
            at=at - self._ahead if at else 0.0,
            text=line.strip(),
            processes=(self._process,),
        )


def _merged(sightings: Iterable[Sighting]) -> tuple[Sighting, ...]:
    """Equal ones of many processes as one, in order of time."""
    alike = grouped((name_of(sighting), sighting) for sighting in sorted(sightings, key=_time))
    return tuple(
        replace(same[0], processes=tuple(s.process for s in same), count=sum(s.count for s in same))
        for same in alike.values()
    )


def name_of(sighting: Sighting) -> str:
    """What it shares with its like; an unknown error's is no signature's."""
    return sighting.signature.id if sighting.signature else f" {common(sighting.text)}"


def _time(sighting: Sighting) -> tuple[int, Kind, float, int]:
    """Clocks that print whole seconds cannot tell more: within one, the more telling is the earlier."""
    return int(sighting.at), sighting.kind, sighting.at, place_of(sighting.signature)


def _weight(sighting: Sighting) -> tuple[int, tuple[int, Kind, float, int]]:
    """Causes, then unknown errors, then what only follows, then warnings; each in order of time."""
    grade = Kind.GENERIC if sighting.follows else sighting.kind
    return grade, _time(sighting)
