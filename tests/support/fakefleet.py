"""Nodes in memory: sessions that answer by script, a clock that runs only while nothing happens.

A walk's test says what each node holds and how it answers; nothing is started, nothing waits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from seating import an_endpoint

from dplaunch.errors import HostError
from dplaunch.fleet.fleet import Fleet
from dplaunch.fleet.job import Job
from dplaunch.fleet.session import Arrived, Lost
from dplaunch.model.cluster import RouterSpec, RuntimeSpec, SshSpec
from dplaunch.model.event import Event
from dplaunch.model.plan import File, NodePlan, Plan, Process, Stage

GOOD = json.dumps({"choices": [{"text": " Rome, of course"}]})


GOOD_STREAM = f"data: {GOOD}\n\ndata: [DONE]\n\n"
FETCHED = 'vllm:prompt_tokens_by_source_total{source="external_kv_transfer"} %d.0'


def _next(answers: list[Any]) -> Any:
    """The first of them, which is gone then; the last one stays."""
    return answers.pop(0) if len(answers) > 1 else answers[0]


class Clock:
    """Seconds that pass only when told to, or when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


@dataclass
class FakeNode:
    """One node: what it says to each verb. ``asked`` keeps every request, in order."""

    name: str
    processes: list[dict[str, Any]] = field(default_factory=list)
    refuse: dict[str, dict[str, str]] = field(default_factory=dict)
    """process → the error of its start."""
    watch: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """process → events of ``watch``; without an entry it becomes ready at once."""
    answers: dict[str, dict[str, Any] | list[dict[str, Any]]] = field(default_factory=dict)
    """probe key → result fields over a good completion; a list is for one asking after the other."""
    metrics: dict[str, list[str | dict[str, Any]]] = field(default_factory=dict)
    """engine → what /metrics says (or result fields), one asking after the other; without an entry fetched
    prompts grow."""
    stopped: dict[str, dict[str, Any]] = field(default_factory=dict)
    """process → fields of its verdict."""
    errors: dict[str, dict[str, Any]] = field(default_factory=dict)
    """verb → error of the reply."""
    silent: set[str] = field(default_factory=set)
    """Verbs that get no reply."""
    breaks_at: str = ""
    """Verb at which the link breaks (once)."""
    unreachable: str = ""
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    before: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """As ``logs``, of the run before."""
    trail: list[dict[str, Any]] = field(default_factory=list)
    """The audit trail it keeps."""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """End of a survey command's key → result fields over "printed nothing, code 0"."""
    survey: dict[str, Any] = field(default_factory=dict)
    """Fields over an empty survey's reply."""
    held: set[int] = field(default_factory=set)
    """Ports that cannot be opened because somebody listens there."""
    cut: dict[str, str] = field(default_factory=dict)
    """Address, or address:port, that cannot be connected to from here → why."""
    opened: int = 0
    closed: int = 0
    stays_away: bool = False
    """Once its link broke it is not reached again."""
    session: FakeSession | None = None
    """The newest one."""
    clock_ahead: float = 0.0

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.asked]

    def observed(self, name: str, **fields: Any) -> FakeNode:
        """This process is known to the node; running unless told otherwise."""
        role = name.rsplit("-", 1)[0]
        meta = {"kind": "service" if role == "router" else "engine", "role": role, "group": f"{role}/0"}
        entry = {"name": name, "state": "running", "pid": 7, "healthy": True, "meta": meta}
        self.processes.append({**entry, **fields})
        return self

    def events(self, verb: str, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        if verb == "watch":
            names = [p["name"] for p in asked["processes"]]
            ready = {"event": "health", "ok": True, "models": True}
            return [{**e, "name": n} for n in names for e in self.watch.get(n, [ready])]
        if verb == "stop":
            return [self._verdict(n) for n in asked["names"]]
        if verb == "follow":
            logs = self.before if asked.get("previous") else self.logs
            return [e for n in asked["names"] for e in logs.get(n, [])]
        if verb == "listen":
            random = list(range(40001, 40001 + asked["random"]))
            refused = [{"port": p, "error": "in use", "held": True} for p in asked["ports"] if p in self.held]
            opened = [p for p in asked["ports"] if p not in self.held]
            return [{"event": "listening", "ports": [*opened, *random], "random": random, "refused": refused}]
        return []

    def reply(self, verb: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        if verb in self.errors:
            return {"ok": False, "error": self.errors[verb]}
        fields: dict[str, Any] = {}
        if verb == "observe":
            last = self.trail[-1] if self.trail else None
            basic = {"revision": "g", "clock": 5000.0, "lock": {}, "audit": last}
            fields = {"processes": self.processes, **basic}
        elif verb == "start":
            fields = {"results": [self._started(p["name"]) for p in asked["processes"]]}
        elif verb == "probe":
            fields = {"results": [self._answer(r) for r in asked["requests"]]}
        elif verb == "exec":
            fields = {"code": 0, "out": f"{self.name} says hello\n", "err": ""}
        elif verb == "audit":
            self.trail += filter(None, [asked.get("append")])
            fields = {"lines": self.trail}
        elif verb == "survey":
            results = [self._ran(command["key"]) for command in asked["commands"]]
            fields = {
                "results": results,
                "taken": [],
                "ours": [],
                "strangers": [],
                "saved": None,
                "seconds": 0.5,
                **self.survey,
            }
        elif verb == "connect":
            fields = {"results": [self._connected(target) for target in asked["targets"]]}
        return {"ok": True, **fields}

    def _ran(self, key: str) -> dict[str, Any]:
        said = next((fields for end, fields in self.outputs.items() if key.endswith(end)), {})
        return {"key": key, "code": 0, "out": "", "err": "", "problem": "", "seconds": 0.1, **said}

    def _connected(self, target: Mapping[str, Any]) -> dict[str, Any]:
        where = target["address"], f"{target['address']}:{target['port']}"
        error = next((self.cut[place] for place in where if place in self.cut), "")
        return {"key": target["key"], "ok": not error, "error": error, "seconds": 0.01}

    def _verdict(self, name: str) -> dict[str, Any]:
        self.processes = [p for p in self.processes if p["name"] != name]
        return {"event": "stopped", "name": name, "how": "TERM", "seconds": 0.2, **self.stopped.get(name, {})}

    def _started(self, name: str) -> dict[str, Any]:
        if name in self.refuse:
            return {"name": name, "ok": False, "error": self.refuse[name]}
        self.observed(name)
        return {"name": name, "ok": True, "pid": 100}

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        key = request["key"]
        good = {"key": key, "status": 200, "seconds": 0.1, "error": ""}
        if request["url"].endswith("/metrics"):
            said = _next(self.metrics.get(key, [FETCHED % len(self.asked)]))
            return {**good, "body": "", **(said if isinstance(said, dict) else {"body": said})}
        body = GOOD_STREAM if '"stream": true' in (request.get("body") or "") else GOOD
        given = self.answers.get(key, {})
        return {**good, "body": body, **(_next(given) if isinstance(given, list) else given)}


class FakeSession:
    """A guard session on a FakeNode: every request is answered before it returns."""

    def __init__(self, node: FakeNode) -> None:
        self.hello = {"event": "hello", "clock": 5000.0, "hostname": node.name, "writable": True}
        self.heard = 5000.0 - node.clock_ahead
        self._node = node
        self._post: Any = None
        self._number = 0

    def listen(self, post: Any) -> None:
        self._post = post

    def request(self, verb: str, fields: Mapping[str, Any] | None = None) -> int:
        self._number += 1
        asked = json.loads(json.dumps(fields or {}))
        self._node.asked.append((verb, asked))
        if verb == self._node.breaks_at:
            self._node.breaks_at = ""
            self._post(Lost(self._node.name, HostError(self._node.name, "the link broke")))
            return self._number
        for event in self._node.events(verb, asked):
            self._post(Arrived(self._node.name, {"id": self._number, **event}))
        if verb not in {*self._node.silent, "watch"}:
            self._post(Arrived(self._node.name, {"id": self._number, **self._node.reply(verb, asked)}))
        return self._number

    def say(self, **event: Any) -> None:
        """An event that comes by itself."""
        self._post(Arrived(self._node.name, {"id": self._number, **event}))

    def close(self) -> None:
        self._node.closed += 1
        if self._post:  # as the reader of a real one
            self._post(Lost(self._node.name, HostError(self._node.name, "the guard session ended")))


def open_fake(node: FakeNode) -> FakeSession:
    node.opened += 1
    if node.stays_away and node.opened > 1:
        node.unreachable = "it does not answer"
    if node.unreachable:
        raise HostError(node.name, node.unreachable, hint="plug it in")
    node.session = FakeSession(node)
    return node.session


def a_process(name: str, node: str, **fields: Any) -> Process:
    role = name.rsplit("-", 1)[0]
    kind = "service" if role == "router" else "engine"
    basic = {
        "kind": kind,
        "role": role,
        "group": f"{role}/0" if kind == "engine" else name,
        "endpoints": (an_endpoint(name, node, f"http://{node}:9000"),),
    }
    return Process(**{"name": name, "node": node, "argv": ("run", name), **basic, **fields})


def a_plan(*processes: Process, **fields: Any) -> Plan:
    """A plan of these processes, nodes in order of appearance; the router's node holds the members file."""
    members = [e for p in processes if p.kind == "engine" for e in p.endpoints]
    document = [{"name": m.name, "role": m.role, "group": m.group, "state": "serving"} for m in members]
    text = json.dumps({"revision": "g", "members": document})
    nodes = [
        NodePlan(
            name=name,
            host=name,
            address=name,
            ssh=SshSpec(connect_timeout=1.0),
            runtime=RuntimeSpec(),
            files=(File("router/members.json", text),)
            if any(p.role == "router" and p.node == name for p in processes)
            else (),
            processes=tuple(p for p in processes if p.node == name),
        )
        for name in dict.fromkeys(p.node for p in processes)
    ]
    basic: dict[str, Any] = {
        "cluster": "c",
        "revision": "g",
        "engine": "vllm 1",
        "model": "m",
        "served_model_name": "m",
        "router": next((RouterSpec(node=p.node) for p in processes if p.role == "router"), None),
        "url": "http://n1:8000",
        "stages": (Stage("load", "Loading"), Stage("serve", "Started")),
    }
    return Plan(**{**basic, "nodes": tuple(nodes), **fields})


class Scene:
    """A plan, its fake nodes, a job on them, and the events of its walks.

    ``step``: seconds that pass whenever nothing happens.
    """

    def __init__(self, plan: Plan, *nodes: FakeNode, step: float = 20.0) -> None:
        self.nodes = {node.name: node for node in nodes}
        for planned in plan.nodes:
            self.nodes.setdefault(planned.name, FakeNode(planned.name))
        self.clock = Clock()
        self._step = step
        self.events: list[Event] = []
        self.fleet = Fleet(plan.nodes, lambda node: open_fake(self.nodes[node.name]), self.clock)
        self.fleet.on_tick = self._wait
        self.job = Job(plan, self.fleet, self.events.append, "ada@desk")
        self.then: dict[float, Callable[[], None]] = {}
        """What happens so many seconds after the beginning."""

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def _wait(self, _: float) -> None:
        self.clock.now += self._step
        for at in [at for at in self.then if 1000.0 + at <= self.clock.now]:
            self.then.pop(at)()
