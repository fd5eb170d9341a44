"""A guard's events → signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dplaunch.model.remote import (
    HealthSeen,
    LineSeen,
    LinesLost,
    LinesRead,
    LogRestarted,
    ProcessExited,
    Signal,
    Stream,
    StreamEnded,
)
from dplaunch.wire.replies import fill, read, refusal

Message = Mapping[str, Any]


def signal(node: str, message: Message) -> Signal | None:
    """What a message on a stream reports; None for events that mean nothing to a walk.

    Raises HostError where its shape is not the protocol's.
    """
    if "event" not in message:
        return StreamEnded(stream=_stream(node, message), refusal=refusal(message))
    kind = _KINDS.get(str(message["event"]))
    return None if kind is None else read(node, message, kind)


def _stream(node: str, message: Message) -> Stream:
    number = message.get("id")
    return Stream(node, number if isinstance(number, int) else 0)


def _signal(kind: type[Signal], *renamed: tuple[str, str]) -> Callable[[str, Message], Signal]:
    """Makes a signal of an event; ``renamed`` are fields that are called otherwise there."""

    def parse(node: str, message: Message) -> Signal:
        theirs = {field: message[name] for field, name in (*renamed, ("process", "name")) if name in message}
        return fill(kind, {**message, **theirs}, stream=_stream(node, message))

    return parse


_KINDS: dict[str, Callable[[str, Message], Signal]] = {
    "line": _signal(LineSeen),
    "health": _signal(HealthSeen, ("named", "models")),
    "exit": _signal(ProcessExited),
    "log": _signal(LinesRead),
    "gap": _signal(LinesLost, ("bytes", "lost")),
    "restarted": _signal(LogRestarted),
}
