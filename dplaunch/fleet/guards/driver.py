"""``Guards``: the driver over guard sessions. Typed calls above; requests, replies and events below."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TypeVar

from dplaunch.errors import DplaunchError, HostError, LockedError
from dplaunch.fleet.driver import OnSignal
from dplaunch.fleet.guards.mailbox import Mailbox, OnEvent, silence_error
from dplaunch.fleet.guards.session import Message
from dplaunch.model.cluster import SecretRef
from dplaunch.model.observed import Observed
from dplaunch.model.plan import File, Place, Plan, Process
from dplaunch.model.remote import (
    FileSeen,
    Hello,
    HttpReply,
    HttpRequest,
    LogQuery,
    LogSource,
    Pattern,
    Refusal,
    StartResult,
    StopVerdict,
    Stream,
)
from dplaunch.model.trail import Entry, Lock
from dplaunch.ranges import grouped
from dplaunch.wire import events, replies, requests
from dplaunch.wire.replies import Reply
from dplaunch.wire.requests import Request

LOCK_DEADLINE = 10.0
RELOCK_PATIENCE = 45.0
"""Seconds: our own session whose link broke holds the lock for up to 30 s more."""
OBSERVE_DEADLINE = 15.0
"""Seconds for one node's reply, health questions (2 s) included."""
PUT_DEADLINE = 30.0
START_DEADLINE = 60.0
"""Seconds; a guard acknowledges after exec, not after start-up."""
STOP_SLACK = 60.0
"""Seconds a node may take beyond the graces of its stop steps."""
FORGET_DEADLINE = 15.0
SLACK = 10.0
"""Seconds a node may take beyond the time that a command or an HTTP request has."""

_Value = TypeVar("_Value")


