"""Nodes as bare messages: what their sessions reply to each verb, and at which verb a link breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dplaunch.errors import HostError
from dplaunch.fleet.guards import GuardedMachines
from dplaunch.fleet.guards.session import Arrived, Lost, Post
from dplaunch.model.plan import Plan

FINE: dict[str, Any] = {"ok": True}


class RawNode:
    """One node. ``replies``: verb → its messages, the last one without ``event``; none: it stays silent."""

    def __init__(self, name: str, **replies: list[dict[str, Any]]) -> None:
        self.name = name
        self.replies = replies
        self.breaks_at = ""
        """Verb at which the link breaks, once."""
        self.unreachable = ""
        self.hello: dict[str, Any] = {"event": "hello", "clock": 5000.0, "hostname": name}
        self.heard = 5000.0
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.opened = self.closed = 0
        self.session: RawSession | None = None

    @property
    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.asked]

    def fields(self, verb: str) -> list[Mapping[str, Any]]:
        """Of every request of this verb."""
        return [fields for asked, fields in self.asked if asked == verb]


class RawSession:
    """A session whose every request is answered before it returns."""

    def __init__(self, node: RawNode) -> None:
        self.hello, self.heard = node.hello, node.heard
        self._node = node
        self._number = 0
        self._post: Post = lambda _: None

    def listen(self, post: Post) -> None:
        self._post = post

    def request(self, verb: str, fields: Mapping[str, Any] | None = None) -> int:
        self._number += 1
        self._node.asked.append((verb, dict(fields or {})))
        if verb == self._node.breaks_at:
            self._node.breaks_at = ""
            self.end("the link broke")
        else:
            for message in self._node.replies.get(verb, [FINE]):
                self.say(id=self._number, **message)
        return self._number

    def say(self, **message: Any) -> None:
        """Something comes from the node."""
        self._post(Arrived(self._node.name, message))

    def end(self, why: str) -> None:
        """Nothing more comes from it."""
        self._post(Lost(self._node.name, HostError(self._node.name, why)))

    def close(self) -> None:
        self._node.closed += 1
        self.end("the guard session ended")  # as the reader of a real one


class RawFleet:
    """Guards on raw nodes. ``step``: seconds that pass whenever nothing happens for a moment."""

    def __init__(
        self, plan: Plan, *nodes: RawNode, step: float = 20.0, patience: float | None = None
    ) -> None:
        given = {node.name: node for node in nodes}
        self.nodes = {node.name: given.get(node.name) or RawNode(node.name) for node in plan.nodes}
        self.now = 1000.0
        self.driver = GuardedMachines(
            plan.nodes, lambda node: self.reach(node.name), lambda: self.now, patience
        )
        self.driver.on_tick = self._tick
        self.on_tick: Callable[[], None] = lambda: None
        self._step = step

    def reach(self, name: str) -> RawSession:
        """A new session on a node."""
        node = self.nodes[name]
        node.opened += 1
        if node.unreachable:
            raise HostError(name, node.unreachable, hint="plug it in")
        node.session = RawSession(node)
        return node.session

    def _tick(self, _: float) -> None:
        self.now += self._step
        self.on_tick()
