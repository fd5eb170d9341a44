"""vLLM's DP supervisor: a parent that starts a server for each of its ranks, and ends all with the first.

Read in vLLM 0.23 (``dp_supervisor.py``) and in 0.32: the parent opens its own port at once in the former,
when all servers are healthy in the latter.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import time
from functools import partial

from ..web import Server
from .arguments import Arguments
from .failure import FatalError, Stopped, report
from .log import MAIN, Log
from .machine import DEVICE_LISTS, bind_listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..web import Connection, Request
    from .knobs import Knobs

FLAG = "data-parallel-multi-port-external-lb"
PATHS = ("/health", "/ready", "/readyz")
LATE = (0, 28)
"""First release that opens its own port only when its servers are healthy (somewhere from 0.24 to 0.32)."""
GRACE = 5.0
LOOK = 0.05
HEALTHY = 200


class Supervisor:
    """``start`` forks; ``run`` returns the exit code. ``play`` runs one server in a child."""

    def __init__(self, arguments: Arguments, env: dict[str, str], release: tuple[int, ...], log: Log) -> None:
        _check(arguments)
        self._arguments = arguments
        self._env = env
        self._release = release
        self._log = log
        self._local = int(arguments.get("data-parallel-size-local", 0))
        self._port = int(arguments.get("port", 8000))
        self._children: dict[int, int] = {}

    def run(self, knobs: Knobs, play: Callable[[Arguments, dict[str, str], str], int]) -> int:
        """Start the children, and wait for the first that ends, or for a signal."""
        host = knobs.bind or self._arguments.get("host", "0.0.0.0")
        try:
            listener = bind_listener(host, self._own_port, "OSError: [Errno {errno}] {text}")
        except FatalError as failure:
            report(self._log, failure)
            return failure.code
        for local in range(self._local):
            child = os.fork()
            if not child:
                listener.close()
                os._exit(self._play(local, play))
            self._children[child] = local
        signal.signal(signal.SIGTERM, _raise_stopped)
        signal.signal(signal.SIGINT, _raise_stopped)
        try:
            if self._release >= LATE:
                self._wait(lambda: self._healthy(host))
            Server(listener, partial(self._answer, host), GRACE).start()
            text = f"Started {self._name} on {host}:{self._own_port}"
            self._log.info(MAIN, "dp_supervisor.py:363", text)
            self._wait(lambda: False)
        except Stopped:
            self._log.info(
                MAIN, "dp_supervisor.py:290", "Received signal 15, forwarding graceful termination"
            )
            self._end_children()
            return 0
        except FatalError as failure:
            self._end_children()
            report(self._log, failure)
        return 1

    @property
    def _own_port(self) -> int:
        return int(self._arguments.get("data-parallel-supervisor-port", 9256))

    @property
    def _name(self) -> str:
        return "DPSupervisor" if self._release >= LATE else "multi-port external LB supervisor"

    def _play(self, local: int, play: Callable[[Arguments, dict[str, str], str], int]) -> int:
        """Be the server of one rank."""
        os.setpgrp()
        options = dict(self._arguments.options)
        rank = options.pop("data-parallel-start-rank", 0) + local
        for name in (FLAG, "data-parallel-size-local", "data-parallel-supervisor-port"):
            options.pop(name, None)
        options.update({"port": self._port + local, "data-parallel-rank": rank})
        env = {**self._env, **_devices(self._arguments, self._env, local)}
        return play(Arguments(self._arguments.model, options), env, f"ExternalLBRank{rank}")

    def _wait(self, done: Callable[[], bool]) -> None:
        """Return when ``done()``; raises FatalError when a child ended."""
        while not done():
            for child, local in self._children.items():
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    del self._children[child]
                    rank = self._arguments.get("data-parallel-start-rank", 0) + local
                    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                    text = f"Multi-port external LB child exited unexpectedly: ExternalLBRank_{rank}"
                    raise FatalError(f"RuntimeError: {text} exit code {code}", who=MAIN)
            time.sleep(LOOK)

    def _healthy(self, host: str) -> bool:
        return all(_ask(host, self._port + local) for local in range(self._local))

    def _answer(self, host: str, request: Request, connection: Connection) -> None:
        if request.path not in PATHS:
            connection.send_json(404, {"detail": "Not Found"})
        else:
            connection.send(HEALTHY if self._healthy(host) else 503, b"")

    def _end_children(self) -> None:
        for child in self._children:
            with contextlib.suppress(OSError):
                os.killpg(child, signal.SIGTERM)
        deadline = time.monotonic() + self._arguments.get("shutdown-timeout", 0) + GRACE
        while self._children and time.monotonic() < deadline:
            for child in list(self._children):
                if os.waitpid(child, os.WNOHANG)[0]:
                    del self._children[child]
            time.sleep(LOOK)
        for child in self._children:
            with contextlib.suppress(OSError):
                os.killpg(child, signal.SIGKILL)


def _check(arguments: Arguments) -> None:
    """Raise FatalError with the engine's words for what it refuses."""
    size, local = arguments.get("data-parallel-size", 1), arguments.get("data-parallel-size-local", 0)
    first, port = arguments.get("port", 8000), arguments.get("data-parallel-supervisor-port", 9256)
    others = ("data-parallel-external-lb", "data-parallel-hybrid-lb")
    faults = {
        "currently requires --api-server-count=1": arguments.get("api-server-count", 1) != 1,
        "manages child --data-parallel-rank values internally": "data-parallel-rank" in arguments.options,
        "cannot be combined with --data-parallel-external-lb or --data-parallel-hybrid-lb": any(
            arguments.get(name, False) for name in others
        ),
        "requires --data-parallel-size > 1": size < 2,  # noqa: PLR2004 - as it says
        "requires --data-parallel-size-local >= 2": local < 2,  # noqa: PLR2004 - as it says
    }
    text = next((f"--{FLAG} {text}" for text, wrong in faults.items() if wrong), "")
    if not text and size % local:
        text = "--data-parallel-size must be divisible by --data-parallel-size-local"
    elif not text and first <= port < first + local:
        ports = f"{first}-{first + local - 1}"
        text = f"--data-parallel-supervisor-port {port} overlaps with child rank ports {ports}"
    if text:
        raise FatalError(f"ValueError: Error: {text}")


def _devices(arguments: Arguments, env: dict[str, str], local: int) -> dict[str, str]:
    """A child's share of the devices that the parent sees."""
    width = arguments.get("tensor-parallel-size", 1) * arguments.get("pipeline-parallel-size", 1)
    share = slice(local * width, (local + 1) * width)
    given = {name: env[name].split(",") for name, _ in DEVICE_LISTS if name in env}
    return {name: ",".join(devices[share]) for name, devices in given.items()}


def _ask(host: str, port: int) -> bool:
    client = http.client.HTTPConnection(host, port, timeout=GRACE)
    try:
        client.request("GET", "/health")
        return client.getresponse().status == HEALTHY
    except OSError:
        return False
    finally:
        client.close()


def _raise_stopped(_number: int, _frame: object) -> None:
    raise Stopped