class Guards(Mailbox):
    """Sessions with the guards of some nodes. ``reached`` are the nodes that have one now."""

    @property
    def reached(self) -> Collection[str]:
        """Nodes that have a session."""
        return self.sessions.keys()

    def listen(self, take: OnSignal, until: Callable[[], bool], deadline: float) -> bool:
        """Deliver signals until ``until()`` holds or the clock passes ``deadline``; whether it held."""

        def on_message(node: str, message: Message) -> None:
            signal = self._parse(node, message, events.signal)
            if signal is not None:
                take(signal)

        return self.deliver(on_message, until, deadline)

    def pause(self, seconds: float) -> None:
        """Wait; signals that come meanwhile are dropped."""
        self.deliver(lambda *_: None, until=lambda: False, deadline=self.clock() + seconds)

    def observe(self, *, health: bool = False, search: bool = False) -> Observed:
        """What runs on every node that is reached; why the others are not."""
        wanted = {node: requests.observe(health=health, search=search) for node in self.reached}
        found = self.each(wanted, OBSERVE_DEADLINE, replies.observed)
        unreached = {node: _reason(error) for node, error in sorted(self.unreached.items())}
        nodes = (found[n].boxed if self._nodes[n].container else found[n] for n in self.names if n in found)
        return Observed(nodes=tuple(nodes), unreached=unreached)

    def put(self, plan: Plan, nodes: Collection[str]) -> dict[str, DplaunchError]:
        """Write the files of these nodes and their part of the plan; node → why that failed."""
        wanted = {
            node.name: requests.put(node.files, requests.plan_part(plan, node))
            for node in plan.nodes
            if node.name in nodes
        }
        return self._need(wanted, PUT_DEADLINE)

    def write(self, files: Mapping[str, File]) -> dict[str, DplaunchError]:
        """Write one file on each of these nodes; node → why that failed."""
        return self._need({node: requests.put([file]) for node, file in files.items()}, PUT_DEADLINE)

    def read_all(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, tuple[FileSeen, ...]]:
        """Files of several nodes' folders, by node; a node that does not reply is left out."""
        return self.each({n: requests.get(paths) for n, paths in wanted.items()}, PUT_DEADLINE, replies.files)

    def read(self, node: str, path: str) -> FileSeen:
        """A file of the node's folder. Raises DplaunchError."""
        return self._one(node, requests.get([path]), replies.file)

    def swap(self, node: str, file: File, seen: FileSeen) -> bool:
        """Write ``file`` unless it was changed since ``seen``; whether it did so. Raises DplaunchError."""
        reply = self._ask_one(node, requests.put([file], expect=seen.sha), PUT_DEADLINE)
        refusal = replies.refusal(reply)
        if refusal is not None and refusal.kind != "changed":
            raise refusal_error(node, refusal)
        return refusal is None

    def start(
        self,
        plan: Plan,
        places: Collection[Place],
        secrets: Mapping[SecretRef, str],
        beside: Mapping[Place, float] = MappingProxyType({}),
    ) -> tuple[StartResult, ...]:
        """Start these processes, all nodes at once; a result for each, also where its node is lost."""
        chosen = {node.name: [p for p in node.processes if p.place in places] for node in plan.nodes}
        wanted = {
            n.name: requests.start(n, chosen[n.name], secrets, beside, pinned=not plan.rehearsal)
            for n in plan.nodes
            if chosen[n.name]
        }
        answers = self.gather(wanted, START_DEADLINE)
        return tuple(
            result
            for node in wanted
            for result in self._started(node, [p.name for p in chosen[node]], answers.get(node))
        )

    def _started(self, node: str, names: Sequence[str], reply: Reply | None) -> tuple[StartResult, ...]:
        refusal = None if reply is None else replies.refusal(reply)
        results: dict[str, StartResult] = {}
        if reply is not None and refusal is None:
            found = self._parse(node, reply, replies.started) or ()
            results = {result.process: result for result in found}
        error = self._lost(node)
        refusal = refusal or Refusal(kind="unreachable", text=error.text, hint=error.hint)
        lost = (StartResult(node=node, process=name, refusal=refusal) for name in names)
        return tuple(results.get(result.process, result) for result in lost)

    def stop(
        self, places: Iterable[Place], grace: float, take: Callable[[StopVerdict], None], *, patient: bool
    ) -> tuple[StopVerdict, ...]:
        """Stop these at once and wait for every verdict, each given to ``take`` as it comes.

        ``grace``: the seconds that their stop steps wait in all; ``patient``: they wait as planned, else
        this grace overrides their steps.
        """
        wanted = grouped(places)
        verdicts: dict[Place, StopVerdict] = {}

        def on_message(node: str, message: Message) -> None:
            if message.get("event") != "stopped":
                return
            found = self._parse(node, message, replies.verdict)
            if found is not None and (node, found.process) not in verdicts:
                verdicts[node, found.process] = found
                take(found)

        override = None if patient else grace
        asked = {node: requests.stop(names, override) for node, names in wanted.items()}
        answers = self.gather(asked, grace + STOP_SLACK, on_message)
        for node, name in ((node, name) for node, names in wanted.items() for name in names):
            if node in answers and (node, name) not in verdicts:
                refusal = replies.refusal(answers[node])
                why = refusal.text if refusal else f"{node} did not say how its stop ended"
                verdicts[node, name] = StopVerdict(node=node, process=name, left=(why,))
                take(verdicts[node, name])
        return tuple(verdicts.values())

    def hurry(self, places: Iterable[Place]) -> None:
        """Skip the grace of a stop under way."""
        for node, names in grouped(places).items():
            self.send(node, requests.stop(names, 0))

    def forget(self) -> dict[str, DplaunchError]:
        """Drop the state of everything that has ended; node → why it keeps it: something may live there."""
        return self._need(dict.fromkeys(self.reached, requests.forget()), FORGET_DEADLINE)

    def watch(
        self,
        node: str,
        processes: Sequence[Process],
        patterns: Sequence[Pattern],
        headers: Mapping[str, str],
    ) -> Stream | None:
        """LineSeen, HealthSeen and ProcessExited of these from now on; None when the node is lost."""
        return self._stream(node, requests.watch(processes, patterns, headers))

    def follow(self, node: str, sources: Sequence[LogSource], query: LogQuery) -> Stream | None:
        """LinesRead, LinesLost and LogRestarted, then StreamEnded; None when the node is lost."""
        clock = self.hello(node).clock if node in self.sessions else 0.0
        return self._stream(node, requests.follow(sources, query, clock))

    def _stream(self, node: str, request: Request) -> Stream | None:
        number = self.send(node, request)
        return None if number is None else Stream(node, number)

    def cancel(self, stream: Stream) -> None:
        """End a stream."""
        self.send(stream.node, requests.cancel(stream.number))

    def ask(self, questions: Iterable[HttpRequest]) -> dict[str, HttpReply]:
        """HTTP requests, each made on its own node, all at once; by key."""
        by_node = grouped((question.node, question) for question in questions)
        longest = max((q.timeout for asked in by_node.values() for q in asked), default=0.0)
        wanted = {node: requests.ask(asked) for node, asked in by_node.items()}
        found = self.each(wanted, longest + SLACK, replies.answers)
        return {key: answer for answers in found.values() for key, answer in answers.items()}

    @contextmanager
    def locked(self, holder: str, verb: str) -> Iterator[None]:
        """Hold the cluster's lock on every node that is reached: another operator may reach others only.

        It also ends with our stream, whatever happens to us. Raises LockedError naming who holds it, for
        which verb and since when; DplaunchError where no node could lock.
        """
        mine: list[str] = []
        try:
            self._lock_all(requests.lock(holder, verb), mine)
            for node in mine:
                self.keep(node, requests.lock_again(holder, verb, RELOCK_PATIENCE), _still_ours)
            yield
        finally:
            for node in mine:
                self.drop(node)
                self.send(node, requests.unlock())

    def _lock_all(self, request: Request, mine: list[str]) -> None:
        """One node alone, so that one of two operators wins everywhere; then all others at once."""
        first = self._lock_first(request)
        mine.append(first)
        others = [node for node in self.names if node in self.sessions and node != first]
        answers = self.gather(dict.fromkeys(others, request), LOCK_DEADLINE)
        mine += [node for node, reply in answers.items() if replies.refusal(reply) is None]
        for node, reply in answers.items():
            refusal = replies.refusal(reply)
            if refusal and refusal.kind == "locked":
                _need_lock(node, reply)  # another's full disk is no reason to stop: nobody could lock it

    def _lock_first(self, request: Request) -> str:
        """Lock the first node that can be locked, in the order of the cluster file; which one that is.

        What is wrong with one node must not keep the others from being stopped. Raises LockedError where
        somebody holds the lock, else why no node could be locked.
        """
        wrong: list[DplaunchError] = []
        for node in [node for node in self.names if node in self.sessions]:
            error = self._lock_one(node, request)
            if error is None:
                return node
            wrong.append(error)
        raise wrong[0] if wrong else next(iter(self.unreached.values()))

    def _lock_one(self, node: str, request: Request) -> DplaunchError | None:
        """Why a node cannot be locked; None where it is. Raises LockedError where somebody holds its lock."""
        try:
            _need_lock(node, self._ask_one(node, request, LOCK_DEADLINE))
        except LockedError:
            raise
        except DplaunchError as error:
            return error
        return None

    def lock_node(self) -> str:
        """The first node of the cluster file that is reached, which keeps the trail.

        Raises HostError where none is.
        """
        reached = [node for node in self.names if node in self.sessions]
        if not reached:
            raise next(iter(self.unreached.values()))
        return reached[0]

    def record(self, entry: Entry) -> None:
        """Add a line to the audit trail; a lost node is not a failure."""
        if self.sessions:
            self.gather({self.lock_node(): requests.record(entry)}, LOCK_DEADLINE)

    def trail(self, count: int) -> tuple[Entry, ...]:
        """The last entries of all nodes, oldest first; the lock node may have changed over time."""
        wanted = dict.fromkeys(self.reached, requests.trail(count))
        found = self.each(wanted, LOCK_DEADLINE, replies.entries)
        entries = [entry for lines in found.values() for entry in lines]
        return tuple(sorted(entries, key=lambda entry: entry.at)[-count:])

    def hello(self, node: str) -> Hello:
        """What a reached node reported about itself when its session began."""
        return replies.read(node, self.sessions[node].hello, replies.hello)

    def ahead(self) -> dict[str, float]:
        """Node → seconds by which its clock is ahead of the median; exact to the time its first line took."""
        offsets = {name: self.hello(name).clock - s.heard for name, s in self.sessions.items()}
        middle = statistics.median_low(offsets.values()) if offsets else 0.0
        return {name: offset - middle for name, offset in offsets.items()}

    def each(
        self,
        wanted: Mapping[str, Request],
        deadline: float,
        parse: Callable[[str, Reply], _Value],
        on_event: OnEvent | None = None,
    ) -> dict[str, _Value]:
        """What each node replied; one that refused, or replied in another shape, is in ``unreached``."""
        found = {}
        for node, reply in self.gather(wanted, deadline, on_event).items():
            refusal = replies.refusal(reply)
            if refusal is None:
                value = self._parse(node, reply, parse)
                if value is not None:
                    found[node] = value
            else:
                self.unreached[node] = HostError(node, f"{node}: {refusal.text}", hint=refusal.hint)
        return found

    def _parse(self, node: str, reply: Reply, parse: Callable[[str, Reply], _Value]) -> _Value | None:
        """None where the reply has another shape; then this node is lost, and no other."""
        try:
            return replies.read(node, reply, parse)
        except HostError as error:
            self.lose(node, error)
            return None

    def _need(self, wanted: Mapping[str, Request], deadline: float) -> dict[str, DplaunchError]:
        answers = self.gather(wanted, deadline)
        failed: dict[str, DplaunchError] = {}
        for node in wanted:
            refusal = replies.refusal(answers[node]) if node in answers else None
            if node not in answers:
                failed[node] = self._lost(node)
            elif refusal is not None:
                failed[node] = refusal_error(node, refusal)
        return failed

    def _one(self, node: str, request: Request, parse: Callable[[str, Reply], _Value]) -> _Value:
        reply = self._ask_one(node, request, PUT_DEADLINE)
        refusal = replies.refusal(reply)
        if refusal is not None:
            raise refusal_error(node, refusal)
        return replies.read(node, reply, parse)

    def _ask_one(self, node: str, request: Request, deadline: float) -> Reply:
        answers = self.gather({node: request}, deadline)
        if node not in answers:
            raise self._lost(node)
        return answers[node]

    def _lost(self, node: str) -> HostError:
        return self.unreached.get(node) or silence_error(node, 0.0)


