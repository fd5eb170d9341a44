"""The driver in memory, for tests of walks: typed calls on nodes that a test sets up; nothing is started.

Its clock runs only while nothing happens. Every call is recorded, in order.
"""

from __future__ import annotations

import hashlib
import statistics
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from nodes import CLOCK, Node, Report, following, watching

from dplaunch.errors import DplaunchError, HostError, Interrupted, LockedError
from dplaunch.fleet.driver import OnSignal
from dplaunch.model.check import Finding
from dplaunch.model.cluster import SecretRef
from dplaunch.model.observed import Observed, State
from dplaunch.model.plan import File, Place, Plan, Process
from dplaunch.model.remote import (
    Connected,
    ExecResult,
    FileSeen,
    Hello,
    HttpReply,
    HttpRequest,
    Listening,
    LogQuery,
    LogSource,
    Pattern,
    Refusal,
    Signal,
    StartResult,
    StopVerdict,
    Stream,
    StreamEnded,
    SurveyReply,
)
from dplaunch.model.trail import Entry, Lock
from dplaunch.ranges import grouped

BEGAN = 1000.0


class Call(NamedTuple):
    """One call of the driver, and what it was about."""

    verb: str
    what: Any = None


class MemoryDriver:
    """``Machines`` over nodes in memory.

    ``then``: seconds since the beginning → what happens at that time. ``before``: call → what happens just
    before it is made the next time.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.unreached: dict[str, HostError] = {}
        self.on_interrupt: Callable[[], bool] = lambda: False
        self.on_tick: Callable[[float], None] = lambda _: None
        self.calls: list[Call] = []
        self.then: dict[float, Callable[[], None]] = {}
        self.before: dict[str, Callable[[], None]] = {}
        self._now = BEGAN
        self._reached: dict[str, None] = {}
        self._mail: deque[Signal | Callable[[], None]] = deque()
        self._hurried: set[Place] = set()
        self._presses = 0
        self._unheard = False

    def prepare(self, report: Callable[[str], None]) -> None:
        """Its nodes are there."""

    def examine(self) -> tuple[Finding, ...]:
        return ()

    @property
    def reached(self) -> Collection[str]:
        return self._reached.keys()

    def clock(self) -> float:
        return self._now

    def open(self, nodes: Iterable[str] | None = None) -> None:
        wanted = set(self.nodes if nodes is None else nodes)
        self._call("open", wanted)
        with self.unheard():
            for name in wanted:
                self.unreached.pop(name, None)
                if name not in self._reached:
                    self._reach(self.nodes[name])

    def _reach(self, node: Node) -> None:
        node.opened += 1
        if node.unreachable:
            self.unreached[node.name] = HostError(node.name, node.unreachable, hint="plug it in")
        else:
            self._reached[node.name] = None

    def lose(self, name: str) -> None:
        """The link to a node breaks; what runs there does not notice."""
        node = self.nodes[name]
        if node.stays_away:
            node.unreachable = f"{name} does not answer"
        del self._reached[name]
        self.unreached[name] = HostError(name, "the link broke", hint="plug it in")
        node.streams.clear()
        kept = [mail for mail in self._mail if not (isinstance(mail, Signal) and mail.node == name)]
        self._mail.clear()
        self._mail.extend(kept)

    def interrupt(self, *_: object) -> None:
        self._presses += 1
        if self._unheard:
            self._hear()

    def _hear(self) -> None:
        while self._presses:
            self._presses -= 1
            if not self.on_interrupt():
                raise Interrupted("interrupted")

    @contextmanager
    def unheard(self) -> Iterator[None]:
        self._unheard = True
        try:
            self._hear()
            yield
        finally:
            self._unheard = False

    def listen(self, take: OnSignal, until: Callable[[], bool], deadline: float) -> bool:
        while not until():
            if self._presses:
                self._hear()
            elif self._mail:
                mail = self._mail.popleft()
                take(mail) if isinstance(mail, Signal) else mail()
            elif self._now >= deadline:
                return False
            else:
                self._idle(deadline)
        return True

    def _idle(self, deadline: float) -> None:
        """Nothing happens until the next of ``then``, or the deadline."""
        due = min((BEGAN + at for at in self.then), default=deadline)
        self._now = max(self._now, min(due, deadline))
        for at in sorted(at for at in self.then if BEGAN + at <= self._now):
            self.then.pop(at)()
        self.on_tick(self._now)

    def pause(self, seconds: float) -> None:
        self.listen(lambda _: None, until=lambda: False, deadline=self._now + seconds)

    def observe(self, *, health: bool = False, search: bool = False) -> Observed:
        self._call("observe", health)
        seen = tuple(node.observe(health=health, search=search) for node in self._able("observe", self.nodes))
        return Observed(nodes=seen, unreached={name: e.text for name, e in sorted(self.unreached.items())})

    def put(self, plan: Plan, nodes: Collection[str]) -> dict[str, DplaunchError]:
        self._call("put", frozenset(nodes))
        for node in plan.nodes:
            if node.name in nodes and self._fault("put", node.name) is None:
                self.nodes[node.name].files |= {file.path: file.text for file in node.files}
                self.nodes[node.name].revision = plan.revision
        return {name: error for name in nodes if (error := self._fault("put", name))}

    def write(self, files: Mapping[str, File]) -> dict[str, DplaunchError]:
        self._call("write", files)
        failed = {name: error for name in files if (error := self._fault("write", name))}
        for name in files.keys() - failed.keys():
            self.nodes[name].files[files[name].path] = files[name].text
        return failed

    def read_all(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, tuple[FileSeen, ...]]:
        self._call("read_all", wanted)
        reached = {node: paths for node, paths in wanted.items() if node in self.reached}
        return {
            node: tuple(
                FileSeen(path=path, text=text, sha=_sha(text))
                for path in paths
                for text in [self.nodes[node].files.get(path)]
            )
            for node, paths in reached.items()
        }

    def read(self, node: str, path: str) -> FileSeen:
        self._call("read", (node, path))
        self._need("read", node)
        text = self.nodes[node].files.get(path)
        return FileSeen(path=path, text=text, sha=_sha(text))

    def swap(self, node: str, file: File, seen: FileSeen) -> bool:
        self._call("swap", file)
        self._need("swap", node)
        files = self.nodes[node].files
        if _sha(files.get(file.path)) != seen.sha:
            return False
        files[file.path] = file.text
        return True

    def start(
        self,
        plan: Plan,
        places: Collection[Place],
        secrets: Mapping[SecretRef, str],
        beside: Mapping[Place, float] = MappingProxyType({}),
    ) -> tuple[StartResult, ...]:
        self._call("start", tuple(sorted(places)))
        if beside:
            self._call("beside", dict(beside))
        wanted = [process for process in plan.processes if process.place in places]
        return tuple(self._start(process, beside=process.place in beside) for process in wanted)

    def _start(self, process: Process, *, beside: bool) -> StartResult:
        error = self._fault("start", process.node)
        if error is None:
            return self.nodes[process.node].start(process, beside=beside)
        refusal = Refusal(kind="unreachable", text=error.text, hint=error.hint)
        return StartResult(node=process.node, process=process.name, refusal=refusal)

    def stop(
        self, places: Iterable[Place], grace: float, take: Callable[[StopVerdict], None], *, patient: bool
    ) -> tuple[StopVerdict, ...]:
        wanted = tuple(places)
        self._hurried.clear()
        self._call("stop", wanted)
        faults = {node: self._fault("stop", node) for node in dict.fromkeys(node for node, _ in wanted)}
        reached = [place for place in wanted if place[0] in self._reached]
        slow = {(node, name) for node, name in reached if name in self.nodes[node].slow}
        self.listen(lambda _: None, until=lambda: slow <= self._hurried, deadline=self._now + grace)
        verdicts = []
        for node, name in reached:
            refused, how = faults[node], "KILL" if (node, name) in slow else "TERM"
            alive = StopVerdict(node=node, process=name, left=(refused.text,)) if refused else None
            verdicts.append(alive or self.nodes[node].stop(name, how))
            take(verdicts[-1])
        return tuple(verdicts)

    def hurry(self, places: Iterable[Place]) -> None:
        self._hurried |= set(places)
        self.calls.append(Call("hurry", tuple(places)))

    def forget(self) -> dict[str, DplaunchError]:
        self._call("forget")
        kept = {}
        for node in self._able("forget", self.nodes):
            if any(one.alive or one.state is State.FOREIGN for one in node.processes.values()):
                kept[node.name] = DplaunchError(f"{node.name}: something is still running")
            else:
                node.processes, node.files, node.revision = {}, {}, ""
        return kept

    def watch(
        self,
        node: str,
        processes: Sequence[Process],
        patterns: Sequence[Pattern],
        headers: Mapping[str, str],
    ) -> Stream | None:
        by_name = {process.name: process for process in processes}
        self._call("watch", (node, tuple(by_name), dict(headers)))
        stream = self._begin("watch", node, watching(by_name, patterns))
        if stream is not None:
            self.nodes[node].watch(stream, by_name)
        return stream

    def follow(self, node: str, sources: Sequence[LogSource], query: LogQuery) -> Stream | None:
        self._call("follow", (node, tuple(sources), query))
        stream = self._begin("follow", node, following(sources, query))
        if stream is not None:
            self.nodes[node].follow(stream, sources, query)
            if not query.follow and not self.nodes[node].silent:
                self._end(stream)
        return stream

    def _begin(self, call: str, node: str, report: Report) -> Stream | None:
        if self._fault(call, node) is not None:
            return None
        stream = Stream(node, len(self.calls))
        self.nodes[node].streams[stream] = report, self._mail.append
        return stream

    def _end(self, stream: Stream) -> None:
        if self.nodes[stream.node].streams.pop(stream, None):
            self._mail.append(StreamEnded(stream=stream))

    def cancel(self, stream: Stream) -> None:
        self.calls.append(Call("cancel", stream))
        self._end(stream)

    def ask(self, questions: Iterable[HttpRequest]) -> dict[str, HttpReply]:
        asked = tuple(questions)
        self._call("ask", asked)
        by_node = grouped((question.node, question) for question in asked)
        able = self._able("ask", by_node)
        replies = {one.key: node.respond(one) for node in able for one in by_node[node.name]}
        self._now += max((reply.seconds for reply in replies.values()), default=0.0)
        return replies

    @contextmanager
    def locked(self, holder: str, verb: str) -> Iterator[None]:
        self._call("lock", verb)
        self._need("lock", self.lock_node())
        nodes = list(self._able("lock", self.nodes))
        for lock in (node.lock for node in nodes if node.lock is not None):
            raise LockedError(f"{lock.holder} is running `dplaunch {lock.verb}` on this cluster")
        for node in nodes:
            node.lock = Lock(holder=holder, verb=verb, since=CLOCK)
        try:
            yield
        finally:
            self.calls.append(Call("unlock"))
            for node in nodes:
                node.lock = None

    def lock_node(self) -> str:
        reached = [name for name in self.nodes if name in self._reached]
        if not reached:
            raise next(iter(self.unreached.values()))
        return reached[0]

    def record(self, entry: Entry) -> None:
        self._call("record", entry)
        if self._reached:
            self.nodes[self.lock_node()].trail.append(entry)

    def trail(self, count: int) -> tuple[Entry, ...]:
        self._call("trail", count)
        entries = [entry for node in self._able("trail", self.nodes) for entry in node.trail]
        return tuple(sorted(entries, key=lambda entry: entry.at)[-count:])

    def hello(self, node: str) -> Hello:
        one = self.nodes[node]
        inside = "" if one.outside else one.container
        return Hello(hostname=node, clock=CLOCK + one.clock_ahead, python="3.11.2", container=inside)

    def ahead(self) -> dict[str, float]:
        offsets = {name: self.nodes[name].clock_ahead for name in self._reached}
        middle = statistics.median_low(offsets.values()) if offsets else 0.0
        return {name: offset - middle for name, offset in offsets.items()}

    def reopen(self, nodes: Collection[str], *, outside: bool) -> None:
        self._call("reopen", (tuple(nodes), outside))
        for name in nodes:
            node = self.nodes[name]
            node.outside = outside
            self.unreached.pop(name, None)
            self._reached[name] = None
            if node.container and node.no_way_in and not outside:
                del self._reached[name]
                self.unreached[name] = HostError(name, node.no_way_in)

    def execute_each(self, wanted: Mapping[str, Sequence[str]], timeout: float) -> tuple[ExecResult, ...]:
        self._call("execute_each", {name: tuple(argv) for name, argv in wanted.items()})
        found = {name: self.nodes[name].execute(argv) for name, argv in wanted.items()}
        return tuple(ExecResult(node=name, **found[name]) for name in self.nodes if name in found)

    def execute(self, nodes: Collection[str], argv: Sequence[str], timeout: float) -> tuple[ExecResult, ...]:
        self._call("execute", tuple(argv))
        found = []
        for name in (name for name in self.nodes if name in nodes):
            error = self._fault("execute", name)
            done = ExecResult(node=name, code=0, out=" ".join(argv[1:]))  # every command is an echo
            found.append(ExecResult(node=name, problem=error.text) if error else done)
        return tuple(found)

    def survey(
        self,
        surveys: Mapping[str, Mapping[str, object]],
        patience: float,
        progress: Callable[[str, int, int], None],
    ) -> dict[str, SurveyReply]:
        self._call("survey", surveys)
        return {node.name: node.survey(surveys[node.name]) for node in self._able("survey", surveys)}

    def survey_aside(
        self, surveys: Mapping[str, Mapping[str, object]], take: Callable[[str, SurveyReply | None], None]
    ) -> None:
        self._call("survey_aside", surveys)
        for name, survey in surveys.items():
            node = self.nodes[name]
            if "survey_aside" in node.refuses:
                self._mail.append(partial(take, name, None))
            elif self._fault("survey_aside", name) is None and not node.silent:
                self._mail.append(partial(take, name, node.survey(survey)))

    @contextmanager
    def listening(
        self, wanted: Mapping[str, tuple[str, Sequence[int]]], random: int, seconds: float
    ) -> Iterator[dict[str, Listening | DplaunchError]]:
        self._call("listening", wanted)
        found: dict[str, Listening | DplaunchError] = {}
        for name in wanted:
            error, node = self._fault("listening", name), self.nodes[name]
            if name in self._reached:
                opened = Listening(random=tuple(range(40001, 40001 + random)), closed=node.closed)
                found[name] = error or opened
        yield found
        self.calls.append(Call("closed", wanted))

    def connect(
        self, targets: Mapping[str, Sequence[tuple[str, str, int]]], timeout: float, patience: float
    ) -> tuple[Connected, ...]:
        self._call("connect", targets)
        return tuple(
            Connected(key=key, error=node.cut.get(address) or node.cut.get(f"{address}:{port}", ""))
            for node in self._able("connect", targets)
            for key, address, port in targets[node.name]
        )

    def _call(self, verb: str, what: Any = None) -> None:
        self.calls.append(Call(verb, what))
        happens = self.before.pop(verb, None)
        if happens is not None:
            happens()
        self._hear()

    def _fault(self, call: str, name: str) -> DplaunchError | None:
        """Why a node does not do what is asked of it."""
        node = self.nodes[name]
        if name in self._reached and node.breaks_at == call:
            node.breaks_at = ""
            self.lose(name)
        if name not in self._reached:
            return self.unreached[name]
        return DplaunchError(f"{name}: {node.refuses[call]}") if call in node.refuses else None

    def _need(self, call: str, name: str) -> None:
        error = self._fault(call, name)
        if error is not None:
            raise error

    def _able(self, call: str, names: Iterable[str]) -> list[Node]:
        """Those of these nodes that do what is asked; of the others it is known why not."""
        errors = {name: self._fault(call, name) for name in names}
        for name, error in errors.items():
            if error is not None:
                self.unreached[name] = HostError(name, error.text, hint=error.hint)
        return [self.nodes[name] for name, error in errors.items() if error is None]


def _sha(text: str | None) -> str:
    return "" if text is None else hashlib.sha256(text.encode()).hexdigest()
