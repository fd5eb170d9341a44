"""One guard session per node, one mailbox, one loop.

Reader threads post mail; only the loop here decides and calls back. Ctrl-C is mail too.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from msgspec.structs import replace

from dplaunch.errors import HostError, Interrupted
from dplaunch.fleet.guards.session import Arrived, GuardSession, Interrupt, Mail, Message, Opener
from dplaunch.model.plan import NodePlan
from dplaunch.transport import fan_out
from dplaunch.wire.replies import Reply
from dplaunch.wire.requests import Request

TICK = 0.1
"""Seconds the loop waits for mail before ``on_tick``."""
CONNECT_SLACK = 20.0
"""Seconds beyond the connect timeout for login, upload and the first line."""

OnEvent = Callable[[str, Message], None]
"""Called with the node and each message that is not a reply awaited."""
OnReply = Callable[[str, Reply], None]


class Mailbox:
    """Open sessions to some nodes; nodes without one are in ``unreached``, with the reason.

    ``on_interrupt`` is asked at each Ctrl-C: True continues, False raises Interrupted.
    ``patience``: seconds until a node counts as unreachable; None is what its connect_timeout allows.
    ``on_tick`` is given the time about ten times a second while the loop waits.
    """

    def __init__(
        self,
        nodes: Iterable[NodePlan],
        opener: Opener,
        clock: Callable[[], float] = time.monotonic,
        patience: float | None = None,
    ) -> None:
        self.clock = clock
        self.mailbox: queue.SimpleQueue[tuple[GuardSession | None, Mail]] = queue.SimpleQueue()
        """Mail with its session; mail from an earlier session of the node is ignored."""
        self.sessions: dict[str, GuardSession] = {}
        self.unreached: dict[str, HostError] = {}
        self.on_interrupt: Callable[[], bool] = lambda: False
        self.on_tick: Callable[[float], None] = lambda _: None
        self._nodes = {node.name: node for node in nodes}
        self._outside: set[str] = set()
        """Nodes whose sessions run on the machine itself, whether or not their container runs."""
        self.names = tuple(self._nodes)
        """Every node, in the plan's order."""
        self._opener = opener
        self._patience = patience
        self._aside: dict[tuple[str, int], OnReply] = {}
        self._kept: dict[str, tuple[Request, OnReply]] = {}
        self._unheard = False
        """The loop does not read mail now: Ctrl-C is decided at once."""
        self._presses = 0

    def open(self, names: Iterable[str] | None = None) -> None:
        """Reach every node (or ``names``) at once. Never raises for a node: see ``unreached``.

        Nodes that have a session keep it. A session that comes later than the deadline is closed.
        """
        wanted = list(names or self._nodes)
        for name in (name for name in wanted if name in self.sessions):
            self.unreached.pop(name, None)
        by_name = {name: self._way(name) for name in wanted if name not in self.sessions}
        longest = max((node.ssh.connect_timeout for node in by_name.values()), default=0.0) + CONNECT_SLACK
        patience = longest if self._patience is None else self._patience
        door = _Door(self._opener)
        with self.unheard():
            outcomes = fan_out(by_name, lambda name: door.pass_through(by_name[name]), deadline=patience)
        for name, outcome in outcomes.items():
            if outcome.error is not None:
                self.unreached[name] = as_host_error(name, outcome.error)
            elif outcome.value is not None:
                self._enter(name, outcome.value)
        door.shut(self.sessions.values())

    def _way(self, name: str) -> NodePlan:
        node = self._nodes[name]
        return replace(node, container=None) if name in self._outside else node

    def reopen(self, names: Collection[str], *, outside: bool) -> None:
        """End the sessions of these nodes and begin new ones: in their containers, or ``outside``."""
        self._outside = self._outside | set(names) if outside else self._outside - set(names)
        ending = {name: session for name in names if (session := self.sessions.pop(name, None))}
        self._aside = {asked: take for asked, take in self._aside.items() if asked[0] not in ending}
        fan_out(ending, lambda name: ending[name].close(), deadline=5.0)
        if names:
            self.open(names)

    def _enter(self, name: str, session: GuardSession) -> None:
        self.unreached.pop(name, None)
        self.sessions[name] = session
        session.listen(lambda mail: self.mailbox.put((session, mail)))
        if name in self._kept:
            request, take = self._kept[name]
            self.ask_aside({name: request}, take)

    def keep(self, node: str, request: Request, take: OnReply) -> None:
        """Repeat this request first whenever the node is reached again, until ``drop``."""
        self._kept[node] = (request, take)

    def drop(self, node: str) -> None:
        """Stop repeating what ``keep`` was given."""
        self._kept.pop(node, None)

    def close(self) -> None:
        """End all sessions; guarded processes keep running, our locks are released."""
        fan_out(self.sessions, lambda name: self.sessions[name].close(), deadline=5.0)
        self.sessions.clear()

    def interrupt(self, *_: object) -> None:
        """Post a Ctrl-C; fit to be a signal handler. It is handled even while silent hosts are awaited."""
        self.mailbox.put((None, Interrupt()))
        self._presses += 1
        if self._unheard:
            self._hear()

    def _hear(self) -> None:
        self._presses -= 1
        if not self.on_interrupt():
            raise Interrupted("interrupted")

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """A block in which no mail is read, because hosts or the user are asked: Ctrl-C raises at once."""
        self._unheard = True
        try:
            while self._presses:
                self._hear()
            yield
        finally:
            self._unheard = False

    def send(self, node: str, request: Request) -> int | None:
        """Send one request; None when the node is lost (it is in ``unreached`` then)."""
        session = self.sessions.get(node)
        if session is None:
            return None
        try:
            return session.request(*request)
        except HostError as error:
            self.lose(node, error)
            return None

    def ask_aside(self, requests: Mapping[str, Request], take: OnReply) -> None:
        """Ask several nodes without waiting: ``take`` is given each reply when the loop reads it.

        ``take`` is not called for a node that is lost before it replies.
        """
        for node, request in requests.items():
            number = self.send(node, request)
            if number is not None:
                self._aside[node, number] = take

    def gather(
        self, requests: Mapping[str, Request], deadline: float, on_event: OnEvent | None = None
    ) -> dict[str, Reply]:
        """Ask several nodes at once and wait up to ``deadline`` seconds for all replies.

        Nodes that are lost or stay silent are in ``unreached`` and not in the result.
        """
        waiting = {node: number for node, r in requests.items() if (number := self.send(node, r)) is not None}
        replies: dict[str, Reply] = {}

        def take(node: str, message: Message) -> None:
            if "event" not in message and waiting.get(node) == message.get("id"):
                replies[node] = message
                del waiting[node]
            elif on_event is not None:
                on_event(node, message)

        def done() -> bool:
            return not any(node in self.sessions for node in waiting)

        self.deliver(take, until=done, deadline=self.clock() + deadline)
        for node in [n for n in waiting if n in self.sessions]:
            self.lose(node, silence_error(node, deadline))
        return replies

    def deliver(self, on_event: OnEvent, until: Callable[[], bool], deadline: float) -> bool:
        """Deliver mail until ``until()`` holds or the clock passes ``deadline``; whether it held."""
        while not until():
            left = deadline - self.clock()
            if left <= 0:
                return False
            try:
                sender, mail = self.mailbox.get(timeout=min(left, TICK))
            except queue.Empty:
                self.on_tick(self.clock())
                continue
            self._open_mail(sender, mail, on_event)
        return True

    def _open_mail(self, sender: GuardSession | None, mail: Mail, on_event: OnEvent) -> None:
        if isinstance(mail, Interrupt):
            if self._presses:
                self._hear()
        elif self.sessions.get(mail.node) is not sender:
            return
        elif isinstance(mail, Arrived):
            self._aside.pop(_reply_to(mail), on_event)(mail.node, mail.message)
        else:
            self.lose(mail.node, mail.error)

    def lose(self, node: str, error: HostError) -> None:
        """Close the session of ``node`` and note why."""
        session = self.sessions.pop(node, None)
        if session is not None:
            self.unreached[node] = error
            self._aside = {asked: take for asked, take in self._aside.items() if asked[0] != node}
            session.close()


