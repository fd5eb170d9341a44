"""``api_server``: one rank's server. The first one of a node holds the engine that the others attach to."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time

from .. import faults
from ..knobs import Knobs
from ..record import Record
from ..web import Server
from .api import Api
from .arguments import UsageError, known, numbers, parse, refuse
from .handover import Handover
from .log import Log
from .registration import register_for_ever
from .resp import RedisError
from .scheduler import Scheduler
from .settings import Settings

STAGES = ("workers", "weights", "engine", "listening")
ENGINE_PATIENCE = 300.0
"""Seconds that a server looks for the engine of the first one."""
KEEP_ALIVE = 5.0


def run(words: list[str], env: dict[str, str]) -> int:
    """Play it until it ends; SIGTERM and SIGINT end it."""
    try:
        flags = parse(words, known(env["DPLAUNCH_REHEARSAL_FLAGS"]))
    except UsageError as fault:
        return refuse("api_server", fault)
    knobs = Knobs(env, int(flags.get("local-data-parallel-id", "0")), STAGES)
    log = Log(env)
    settings = Settings(flags, env, knobs)
    if settings.role != "mixed" and not (settings.router or settings.scheduled):
        wrong = f"When using {settings.role} role and the local scheduler, please provide --router argument."
        log.uncaught(f"ValueError: {wrong}")
        return 1
    return _Life(settings, knobs, log, env).run()


class _Life:
    """From the first line to the last; a signal or the end of the engine ends it."""

    def __init__(self, settings: Settings, knobs: Knobs, log: Log, env: dict[str, str]) -> None:
        self._settings = settings
        self._knobs = knobs
        self._log = log
        self._env = env
        self._ended = threading.Event()
        self._code = 0
        self._held: list[socket.socket] = []

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ended.set())
        faults.arm(self._knobs, self._log.console, self._report_death)
        try:
            self._listen()
            scheduler = self._find_scheduler()
        except OSError as fault:
            self._log.uncaught(f"AssertionError: {fault}")
            return 1
        except RedisError as fault:
            self._log.uncaught(f"redis.exceptions.ConnectionError: {fault}")
            return 1
        api = Api(
            self._settings, self._knobs, Record(self._knobs.requests, self._env), self._handover, self._log
        )
        api.scheduler = scheduler
        self._serve(api)
        self._attach() if self._settings.rank else self._launch()
        if not self._ended.is_set():
            api.healthy = True
            if scheduler is not None:
                scheduler.start()
            self._log.plain("INFO:     Application startup complete.")
            threading.Thread(target=register_for_ever, args=(self._settings, self._log), daemon=True).start()
        while not self._ended.wait(0.5):
            pass
        self._log.file(
            "api_server.log", "api_server.py[line:210]", "Engine shut down, exiting sub services..."
        )
        return self._code

    def _find_scheduler(self) -> Scheduler | None:
        silent = frozenset(numbers(self._knobs.fault("UNREGISTERED")))
        return Scheduler(self._settings, self._log, silent) if self._settings.scheduled else None

    def _bound(self, port: int, name: str) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self._settings.address, port))
        except OSError:
            raise OSError(f"Parameter `{name}`:{port} is already in use.") from None
        return sock

    def _listen(self) -> None:
        """Open every port of this rank."""
        settings = self._settings
        self._front = self._bound(settings.port, "port")
        self._metrics = (
            self._bound(settings.metrics_port, "metrics_port") if settings.metrics_port > 0 else None
        )
        self._queue = self._open(settings.own(settings.queues), "engine_worker_queue_port")
        self._open(settings.own(settings.caches), "cache_queue_port")
        for port in settings.rdmas[settings.rank * settings.tp : (settings.rank + 1) * settings.tp]:
            self._open(port, "rdma_comm_ports")
        pd = settings.own(settings.pds)
        self._handover = Handover(self._bound(pd, "pd_comm_port")) if pd else None
        if settings.scheduled:  # the ranks beyond the first are in this process too
            beyond = (
                *settings.queues[1:],
                *settings.caches[1:],
                *settings.pds[1:],
                *settings.rdmas[settings.tp :],
            )
            for port in beyond:
                self._open(port, "port of a rank")

    def _open(self, port: int, name: str) -> socket.socket | None:
        if not port:
            return None
        sock = self._bound(port, name)
        sock.listen(64)
        self._held.append(sock)
        return sock

    def _serve(self, api: Api) -> None:
        Server(self._front, api.handle, KEEP_ALIVE).start()
        if self._metrics:
            Server(self._metrics, api.handle_metrics, KEEP_ALIVE).start()
        self._log.plain(f"INFO:     Uvicorn running on http://{self._settings.address}:{self._settings.port}")

    def _pass(self, stage: str, seconds: float) -> None:
        """Play a stage, which takes that long at speed 1."""
        end = None if self._knobs.hang == stage else time.monotonic() + seconds * self._knobs.speed
        while not self._ended.is_set() and (end is None or time.monotonic() < end):
            self._ended.wait(0.05)

    def _launch(self) -> None:
        """The engine: workers, weights; the others' connections are kept, and end with this process."""
        threading.Thread(target=self._keep, daemon=True).start()
        self._log.console("Waiting for worker processes to be ready...")
        self._log.file("workerlog.0", "worker_process.py[line:88]", "worker 0 is launched")
        self._pass("workers", 1.0)
        for percent in (0, 50, 100):
            self._log.plain(f"Loading Weights: {percent:3d}%|")
            self._pass("weights", 1.0)
        self._pass("engine", 1.0)
        self._log.console(f"Worker processes are launched with {time.process_time()} seconds.")
        self._log.file("fastdeploy.log", "engine.py[line:190]", "Start engine service")
        self._pass("listening", 0.5)
        self._loaded = True

    _loaded = False

    def _keep(self) -> None:
        """Accept the other servers; each is told when the engine has loaded."""
        while self._queue is not None:
            peer, _ = self._queue.accept()
            self._held.append(peer)
            threading.Thread(target=self._welcome, args=(peer,), daemon=True).start()

    def _welcome(self, peer: socket.socket) -> None:
        while not self._loaded:
            time.sleep(0.05)
        try:
            peer.sendall(b"1")
        except OSError:
            return

    def _attach(self) -> None:
        """Wait for the first server's engine; its end is this one's."""
        address = (self._settings.address, self._settings.queues[0])
        deadline = time.monotonic() + ENGINE_PATIENCE
        while not self._ended.is_set():
            try:
                link = socket.create_connection(address, timeout=5)
                break
            except OSError:
                if time.monotonic() > deadline:
                    self._die("RuntimeError: the engine worker queue of the first server cannot be reached")
                    return
                self._ended.wait(0.1)
        else:
            return
        link.settimeout(None)
        self._held.append(link)
        if link.recv(1) == b"1":
            threading.Thread(target=self._watch, args=(link,), daemon=True).start()
        else:
            self._die("RuntimeError: the worker processes ended")

    def _watch(self, link: socket.socket) -> None:
        with contextlib.suppress(OSError):
            link.recv(1)
        self._die("Worker process exited, sending SIGINT to the API server")

    def _die(self, text: str) -> None:
        self._log.console(text, "ERROR")
        self._code = 1
        self._ended.set()

    def _report_death(self) -> None:
        self._log.file("workerlog.0", "worker_process.py[line:300]", "CUDA error(700)", "ERROR")
        self._log.console(
            "Failed to launch worker processes, check log/workerlog.* for more details.", "ERROR"
        )