def refusal_error(node: str, refusal: Refusal) -> DplaunchError:
    """A guard's refusal as an error that names the node."""
    return DplaunchError(f"{node}: {refusal.text}", hint=refusal.hint)


def _need_lock(node: str, reply: Reply) -> None:
    refusal = replies.refusal(reply)
    if refusal is None:
        return
    if refusal.kind == "locked":
        raise lock_error(node, replies.holder(reply))
    raise refusal_error(node, refusal)


def _still_ours(node: str, reply: Reply) -> None:
    """The lock ended with a broken link; it is taken again, unless another operator was faster."""
    try:
        _need_lock(node, reply)
    except LockedError as other:
        raise LockedError(
            f"the link to {node} broke, and our lock ended with it: {other.text}",
            hint="nothing more was changed; look with `dplaunch status`, then run the command again",
        ) from other


def lock_error(node: str, lock: Lock | None) -> LockedError:
    """The error that names holder, verb and age."""
    holder, verb = (lock.holder, lock.verb) if lock else ("another operator", "?")
    age = max(0.0, time.time() - lock.since) if lock else 0.0
    return LockedError(
        f"{holder} is running `dplaunch {verb}` on this cluster (for {age:.0f} s, lock on {node})",
        hint="wait for it, or look with `dplaunch lock`; a lock ends by itself when its launcher is gone",
    )


def _reason(error: HostError) -> str:
    """Why a node is unreachable, and what to do."""
    return f"{error.text}; {error.hint}" if error.hint else error.text
