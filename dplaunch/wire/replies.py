"""A guard's replies → values. Their shapes are checked here, and nowhere else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from msgspec import NODEFAULT

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
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise HostError(
            node,
            f"{node} replied in a form that this dplaunch cannot read ({type(error).__name__}: {error})",
            hint="run the command again; if it happens again, please report it",
        ) from error


_LATEST = 2e11
"""Seconds since the epoch that can be a date; no other figure of the protocol is as large."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is not a text")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or abs(value) >= 1 << 63:
        raise TypeError(f"{value!r:.80} is not a whole number")
    return int(value)


def _figure(value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value < _LATEST:  # this is how NaN is found too
        raise TypeError(f"{value!r:.80} is not a number of seconds")
    return float(value)


def _answer(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.80} is neither true nor false")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{value!r:.80} is not a list")
    return list(value)


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r:.80} is not an object")
    return value


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(map(_whole, _list(value)))


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": _whole,
    "float": _figure,
    "bool": _answer,
    "str | None": lambda value: None if value is None else _text(value),
    "int | None": lambda value: None if value is None else _whole(value),
    "bool | None": lambda value: None if value is None else _answer(value),
    "tuple[str, ...]": lambda texts: tuple(map(_text, _list(texts))),
    "tuple[int, ...]": _numbers,
    "Mapping[str, str | None]": lambda values: {
        _text(name): None if value is None else _text(value) for name, value in _object(values).items()
    },
}
"""Type of a field → what makes such a value of JSON, or raises TypeError."""
_OUTPUT = {
    "code": _READERS["int | None"],
    "out": _text,
    "err": _text,
    "problem": _text,
    "seconds": _figure,
}


def fill(kind: Callable[..., _Value], message: Reply, /, **ours: Any) -> _Value:
    """A value from a message: ``ours``, and for each other field the message's of that name.

    What is missing or null there keeps its default; KeyError or TypeError where it has none.
    """
    for name, reader, required in _fields(kind):
        if name not in ours and (required or message.get(name) is not None):
            ours[name] = _READERS[reader](message[name])
    return kind(**ours)


@cache
def _fields(kind: Any) -> tuple[tuple[str, str, bool], ...]:
    """Name, type, and whether it has no default, of each field of a struct."""
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    defaults = (NODEFAULT,) * (len(names) - len(defaults)) + defaults
    types: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        types.update(inspect.get_annotations(one))
    return tuple(
        (name, types[name], default is NODEFAULT) for name, default in zip(names, defaults, strict=True)
    )


def refusal(reply: Reply) -> Refusal | None:
    """Why a request was refused; None where it was not."""
    if reply.get("ok"):
        return None
    said = _mapping(reply.get("error"))
    return Refusal(
        kind=_words(said.get("kind")),
        text=_words(said.get("text"), "the guard refused the request"),
        hint=_words(said.get("hint")),
    )


def hello(_: str, reply: Reply) -> Hello:
    """The guard's first line."""
    return fill(Hello, reply, python=_words(reply.get("python"), "?"))


def holder(reply: Reply) -> Lock | None:
    """Who holds the lock, of a reply that was refused as ``locked``."""
    error = reply.get("error")
    return lock(error.get("lock")) if isinstance(error, Mapping) else None


def lock(held: Any) -> Lock | None:
    """A lock as the guard keeps it; None where it is free."""
    if not isinstance(held, Mapping) or not held:
        return None
    return Lock(
        holder=_words(held.get("holder"), "somebody"),
        verb=_words(held.get("what"), "?"),
        since=_number(held.get("since")),
    )


def observed(node: str, reply: Reply) -> ObservedNode:
    """The reply to ``observe``."""
    return fill(
        ObservedNode,
        reply,
        name=node,
        processes=tuple(_process(node, _object(found)) for found in _list(reply["processes"])),
        lock=lock(reply.get("lock")),
        last=entry(reply.get("audit")),
    )


def _process(node: str, found: Mapping[str, Any]) -> ObservedProcess:
    meta = _mapping(found.get("meta"))
    return fill(
        ObservedProcess,
        found,
        kind=_words(meta.get("kind"), "service"),
        role=_words(meta.get("role")),
        group=_words(meta.get("group"), _text(found["name"])),
        node=node,
        state=State(found["state"]),
        hands_over=meta.get("hands_over") is True,
        endpoints=tuple(fill(ObservedEndpoint, one) for one in _list(found.get("endpoints") or ())),
    )


