"""This machine as a host: plain subprocesses. Rehearsals and ``host: localhost`` use it."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from collections.abc import Sequence

from dplaunch.errors import HostError
from dplaunch.model.cluster import Container
from dplaunch.transport.failures import missing_program
from dplaunch.transport.host import SILENCE, Host
from dplaunch.transport.stream import CHUNK, SLICE, Pipe, Tail

PATIENCE = 2.0
"""Seconds for a session to end its processes once its stdin has ended: only it knows them."""
STOPS = 0.2
"""Seconds it has to end after each signal."""


class LocalHost(Host):
    """Commands run with the launcher's own environment."""

    def __init__(
        self,
        node: str,
        *,
        container: Container | None = None,
        silence: float = SILENCE,
    ) -> None:
        super().__init__(node, label=f"{node} (this machine)", container=container, silence=silence)
        self._open_pipes: list[LocalPipe] = []

    def _open(self, argv: Sequence[str]) -> Pipe:
        try:
            pipe = LocalPipe(argv)
        except FileNotFoundError as error:
            raise missing_program(self.node, self.label, argv[0], str(error)) from error
        except OSError as error:
            raise HostError(
                self.node,
                f"{self.label} could not start {argv[0]}: {error.strerror}",
                hint="free some memory",
            ) from error
        self._open_pipes = [p for p in self._open_pipes if p.wait(0) is None]
        self._open_pipes.append(pipe)
        return pipe

    def close(self) -> None:
        """Ends every command that still runs."""
        for pipe in self._open_pipes:
            pipe.close()


class LocalPipe:
    """A subprocess in a session of its own, so that a Ctrl-C at the terminal does not reach it."""

    def __init__(self, argv: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            list(argv), stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True
        )
        streams = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._in, self._out, self._err = (stream.fileno() for stream in streams if stream is not None)
        os.set_blocking(self._in, False)
        os.set_blocking(self._err, False)  # two threads may drain it
        self._tail = Tail()
        self._err_open = True

    def read(self, timeout: float) -> bytes | None:
        """As ``Pipe.read``; stderr is drained on the way."""
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        if self._err_open:
            poll.register(self._err, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(timeout * 1000)]
        if self._err in ready:
            self._drain()
        if self._out not in ready:
            return None
        chunk = os.read(self._out, CHUNK)
        if chunk == b"" and self._err_open:
            self._rest_of_stderr()
        return chunk

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._err, CHUNK)
            self._err_open = data != b""
            self._tail.add(data)

    def _rest_of_stderr(self) -> None:
        """After the end: what the process printed last, unless a child keeps stderr open."""
        poll = select.poll()
        poll.register(self._err, select.POLLIN)
        while self._err_open and poll.poll(200):
            self._drain()

    def write(self, data: memoryview) -> int:
        """As ``Pipe.write``; comes back early when there is output to read first."""
        with contextlib.suppress(BlockingIOError):
            return os.write(self._in, data)
        poll = select.poll()
        poll.register(self._in, select.POLLOUT)
        poll.register(self._out, select.POLLIN)
        poll.poll(SLICE * 1000)
        return 0

    def stderr(self) -> str:
        """The last 8 KiB of stderr."""
        if self._process.poll() is not None:  # it may have ended before anybody read
            self._rest_of_stderr()
        return self._tail.text()

    def wait(self, timeout: float) -> int | None:
        """As ``Pipe.wait``."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def lost(self) -> bool:
        """A local process has no link to lose."""
        return False

    def close(self) -> None:
        """End of file, then SIGTERM and SIGKILL to this one process: what it guards keeps running."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        for seconds, signal_it in ((PATIENCE, self._process.terminate), (STOPS, self._process.kill)):
            if self.wait(seconds) is None:
                signal_it()
        self.wait(1.0)
