"""The guard protocol's lines ↔ values, and what starts a session. Nothing here talks to a host.

The contract is ``docs/guard-protocol.md``. A session opens with ``opening()``: the text of
``node/boot.py``, the bundle, a zip that is the same for the same sources, and one JSON line.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dplaunch.errors import DplaunchError, HostError
from dplaunch.model.cluster import SecretRef
from dplaunch.model.observed import ObservedNode, ObservedProcess, State
from dplaunch.model.plan import NodePlan, Plan, Process

PROTOCOL = 1
BOOTSTRAP = (
    "import io;i=io.BufferedReader(io.FileIO(0,closefd=False),1);exec(i.read(int(i.readline())));boot(i)"
)
"""Free of single quotes, backslashes and !, so that every login shell passes it on unharmed. The buffer
of one byte never takes more from stdin than was asked for: what follows belongs to the guard."""

NODE = Path(__file__).parent / "node"
NOISE_LINES = 200
"""Lines of a login shell's chatter that are skipped before the guard's first line."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip can tell: the same sources make the same bytes."""


class Spoken(Protocol):
    """The part of a stream that a greeting needs."""

    def send(self, data: bytes) -> None:
        """Sends all of it."""

    def lines(self) -> Iterator[bytes]:
        """Lines of stdout."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The code that runs on nodes: a zip and its sha256."""

    sha: str
    data: bytes


def bootstrap(python: str = "python3") -> tuple[str, ...]:
    """The command that starts a guard session."""
    return (python, "-I", "-S", "-c", BOOTSTRAP)


_PACKING = threading.Lock()


def bundle(root: Path = NODE) -> Bundle:
    """``guard/``, ``rehearsal/`` and ``__main__.py`` of ``root`` as one zip, packed once however many ask."""
    with _PACKING:
        return _pack(root)


@functools.cache
def _pack(root: Path) -> Bundle:
    files = {f"{path.relative_to(root)}": path for path in sorted(root.glob("*/**/*.py"))}
    files["__main__.py"] = root / "main.py"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, path.read_bytes())
    return Bundle(hashlib.sha256(packed.getvalue()).hexdigest(), packed.getvalue())


@functools.cache
def _text(name: str) -> bytes:
    return (NODE / name).read_bytes()


def opening(cluster: str, node: str, state: str | None, code: Bundle) -> bytes:
    """What a session reads first: see ``docs/guard-protocol.md``."""
    boot, unpack = _text("boot.py"), _text("unpack.py")
    home = state.encode().hex() if state else "-"  # whatever it holds, it is one word
    sizes = f"{home} {code.sha} {len(unpack)} {len(code.data)}\n".encode()
    header = encode({"cluster": cluster, "node": node, "state": state})
    return f"{len(boot)}\n".encode() + boot + sizes + unpack + code.data + header


def encode(message: Mapping[str, Any]) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Mapping[str, Any]:
    """One line as an object; DplaunchError when it is none."""
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise DplaunchError(
            f"the guard's stream carried a strange line: {line[:80].decode('utf-8', 'replace')!r}",
            hint="something else wrote to the session's stdout; run the command again",
        )
    return message


def greet(
    stream: Spoken, node: str, cluster: str, state: str | None, code: Bundle | None = None
) -> Mapping[str, Any]:
    """Starts the session and returns the guard's ``hello``; a login shell's chatter before it is skipped.

    Raises HostError when no hello comes or the protocol is another one.
    """
    stream.send(opening(cluster, node, state, code or bundle()))
    noise: list[str] = []
    for line in stream.lines():
        hello = _hello(line)
        if hello is not None:
            return _same_protocol(node, hello)
        noise.append(line[:200].decode("utf-8", "replace"))
        if len(noise) == NOISE_LINES:
            break
    raise HostError(
        node,
        f"{node} said {len(noise)} lines but never the guard's hello",
        hint="silence what ~/.bashrc prints there for shells that are not interactive",
        detail=tuple(noise[-5:]),
    )


def _hello(line: bytes) -> Mapping[str, Any] | None:
    try:
        message = decode(line)
    except DplaunchError:
        return None
    return message if message.get("event") == "hello" else None


def _same_protocol(node: str, hello: Mapping[str, Any]) -> Mapping[str, Any]:
    if hello.get("protocol") == PROTOCOL:
        return hello
    raise HostError(
        node,
        f"the guard on {node} speaks protocol {hello.get('protocol')}, this dplaunch speaks {PROTOCOL}",
        hint="use the same version of dplaunch as the colleague who started the cluster",
    )


