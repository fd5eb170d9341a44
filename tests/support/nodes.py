"""Nodes in memory: what they hold, how they respond, and what their streams report."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from dplaunch.model.observed import ObservedEndpoint, ObservedNode, ObservedProcess, State
from dplaunch.model.plan import Process
from dplaunch.model.remote import (
    HealthSeen,
    HttpReply,
    HttpRequest,
    LineSeen,
    LinesLost,
    LinesRead,
    LogQuery,
    LogRestarted,
    LogSource,
    Pattern,
    ProcessExited,
    Refusal,
    Signal,
    StartResult,
    StopVerdict,
    Stream,
    SurveyReply,
)
from dplaunch.model.trail import Entry, Lock
from dplaunch.wire.requests import READY_LINE

GOOD = '{"choices": [{"text": " Rome, of course"}]}'
GOOD_STREAM = f"data: {GOOD}\n\ndata: [DONE]\n\n"
PAGE = 'toy:fetched{from="elsewhere"} %d.0\ntoy:running{engine="0"} 0.0\ntoy:waiting{engine="0"} 0.0\n'
CLOCK = 5000.0
"""A node's own, seconds since the epoch."""
NOWHERE = Stream("", 0)

Report = Callable[[Signal], Iterable[Signal]]
"""What a stream reports of something that happened."""
Log = tuple[str, str]
"""Process and file; the file is empty for the output."""
_Value = TypeVar("_Value")


class Health(NamedTuple):
    """How an endpoint responds; ``named``: its models are those that are waited for."""

    ok: bool = True
    named: bool = True
    status: int | None = 200


READY = Health()
LOADING = Health(ok=False, named=False, status=503)
SILENT = Health(ok=False, named=False, status=None)
OTHER_MODEL = Health(named=False)


class Ending(NamedTuple):
    """How a process ends by itself."""

    code: int | None = 0
    signal: str = ""


