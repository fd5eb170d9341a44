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
from dplaunch.wire.replies import read, refusal

Message = Mapping[str, Any]


def signal(node: str, message: Message) -> Signal | None:
    """What a message on a stream reports; None for events that mean nothing to a walk.

    Raises HostError where its shape is not the protocol's.
    """
    if "event" not in message:
        return StreamEnded(stream=_stream(node, message), refusal=refusal(message))
    parse = _EVENTS.get(message["event"])
    return None if parse is None else read(node, message, parse)


def _stream(node: str, message: Message) -> Stream:
    return Stream(node, message.get("id") or 0)


def _line(node: str, message: Message) -> LineSeen:
    return LineSeen(
        stream=_stream(node, message),
        process=message["name"],
        pattern=message["pattern"],
        text=message["text"],
        groups=message.get("groups") or {},
    )


def _health(node: str, message: Message) -> HealthSeen:
    return HealthSeen(
        stream=_stream(node, message),
        process=message["name"],
        endpoint=message["endpoint"],
        ok=bool(message["ok"]),
        named=bool(message.get("models")),
        status=message.get("status"),
    )


def _exit(node: str, message: Message) -> ProcessExited:
    return ProcessExited(
        stream=_stream(node, message),
        process=message["name"],
        code=message.get("code"),
        signal=str(message.get("signal") or ""),
        done=bool(message.get("done")),
        again=bool(message.get("again")),
        log=str(message.get("log") or ""),
        tail=tuple(message.get("tail") or ()),
    )


def _lines(node: str, message: Message) -> LinesRead:
    return LinesRead(
        stream=_stream(node, message),
        process=message["name"],
        file=str(message.get("file") or ""),
        offset=int(message["offset"]),
        end=int(message["end"]),
        lines=tuple(message["lines"]),
    )


def _gap(node: str, message: Message) -> LinesLost:
    return LinesLost(
        stream=_stream(node, message),
        process=message["name"],
        file=str(message.get("file") or ""),
        bytes=int(message["lost"]),
    )


def _restarted(node: str, message: Message) -> LogRestarted:
    return LogRestarted(
        stream=_stream(node, message), process=message["name"], file=str(message.get("file") or "")
    )


_EVENTS: dict[str, Callable[[str, Message], Signal]] = {
    "line": _line,
    "health": _health,
    "exit": _exit,
    "log": _lines,
    "gap": _gap,
    "restarted": _restarted,
}
