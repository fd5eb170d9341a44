"""Reads the log of one process: what it shows of a failure, each signature and each unknown error once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from dplaunch.diagnose.catalogue import recognise
from dplaunch.diagnose.launches import Launches
from dplaunch.diagnose.lines import Reading, read
from dplaunch.diagnose.records import Record
from dplaunch.model.diagnosis import LineKind, Sighting, Signature
from dplaunch.stamp import Calendar, parse_stamp, split_speaker

_CALM = re.compile(r"(?:\([^()]* pid=\d+\) ?)*(?:(?:INFO|DEBUG)\b|.*Found ulimit of )")
"""Lines that explain no failure, which are most of a log. The warning about ulimit only quotes an error."""
_BEGINS = "Application startup complete"
_ANSWERS = re.compile(r'"POST /\S+ HTTP/[\d.]+" 200')
"""Lines of an engine that got over whatever it logged before."""
_MOST = 50
"""Unknown errors that are kept of one launch; the others are dropped."""
_GRAIN = 0.999
"""A clock that prints whole seconds may be behind by so much."""
_SOON = 120.0
"""Seconds within which an unknown error after a consequence belongs to it, as HCCL's time-out."""


class _Launch(Struct):
    """What one launch shows: the first sighting of each signature and of each unknown error."""

    began: int
    seen: dict[str, Sighting] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    survived: dict[str, Sighting] = field(default_factory=dict)
    """What the engine got over: it served afterwards."""
    served: bool = False
    followed_at: list[float] = field(default_factory=list)
    """When lines came that follow from another process's failure."""

    def add(self, sighting: Sighting) -> bool:
        """Take a sighting. Return whether it is the first of its kind."""
        self.counts[sighting.identity] += 1
        return self.seen.setdefault(sighting.identity, sighting) is sighting

    def counted(self) -> Iterator[Sighting]:
        """Yield what was seen, with how often."""
        return (replace(sighting, count=self.counts[name]) for name, sighting in self.seen.items())

    def drop_error(self, sentence: str) -> None:
        """Forget an unknown error that was seen once."""
        name = f" {sentence}"
        self.counts[name] -= 1
        if not self.counts[name]:
            self.seen.pop(name, None)

    def serve(self, *, begins: bool) -> None:
        """Take note that the engine serves after what was seen so far. ``begins``: it has just started to."""
        self.served = True
        self.followed_at.clear()
        for sighting in list(self.counted()):
            name = sighting.identity
            if not sighting.harms_requests or (begins and sighting.signature is None):
                self.survived.setdefault(name, _survived(sighting))
                del self.seen[name]
                del self.counts[name]