@dataclass
class Node:
    """One node. A test sets what it holds before and how it responds."""

    name: str
    processes: dict[str, ObservedProcess] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    revision: str = ""
    lock: Lock | None = None
    trail: list[Entry] = field(default_factory=list)
    clock_ahead: float = 0.0
    logs: dict[str | Log, Sequence[str]] = field(default_factory=dict)
    """Lines of a process's output or file; of one that does not run yet: what it will write first."""
    previous: dict[str | Log, Sequence[str]] = field(default_factory=dict)
    """The same of the run before."""
    dropped: dict[str, int] = field(default_factory=dict)
    """process → bytes of its log that are lost."""
    health: dict[str, Health] = field(default_factory=dict)
    """endpoint → how it responds; without an entry it is ready at once."""
    ends: dict[str, Ending] = field(default_factory=dict)
    """process → how it ends as soon as it has started."""
    left: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """process → what a stop leaves of it."""
    slow: set[str] = field(default_factory=set)
    """Processes that end only when they are killed."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    """process → why it is not started."""
    answers: dict[str, HttpReply | list[HttpReply]] = field(default_factory=dict)
    """key of a completion → replies in turn, the last one stays; without an entry a good one."""
    pages: dict[str, str | HttpReply | list[str | HttpReply]] = field(default_factory=dict)
    """endpoint → its metrics in turn; without an entry nothing runs and what it fetched grows."""
    http: Callable[[HttpRequest], HttpReply | None] = lambda _: None
    """Asked first; None leaves the reply to the above."""
    refuses: dict[str, str] = field(default_factory=dict)
    """Call → why the node does not do it."""
    silent: bool = False
    """It never answers what is asked aside, nor ends a stream."""
    breaks_at: str = ""
    """Call at which the link breaks, once."""
    stays_away: bool = False
    """Once its link broke it is unreachable."""
    no_way_in: str = ""
    """Why a session cannot run in its container."""
    unreachable: str = ""
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """End of a survey command's key → fields over "printed nothing, code 0"."""
    found: SurveyReply = field(default_factory=lambda: SurveyReply(seconds=0.5))
    held: set[int] = field(default_factory=set)
    """Ports that somebody else listens on."""
    closed: dict[int, str] = field(default_factory=dict)
    """Ports that cannot be opened though nothing listens there → why."""
    cut: dict[str, str] = field(default_factory=dict)
    """Address, or address:port, that cannot be connected to from here → why."""
    lost: set[str] = field(default_factory=set)
    """Processes whose state was lost: only a search finds them."""
    container: str = ""
    """Stamp of the container of ours that runs there."""
    outside: bool = False
    """Its session runs on the machine though the container runs."""
    execute: Callable[[Sequence[str]], dict[str, Any]] = lambda argv: {"code": 0, "out": " ".join(argv[1:])}
    """What a command of its own comes to."""
    opened: int = 0
    """How often it was reached."""
    asked: int = 0
    streams: dict[Stream, tuple[Report, Callable[[Signal], None]]] = field(default_factory=dict)

    def observed(self, name: str, *, healthy: bool = True, **fields: Any) -> Node:
        """It runs this process, or holds it in the state that ``fields`` give."""
        role, engine, _ = name.rpartition("-")
        basic: dict[str, Any] = {
            "kind": "engine" if engine else "service",
            "role": role if engine else name,
            "group": f"{role}/0" if engine else name,
            "state": State.RUNNING,
            "pid": 7,
            "endpoints": (ObservedEndpoint(name=name),),
        }
        self.processes[name] = ObservedProcess(name=name, node=self.name, **{**basic, **fields})
        if not healthy:
            self.health[name] = LOADING
        return self

    def start(self, process: Process, *, beside: bool = False) -> StartResult:
        """A new run, unless something speaks against it. ``beside``: it takes over from the one that runs."""
        before = self.processes.get(process.name)
        alive = [one for one in self.processes.values() if one.alive and not (beside and one is before)]
        others = {port for one in alive for port in one.ports}
        taken = sorted((others | self.held) & set(process.ports))
        refusal = self.refused.get(process.name)
        if beside and not (before and before.runs):
            refusal = Refusal(kind="handover", text=f"{process.name}: nothing runs to take over from")
        elif before is not None and before.alive and not beside:
            refusal = Refusal(kind="running", text=f"{process.name} is already running (pid {before.pid})")
        elif taken:
            refusal = Refusal(kind="port-taken", text=f"port {taken[0]} is taken")
        if refusal is not None:
            return StartResult(node=self.name, process=process.name, refusal=refusal)
        self.observed(
            process.name,
            **{
                name: getattr(process, name)
                for name in ("kind", "role", "group", "ports", "fingerprint", "hands_over")
            },
            pid=100,
            started_at=CLOCK,
            log=f"/state/{process.name}/log",
            endpoints=tuple(ObservedEndpoint(name=one.name, url=one.url) for one in process.endpoints),
        )
        if before is not None and not beside:
            self._begin_logs(process.name)
        if process.name in self.ends:
            self.end(process.name, *self.ends[process.name])
        return StartResult(node=self.name, process=process.name, pid=100)

    def stop(self, name: str, how: str) -> StopVerdict:
        """A process is ended by a signal."""
        one = self.processes.get(name)
        if one and one.state is State.FOREIGN:
            return StopVerdict(node=self.name, process=name, how="left alone", left=self.left.get(name, ()))
        if one is None or not one.alive:
            return StopVerdict(node=self.name, process=name, how="was not running")
        left = self.left.get(name, ())
        self._ended(replace(one, state=State.STOPPED, signal=f"SIG{how}", left=(9,) if left else ()))
        return StopVerdict(node=self.name, process=name, how=how, seconds=0.2, left=left)

    def end(self, name: str, code: int | None = 0, signal: str = "") -> None:
        """A process ends by itself."""
        one = self.processes[name]
        state = State.DONE if one.kind == "job" and code == 0 else State.EXITED
        self._ended(replace(one, state=state, exit_code=code, signal=signal))

    def run_again(self, name: str, code: int) -> None:
        """A service ends, and its guard starts it again; its log continues."""
        one = self.processes[name]
        self._ended(replace(one, exit_code=code, restarts=one.restarts + 1))

    def _ended(self, one: ObservedProcess) -> None:
        self.processes[one.name] = one
        self._happened(self._exit(one))

    def _exit(self, one: ObservedProcess) -> ProcessExited:
        return ProcessExited(
            stream=NOWHERE,
            process=one.name,
            code=one.exit_code,
            signal=one.signal,
            done=one.state is State.DONE,
            again=one.runs,
            log=one.log,
            tail=tuple(self.logs.get(one.name, ())[-40:]),
        )

    def write(self, log: str | Log, *lines: str) -> None:
        """A process writes to its output, or to a file."""
        before = self.logs.get(log, ())
        self.logs[log] = (*before, *lines)
        self._happened(_read(log, self.logs[log], len(before)))

    def turn(self, process: str, endpoint: str, health: Health) -> None:
        """An endpoint responds otherwise from now on."""
        self.health[endpoint] = health
        self._happened(_seen(process, endpoint, health))

    def _begin_logs(self, name: str) -> None:
        for log in [log for log in self.logs if _log(log)[0] == name]:
            self.previous[log] = self.logs.pop(log)
            self._happened(LogRestarted(stream=NOWHERE, process=name, file=_log(log)[1]))

    def _happened(self, signal: Signal) -> None:
        for stream in list(self.streams):
            self._report(stream, signal)

    def _report(self, stream: Stream, signal: Signal) -> None:
        report, post = self.streams[stream]
        for one in report(signal):
            post(replace(one, stream=stream))

    def watch(self, stream: Stream, processes: Mapping[str, Process]) -> None:
        """Report to a new stream what is known of these processes: lines, health, exits."""
        for name, process in processes.items():
            one = self.processes.get(name)
            self._report(stream, _read(name, self.logs.get(name, ())))
            for endpoint in process.endpoints if one and one.runs else ():
                self._report(stream, _seen(name, endpoint.name, self.health.get(endpoint.name, Health())))
            if one and not one.runs:
                self._report(stream, self._exit(one))

    def follow(self, stream: Stream, sources: Iterable[LogSource], query: LogQuery) -> None:
        """Report to a new stream what is written already, from the offsets or the tail that are asked for."""
        for source in sources:
            log = (source.process, source.file) if source.file else source.process
            lines = (self.previous if query.previous else self.logs).get(log, ())
            first = 0 if query.tail is None else max(0, len(lines) - query.tail)
            if source.offset is not None:
                first = next(n for n in range(len(lines) + 1) if size(lines[:n]) >= source.offset)
            if source.process in self.dropped:
                lost = LinesLost(stream=stream, process=source.process, bytes=self.dropped[source.process])
                self._report(stream, lost)
            self._report(stream, _read(log, lines, first))

    def observe(self, *, health: bool, search: bool) -> ObservedNode:
        """All that is known here; endpoints respond only where ``health`` is asked."""

        def seen(one: ObservedProcess, endpoint: ObservedEndpoint) -> ObservedEndpoint:
            healthy = self.health.get(endpoint.name, Health()).ok if health and one.runs else None
            return replace(endpoint, healthy=healthy)

        return ObservedNode(
            name=self.name,
            revision=self.revision,
            hostname=self.name,
            clock=CLOCK,
            processes=tuple(
                replace(one, endpoints=tuple(seen(one, endpoint) for endpoint in one.endpoints))
                for one in self.processes.values()
                if search or one.name not in self.lost
            ),
            lock=self.lock,
            last=self.trail[-1] if self.trail else None,
        )

    def respond(self, request: HttpRequest) -> HttpReply:
        """The reply to an HTTP request that this node makes."""
        self.asked += 1
        reply = self.http(request) or self._refused(request) or self._scripted(request)
        found = [line for line in reply.body.splitlines() if re.search(request.grep, line)]
        return replace(reply, body="\n".join(found)) if request.grep else reply

    def _refused(self, request: HttpRequest) -> HttpReply | None:
        gone = [e.url for one in self.processes.values() if not one.runs for e in one.endpoints if e.url]
        refused = any(request.url.startswith(f"{url}/") for url in gone)
        return HttpReply(error="connection refused") if refused else None

    def _scripted(self, request: HttpRequest) -> HttpReply:
        if request.url.endswith("/metrics"):
            page: str | HttpReply = _next(self.pages.get(request.key, PAGE % self.asked))
            return page if isinstance(page, HttpReply) else HttpReply(status=200, body=page)
        good = GOOD_STREAM if '"stream": true' in request.body else GOOD
        return _next(self.answers.get(request.key, HttpReply(status=200, body=good, seconds=0.1)))

    def survey(self, survey: Mapping[str, Any]) -> SurveyReply:
        """What came of a survey's commands."""
        basic = {"code": 0, "out": "", "err": "", "problem": "", "seconds": 0.1}
        keys = [command["key"] for command in survey["commands"]]
        changes = {key: fields for key in keys for end, fields in self.outputs.items() if key.endswith(end)}
        return replace(self.found, results=tuple((key, {**basic, **changes.get(key, {})}) for key in keys))


