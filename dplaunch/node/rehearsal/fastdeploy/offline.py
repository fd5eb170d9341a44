"""``from fastdeploy import LLM, SamplingParams``: what an offline program uses, inside that program.

As of the real ones, threads of the scheduler never end, and neither a constructor whose workers have not come
up nor a request to workers that have ended says so: both wait for ever, and console and workerlog.0 know why.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

from .. import faults
from ..answers import answer, completion_prompts
from ..knobs import Knobs
from . import WORKER
from .arguments import known
from .log import Log
from .resp import RedisError
from .scheduler import ExpiredError, Scheduler
from .settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STAGES = ("workers", "weights")
OF_SERVERS = ("host", "port", "workers", "metrics-port", "controller-port", "max-concurrency", "api-key")
USUAL_TOKENS = 16


class SamplingParams:
    """How to choose words: only their number counts here."""

    def __init__(self, max_tokens: int = USUAL_TOKENS, **others: object) -> None:
        del others
        self.max_tokens = max_tokens


class Texts:
    """``output.outputs``."""

    def __init__(self, text: str) -> None:
        self.text = text


class Output:
    """One answer; a code other than 200 says that there is none."""

    def __init__(self, prompt: str, text: str, error_code: int = 200, error_msg: str | None = None) -> None:
        self.prompt = prompt
        self.outputs = Texts(text)
        self.error_code = error_code
        self.error_msg = error_msg


class Engine:
    """``llm.llm_engine``."""

    def __init__(self, worker_proc: subprocess.Popen[bytes]) -> None:
        self.worker_proc = worker_proc


class LLM:
    """All ranks of one node, for as long as the program runs."""

    def __init__(self, model: str, **arguments: object) -> None:
        env = dict(os.environ)
        _check(arguments, env)
        flags = {name.replace("_", "-"): str(value) for name, value in arguments.items()}
        self._knobs = Knobs(env, 0, STAGES)
        self._log = Log(env)
        self._settings = Settings({"model": model, "host": "0.0.0.0", **flags}, env, self._knobs)
        self._held = [self._open(port) for port in self._ports()]
        self._scheduler = self._find_scheduler()
        self.llm_engine = Engine(_start_worker(env))
        self._load()

    def generate(self, prompts: list[str], sampling_params: SamplingParams) -> list[Output]:
        """The answers, prompts in order."""
        if self.llm_engine.worker_proc.poll() is not None:
            signal.pause()
        return [self._answer(prompt, sampling_params.max_tokens) for prompt in prompts]

    def _ports(self) -> list[int]:
        settings = self._settings
        return [*settings.queues, *settings.caches]

    def _open(self, port: int) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self._settings.address, port))
        except OSError:
            raise AssertionError(f"Parameter `engine_worker_queue_port`:{port} is already in use.") from None
        sock.listen(64)
        return sock

    def _find_scheduler(self) -> Scheduler | None:
        if not self._settings.scheduled:
            return None
        try:
            return Scheduler(self._settings, self._log, frozenset())
        except RedisError as fault:
            raise ConnectionError(f"redis.exceptions.ConnectionError: {fault}") from None

    def _load(self) -> None:
        self._log.console("Waiting for worker processes to be ready...")
        for stage in STAGES:
            if not self._pass(stage):
                text = "Failed to launch worker processes, check log/workerlog.* for more details."
                self._log.console(text, "ERROR")
                return
            self._log.plain(f"Loading Weights: {50 * (STAGES.index(stage) + 1):3d}%|")
        if self._scheduler is not None:
            self._scheduler.start()
            threading.Thread(target=signal.sigwait, args=([signal.SIGUSR2],)).start()
        self._log.console("Worker processes are launched with 1.0 seconds.")

    def _pass(self, stage: str) -> bool:
        """Play a stage; false where the workers have ended."""
        end = None if self._knobs.hang == stage else time.monotonic() + 1.5 * self._knobs.speed
        while end is None or time.monotonic() < end:
            if self.llm_engine.worker_proc.poll() is not None:
                return False
            time.sleep(0.02)
        return self.llm_engine.worker_proc.poll() is None

    def _answer(self, text: str, tokens: int) -> Output:
        [prompt] = completion_prompts(text)
        words = prompt.words
        if self._scheduler is not None:
            try:
                words = self._scheduler.compute(words)
            except (ExpiredError, RedisError) as fault:
                return Output(text, "", 500, str(fault))
        time.sleep(tokens * self._knobs.token_ms / 1000)
        return Output(text, "".join(answer(words, tokens, self._knobs.answer)))


def _check(arguments: dict[str, Any], env: dict[str, str]) -> None:
    """As a data class does: EngineArgs has a field for each flag that is not the server's."""
    fields = {flag[2:].replace("-", "_") for flag in known(env["DPLAUNCH_REHEARSAL_FLAGS"])}
    for name in arguments:
        if name not in fields - {flag.replace("-", "_") for flag in OF_SERVERS}:
            raise TypeError(f"EngineArgs.__init__() got an unexpected keyword argument '{name}'")


def _start_worker(env: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", env["DPLAUNCH_BUNDLE"], "rehearsal", WORKER]
    return subprocess.Popen(command, env=env, start_new_session=True)


def run_worker(env: dict[str, str]) -> int:
    """Play the worker processes until a signal or a fault ends them."""
    log = Log(env)
    knobs = Knobs(env, 0, STAGES)

    def die() -> None:
        log.file("workerlog.0", "worker_process.py[line:300]", "CUDA error(700)", "ERROR")

    faults.arm(knobs, log.console, die)
    log.file("workerlog.0", "worker_process.py[line:88]", "worker 0 is launched")
    signal.pause()
    return 0
