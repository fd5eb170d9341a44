"""Requests to a guard: values → a verb and its fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec import to_builtins

from dplaunch import __version__
from dplaunch.model.cluster import SecretRef
from dplaunch.model.plan import Endpoint, File, NodePlan, Place, Plan, Process
from dplaunch.model.remote import HttpRequest, LogQuery, LogSource, Pattern
from dplaunch.model.trail import Entry

Request = tuple[str, dict[str, Any]]
"""A verb and its fields."""
READY_LINE = "ready"
"""Pattern id of the line that makes a process ready."""


def observe(*, health: bool, search: bool = False) -> Request:
    """What runs; ``health``: ask the endpoints too; ``search``: look for processes without state too."""
    return "observe", {"health": health, "search": search}


def lock(holder: str, verb: str) -> Request:
    """The cluster's lock, or who holds it."""
    return "lock", {"holder": holder, "what": verb}


def lock_again(holder: str, verb: str, patience: float) -> Request:
    """The lock of a session whose link broke: wait up to ``patience`` seconds for it to let go."""
    return "relock", {"holder": holder, "what": verb, "patience": patience}


def unlock() -> Request:
    """Give the lock back."""
    return "unlock", {}


def put(files: Iterable[File], plan: Mapping[str, Any] | None = None, expect: str | None = None) -> Request:
    """Write files. ``expect``: only if what is there now has this sha ("": nothing is there)."""
    guard = {} if expect is None else {"expect": expect}
    sent = [
        {"path": file.path, "text": file.text, "mode": file.mode}
        | ({"owner": file.owner} if file.owner else {})
        | guard
        for file in files
    ]
    return "put", {"files": sent, "plan": plan}


def plan_part(plan: Plan, node: NodePlan) -> dict[str, Any]:
    """The node's part of the plan, as it keeps it: secrets named, file texts left out."""
    return {
        "revision": plan.revision,
        "cluster": plan.cluster,
        "node": node.name,
        "engine": plan.engine,
        "model": plan.model,
        "processes": [
            {"name": p.name, "role": p.role, "group": p.group, "argv": p.argv, "fingerprint": p.fingerprint}
            for p in node.processes
        ],
    }


def get(paths: Iterable[str]) -> Request:
    """Read files of the node's folder."""
    return "get", {"paths": list(paths)}


def start(
    node: NodePlan,
    processes: Iterable[Process],
    secrets: Mapping[SecretRef, str],
    beside: Mapping[Place, float] = MappingProxyType({}),
    *,
    pinned: bool = True,
) -> Request:
    """Start processes. ``secrets`` holds the value of every SecretRef in their environment.

    ``beside``: those that take over from the one that runs → seconds that it then has to finish what it has.
    ``pinned``: they hold the devices of their seats, as a rehearsal does not.
    """
    specs = [_start_spec(node, one, secrets, pinned=pinned) for one in processes]
    for spec in specs:
        if (node.name, spec["name"]) in beside:
            spec["takes_over"] = beside[node.name, spec["name"]]
    return "start", {"processes": specs}


def _start_spec(
    node: NodePlan, process: Process, secrets: Mapping[SecretRef, str], *, pinned: bool
) -> dict[str, Any]:
    return {
        "name": process.name,
        "version": __version__,
        "argv": process.argv,
        "env": {name: v for name, v in process.env.items() if isinstance(v, str)},
        "secrets": {name: secrets[v] for name, v in process.env.items() if isinstance(v, SecretRef)},
        "ports": process.ports,
        "stop": [[step.signal, step.grace] for step in process.stop],
        "restarts": process.restarts,
        "fingerprint": process.fingerprint,
        "address": node.address,
        "endpoints": [_endpoint(endpoint) for endpoint in process.endpoints],
        "ready": {"kind": process.ready.how, "pattern": process.ready.pattern},
        "logs": [{"name": log.name, "path": log.path} for log in process.logs],
        "meta": {
            "kind": process.kind,
            "role": process.role,
            "group": process.group,
            "hands_over": process.hands_over,
            "ranks": [seat.rank for seat in process.seats],
            "devices": [device for seat in process.seats for device in seat.devices] if pinned else [],
        },
    }


def _endpoint(endpoint: Endpoint) -> dict[str, str]:
    api = endpoint.api
    model = endpoint.model if api.models else ""  # what has no such path is not asked for it
    return {
        "name": endpoint.name,
        "url": endpoint.health_url or endpoint.url,
        "health": api.health,
        "models": api.models,
        "model": model,
    }


def stop(names: Sequence[str], grace: float | None) -> Request:
    """Stop processes. ``grace`` overrides the seconds of their own stop steps."""
    return "stop", {"names": list(names), "grace": grace, "ports": True}


def forget() -> Request:
    """Remove the state of everything that has ended, and the plan."""
    return "forget", {"all": True}


def watch(processes: Iterable[Process], patterns: Iterable[Pattern], headers: Mapping[str, str]) -> Request:
    """Log lines from the beginning of the run, health and exits, as they come.

    ``headers`` go with every question: an engine may list its models only to requests with an API key.
    """
    watched = [
        {
            "name": p.name,
            "offset": 0,
            "endpoints": [_endpoint(endpoint) for endpoint in p.endpoints],
            "headers": dict(headers),
            "line": p.ready.pattern if p.ready.how == "line" else "",
        }
        for p in processes
    ]
    return "watch", {"processes": watched, "patterns": [to_builtins(p) for p in patterns], "interval": 0.5}


def follow(sources: Iterable[LogSource], query: LogQuery, clock: float) -> Request:
    """Logs as they are written. ``clock``: the node's own time, epoch seconds."""
    fields = {
        "streams": [{"process": s.process, "file": s.file, "offset": s.offset} for s in sources],
        "tail": query.tail,
        "since": None if query.since is None else clock - query.since,
        "grep": query.grep,
        "previous": query.previous,
        "follow": query.follow,
    }
    return "follow", fields


def cancel(number: int) -> Request:
    """End a stream."""
    return "cancel", {"target": number}


def ask(questions: Iterable[HttpRequest]) -> Request:
    """HTTP requests made on the node, all at once."""
    return "probe", {
        "requests": [
            {
                "key": q.key,
                "url": q.url,
                "method": q.method,
                "body": q.body or None,
                "headers": dict(q.headers),
                "timeout": q.timeout,
                "grep": q.grep or None,
            }
            for q in questions
        ]
    }


def execute(argv: Sequence[str], timeout: float) -> Request:
    """Run a command."""
    return "exec", {"argv": list(argv), "timeout": timeout}


def record(entry: Entry) -> Request:
    """Add a line to the audit trail."""
    fields = {key: value for key, value in to_builtins(entry).items() if value not in ("", 0, {})}
    return "audit", {"append": {**fields, "result": entry.result.value}}


def trail(count: int) -> Request:
    """The last lines of the audit trail."""
    return "audit", {"tail": count}


def listen(address: str, ports: Sequence[int], random: int, seconds: float) -> Request:
    """Open ports for other nodes to try, and ``random`` more of the kernel's choice."""
    return "listen", {"address": address, "ports": list(ports), "random": random, "seconds": seconds}


def connect(targets: Iterable[tuple[str, str, int]], timeout: float) -> Request:
    """Try to connect to (key, address, port), all at once."""
    wanted = [{"key": key, "address": address, "port": port} for key, address, port in targets]
    return "connect", {"targets": wanted, "timeout": timeout}


def survey(fields: Mapping[str, Any]) -> Request:
    """Commands to run, files to read, ports to look at; the fields are the protocol's."""
    return "survey", dict(fields)
