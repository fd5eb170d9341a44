"""A client of Redis, as much as a look at what lies there needs: some commands, and their replies as JSON."""

from __future__ import annotations

import json
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

MOST = 1 << 20
"""Bytes of one text that is read: a peer that is no Redis must not fill the memory."""


def ask(address: tuple[str, int], timeout: float, request: dict[str, Any]) -> str:
    """Send its ``body``, a JSON list of commands that are lists of words, after the header Password.

    Returns a JSON list of their replies. Raises OSError where Redis cannot be reached, ValueError with its
    own words where it refuses.
    """
    password = (request.get("headers") or {}).get("Password")
    commands = [["AUTH", password]] if password else []
    commands += json.loads(request.get("body") or "[]")
    with socket.create_connection(address, timeout) as link, link.makefile("rb") as stream:
        replies = []
        for words in commands:
            link.sendall(_pack(words))
            replies.append(_read(stream))
    return json.dumps(replies[1:] if password else replies)


def _pack(words: list[str]) -> bytes:
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def _read(stream: BinaryIO) -> Any:
    line = stream.readline(MOST)
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the connection was closed within a reply")
    kind, rest = line[:1], line[1:-2].decode("utf-8", "replace")
    if kind == b"-":
        raise ValueError(rest)
    if kind == b"+":
        return rest
    if kind not in (b":", b"$", b"*"):
        raise ValueError("what answers there is no Redis")
    count = int(rest)
    if kind == b":" or count < 0:
        return count if kind == b":" else None
    if kind == b"*":
        return [_read(stream) for _ in range(count)]
    if count > MOST:
        raise ValueError(f"a text of {count} bytes is not read")
    return stream.read(count + 2)[:-2].decode("utf-8", "replace")
