"""What a host can do, and the two kinds of host that real processes run on (local, ssh) share.

A ``Pipe`` is one running command's three streams; local and ssh each have one. ``PipeHost``
makes ``run``, ``put`` and ``stream`` of it, so that they behave alike everywhere.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dplaunch.errors import HostError
from dplaunch.transport.failures import CANNOT_RUN, NOT_FOUND, container_failure, lost_link, missing_program
from dplaunch.transport.once import Once
from dplaunch.transport.stream import LineStream, Pipe

SILENCE = 20.0
"""Seconds without a byte from a guard session (it beats every 5 s) until its link counts as dead."""

PUT = 'umask 077; n="$1.new"; mkdir -p "$(dirname "$1")" && cat >"$n" && chmod "$2" "$n" && mv -f "$n" "$1"'
"""Writes stdin to $1 with mode $2, by rename: a reader never sees half a file."""


@dataclass(frozen=True, slots=True)
class Result:
    """A finished command. ``code`` is negative when a signal ended it; ``err`` holds the last 8 KiB."""

    code: int
    out: bytes
    err: str


@dataclass(frozen=True, slots=True)
class Options:
    """How to connect. One value serves all nodes of a verb: ``shared`` is what connections share."""

    local: bool = False
    """Every node is this machine (a rehearsal): no SSH, no container."""
    silence: float = SILENCE
    ssh_config: str | None = None
    """Read instead of ``~/.ssh/config`` and the system's (as ``ssh -F``)."""
    shared: Once = field(default_factory=Once)
    """Jump connections and loaded keys: made once, closed by ``shared.close()``."""


class Stream(Protocol):
    """One running command: a guard session."""

    def send(self, data: bytes) -> None:
        """Sends all of it; raises HostError when the link is gone."""

    def close_stdin(self) -> None:
        """End of file for the command."""

    def lines(self) -> Iterator[bytes]:
        """Lines of stdout without their newline, until the command has ended well; HostError otherwise."""

    def stderr_tail(self) -> str:
        """The last 8 KiB of stderr."""

    def wait(self, timeout: float) -> int | None:
        """The exit code, or None when it still runs after ``timeout`` seconds (or the link is gone)."""

    def close(self) -> None:
        """Ends the command's streams; ``lines`` then ends without an error."""


class Host(Protocol):
    """One machine (or a container on it), reached one way."""

    node: str

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Result:
        """Runs a command to its end; HostError when the host fails, not when the command does."""

    def put(self, path: str, data: bytes, mode: int) -> None:
        """Writes a file by rename, with its folders."""

    def stream(self, argv: Sequence[str]) -> Stream:
        """Starts a command whose stdin and stdout stay open."""

    def close(self) -> None:
        """Ends the connection and what runs over it."""


def command_line(argv: Sequence[str]) -> str:
    """The one place that quotes: words → the text a remote shell takes apart again."""
    return shlex.join(argv)


class PipeHost:
    """``Host`` over what opens a ``Pipe``. ``label`` names the node in messages, ``prefix`` wraps argv."""

    def __init__(
        self, node: str, *, label: str = "", prefix: tuple[str, ...] = (), silence: float = SILENCE
    ) -> None:
        self.node = node
        self.label = label or node
        self._prefix = prefix
        self._silence = silence

    def _open(self, argv: Sequence[str]) -> Pipe:
        """Starts argv (already wrapped); raises HostError."""
        raise HostError(self.node, f"{self.label} cannot run {argv[0]}")

    def _explain(self, argv: Sequence[str], code: int, err: str) -> HostError | None:
        """Why the host, not the command, is at fault; None when it is the command's own business."""
        failure = container_failure(self.node, self.label, self._prefix, argv[0], code=code, said=err)
        if failure is None and code == NOT_FOUND and not self._prefix:
            return missing_program(self.node, self.label, argv[0], err)
        return failure

    def stream(self, argv: Sequence[str]) -> LineStream:
        """Starts argv; a session that ends badly raises from ``lines``."""

        def explain(code: int, err: str) -> HostError:
            where = f"in container {self._prefix[-1]} on" if self._prefix else "on"
            text = f"the session {where} {self.label} " + (
                f"ended with exit code {code}" if code > 0 else "was killed"
            )
            return self._explain(argv, code, err) or HostError(
                self.node, text, hint="run the command again", detail=tuple(err.splitlines()[-20:])
            )

        pipe = self._open((*self._prefix, *argv))
        return LineStream(self.node, self.label, pipe, silence=self._silence, explain=explain)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Result:
        """Runs argv; HostError when it does not end in ``timeout`` seconds or its container is not there."""
        pipe = self._open((*self._prefix, *argv))
        try:
            result = _communicate(pipe, stdin, time.monotonic() + timeout)
        finally:
            pipe.close()
        if result is None:
            text = f"{self.label} did not finish `{argv[0]}` within {timeout:g} s"
            raise (
                lost_link(self.node, self.label)
                if pipe.lost()
                else HostError(self.node, text, hint="look what keeps it busy, then run the command again")
            )
        said = result.err + (result.out.decode(errors="replace") if result.code in CANNOT_RUN else "")
        failure = container_failure(self.node, self.label, self._prefix, argv[0], code=result.code, said=said)
        if failure is not None:
            raise failure
        return result

    def put(self, path: str, data: bytes, mode: int) -> None:
        """Writes ``data`` to ``path`` (relative to the login's home) by rename; HostError says why not."""
        result = self.run(["sh", "-c", PUT, "sh", path, f"{mode:o}"], stdin=data, timeout=60.0)
        if result.code != 0:
            why = (result.err.strip().splitlines() or ["no reason given"])[-1]
            raise HostError(
                self.node,
                f"{self.label} could not write {path}: {why}",
                hint="check the disk's space and the folder's owner",
            )


def _communicate(pipe: Pipe, stdin: bytes, deadline: float) -> Result | None:
    """Feeds stdin and gathers stdout until the end; None when the deadline passed or the link broke."""
    out: list[bytes] = []
    rest = memoryview(stdin)
    writing = True
    while time.monotonic() < deadline:
        if writing:
            rest, writing = _feed(pipe, rest)
        chunk = pipe.read(0.0 if writing else min(1.0, deadline - time.monotonic()))
        if chunk == b"":
            code = pipe.wait(max(0.0, deadline - time.monotonic()))
            return None if code is None else Result(code, b"".join(out), pipe.stderr())
        if chunk:
            out.append(chunk)
    return None


def _feed(pipe: Pipe, rest: memoryview) -> tuple[memoryview, bool]:
    """Writes what the command takes now; closes stdin after the last byte, or when nobody reads it."""
    try:
        if rest:
            rest = rest[pipe.write(rest) :]
    except OSError:
        rest = rest[:0]
    if not rest:
        pipe.close_write()
    return rest, bool(rest)
