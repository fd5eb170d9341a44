"""The real vLLM on the CPUs of two machines of the lab, and how it is asked, watched and broken.

Its environment and its model are below ``.real``, where ``tests/real/setup.sh`` puts them.
"""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from lab import Lab, LabHost, Process
from waiting import until

REAL = Path(__file__).parents[2] / ".real"
DPLAUNCH = str(Path(sys.executable).parent / "dplaunch")
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1",
}
FILE = """\
cluster: real
engine: {kind: vllm, version: "0.32.0"}
model: %(model)s
served_model_name: tiny
ssh: {connect_timeout: 5s}
hardware: cpu
nodes:
  - {name: "n[1-2]", host: "192.0.2.[1-2]"}
runtime: {python: %(python)s}
defaults:
  env: %(env)s
  args: {dtype: bfloat16, max-model-len: 1024, max-num-seqs: 8, enforce-eager: true, num-gpu-blocks-override: 64}
roles:
%(roles)s
router: {node: n1, port: 8000}
drain_timeout: 10s
ready_timeout: 15m
"""
ROUTER = "http://192.0.2.1:8000"
NEAR_TIE = 0.1
"""Two tokens whose log probabilities differ by less may take each other's place."""
START = 1200.0
"""Seconds for an ``up`` on a machine that does other work too."""
TOLD = 10.0
"""Seconds within which a failure must be known."""


class Answer(NamedTuple):
    """Tokens, and for each the log probabilities of what was likely in its place."""

    tokens: list[str]
    likely: list[dict[str, float]]

    def agrees(self, other: "Answer") -> bool:
        """Equal, or equal up to a token that had a near-tie: what follows that is another text."""
        for token, likely, found in zip(self.tokens, self.likely, other.tokens, strict=True):
            if token != found:
                return likely[token] - likely.get(found, -99.0) < NEAR_TIE
        return True


class RealSite:
    """The operator's shell in a lab of two hosts with the real engine; call it with the words after ``dplaunch``."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        for host in lab.hosts.values():
            host.stub("vllm", f'#!/bin/sh\nexec {REAL}/venv/bin/python {REAL}/venv/bin/vllm "$@"\n')

    def write(self, roles: str) -> None:
        """cluster.yaml with these roles."""
        words = {"model": REAL / "model", "python": sys.executable, "env": json.dumps(ENVIRONMENT)}
        self.lab.path("~/cluster.yaml").write_text(FILE % {**words, "roles": roles})

    def __call__(self, *words: str, timeout: float = 180.0) -> "subprocess.CompletedProcess[str]":
        done = self.lab.run([DPLAUNCH, *words], timeout=timeout)
        assert done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def up(self) -> None:
        """Start and prove the cluster, and prove it once more."""
        self("up", "-y", timeout=START)
        self("test")

    def status(self) -> Any:
        """``status -o json``, whatever its exit code."""
        return json.loads(self.lab.run([DPLAUNCH, "status", "-o", "json"]).stdout)

    def endpoints(self) -> list[tuple[str, int]]:
        """URL of every endpoint, and how many ranks it answers for."""
        plan = json.loads(self("plan", "-o", "json").stdout)
        processes = (process for node in plan["nodes"] for process in node["processes"])
        found = (endpoint for process in processes for endpoint in process["endpoints"])
        return [(endpoint["url"], len(endpoint["ranks"])) for endpoint in found if endpoint["ranks"]]

    def complete(self, prompt: str, url: str = ROUTER) -> Answer:
        """Twelve tokens after ``prompt``."""
        wanted = {"max_tokens": 12, "temperature": 0, "ignore_eos": True, "logprobs": 3}
        body = {"model": "tiny", "prompt": prompt, "return_tokens_as_token_ids": True, **wanted}
        found = json.loads(self.lab.run(_post(url, body), timeout=130.0).stdout)["choices"][0]["logprobs"]
        return Answer(found["tokens"], found["top_logprobs"])

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """While the block runs clients ask through the router, again and again."""
        body = {"model": "tiny", "prompt": "One client of many", "max_tokens": 4}
        ask = f"while :; do {_quoted(_post(ROUTER, body))}; sleep 0.2; done > /dev/null 2>&1"
        clients = [self.lab.start(["sh", "-c", ask]) for _ in range(4)]
        try:
            yield
        finally:
            for client in clients:
                client.kill()
                client.communicate()

    @contextmanager
    def watch(self) -> Iterator["Watch"]:
        """What an operator sees who has ``status -w`` on the screen."""
        watching = self.lab.start([DPLAUNCH, "status", "-w", "-o", "json"])
        try:
            yield Watch(watching)
        finally:
            watching.send_signal(signal.SIGINT)
            watching.communicate(timeout=60)

    def find(self, title: str) -> tuple[LabHost, Process]:
        """The last process of the lab whose command line matches."""
        every = [(host, p) for host in self.lab.hosts.values() for p in host.processes()]
        found = [(host, p) for host, p in every if re.search(title, p.command)]
        assert found, [f"{host.name}: {p.command}" for host, p in every]
        return found[-1]

    def down(self) -> None:
        """Stop it; then no process and no shared memory is left on any host."""
        self("down", "-y", timeout=300)
        until(lambda: not self.left(), 20.0)

    def left(self) -> list[str]:
        """Processes of the hosts, and shared memory of engines."""
        hosts = self.lab.hosts.values()
        memory = (f"{h.name}: /dev/shm/{f.name}" for h in hosts for f in h.path("/dev/shm").iterdir())
        return [*(f"{h.name}: {p.command}" for h in hosts for p in h.processes()), *memory]

    def mend(self) -> None:
        """Whatever a test left behind: the next one begins with hosts that run nothing."""
        self.lab.run([DPLAUNCH, "down", "-y"], timeout=300)
        for host in self.lab.hosts.values():
            for process in host.processes():
                with suppress(ProcessLookupError):  # one's end may end another
                    os.kill(process.pid, 9)


class Watch:
    """What ``status -w`` printed, each document with the time at which it came."""

    def __init__(self, watching: "subprocess.Popen[str]") -> None:
        self._came: queue.SimpleQueue[tuple[float, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(watching,), daemon=True).start()

    def _read(self, watching: "subprocess.Popen[str]") -> None:
        assert watching.stdout
        for line in watching.stdout:
            self._came.put((time.monotonic(), json.loads(line)))

    def wait(self, what: Callable[[Any], Any], deadline: float) -> tuple[float, Any]:
        """Seconds until a document came of which ``what`` is true, and the document."""
        began, last = time.monotonic(), None
        while (left := began + deadline - time.monotonic()) > 0:
            with suppress(queue.Empty):
                came, last = self._came.get(timeout=left)
                if came > began and what(last):
                    return came - began, last
        raise AssertionError(f"not within {deadline:g} s; last seen: {last}")


def _post(url: str, body: dict[str, Any]) -> list[str]:
    words = ["curl", "-s", "-m", "120", f"{url}/v1/completions", "-H", "Content-Type: application/json"]
    return [*words, "-d", json.dumps(body)]


def _quoted(words: list[str]) -> str:
    return " ".join(f"'{word}'" for word in words)
