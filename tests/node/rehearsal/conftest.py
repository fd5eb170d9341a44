"""Rehearsal engines from source: a bundle folder as a node has it, free ports, all of it in a tmp folder."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

import dplaunch.node.rehearsal as package

START = "import sys; sys.path.insert(0, {!r}); import rehearsal; sys.exit(rehearsal.main(sys.argv[1:]))"
HOST = "127.0.0.1"


def free_ports(count: int = 1) -> int:
    """The first of ``count`` neighbouring ports that are not in use now (below the ephemeral range)."""
    for _ in range(200):
        base = 20000 + int.from_bytes(os.urandom(2), "big") % 12000
        if all(_free(base + offset) for offset in range(count)):
            return base
    raise AssertionError("no free ports")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


class Stream:
    """A streamed completion that has begun: its head has come."""

    def __init__(self, port: int, body: dict, path: str) -> None:
        self._client = http.client.HTTPConnection(HOST, port, timeout=10)
        self._client.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        self._answer = self._client.getresponse()
        self.status = self._answer.status

    def event(self) -> str:
        """The next event's data; empty at the end."""
        while line := self._answer.readline().decode():
            if line.startswith("data: "):
                return line[len("data: ") : -1]
        return ""

    def rest(self) -> list[str]:
        """All events to the end, without [DONE], which must be there."""
        events = list(iter(self.event, ""))
        assert events.pop() == "[DONE]"
        return events

    def choices(self) -> list[dict]:
        """The first choice of each event to the end."""
        return [json.loads(event)["choices"][0] for event in self.rest()]

    def leave(self) -> None:
        self._answer.close()
        self._client.close()


class Engine:
    """One running engine. ``ask`` is a whole request; ``log`` what it wrote until now."""

    def __init__(self, argv: list[str], env: dict[str, str], port: int, path: Path) -> None:
        self.port = port
        self.path = path
        with path.open("wb") as out:
            self.process = subprocess.Popen(argv, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.path.read_text(errors="replace")

    def ask(self, method: str, path: str, body=None, *, timeout=5.0, **headers):
        """(status, decoded body): JSON where it is JSON, else text."""
        client = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body)
            client.request(method, path, data, {"Content-Type": "application/json", **headers})
            answer = client.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text
        finally:
            client.close()

    def complete(self, prompt: str, tokens: int = 4, **more):
        return self.ask(
            "POST", "/v1/completions", {"model": "m", "prompt": prompt, "max_tokens": tokens, **more}
        )

    def text(self, prompt: str, tokens: int = 4, **more) -> str:
        status, body = self.complete(prompt, tokens, **more)
        assert status == 200, body
        return body["choices"][0]["text"]

    def stream(self, prompt: str, tokens: int = 4, *, path: str = "/v1/completions", **more) -> Stream:
        messages = [{"role": "user", "content": prompt}]
        body = {"model": "m", "prompt": prompt, "messages": messages, "max_tokens": tokens, "stream": True}
        return Stream(self.port, {**body, **more}, path)

    def health(self) -> int:
        """Status of /health; 0 without an answer."""
        try:
            return self.ask("GET", "/health")[0]
        except OSError:
            return 0

    def metric(self, name: str) -> float:
        """The one sample whose name and labels contain ``name``."""
        lines = [line for line in self.ask("GET", "/metrics")[1].splitlines() if not line.startswith("#")]
        [value] = [float(line.split()[-1]) for line in lines if name in line]
        return value

    def ready(self) -> "Engine":
        until(lambda: self.health() == 200 or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        return self

    def logged(self, text: str) -> str:
        """The first log line with ``text``, waited for."""
        return until(lambda: next((line for line in self.log.splitlines() if text in line), None))

    def code(self, timeout: float = 10.0) -> int:
        """The exit code, waited for."""
        return self.process.wait(timeout)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(5)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """A folder with the package ``rehearsal``, as the node bundle has it."""
    folder = tmp_path_factory.mktemp("bundle")
    source = Path(package.__file__).parent
    shutil.copytree(source, folder / "rehearsal", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def engine_of(tmp_path: Path):
    """``engine_of(argv, env, port)``: a program of any engine, ended with the test."""
    engines: list[Engine] = []

    def one(argv: list[str], env: dict[str, str], port: int) -> Engine:
        engines.append(Engine(argv, env, port, tmp_path / f"program-{len(engines)}.log"))
        return engines[-1]

    yield one
    for engine in engines:
        engine.end()


@pytest.fixture
def start(bundle: Path, tmp_path: Path):
    """``start(*flags, env={}, **knobs)``: an engine on a free port of 127.0.0.1 serving ``m``, played at once."""
    engines: list[Engine] = []

    def one(*flags: str, port: int = 0, env: dict[str, str] | None = None, **knobs: str) -> Engine:
        port = port or free_ports()
        argv = [sys.executable, "-I", "-S", "-c", START.format(str(bundle)), "vllm", "serve", "m"]
        argv += ["--host", HOST, "--port", str(port), *flags]
        knobs = {"SPEED": "0", "TOKEN_MS": "0", "SOURCE_TIMEOUT_S": "0.3", **knobs}
        around = {"DPLAUNCH_REHEARSAL_" + key: value for key, value in knobs.items()}
        path = tmp_path / f"engine-{len(engines)}.log"
        engines.append(Engine(argv, {**os.environ, **around, **(env or {})}, port, path))
        return engines[-1]

    yield one
    for engine in engines:
        engine.end()


@pytest.fixture
def start_group(start):
    """``start_group(size, *flags, **more)``: all ranks of one DP group, not waited for."""

    def group(size: int, *flags: str, **more) -> list[Engine]:
        rpc = str(free_ports())
        return [start(*seat(size, rank, rpc), *flags, **more) for rank in range(size)]

    return group


def seat(size: int, rank: int, rpc: str) -> list[str]:
    """The flags of contract B for one rank on this host."""
    shape = ["--data-parallel-size", str(size), "--data-parallel-rank", str(rank)]
    return [*shape, "--data-parallel-address", HOST, "--data-parallel-rpc-port", rpc]


@pytest.fixture
def rpc_port() -> str:
    return str(free_ports())


@pytest.fixture
def seat_flags():
    return seat


@pytest.fixture
def free_port_block():
    return free_ports
