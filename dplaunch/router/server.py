"""The processes: one worker here, or several that share the port below a parent that keeps them."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
import time
from types import FrameType

from .settings import Settings
from .worker import Place, run

log = logging.getLogger("dprouter")

RESTART_PAUSE = 1.0
LOOK_EVERY = 0.5
MOST_DESCRIPTORS = 1 << 20
STOPPING = (signal.SIGTERM, signal.SIGINT)


def serve(settings: Settings) -> int:
    """Serve until stopped. Return the exit code (1: the port is taken or not allowed)."""
    logging.basicConfig(
        level=settings.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    _raise_descriptor_limit()
    try:
        reserved = bind(settings.host, settings.port, shared=False)
    except OSError as error:
        log.error("cannot listen on %s:%d: %s; give another port", settings.host, settings.port, error)  # noqa: TRY400 - the sentence is complete
        return 1
    if settings.workers == 1:
        run(settings, Place(reserved))
        return 0
    port = reserved.getsockname()[1]
    reserved.close()
    # Bound, not listening: it keeps the port while no worker runs, and gets no connections.
    with bind(settings.host, port, shared=True), tempfile.TemporaryDirectory(prefix="dprouter-") as folder:
        Parent(settings, port, folder).keep()
    return 0


def _raise_descriptor_limit() -> None:
    """A stream takes two descriptors, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """A bound TCP socket; ``shared`` lets other processes of this user bind the same port."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


class Parent:
    """Starts workers, starts them again when they die or fall silent, stops them when it is stopped.

    Workers hold the reading end of a pipe whose writing end only the parent has: when the
    parent is killed they see its end and stop too.
    """

    def __init__(self, settings: Settings, port: int, folder: str) -> None:
        self._settings = settings
        self._port = port
        self._folder = folder
        self._workers: dict[int, int] = {}
        self._beats = mmap.mmap(-1, settings.workers)
        """A byte for each worker, which counts up; shared with them."""
        self._heard: dict[int, tuple[int, float]] = {}
        """Worker's pid → its last beat, and when it was first seen."""
        self._stopping = False
        self._pipe = os.pipe()

    def keep(self) -> None:
        """Returns when every worker has ended after a signal to stop."""
        for number in STOPPING:
            signal.signal(number, self._stop)
        for index in range(self._settings.workers):
            self._start(index)
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                self._end_silent()
                time.sleep(LOOK_EVERY)
                continue
            index = self._workers.pop(pid)
            self._heard.pop(pid, None)
            if not self._stopping:
                log.error("worker %d ended (status %d) and is started again", index, status)
                time.sleep(RESTART_PAUSE)
                self._start(index)

    def _end_silent(self) -> None:
        """End workers whose event loop stands still: the kernel gives them connections all the same."""
        now, most = time.monotonic(), self._settings.worker_timeout
        for pid, index in self._workers.items():
            beat, since = self._beats[index], now
            if self._heard.get(pid, (None,))[0] == beat:
                since = self._heard[pid][1]
            self._heard[pid] = beat, since
            if now - since > most:
                log.error("worker %d has been silent for %g s and is ended", index, most)
                os.kill(pid, signal.SIGKILL)
                self._heard[pid] = beat, now

    def _beat(self, index: int) -> None:
        self._beats[index] = (self._beats[index] + 1) % 256

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopping = True
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _start(self, index: int) -> None:
        # A signal between fork and the list would miss this worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            if self._stopping:
                return
            pid = os.fork()
            if pid == 0:
                self._work(index)
            self._workers[pid] = index
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def _work(self, index: int) -> None:
        """The child: never returns into the parent's code."""
        code = 1
        try:
            for number in STOPPING:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            reading, writing = self._pipe
            os.close(writing)
            own = bind(self._settings.host, self._port, shared=True)
            run(self._settings, Place(own, index, self._folder, reading, lambda: self._beat(index)))
            code = 0
        except Exception:
            log.exception("worker %d failed", index)
        finally:
            logging.shutdown()
            os._exit(code)
