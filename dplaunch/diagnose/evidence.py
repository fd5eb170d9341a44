"""Reads the logs of many ranks line by line and concludes what failed first.

Hundreds of ranks log the same time-out when one of them fails: those lines follow from its failure. Only the
first sighting of each signature is kept for each process, so that logs of any length take little memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from dplaunch.diagnose.catalogue import find_place, recognise
from dplaunch.model.diagnosis import Diagnosis, LineKind, Sighting, Signature
from dplaunch.ranges import grouped
from dplaunch.stamp import Calendar, normalise, parse_stamp

_CALM = re.compile(r"(?:\([^()]* pid=\d+\) ?)*(?:(?:INFO|DEBUG)\b|.*Found ulimit of )")
"""Lines that explain no failure, which are most of a log. The warning about ulimit only quotes an error."""
SUSPECT = (
    r"ERROR|FATAL|CRITICAL|[Ee]rror|[Ee]xception|[Ff]ail|\bE[A-Z]\d{4}\b|[Cc]annot|[Ii]nvalid|[Kk]illed"
    r"|[Aa]bort|denied|refused|[Uu]nable|[Mm]ust |[Tt]imed? ?out|not found|not support|used by process"
    r"|too SMALL|Segfault|    assert |No available"
)
"""Matches every line that a signature knows, and few others: nodes look for it while engines load."""
_LEVEL = re.compile(r"^(?:ERROR|FATAL|CRITICAL)\b ?(?:\[[^\]]*\] ?)?")
_ERROR = re.compile(r"\b(?:ERROR|FATAL|CRITICAL)\b|error: ")
_EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception)(?:: |$)")
_FRAME = re.compile(r"^(?:\s|Traceback|TraceBack|During handling of|The above exception was|\^+|$)")
"""The lines of a traceback except its last: they name the place of an error, not the error."""
_NUMBER = re.compile(r"\d+$")


class Evidence:
    """Takes log lines, processes in any order; ``conclude`` returns what failed first.

    ``ahead``: node → seconds by which its clock is ahead.
    """

    def __init__(self, ahead: Mapping[str, float] | None = None) -> None:
        self._ahead = ahead or {}
        self._calendar = Calendar()
        self._logs: dict[str, _Log] = {}

    def add(self, process: str, node: str, lines: Iterable[str]) -> None:
        """Take the next lines of a process. One without lines is known to exist, and counts as silent."""
        log = self._logs.setdefault(process, _Log(process, node, self._calendar, self._ahead.get(node, 0.0)))
        for line in lines:
            log.take(line)

    def forget(self, process: str) -> None:
        """Drop the lines of a process that serves: they explain no failure."""
        self._logs.pop(process, None)

    def conclude(self) -> Diagnosis:
        """Return what all lines so far amount to."""
        seen = _merge(sighting for log in self._logs.values() for sighting in log.sightings())
        first = min(seen, key=_rank, default=None)
        return Diagnosis(
            first=first,
            others=tuple(s for s in seen if s is not first),
            silent=self._find_silent(seen) if first and first.follows else (),
            processes=sum(log.number > 0 for log in self._logs.values()),
            lines=sum(log.number for log in self._logs.values()),
        )

    def _find_silent(self, seen: Sequence[Sighting]) -> tuple[str, ...]:
        """Return the processes without any error whose role has failing ones."""
        failing = {name for sighting in seen for name in sighting.processes}
        roles = {_NUMBER.sub("", name) for name in failing}
        return tuple(n for n in self._logs if n not in failing and _NUMBER.sub("", n) in roles)


class _Log:
    """The log of one process: the first line of each signature, and the last error that matches none."""

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
        """Read the next line."""
        self.number += 1
        if _CALM.match(line):
            self._dated = line  # its time is parsed only if a line without one needs it
            return
        message = normalise(line)
        signature = recognise(message)
        if signature is None:
            self._take_unknown(line, message)
        else:
            self._counts[signature.id] += 1
            if signature.id not in self._known:
                self._known[signature.id] = self._make_sighting(line, signature)
        if parse_stamp(line):
            self._dated = line

    def sightings(self) -> Iterator[Sighting]:
        """Yield what was found. An unknown error after a consequence belongs to it and is left out."""
        yield from (replace(sighting, count=self._counts[name]) for name, sighting in self._known.items())
        follows = (s.number for s in self._known.values() if s.kind is LineKind.CONSEQUENCE)
        if self._unknown and self._unknown.number < min(follows, default=self.number + 1):
            yield self._unknown

    def _take_unknown(self, line: str, message: str) -> None:
        """Keep the last exception, which is the innermost; without any exception the last error."""
        text = _LEVEL.sub("", message)
        is_exception = bool(_EXCEPTION.match(text))
        if not (is_exception or _ERROR.search(message)) or _FRAME.match(text):
            return
        if is_exception or not self._is_exception:
            self._unknown = self._make_sighting(line, None)
            self._is_exception = is_exception

    def _make_sighting(self, line: str, signature: Signature | None) -> Sighting:
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


def _merge(sightings: Iterable[Sighting]) -> tuple[Sighting, ...]:
    """Return equal sightings of several processes as one, in order of time."""
    equal = grouped((identify(sighting), sighting) for sighting in sorted(sightings, key=_order_in_time))
    return tuple(
        replace(same[0], processes=tuple(s.process for s in same), count=sum(s.count for s in same))
        for same in equal.values()
    )


def identify(sighting: Sighting) -> str:
    """Return what equal sightings share: a signature's id, or the text of an unknown error after a space."""
    return sighting.signature.id if sighting.signature else f" {normalise(sighting.text)}"


def _order_in_time(sighting: Sighting) -> tuple[int, LineKind, float, int]:
    """Sort by time. Many clocks print whole seconds only: within one second the more telling comes first."""
    return int(sighting.at), sighting.kind, sighting.at, find_place(sighting.signature)


def _rank(sighting: Sighting) -> tuple[int, tuple[int, LineKind, float, int]]:
    """Sort causes before unknown errors, those before what only follows, warnings last; each by time."""
    grade = LineKind.GENERIC if sighting.follows else sighting.kind
    return grade, _order_in_time(sighting)
