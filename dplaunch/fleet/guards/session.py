"""One guard session on one node: requests out, messages into the fleet's single mailbox."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from dplaunch.errors import DplaunchError, HostError
from dplaunch.model.plan import NodePlan
from dplaunch.transport import Host, Stream
from dplaunch.wire import bundle, lines, replies

Message = Mapping[str, Any]
"""One decoded line of the guard protocol."""


class Arrived(Struct, frozen=True):
    """A message from ``node``."""

    node: str
    message: Message


class Lost(Struct, frozen=True):
    """The stream of ``node`` ended or broke; nothing more comes from it."""

    node: str
    error: HostError


class Interrupt(Struct, frozen=True):
    """Ctrl-C."""


Mail = Arrived | Lost | Interrupt
Post = Callable[[Arrived | Lost], None]
"""Where a session puts its messages; any thread may call it."""
BEAT = 5.0
"""Seconds between our beats; a node gives up after 30 s of silence."""


class Address(Struct, frozen=True):
    """What a session's first line contains: the cluster whose state it works on, and where that is."""

    cluster: str
    state: str | None = None
    """State home on the node; None is the node's own default."""


class GuardSession(Protocol):
    """What the fleet needs of a guard session."""

    hello: Message
    """The node's first line: host name, clock, whether its state can be written."""
    heard: float
    """When that line came, by this machine's clock: seconds since the epoch."""

    def listen(self, post: Post) -> None:
        """Post every message from now on, at the end one ``Lost``; send beats until then."""

    def request(self, verb: str, fields: Mapping[str, Any] | None = None) -> int:
        """Send a request; its id. Raises HostError when the link is gone."""

    def close(self) -> None:
        """End the session."""


Opener = Callable[[NodePlan], GuardSession]
"""How a session on a node is opened: the seam between the walks and everything that can go wrong below."""


class NodeSession:
    """A running guard session. Only the fleet's loop calls it; one thread posts its mail, and beats.

    Beats must not depend on the loop: it may wait for a user's answer, or for a host that is silent.
    """

    def __init__(
        self, node: NodePlan, host: Host, stream: Stream, hello: Message, beat: float = BEAT
    ) -> None:
        self.node = node.name
        self.hello = hello
        self.heard = time.time()
        self._host = host
        self._stream = stream
        self._next = 0
        self._every = beat
        self._beaten = time.monotonic()

    def listen(self, post: Post) -> None:
        """Start the thread."""
        threading.Thread(target=self._read, args=(post,), name=f"read-{self.node}", daemon=True).start()

    def request(self, verb: str, fields: Mapping[str, Any] | None = None) -> int:
        """Send a request; its id. Raises HostError when the link is gone."""
        self._next += 1
        self._send({"id": self._next, "verb": verb, **(fields or {})})
        return self._next

    def close(self) -> None:
        """End the session: end of file on the node's stdin, then the connection."""
        self._stream.close()
        self._host.close()

    def _send(self, message: Message) -> None:
        self._stream.send(lines.encode(message))

    def _beat(self) -> None:
        """Beat when it is time to."""
        if time.monotonic() - self._beaten >= self._every:
            self._beaten = time.monotonic()
            self._send({"verb": "beat"})

    def _read(self, post: Post) -> None:
        try:
            for line in self._stream.lines(meanwhile=self._beat):
                message = lines.decode(line)
                if message.get("event") != "beat":
                    post(Arrived(self.node, message))
            error = HostError(
                self.node,
                f"the guard session on {self.node} ended",
                hint="what runs there keeps running; run `dplaunch status`",
                detail=tuple(self._stream.stderr_tail().splitlines()[-5:]),
            )
        except HostError as broken:
            error = broken
        except DplaunchError as strange:
            error = HostError(self.node, strange.text, hint=strange.hint)
        post(Lost(self.node, error))


Connect = Callable[[NodePlan], Host]
"""How a node is reached: the seam between the walks and the transports."""


def open_session(node: NodePlan, connect: Connect, address: Address) -> NodeSession:
    """Connect, start a guard session, read its hello. Raises HostError with one clear sentence."""
    host = connect(node)
    try:
        stream = host.stream(
            bundle.bootstrap(node.runtime.python if node.container or node.pod else "python3")
        )
        opening = bundle.opening(address.cluster, node.name, address.state, bundle.bundle())
        hello = lines.greet(stream, node.name, opening)
        replies.read(node.name, hello, replies.hello)  # refuses another shape here, once
    except BaseException:
        host.close()
        raise
    return NodeSession(node, host, stream, hello)
