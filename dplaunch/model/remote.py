"""What comes back from nodes, as values: replies of a driver, whatever substrate it works on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field


class Hello(Struct, frozen=True, kw_only=True):
    """How a node introduces itself."""

    hostname: str = ""
    clock: float = 0.0
    """Seconds since the epoch, by the node."""
    python: str = ""
    writable: bool = True
    problem: str = ""
    """Why its state cannot be written."""
    container: str = ""
    """Stamp of the container of ours in which the session runs; empty: on the machine itself."""
    image: str = ""
    """Id of the image of that container."""


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a node did not do what it was asked. ``kind``: locked, running, port-taken, exec, full, io …"""

    kind: str
    text: str
    hint: str = ""


class StartResult(Struct, frozen=True, kw_only=True):
    """One process after a start. ``pid`` is 0 where it was refused."""

    node: str
    process: str
    pid: int = 0
    refusal: Refusal | None = None


class StopVerdict(Struct, frozen=True, kw_only=True):
    """How one process ended, and what is left of it."""

    node: str
    process: str
    how: str = ""
    """The signal that ended it; ``swept``: the rest of its tree outlived it; ``was not running``."""
    seconds: float = 0.0
    left: tuple[str, ...] = ()
    """Processes that live and ports that are held, as sentences."""


class HttpRequest(Struct, frozen=True, kw_only=True):
    """A request that a node makes to one of its own addresses. ``body`` is sent as it is."""

    key: str
    node: str
    url: str
    method: str = "GET"
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 10.0
    grep: str = ""
    """A regular expression: only lines in which it is found come back, of up to 4 MiB."""

    def __repr__(self) -> str:
        """Without headers: one of them is the API key."""
        return f"HttpRequest({self.key!r}: {self.method} {self.url} on {self.node})"


class HttpReply(Struct, frozen=True, kw_only=True):
    """``status`` is None where no whole response came in time; ``error`` gives the reason."""

    status: int | None = None
    body: str = ""
    error: str = ""
    seconds: float = 0.0


class FileSeen(Struct, frozen=True, kw_only=True):
    """A file of a node's folder. ``text`` is None where it does not exist; ``sha`` names what was seen."""

    path: str
    text: str | None = None
    sha: str = ""


class ExecResult(Struct, frozen=True, kw_only=True):
    """One node's answer to ``exec``. ``code`` is None when it never ran: ``problem`` gives the reason."""

    node: str
    code: int | None = None
    out: str = ""
    err: str = ""
    problem: str = ""


class Claim(Struct, frozen=True, kw_only=True):
    """Devices and ports that the plan needs on a node, and a process of another cluster holds."""

    cluster: str
    process: str
    ports: tuple[int, ...] = ()
    devices: tuple[int, ...] = ()


class SurveyReply(Struct, frozen=True, kw_only=True):
    """What one node found in a survey."""

    results: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """Key → ``code``, ``out``, ``err``, ``problem``, ``seconds`` of a command, in the order they ended."""
    taken: tuple[Mapping[str, Any], ...] = ()
    """Needed ports that are listened on: port, pid, user, command."""
    claims: tuple[Claim, ...] = ()
    ours: frozenset[int] = frozenset()
    """The pids of this cluster's running processes."""
    strangers: tuple[Mapping[str, Any], ...] = ()
    """Engines and routers that no guard started: pid, user, command, pids of its tree."""
    saved: Mapping[str, Any] | None = None
    """The fingerprint that ``check --save`` wrote there."""
    seconds: float = 0.0
    """How long the survey took, by the node's own clock."""


class Listening(Struct, frozen=True, kw_only=True):
    """Ports a node has opened for others to try."""

    random: tuple[int, ...] = ()
    closed: Mapping[int, str] = field(default_factory=dict)
    """Ports that could not be opened although nothing listens there, with the reason."""


class Connected(Struct, frozen=True, kw_only=True):
    """One connection tried. ``error`` is empty where it was made."""

    key: str
    error: str = ""


class Stream(Struct, frozen=True):
    """A running stream of one node, to be cancelled."""

    node: str
    number: int


class Signal(Struct, frozen=True, kw_only=True):
    """Something that a node reports by itself, on a stream."""

    stream: Stream

    @property
    def node(self) -> str:
        """Where it happened."""
        return self.stream.node


class LineSeen(Signal, frozen=True, kw_only=True):
    """A log line that matches a pattern of a watch."""

    process: str
    pattern: str
    text: str
    groups: Mapping[str, str | None] = field(default_factory=dict)


class HealthSeen(Signal, frozen=True, kw_only=True):
    """An endpoint's health, when it changed. ``named``: it names the model that is waited for."""

    process: str
    endpoint: str
    ok: bool
    named: bool = False
    status: int | None = None


class ProcessExited(Signal, frozen=True, kw_only=True):
    """A process ended. ``done``: a job, with code 0. ``tail``: the last lines of its log."""

    process: str
    code: int | None = None
    signal: str = ""
    done: bool = False
    again: bool = False
    """Its guard starts it again."""
    log: str = ""
    tail: tuple[str, ...] = ()


class LinesRead(Signal, frozen=True, kw_only=True):
    """Whole lines of a log: bytes ``offset`` to ``end``. ``file``: empty for the output."""

    process: str
    file: str = ""
    offset: int
    end: int
    lines: tuple[str, ...]


class LinesLost(Signal, frozen=True, kw_only=True):
    """So many ``bytes`` of a log were dropped before they were read."""

    process: str
    file: str = ""
    bytes: int


class LogRestarted(Signal, frozen=True, kw_only=True):
    """A new run of the process began: its log begins at offset 0 again."""

    process: str
    file: str = ""


class StreamEnded(Signal, frozen=True, kw_only=True):
    """The stream is over; ``refusal``: because the node refused it."""

    refusal: Refusal | None = None


class LogSource(Struct, frozen=True):
    """A log to follow. ``file``: empty for the output. ``offset``: where to resume."""

    process: str
    file: str = ""
    offset: int | None = None


class LogQuery(Struct, frozen=True, kw_only=True):
    """Which part of the logs. ``since``: seconds ago."""

    tail: int | None = 100
    since: float | None = None
    grep: str | None = None
    previous: bool = False
    follow: bool = False


class Pattern(Struct, frozen=True):
    """What a watch looks for in logs. ``most``: how many lines of one log are reported; None is all."""

    id: str
    regex: str
    most: int | None = None