def put_request(plan: Plan, node: NodePlan) -> dict[str, Any]:
    """Fields of ``put``: the node's files, and its part of the plan (secrets named, file texts left out)."""
    part = {
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
    files = [{"path": file.path, "text": file.text, "mode": file.mode} for file in node.files]
    return {"files": files, "plan": part}


def start_request(
    node: NodePlan, processes: Iterable[Process], secrets: Mapping[SecretRef, str]
) -> dict[str, Any]:
    """Fields of ``start``. ``secrets`` holds the value of every SecretRef in the processes' env."""
    return {"processes": [_start_spec(node, process, secrets) for process in processes]}


def _start_spec(node: NodePlan, process: Process, secrets: Mapping[SecretRef, str]) -> dict[str, Any]:
    secret = {name: secrets[v] for name, v in process.env.items() if isinstance(v, SecretRef)}
    return {
        "name": process.name,
        "argv": process.argv,
        "env": {name: v for name, v in process.env.items() if isinstance(v, str)},
        "secrets": secret,
        "ports": process.ports,
        "stop": [[step.signal, step.grace] for step in process.stop],
        "restarts": process.restarts,
        "fingerprint": process.fingerprint,
        "address": node.address,
        "meta": _meta(process),
    }


def _meta(process: Process) -> dict[str, Any]:
    """What the guard keeps and gives back in ``observe``, so that any machine can tell what runs."""
    return {
        "kind": process.kind,
        "role": process.role,
        "group": process.group,
        "rank": process.seats[0].rank if process.seats else None,
        **_probe(process),
    }


def _probe(process: Process) -> dict[str, str]:
    if not process.endpoints:
        return {"url": "", "health": "", "models": "", "model": ""}
    asked = process.endpoints[0]
    return {"url": asked.url, "health": asked.api.health, "models": asked.api.models, "model": asked.model}


STAGE = "stage:"
SUSPECT = "suspect"
SUSPECTS = 100
"""Suspicious lines that are told of one log: a traceback without an end is not sent."""


def watch_request(
    processes: Iterable[Process],
    plan: Plan,
    *,
    headers: Mapping[str, str],
    suspect: str,
    interval: float = 0.5,
) -> dict[str, Any]:
    """Fields of ``watch``: each log from its beginning, the engine's stages and ``suspect`` as patterns.

    ``headers`` go with every question: an engine with an API key tells its models to nobody else.
    """
    return {
        "processes": [
            {"name": p.name, "offset": 0, "headers": dict(headers), **_probe(p)} for p in processes
        ],
        "patterns": [
            *({"id": f"{STAGE}{n}", "regex": stage.pattern} for n, stage in enumerate(plan.stages)),
            {"id": SUSPECT, "regex": suspect, "most": SUSPECTS},
        ],
        "interval": interval,
    }


def stage_index(pattern: str) -> int | None:
    """Index in ``plan.stages`` of the pattern a ``line`` event names; None for another pattern."""
    return int(pattern.removeprefix(STAGE)) if pattern.startswith(STAGE) else None


def observed_node(node: str, reply: Mapping[str, Any]) -> ObservedNode:
    """The reply to ``observe`` as a value."""
    return ObservedNode(
        name=node,
        revision=str(reply.get("revision") or ""),
        hostname=str(reply.get("hostname") or ""),
        clock=float(reply.get("clock") or 0.0),
        processes=tuple(_observed(node, entry) for entry in reply["processes"]),
        lock=dict(reply.get("lock") or {}),
        audit=dict(reply.get("audit") or {}),
    )


def _observed(node: str, entry: Mapping[str, Any]) -> ObservedProcess:
    meta: Mapping[str, Any] = entry.get("meta") or {}
    return ObservedProcess(
        name=entry["name"],
        kind=meta.get("kind", "service"),
        role=meta.get("role", ""),
        group=meta.get("group", entry["name"]),
        node=node,
        state=State(entry["state"]),
        pid=entry.get("pid") or 0,
        guard_pid=entry.get("guard_pid") or 0,
        started_at=entry.get("started_at") or 0.0,
        ended_at=entry.get("ended_at") or 0.0,
        exit_code=entry.get("exit_code"),
        signal=_signal(entry.get("signal")),
        how=entry.get("how") or "",
        healthy=entry.get("healthy"),
        restarts=entry.get("restarts") or 0,
        fingerprint=entry.get("fingerprint") or "",
        log=entry.get("log") or "",
        left=tuple(entry.get("left") or ()),
        ports=tuple(entry.get("ports") or ()),
        url=meta.get("url", ""),
    )


def _signal(value: object) -> str:
    return "" if value is None else str(value)
