"""One engine from its first line to its last: the stages in order, then serving until something ends it."""

from __future__ import annotations

import os
import signal
import threading
import time

from .. import faults
from ..record import Record
from ..web import STACK, Server
from . import narration, store
from .api import Api
from .blocks import Blocks
from .cores import Cores
from .failure import FatalError, Stopped, report
from .generation import Generator
from .group import Follower, Group, closed_by_peer
from .hub import Hub
from .kv import Consumer, Producer
from .log import API, CORE, MAIN, Log
from .machine import bind_listener, check_interfaces, occupy
from .parallel import CONTRACT_A, OFFLINE, SPREAD
from .push import Receiver
from .shutdown import Shutdown, report_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import NoReturn

    from .knobs import Knobs
    from .machine import Machine
    from .narration import Scene
    from .settings import Settings
    from .store import Access
    from .transfer import Transfer

HEALTHY = 200
DYING = 0.5
"""Seconds from the answer EngineDeadError to the end of the server."""
EAGER_DYING = 3.0
"""The same, when the group's death was noticed without a request."""
BUSY = 1.0
"""A request within the last so many seconds makes a member notice at once that another one died."""


class Engine:
    """Plays one engine; ``run`` returns its exit code."""

    def __init__(self, settings: Settings, knobs: Knobs, machine: Machine, log: Log) -> None:
        self.settings = settings
        self.knobs = knobs
        self.machine = machine
        self.log = log
        self.producer: Producer | None = None
        self.receiver: Receiver | None = None
        self.shutdown = Shutdown(settings, log)
        self._server: Server | None = None
        self._generator: Generator | None = None
        self._dying = threading.Lock()
        self._held: list[socket.socket] = []
        self._api: Api | None = None
        self._group: Group | None = None
        self._pool: Access | None = None

    def run(self) -> int:
        """Start, serve, and end with the engine's own code."""
        threading.stack_size(STACK)
        signal.signal(signal.SIGINT, _raise_stopped)
        signal.signal(signal.SIGTERM, _raise_stopped)
        try:
            cores = Cores(self.settings.parallel)
            faults.arm(self.knobs, self._flood, self._report_crash)
            cores.watch(self._notice_core)
            if self.settings.parallel.headless:
                self._compute()
            self._serve()
        except FatalError as failure:
            report(self.log, failure)
            return failure.code
        except Stopped:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if self._server and self._generator:
                generator = self._generator
                self.shutdown.run(self._server, generator.counters, self.producer, generator.group)
            elif self.settings.parallel.headless:
                self.shutdown.run_headless(self._group)
            else:
                report_end(self.log)
        return 0

    def _compute(self) -> NoReturn:
        """What a process without a server does: its part of every step."""
        for scene in narration.opening(self.settings):
            self._play(scene)
        group = self._make_group()
        group.on_death = lambda: self._notice_peer(group)
        self._load(group)
        self._group = group
        self._wait_for_ever()

    def _load(self, group: Group) -> None:
        group.join()
        for scene in narration.loading(self.settings):
            self._play(scene)
            self._act(scene.name)
        group.begin()

    def _notice_peer(self, group: Group) -> None:
        """Without a server it notices in a step that another rank is gone; idle it waits for ever."""
        if group.busy(BUSY):
            lost = closed_by_peer(self.settings.parallel)
            self.log.error(CORE, "core.py:715", f"EngineCore encountered a fatal error.\n{lost}")
            self._end_headless(f"EngineCore_DP{self.settings.parallel.rank}")

    def _notice_core(self, name: str) -> None:
        """A core died, whoever ended it: the whole process follows."""
        if self.settings.parallel.headless:
            self._end_headless(name)
        elif self._api:
            text = f"Engine core proc {name} died unexpectedly, shutting down client."
            self.log.error(API, "core_client.py:600", text)
            self._lose_core(self._api, EAGER_DYING, "")
        else:
            text = "Engine core initialization failed. See root cause above. Failed core proc(s)"
            self._die(FatalError(f"RuntimeError: {text}: {{'{name}': -9}}"))

    def _end_headless(self, core: str) -> None:
        text = f"[shutdown] Process manager: send sigterm to process {core}"
        self.log.info(MAIN, "utils.py:628", text)
        self.log.info(MAIN, "serve.py:266", "Shutting down.")
        os._exit(0)

    def _serve(self) -> None:
        for scene in narration.opening(self.settings):
            self._play(scene)
        # Bound early, as the engine does: a taken port shows before anything is loaded.
        refusal = "OSError: [Errno {errno}] {text}"
        web = bind_listener(self.settings.host, self.settings.port, refusal)
        group = self._make_group()
        self._load(group)
        self._api = self._make_api(group)
        self._open(web, self._api)
        while True:
            signal.pause()

    def _play(self, scene: Scene) -> None:
        """Log a scene's lines over its time; the knob HANG stops here for ever."""
        if scene.name == self.knobs.hang:
            self._wait_for_ever()
        pause = scene.seconds * self.knobs.speed / max(1, len(scene.lines))
        for who, place, text in scene.lines:
            time.sleep(pause)
            if place:
                self.log.info(who, place, text)
            else:
                self.log.plain(who, text)
        if scene.name == "coordinator":
            self.log.info(API, "utils.py:615", f"Started DP Coordinator process (PID: {os.getpid()})")

    def _act(self, stage: str) -> None:
        """What can go wrong in a stage."""
        settings = self.settings
        if stage == "init":
            self._held = occupy(settings.devices, self.machine)
        elif stage == "gloo":
            check_interfaces(self.machine.env)
        elif stage == "load" and settings.parallel.mode == OFFLINE:
            raise FatalError("AssertionError")  # assert self.stats_update_address is not None
        elif stage == "memory" and self.knobs.never_ready:
            text = "WorkerProc failed to start.\nRuntimeError: rehearsed failure in the worker"
            self.log.error(settings.parallel.worker(0), "multiproc_executor.py:559", text)
            self._wait_for_ever()
        elif stage == "kv":
            self._pool = store.connect(settings.given.get("kv_transfer_config"), self.machine, self.log)
            if settings.transfer and settings.transfer.ports:
                self._listen(settings.transfer)

    def _listen(self, transfer: Transfer) -> None:
        """Open the side channel, on the side that has one."""
        if transfer.pushed:
            self.receiver = Receiver(transfer, self.knobs, self.log)
            self.receiver.open()
        else:
            self.producer = Producer(transfer, self.log)
            self.producer.open()

    def _wait_for_ever(self) -> NoReturn:
        while True:
            signal.pause()

    def _make_group(self) -> Group:
        parallel, window = self.settings.parallel, self.knobs.handshake
        if not parallel.grouped or parallel.mode == OFFLINE:
            return Group(parallel, self.log, self._die)
        if parallel.place:
            return Follower(parallel, self.log, self._die, window)
        where = f"tcp://{parallel.address}:{parallel.port}"
        refusal = f"zmq.error.ZMQError: {{text}} (addr='{where}')"
        if parallel.mode in (CONTRACT_A, SPREAD):
            refusal = "torch.distributed.DistNetworkError: The server socket has failed to bind to "
            refusal += f"{parallel.address}:{parallel.port} (errno: {{errno}} - {{text}})."
        listener = bind_listener(parallel.address, parallel.port, refusal)
        return Hub(parallel, self.log, self._die, window, listener)

    def _make_api(self, group: Group) -> Api:
        generator = Generator(self.settings, self.knobs, group, self.shutdown, self.log)
        generator.producer = self.producer
        if self._pool:
            generator.blocks = Blocks(self._pool, self.settings, self.machine.env, self.log)
        transfer = self.settings.transfer
        generator.receiver = self.receiver
        if transfer and transfer.consumes and not transfer.pushed:
            generator.consumer = Consumer(transfer, self.knobs)
        record = Record(self.knobs.requests, self.machine.env)
        api = Api(self.settings, generator, record, self.log)
        generator.on_dead = lambda cause: self._lose_core(api, DYING, cause)
        group.on_death = lambda: self._notice_death(api)
        return api

    def _open(self, web: socket.socket, api: Api) -> None:
        self._play(narration.serving(self.settings, os.getpid()))
        self.log.plain(API, narration.SERVES)  # before the first answer, as uvicorn does
        self._generator = api.generator
        self._server = Server(web, api.handle, self.settings.keep_alive)
        self._server.start()
        if self.settings.stats_interval > 0:
            threading.Thread(target=self._log_throughput, args=(api.generator,), daemon=True).start()

    def _notice_death(self, api: Api) -> None:
        """An idle rank keeps answering that it is healthy, as the engine does; a busy one notices at once."""
        recent = time.monotonic() - api.generator.last_request < BUSY
        if api.generator.counters.running or recent or self.knobs.dead_group_health != HEALTHY:
            self._lose_core(api, EAGER_DYING, closed_by_peer(self.settings.parallel))

    def _lose_core(self, api: Api, seconds: float, cause: str) -> None:
        """The core died: log it once, answer 503, end after ``seconds``. A killed one has no ``cause``."""
        if not self._dying.acquire(blocking=False):
            return
        api.healthy = False
        api.generator.group.dead.set()
        if cause:
            self.log.error(CORE, "core.py:715", f"EngineCore encountered a fatal error.\n{cause}")
        text = "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause."
        self.log.error(
            API, "async_llm.py:525", f"AsyncLLM output_handler failed.\nvllm.v1.engine.exceptions.{text}"
        )
        end = threading.Timer(seconds, self._end)
        end.daemon = True
        end.start()

    def _end(self) -> None:
        self.log.plain(API, "INFO:     Shutting down")
        report_end(self.log)
        self.log.plain(API, f"INFO:     Finished server process [{os.getpid()}]")
        os._exit(0)

    def _die(self, failure: FatalError) -> None:
        """End at once from any thread."""
        report(self.log, failure)
        os._exit(failure.code)

    def _flood(self, line: str) -> None:
        self.log.info(CORE, "flood.py:1", line)

    def _report_crash(self) -> None:
        text = "EngineCore encountered a fatal error.\nRuntimeError: rehearsed crash"
        self.log.error(CORE, "core.py:715", text)

    def _log_throughput(self, generator: Generator) -> None:
        """The steady line with throughput, while anything runs."""
        interval, counters = self.settings.stats_interval, generator.counters
        before = (0, 0)
        while True:
            time.sleep(interval)
            now = (sum(counters.prompted.values()), counters.generated)
            if now == before and not counters.running:
                continue
            prompt, generated = (now[0] - before[0]) / interval, (now[1] - before[1]) / interval
            before = now
            text = (
                f"Engine {self.settings.parallel.rank:03d}: Avg prompt throughput: {prompt:.1f} tokens/s, "
                f"Avg generation throughput: {generated:.1f} tokens/s, "
                f"Running: {counters.running} reqs, Waiting: {counters.waiting} reqs, "
                f"GPU KV cache usage: {100 * generator.cache_usage():.1f}%, {counters.hit_rates()}"
            )
            self.log.info(API, "loggers.py:127", text)


def _raise_stopped(_number: int, _frame: object) -> None:
    raise Stopped
