"""JSON lines, and the guard's first one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from msgspec import Struct

from dplaunch.errors import DplaunchError, HostError

PROTOCOL = 2
NOISE_LINES = 200
"""Lines of a login shell's chatter that are skipped before the guard's first line."""


class Opening(Struct, frozen=True):
    """``first`` opens a session; a node that lacks the bundle asks for ``code``."""

    first: bytes
    code: bytes


class GreetingStream(Protocol):
    """The part of a stream that ``greet`` needs."""

    def send(self, data: bytes) -> None:
        """Sends all of it."""

    def lines(self) -> Iterator[bytes]:
        """Lines of stdout."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Mapping[str, Any]:
    """One line as an object. Raises DplaunchError when it is something else."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise DplaunchError(
            f"the guard's stream carried a line that is not JSON: {line[:80].decode('utf-8', 'replace')!r}",
            hint="something else wrote to the session's stdout; run the command again",
        )
    return message


def greet(stream: GreetingStream, node: str, opening: Opening) -> Mapping[str, Any]:
    """Open a session and return the guard's hello; what a login shell prints before it is skipped.

    Raises HostError when no hello comes or the guard speaks another protocol.
    """
    stream.send(opening.first)
    noise: list[str] = []
    for line in stream.lines():
        match _event(line):
            case {"event": "hello"} as hello:
                return _same_protocol(node, hello)
            case {"event": "unpack"}:
                stream.send(opening.code)
            case _:
                noise.append(line[:200].decode("utf-8", "replace"))
        if len(noise) == NOISE_LINES:
            break
    raise HostError(
        node,
        f"{node} printed {len(noise)} lines, but the guard's hello was not among them",
        hint="silence what ~/.bashrc prints there for shells that are not interactive",
        detail=tuple(noise[-5:]),
    )


def _event(line: bytes) -> Mapping[str, Any]:
    try:
        return decode(line)
    except DplaunchError:
        return {}


def _same_protocol(node: str, hello: Mapping[str, Any]) -> Mapping[str, Any]:
    if hello.get("protocol") == PROTOCOL:
        return hello
    raise HostError(
        node,
        f"the guard on {node} speaks protocol {hello.get('protocol')}, this dplaunch speaks {PROTOCOL}",
        hint="use the same version of dplaunch as the colleague who started the cluster",
    )