def started(node: str, reply: Reply) -> tuple[StartResult, ...]:
    """The reply to ``start``."""
    return tuple(
        fill(StartResult, one, node=node, process=_text(one["name"]), refusal=refusal(one))
        for one in _list(reply["results"])
    )


def verdict(node: str, message: Reply) -> StopVerdict:
    """A ``stopped`` event."""
    alive, held = _list(message.get("left") or ()), _list(message.get("ports") or ())
    left = [f"pid {_whole(found['pid'])} ({_text(found['command'])})" for found in alive]
    if message.get("problem"):
        left.append("; ".join(filter(None, (_text(message["problem"]), _words(message.get("hint"))))))
    left += [f"port {_whole(found['port'])} held by {_port_holder(found)}" for found in held]
    return fill(StopVerdict, message, node=node, process=_text(message["name"]), left=tuple(left))


def _port_holder(found: Mapping[str, Any]) -> str:
    if not found.get("pid"):
        return "an unknown process"
    return f"pid {_whole(found['pid'])} ({_words(found.get('command'), '?')})"


def answers(_: str, reply: Reply) -> dict[str, HttpReply]:
    """The reply to ``probe``, by key."""
    status = _READERS["int | None"]
    return {
        _text(one["key"]): fill(HttpReply, one, status=status(one["status"]))
        for one in _list(reply["results"])
    }


def files(_: str, reply: Reply) -> tuple[FileSeen, ...]:
    """The reply to ``get``."""
    shape = {"path": _text, "text": _READERS["str | None"], "sha": _text}
    return tuple(FileSeen(**_only(one, shape)) for one in _list(reply["files"]))


def file(node: str, reply: Reply) -> FileSeen:
    """The reply to ``get`` of one file."""
    (only,) = files(node, reply)
    return only


def executed(node: str, reply: Reply) -> ExecResult:
    """The reply to ``exec``."""
    shape = {"code": _READERS["int | None"], "out": _text, "err": _text}
    return ExecResult(node=node, **_only(reply, shape))


def entries(_: str, reply: Reply) -> tuple[Entry, ...]:
    """The reply to ``audit``; lines of another form are left out."""
    return tuple(filter(None, map(entry, _list(reply["lines"]))))


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
        who=_words(line.get("who"), "?"),
        verb=_words(line.get("verb"), "?"),
        result=result,
        revision=_words(line.get("revision")),
        reason=_words(line.get("reason")),
        unproved=_words(line.get("unproved")),
        started=int(_number(line.get("started"))),
        phases=phases,
    )


def progress(_: str, message: Reply) -> tuple[int, int]:
    """The ``surveyed`` event: how many commands of how many."""
    return _whole(message["done"]), _whole(message["count"])


def surveyed(_: str, reply: Reply) -> SurveyReply:
    """The reply to ``survey``."""
    saved = reply.get("saved")
    holder = {"pid": _whole, "user": _text, "command": _text}
    return SurveyReply(
        results=tuple((_text(one["key"]), _only(one, _OUTPUT)) for one in _list(reply["results"])),
        taken=tuple(_only(one, {"port": _whole, **holder}) for one in _list(reply["taken"])),
        claims=tuple(fill(Claim, one) for one in _list(reply["claims"])),
        ours=frozenset(map(_whole, _list(reply["ours"]))),
        strangers=tuple(_only(one, {"pids": _numbers, **holder}) for one in _list(reply["strangers"])),
        saved=None if saved is None else _object(saved),
        seconds=_figure(reply["seconds"]),
    )


def _only(given: Reply, fields: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """These fields of an object. Raises KeyError or TypeError where one is missing or of another type."""
    return {name: read_one(given[name]) for name, read_one in fields.items()}


def listening(_: str, message: Reply) -> Listening:
    """The ``listening`` event: opened ports, and free ports that could not be opened."""
    refused = [one for one in _list(message["refused"]) if not one["held"]]
    closed = {_whole(one["port"]): _text(one["error"]) for one in refused}
    return Listening(random=_numbers(message["random"]), closed=closed)


def connected(_: str, reply: Reply) -> tuple[Connected, ...]:
    """The reply to ``connect``."""
    return tuple(fill(Connected, one) for one in _list(reply["results"]))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < _LATEST else 0.0


def _words(value: Any, otherwise: str = "") -> str:
    return value if isinstance(value, str) and value else otherwise


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