class _Door:
    """Collects the sessions being opened; one that comes after ``shut`` is closed."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._inside: list[GuardSession] = []
        self._shut = False

    def pass_through(self, node: NodePlan) -> GuardSession:
        """Open a session. Runs in a thread of its own."""
        session = self._opener(node)
        with self._lock:
            late = self._shut
            self._inside.append(session)
        if late:
            session.close()
        return session

    def shut(self, welcome: Iterable[GuardSession]) -> None:
        """Close the sessions that are not ``welcome``, and those that come from now on."""
        with self._lock:
            self._shut = True
            inside = list(self._inside)
        known = {id(session) for session in welcome}
        for session in (one for one in inside if id(one) not in known):
            session.close()


def _reply_to(mail: Arrived) -> tuple[str, int]:
    """Node and number of the request that this ends; -1 where it ends none."""
    number = -1 if "event" in mail.message else mail.message.get("id")
    return mail.node, number if isinstance(number, int) else -1


def silence_error(node: str, seconds: float) -> HostError:
    """The error of a node that did not reply in time."""
    return HostError(
        node, f"{node} did not reply within {seconds:.0f} s", hint=f"dplaunch exec node:{node} -- uptime"
    )


def as_host_error(node: str, error: BaseException) -> HostError:
    """Whatever broke while reaching a node, as the error of that node."""
    if isinstance(error, HostError):
        return error
    return HostError(node, f"{node} is unreachable: {error or type(error).__name__}")
