"""A guard's replies → values. Their shapes are checked here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from dplaunch.errors import HostError
from dplaunch.model.observed import ObservedEndpoint, ObservedNode, ObservedProcess, State
from dplaunch.model.remote import (
    Claim,
    Connected,
    ExecResult,
    FileSeen,
    Hello,
    HttpReply,
    Listening,
    Refusal,
    StartResult,
    StopVerdict,
    SurveyReply,
)
from dplaunch.model.trail import Entry, Lock, Result

Reply = Mapping[str, Any]
_Value = TypeVar("_Value")


def read(node: str, reply: Reply, parse: Callable[[str, Reply], _Value]) -> _Value:
    """``parse(node, reply)``. Raises HostError where the reply has another shape than the protocol's."""
    try:
        return parse(node, reply)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HostError(
            node,
            f"{node} replied in a form that this dplaunch cannot read ({type(error).__name__}: {error})",
            hint="run the command again; if it happens again, please report it",
        ) from error


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "tuple[str, ...]": tuple,
    "tuple[int, ...]": lambda numbers: tuple(map(int, numbers)),
}
"""Type of a field → what makes such a value of JSON; other types are taken as they come."""


def fill(kind: Callable[..., _Value], message: Reply, /, **ours: Any) -> _Value:
    """A dataclass from a message: ``ours``, and for each other field the message's of that name.

    What is missing or null there keeps its default; KeyError or TypeError where it has none.
    """
    declared: Any = kind
    for field in fields(declared):
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        if field.name not in ours and not (has_default and message.get(field.name) is None):
            given = message[field.name]
            ours[field.name] = _READERS.get(str(field.type), lambda value: value)(given)
    return kind(**ours)


def refusal(reply: Reply) -> Refusal | None:
    """Why a request was refused; None where it was not."""
    if reply.get("ok"):
        return None
    said = _mapping(reply.get("error"))
    return fill(
        Refusal,
        said,
        kind=str(said.get("kind", "")),
        text=str(said.get("text", "the guard refused the request")),
    )


def hello(_: str, reply: Reply) -> Hello:
    """The guard's first line."""
    return fill(Hello, reply, python=str(reply.get("python") or "?"))


def holder(reply: Reply) -> Lock | None:
    """Who holds the lock, of a reply that was refused as ``locked``."""
    error = reply.get("error")
    return lock(error.get("lock")) if isinstance(error, Mapping) else None


def lock(held: Any) -> Lock | None:
    """A lock as the guard keeps it; None where it is free."""
    if not isinstance(held, Mapping) or not held:
        return None
    return Lock(
        holder=str(held.get("holder", "somebody")),
        verb=str(held.get("what", "?")),
        since=_number(held.get("since")),
    )


def observed(node: str, reply: Reply) -> ObservedNode:
    """The reply to ``observe``."""
    return fill(
        ObservedNode,
        reply,
        name=node,
        processes=tuple(_process(node, found) for found in reply["processes"]),
        lock=lock(reply.get("lock")),
        last=entry(reply.get("audit")),
    )


def _process(node: str, found: Mapping[str, Any]) -> ObservedProcess:
    meta = _mapping(found.get("meta"))
    return fill(
        ObservedProcess,
        found,
        kind=str(meta.get("kind", "service")),
        role=str(meta.get("role", "")),
        group=str(meta.get("group", found["name"])),
        node=node,
        state=State(found["state"]),
        endpoints=tuple(fill(ObservedEndpoint, one) for one in found.get("endpoints") or ()),
    )


def started(node: str, reply: Reply) -> tuple[StartResult, ...]:
    """The reply to ``start``."""
    return tuple(
        fill(StartResult, one, node=node, process=one["name"], refusal=refusal(one))
        for one in reply["results"]
    )


def verdict(node: str, message: Reply) -> StopVerdict:
    """A ``stopped`` event."""
    left = [f"pid {found['pid']} ({found['command']})" for found in message.get("left") or ()]
    if message.get("problem"):
        left.append("; ".join(filter(None, (str(message["problem"]), str(message.get("hint") or "")))))
    left += [f"port {found['port']} held by {_port_holder(found)}" for found in message.get("ports") or ()]
    return fill(StopVerdict, message, node=node, process=message["name"], left=tuple(left))


def _port_holder(found: Mapping[str, Any]) -> str:
    return f"pid {found['pid']} ({found.get('command', '?')})" if found.get("pid") else "an unknown process"


def answers(_: str, reply: Reply) -> dict[str, HttpReply]:
    """The reply to ``probe``, by key."""
    return {one["key"]: fill(HttpReply, one, status=one["status"]) for one in reply["results"]}


def files(_: str, reply: Reply) -> tuple[FileSeen, ...]:
    """The reply to ``get``."""
    return tuple(FileSeen(path=one["path"], text=one["text"], sha=one["sha"]) for one in reply["files"])


def executed(node: str, reply: Reply) -> ExecResult:
    """The reply to ``exec``."""
    return ExecResult(node=node, code=reply["code"], out=reply["out"], err=reply["err"])


def entries(_: str, reply: Reply) -> tuple[Entry, ...]:
    """The reply to ``audit``; lines of another form are left out."""
    return tuple(filter(None, map(entry, reply["lines"])))


def entry(line: Any) -> Entry | None:
    """One line of the trail; None where this dplaunch does not know its form."""
    if not isinstance(line, Mapping):
        return None
    result = next((known for known in Result if known.value == line.get("result")), None)
    if result is None:
        return None
    phases = {str(name): _number(value) for name, value in _mapping(line.get("phases")).items()}
    return Entry(
        at=_number(line.get("at")),
        who=str(line.get("who", "?")),
        verb=str(line.get("verb", "?")),
        result=result,
        revision=str(line.get("revision") or ""),
        reason=str(line.get("reason") or ""),
        unproved=str(line.get("unproved") or ""),
        started=int(_number(line.get("started"))),
        phases=phases,
    )


def progress(_: str, message: Reply) -> tuple[int, int]:
    """The ``surveyed`` event: how many commands of how many."""
    return int(message["done"]), int(message["count"])


def surveyed(_: str, reply: Reply) -> SurveyReply:
    """The reply to ``survey``."""
    fields = ("code", "out", "err", "problem", "seconds")
    return SurveyReply(
        results=tuple((str(one["key"]), {name: one[name] for name in fields}) for one in reply["results"]),
        taken=tuple(reply["taken"]),
        claims=tuple(fill(Claim, one) for one in reply["claims"]),
        ours=frozenset(reply["ours"]),
        strangers=tuple(reply["strangers"]),
        saved=reply.get("saved"),
        seconds=float(reply["seconds"]),
    )


def listening(_: str, message: Reply) -> Listening:
    """The ``listening`` event: opened ports, and free ports that could not be opened."""
    closed = {int(one["port"]): str(one["error"]) for one in message["refused"] if not one["held"]}
    return Listening(random=tuple(message["random"]), closed=closed)


def connected(_: str, reply: Reply) -> tuple[Connected, ...]:
    """The reply to ``connect``."""
    return tuple(fill(Connected, one) for one in reply["results"])


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
