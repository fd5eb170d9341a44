"""A walk's surroundings in memory: a plan, its nodes, a job on them, and what comes of it."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any, TypeVar

from memory import MemoryDriver
from nodes import Node

from dplaunch.fleet.job import Job
from dplaunch.model.event import Event, Note, PhaseEnded
from dplaunch.model.plan import Plan
from dplaunch.model.remote import HttpRequest
from dplaunch.model.trail import Entry
from dplaunch.ranges import fold

_Event = TypeVar("_Event", bound=Event)


class Scene:
    """A plan, its nodes in memory, a job on them, and the events of its walks."""

    def __init__(self, plan: Plan, *nodes: Node) -> None:
        given = {node.name: node for node in nodes}
        self.nodes = {node.name: given.get(node.name) or Node(node.name) for node in plan.nodes}
        self.driver = MemoryDriver(self.nodes.values())
        self.events: list[Event] = []
        self.job = Job(plan, self.driver, self.events.append, "ada@desk")
        self._before: dict[str, str] = {}

    def admitted(self, **states: str) -> Scene:
        """The router's file lists every group as open, those of ``states`` (``decode_0=``) otherwise."""
        members, router = self.job.plan.members, self.job.plan.router_process
        assert members is not None
        assert router is not None
        document = json.loads(members.text)
        for member in document["members"]:
            member["state"] = states.get(member["group"].replace("/", "_"), "serving")
        self.nodes[router.node].files[members.path] = json.dumps(document)
        self._before = self.states
        return self

    def of(self, kind: type[_Event]) -> list[_Event]:
        """Events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def notes(self) -> list[str]:
        return [note.text for note in self.of(Note)]

    @property
    def phases(self) -> list[str]:
        """Those that have ended well."""
        return [ended.phase for ended in self.of(PhaseEnded)]

    def calls(self, verb: str) -> list[Any]:
        """What the calls of one kind were about."""
        return [call.what for call in self.driver.calls if call.verb == verb]

    def asked(self, node: str = "") -> list[HttpRequest]:
        """Every HTTP request, in order; of one node or all."""
        return [one for asked in self.calls("ask") for one in asked if node in ("", one.node)]

    @property
    def trail(self) -> list[Entry]:
        """Of the node that keeps the lock."""
        return next(iter(self.nodes.values())).trail

    @property
    def states(self) -> dict[str, str]:
        """Group → its state in the router's members file now."""
        planned = self.job.plan.members
        router = self.job.plan.router_process
        text = self.nodes[router.node].files.get(planned.path) if planned and router else None
        return group_states(text) if text else {}

    def story(self) -> list[str]:
        """What was done to groups and processes, in order: ``decode/0 held``, ``start decode-[0-1]`` …

        What follows itself is there once.
        """
        told: list[str] = []
        before = self._before
        for verb, what in self.driver.calls:
            if verb == "swap":
                states = group_states(what.text)
                told += [f"{group} {s}" for group, s in states.items() if before.get(group) != s]
                before = states
            elif verb in ("start", "stop"):
                told.append(f"{verb} {fold(name for _, name in what)}")
            elif verb == "put" and what:
                told.append(f"put {fold(sorted(what))}")
            elif verb == "ask":
                posted = [question.key for question in what if question.method == "POST"]
                told += [f"ask {' '.join(posted)}"] if posted else []
        return [line for line, _ in groupby(told)]


def group_states(text: str) -> dict[str, str]:
    """Group → state, of a members file's text."""
    return {member["group"]: member["state"] for member in json.loads(text)["members"]}