def watching(processes: Mapping[str, Process], patterns: Iterable[Pattern]) -> Report:
    """What a watch reports: matching lines of the output, health, exits."""
    ready = {name: p.ready.pattern for name, p in processes.items() if p.ready.how == "line"}

    def report(signal: Signal) -> Iterator[Signal]:
        match signal:
            case LinesRead(process=name, file="", lines=lines) if name in processes:
                own = [Pattern(READY_LINE, ready[name])] if name in ready else []
                for line in lines:
                    for pattern in (*patterns, *own):
                        found = re.search(pattern.regex, line)
                        groups = found.groupdict() if found else {}
                        seen = LineSeen(
                            stream=NOWHERE, process=name, pattern=pattern.id, text=line, groups=groups
                        )
                        yield from [seen] if found else []
            case HealthSeen() | ProcessExited() if signal.process in processes:
                yield signal

    return report


def following(sources: Iterable[LogSource], query: LogQuery) -> Report:
    """What a follow reports: lines, lost ones, new runs."""
    wanted = {(source.process, source.file) for source in sources}

    def report(signal: Signal) -> Iterator[Signal]:
        match signal:
            case LinesRead() if (signal.process, signal.file) in wanted:
                lines = tuple(line for line in signal.lines if re.search(query.grep or "", line))
                yield from [replace(signal, lines=lines)] if lines else []
            case LinesLost() | LogRestarted() if (signal.process, signal.file) in wanted:
                yield signal

    return report


def size(lines: Iterable[str]) -> int:
    """Bytes of a log of these lines."""
    return sum(len(line.encode()) + 1 for line in lines)


def _read(log: str | Log, lines: Sequence[str], first: int = 0) -> LinesRead:
    process, file = _log(log)
    span = {"offset": size(lines[:first]), "end": size(lines)}
    return LinesRead(stream=NOWHERE, process=process, file=file, lines=tuple(lines[first:]), **span)


def _seen(process: str, endpoint: str, health: Health) -> HealthSeen:
    return HealthSeen(stream=NOWHERE, process=process, endpoint=endpoint, **health._asdict())


def _log(log: str | Log) -> Log:
    return (log, "") if isinstance(log, str) else log


def _next(given: _Value | list[_Value]) -> _Value:
    """The first of a list, which is gone then; the last one stays."""
    if not isinstance(given, list):
        return given
    return given.pop(0) if len(given) > 1 else given[0]
