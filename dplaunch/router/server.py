"""The processes: workers that share the port, below a parent that keeps them and the listening sockets."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from .callbacks import FOLDERS
from .handover import Giver, add_listeners, open_listeners, take_listeners
from .settings import Settings
from .worker import LEAVING, Place, run

log = logging.getLogger("dprouter")

RESTART_PAUSE = 1.0
LOOK_EVERY = 0.5
MOST_DESCRIPTORS = 1 << 20
SETTLE = 10.0
"""Seconds in which a worker learns about its engines before it accepts: until then it would say 503."""
STOPPING = (signal.SIGTERM, signal.SIGINT)
SIGNALS = (*STOPPING, LEAVING)


def serve(settings: Settings) -> int:
    """Serve until stopped. Return the exit code (1: it could not begin)."""
    logging.basicConfig(
        level=settings.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    _raise_descriptor_limit()
    try:
        listeners = _find_listeners(settings)
    except OSError as error:
        log.error("cannot listen on %s:%d: %s; give another port", settings.host, settings.port, error)  # noqa: TRY400 - the sentence is complete
        return 1
    with tempfile.TemporaryDirectory(prefix=FOLDERS) as folder:
        return Parent(settings, listeners, folder).keep()


def _find_listeners(settings: Settings) -> list[socket.socket]:
    """Return the sockets of the router that runs, where this one takes over from it; else new ones.

    A worker has at least one of its own, among which the kernel spreads new connections.
    """
    host, port, count = settings.host, settings.port, settings.workers
    taken = take_listeners(settings.handover, host, port) if settings.takes_over else []
    return add_listeners(taken, host, port, count) if taken else open_listeners(host, port, count)


def _raise_descriptor_limit() -> None:
    """A stream takes two descriptors, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Parent:
    """Starts workers, starts them again when they die or fall silent, stops them when it is stopped.

    It holds the listening sockets: what comes while a worker is started again waits in its queue. Workers
    hold the reading end of a pipe whose writing end only the parent has: when the parent is killed they see
    its end and stop too.
    """

    def __init__(self, settings: Settings, listeners: Sequence[socket.socket], folder: str) -> None:
        self._settings = settings
        self._listeners = listeners
        self._folder = folder
        self._giver: Giver | None = None
        """For the router that takes over from this one, as soon as all workers have accepted."""
        self._workers: dict[int, int] = {}
        self._shared = mmap.mmap(-1, 2 * settings.workers)
        """Shared with the workers. For each a byte that counts up, and behind these one that is 1 once it
        has accepted connections."""
        self._heard: dict[int, tuple[int, float]] = {}
        """Worker's pid → its last beat, and when it was first seen."""
        self._came_up = False
        """Every worker has accepted connections."""
        self._ending = False
        """Stopping, or finishing what runs: no worker is started any more."""
        self._code = 0
        self._pipe = os.pipe()

    def keep(self) -> int:
        """Return the exit code when every worker has ended after a signal to stop or to leave."""
        for number in STOPPING:
            signal.signal(number, self._stop)
        signal.signal(LEAVING, self._leave)
        for index in range(self._settings.workers):
            self._start(index)
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                self._bury(pid, status)
            else:
                self._end_silent()
                self._look_for_successor()
        return self._code

    def _bury(self, pid: int, status: int) -> None:
        """Start a worker that ended again; where none has ever accepted, a second start would not help."""
        index = self._workers.pop(pid)
        self._heard.pop(pid, None)
        if self._ending:
            return
        if not self._came_up and not self._has_accepted(index):
            log.error("worker %d failed before it accepted connections (status %d)", index, status)
            self._code = 1
            self._end(signal.SIGTERM)
            return
        log.error("worker %d ended (status %d) and is started again", index, status)
        time.sleep(RESTART_PAUSE)
        self._start(index)

    def _look_for_successor(self) -> None:
        """Wait a moment, and give the listening sockets to a router that asks for them meanwhile."""
        workers = range(self._settings.workers)
        if not (self._came_up or self._ending) and all(map(self._has_accepted, workers)):
            self._come_up()
        waiting = [] if self._giver is None else [self._giver]
        with contextlib.suppress(OSError, ValueError):  # a signal may close it in this moment
            for giver in select.select(waiting, [], [], LOOK_EVERY)[0]:
                giver.give()

    def _come_up(self) -> None:
        """All workers accept connections: the work is ours, until somebody takes it over."""
        self._came_up = True
        if self._settings.handover:
            self._giver = Giver(self._settings.handover, self._listeners)
        if self._settings.takes_over:
            Path(self._settings.takes_over).touch()

    def _end_silent(self) -> None:
        """End workers whose event loop stands still: the kernel gives them connections all the same."""
        now, most = time.monotonic(), self._settings.worker_timeout
        for pid, index in self._workers.items():
            beat, since = self._shared[index], now
            if self._heard.get(pid, (None,))[0] == beat:
                since = self._heard[pid][1]
            self._heard[pid] = beat, since
            if now - since > most:
                log.error("worker %d has been silent for %g s and is ended", index, most)
                os.kill(pid, signal.SIGKILL)
                self._heard[pid] = beat, now

    def _beat(self, index: int) -> None:
        self._shared[index] = (self._shared[index] + 1) % 256

    def _note_accepting(self, index: int) -> None:
        self._shared[self._settings.workers + index] = 1

    def _has_accepted(self, index: int) -> bool:
        return self._shared[self._settings.workers + index] == 1

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._end(signal.SIGTERM)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._end(LEAVING)

    def _end(self, number: int) -> None:
        """Let go of the sockets, and have the workers do so too: what listens here would be a dead end."""
        self._ending = True
        for listener in self._listeners:
            listener.close()
        if self._giver is not None:
            self._giver.close()
            self._giver = None
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _start(self, index: int) -> None:
        # A signal between fork and the list would miss this worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            if self._ending:
                return
            pid = os.fork()
            if pid == 0:
                self._work(index)
            self._workers[pid] = index
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _work(self, index: int) -> None:
        """The child: never returns into the parent's code."""
        code = 1
        try:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            run(self._settings, self._place(index))
            code = 0
        except Exception:
            log.exception("worker %d failed", index)
        finally:
            logging.shutdown()
            os._exit(code)

    def _place(self, index: int) -> Place:
        """Return where the worker stands that this process has become; close what is not its own."""
        reading, writing = self._pipe
        os.close(writing)
        if self._giver is not None:
            self._giver.close()
        own = self._listeners[index :: self._settings.workers]
        for one in set(self._listeners) - set(own):
            one.close()
        return Place(
            tuple(own),
            index,
            self._folder,
            reading,
            lambda: self._beat(index),
            lambda: self._note_accepting(index),
            SETTLE,
        )