class Log:
    """Takes the lines of one process; ``sightings`` yields what its last launch shows."""

    def __init__(self, process: str, node: str, calendar: Calendar, ahead: float) -> None:
        self.number = 0
        self.process = process
        self._node = node
        self._calendar = calendar
        self._ahead = ahead
        self._dated = ""
        self._latest = 0.0
        self._undated: list[str] = []
        """Sightings before the first line with a time: they may be as late as that one."""
        self._starts = Launches()
        self._launches = [_Launch(1)]
        self._records: dict[str, Record] = {}

    def take(self, line: str) -> None:
        """Read the next line."""
        self.number += 1
        if self._starts.take(line, self.number):
            self._launches.append(_Launch(self.number))
        if _CALM.match(line):
            self._dated = line  # its time is parsed only if a line without one needs it
            self._date(line)
            if self._records:
                self._records.pop(split_speaker(line)[0], None)
            if _BEGINS in line or ('" 200' in line and _ANSWERS.search(line)):
                self._launches[-1].serve(begins=_BEGINS in line)
            return
        speaker, message = split_speaker(line)
        reading = read(message)
        record = self._continue_record(speaker, reading)
        signature = recognise(message)
        if signature:
            record.note_frame(reading.sentence)
            self._add_known(line, signature, record, reading)
        else:
            self._add_unknown(line, record, reading)
        if parse_stamp(line):
            self._dated = line
            self._date(line)

    def last_launch(self) -> tuple[int, int]:
        """Return the line at which the last launch begins, and how many came before it."""
        return self._starts.last()

    def sightings(self, *, serves: bool = False, ended: bool = False) -> Iterator[Sighting]:
        """Yield what the last launch shows. ``serves``, ``ended``: its node says so of the process."""
        began, _ = self.last_launch()
        launches = [launch for launch in self._launches if launch.began >= began] or self._launches[-1:]
        served = any(launch.served for launch in launches)
        seen = _first_of(sighting for launch in launches for sighting in launch.counted())
        yield from _first_of(sighting for launch in launches for sighting in launch.survived.values())
        excused = (LineKind.UNKNOWN, LineKind.WARNING)
        broken = any(s.kind not in excused or (s.signature is None and not s.logged) for s in seen)
        lives = serves or (served and not ended and not broken)
        yield from (_survived(s) if lives and not s.harms_requests else s for s in seen)

    def _continue_record(self, speaker: str, reading: Reading) -> Record:
        """Return the record that the line belongs to: one message with its traceback has one head."""
        record = self._records.get(speaker)
        if record is None or (reading.head and reading.head != record.head):
            record = Record(self.number, reading)
            self._records[speaker] = record
        return record

    def _add_known(self, line: str, signature: Signature, record: Record, reading: Reading) -> None:
        launch = self._launches[-1]
        if signature.id in launch.seen and signature.kind is not LineKind.CONSEQUENCE:
            launch.counts[signature.id] += 1  # most lines of a failure are repetitions
            return
        sighting = replace(
            self._make_sighting(line, signature.kind, reading.sentence, signature), record=record.began
        )
        self._add(sighting)
        if signature.kind is LineKind.CONSEQUENCE and not reading.is_calm:
            launch.followed_at.append(sighting.at)

    def _add_unknown(self, line: str, record: Record, reading: Reading) -> None:
        error = record.take(reading)
        launch = self._launches[-1]
        if error is None or len(launch.seen) > _MOST:
            return
        if error.replaces:
            launch.drop_error(error.replaces)
        kind = LineKind.CAUSE if error.is_coded else LineKind.UNKNOWN
        sighting = self._make_sighting(line, kind, error.sentence, None)
        if kind is LineKind.UNKNOWN and self._follows(sighting, launch):
            sighting = replace(sighting, kind=LineKind.EMPTY)
        sighting = replace(sighting, record=record.began, logged=record.logged, native=record.native)
        self._add(sighting)

    def _add(self, sighting: Sighting) -> None:
        if self._launches[-1].add(sighting) and not sighting.at:
            self._undated.append(sighting.identity)

    def _follows(self, sighting: Sighting, launch: _Launch) -> bool:
        """Return whether an unknown error belongs to a consequence that was logged shortly before."""
        return any(not at or not sighting.at or sighting.at - at < _SOON for at in launch.followed_at)

    def _date(self, line: str) -> None:
        """Note until when the lines before the first time may have been written."""
        if not self._undated or not parse_stamp(line):
            return
        until = self._calendar.place(line) - self._ahead
        seen = self._launches[-1].seen
        for name in set(self._undated) & seen.keys():
            seen[name] = replace(seen[name], until=until)
        self._undated.clear()

    def _make_sighting(
        self, line: str, kind: LineKind, sentence: str, signature: Signature | None
    ) -> Sighting:
        dated = line if parse_stamp(line) else self._dated
        stamp = parse_stamp(dated)
        at = self._calendar.place(dated) - self._ahead if stamp else 0.0
        exact = stamp is not None and stamp.fine and dated is line
        until = at if exact or not stamp else at + _GRAIN
        if at <= self._latest <= until:  # the lines of one log are in order, though some clocks are coarse
            at = self._latest
        self._latest = at
        return Sighting(
            signature=signature,
            kind=kind,
            process=self.process,
            node=self._node,
            number=self.number,
            record=self.number,
            at=at,
            until=until,
            text=line.strip(),
            sentence=sentence.strip(),
            processes=(self.process,),
        )


def _survived(sighting: Sighting) -> Sighting:
    if sighting.kind is LineKind.WARNING:
        return sighting
    return replace(sighting, kind=LineKind.WARNING, survived=True)


def _first_of(sightings: Iterable[Sighting]) -> list[Sighting]:
    """Return equal sightings of several launches as one."""
    found: dict[str, Sighting] = {}
    for sighting in sightings:
        known = found.get(sighting.identity)
        count = sighting.count + (known.count if known else 0)
        found[sighting.identity] = replace(known or sighting, count=count)
    return list(found.values())
