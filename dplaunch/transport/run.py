"""One command on a host, to its end: what it is given, what it prints, its exit code."""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import Struct

from dplaunch.errors import HostError
from dplaunch.transport.host import Host
from dplaunch.transport.stream import Pipe

GIVEN = 'n=$1; shift; head -c "$n" | exec "$@"'
"""The shell that ends the command's input after so many bytes: a channel to a host has no other end."""


class Ran(Struct, frozen=True):
    """How a command ended. ``err``: the last 8 KiB of stderr."""

    code: int
    out: str
    err: str


def run(host: Host, argv: Sequence[str], *, given: str = "", patience: float) -> Ran:
    """Run a command with ``given`` as its input and wait ``patience`` seconds for its end.

    Raises HostError where the host is lost or the command takes longer.
    """
    data = given.encode()
    pipe = host.start(("sh", "-c", GIVEN, "sh", str(len(data)), *argv))
    deadline = time.monotonic() + patience
    printed: list[bytes] = []
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[_write(pipe, rest) :]
            _need_time(host, argv, deadline)
        while (chunk := pipe.read(1.0)) != b"":
            printed.append(chunk or b"")
            _need_time(host, argv, deadline)
        code = None if pipe.lost() else pipe.wait(max(1.0, deadline - time.monotonic()))
        if code is None:
            raise HostError(host.node, f"the connection to {host.label} was lost while {argv[0]} ran there")
        return Ran(code, b"".join(printed).decode("utf-8", "replace"), pipe.stderr())
    finally:
        pipe.close()


def _write(pipe: Pipe, rest: memoryview) -> int:
    """How much was taken; all of it where the command has ended, which its exit code then explains."""
    try:
        return pipe.write(rest[:65536])
    except OSError:
        return len(rest)


def _need_time(host: Host, argv: Sequence[str], deadline: float) -> None:
    if time.monotonic() > deadline:
        raise HostError(
            host.node,
            f"{argv[0]} on {host.label} did not end in time",
            hint=f"run `{' '.join(argv)}` there to see what it waits for",
        )
