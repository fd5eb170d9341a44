"""What the launcher costs on 64 hosts with 16 processes each, beside pdsh and clush that run ``true`` there.

One sshd plays all hosts (127.0.1.N, each with a home of its own), all on this machine: sshd's share is the
same for every client, so ratios within one run are what counts. Rounds alternate; medians are compared.

    python benchmarks/bench_fanout.py [--hosts 64] [--processes 16] [--rounds 3] [-o json]

start     ``up --detach``: all processes acknowledged                           ≤ 1.5 × ``pdsh … true``
cpu       user + system time of that client and its children                    ≤ 0.25 × pdsh's
status    ``status``, health asked, while they all run                          ≤ 0.7 × ``clush … true``
rss       peak resident memory of the client                                    ≤ 200 MB
floor     the same processes forked by one Python per host, without SSH

Seconds and CPU are those of whole commands, interpreter, imports and plan included; ``walk`` is what of them
passes between the first connection and the end of the last session. Exit 1: a bar was missed.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from leftovers import end, left_by  # noqa: E402
from sshd import LoopbackSshd  # noqa: E402 - found through the line above
from waiting import until  # noqa: E402

T = TypeVar("T")

BARS = {"start / pdsh": 1.5, "client cpu / pdsh cpu": 0.25, "status / clush": 0.7, "client MB": 200.0}
FORKS = """
import os, sys
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        os.setsid()
        child = os.fork()
        if child == 0: os.execvp("true", ["true"])
        os.waitpid(child, 0)
        os._exit(0)
while True:
    try: os.wait()
    except ChildProcessError: break
"""


def timed(name: str, argv: list[str], env: dict[str, str] | None = None) -> dict[str, float]:
    """Seconds, CPU seconds (children included) and what it says of itself, of a command that must succeed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        argv, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{name} failed with exit code {done.returncode}:\n{(done.stderr or done.stdout)[:4000]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    own = json.loads(done.stdout.splitlines()[-1]) if done.stdout.startswith("{") else {}
    return {"seconds": seconds, "cpu": cpu, **own}


class Clients:
    """The commands that are compared, all over the same hosts."""

    def __init__(self, sshd: LoopbackSshd, processes: int) -> None:
        self._sshd, self._processes = sshd, processes
        self._names = ",".join(sshd.address(n) for n in sshd.numbers)

    def pdsh(self) -> dict[str, float]:
        env = {"PDSH_SSH_ARGS_APPEND": f"-F {self._sshd.config}"}
        return self._timed(
            "pdsh", ["pdsh", "-R", "ssh", "-f", str(self._sshd.hosts), "-w", self._names, "true"], env
        )

    def clush(self) -> dict[str, float]:
        options = ["-o", f"-F {self._sshd.config}", "-f", str(self._sshd.hosts)]
        return self._timed("clush", ["clush", "-q", *options, "-w", self._names, "true"])

    def floor(self) -> dict[str, float]:
        """As many interpreters as hosts, each forking its processes."""
        argv = [sys.executable, "-I", "-S", "-c", FORKS, str(self._processes)]
        script = f'for n in $(seq {self._sshd.hosts}); do "$@" & done; wait'
        return self._timed("floor", ["sh", "-c", script, "sh", *argv])

    def ours(self, verb: str) -> dict[str, float]:
        """A walk of ours, see ``fanout/driver.py``."""
        target = [str(self._sshd.config), self._names, str(self._processes)]
        return self._timed(verb, [sys.executable, str(ROOT / "benchmarks/fanout/driver.py"), verb, *target])

    def _timed(self, name: str, argv: list[str], env: dict[str, str] | None = None) -> dict[str, float]:
        """Measured once the sessions of the one before are gone."""
        until(lambda: not self._sshd.sessions(), 30.0)
        return timed(name, argv, env)


def measure(sshd: LoopbackSshd, processes: int, rounds: int) -> dict[str, dict[str, float]]:
    """Medians per client; every round runs all of them, so that a busy moment hits all."""
    clients = Clients(sshd, processes)
    for verb in ("start", "stop"):  # unpacks the bundle: the first session ever is not what is measured
        clients.ours(verb)
    runs: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        runs.setdefault("pdsh", []).append(clients.pdsh())
        runs.setdefault("start", []).append(clients.ours("start"))
        runs.setdefault("status", []).append(clients.ours("status"))
        runs.setdefault("clush", []).append(clients.clush())
        runs.setdefault("stop", []).append(clients.ours("stop"))
        runs.setdefault("floor", []).append(clients.floor())
    return {name: medians(found) for name, found in runs.items()}


def medians(found: list[dict[str, float]]) -> dict[str, float]:
    """``spread`` is slowest / fastest: far above 1.3, the machine was too busy to trust its ratios."""
    middle = {key: round(statistics.median(run[key] for run in found), 3) for key in found[0]}
    times = [run["seconds"] for run in found]
    return {**middle, "spread": round(max(times) / min(times), 2)}


def ratios(measured: dict[str, dict[str, float]]) -> dict[str, float]:
    found = {
        "start / pdsh": measured["start"]["seconds"] / measured["pdsh"]["seconds"],
        "client cpu / pdsh cpu": measured["start"]["cpu"] / measured["pdsh"]["cpu"],
        "status / clush": measured["status"]["seconds"] / measured["clush"]["seconds"],
        "start / floor": measured["start"]["seconds"] / measured["floor"]["seconds"],
        "client MB": max(measured[verb]["rss_mb"] for verb in ("start", "status")),
    }
    return {name: round(value, 3) for name, value in found.items()}


def report(measured: dict[str, dict[str, float]], found: dict[str, float]) -> None:
    for name, figures in measured.items():
        print(f"{name:8}", "  ".join(f"{key} {value:8.3f}" for key, value in figures.items()))
    for name, value in found.items():
        bar = BARS.get(name)
        verdict = "" if bar is None else f"bar {bar:g}   {'ok' if value <= bar else 'MISSED'}"
        print(f"{name:22} {value:8.3f}   {verdict}")


def on_hosts(count: int, work: Callable[[LoopbackSshd], T]) -> T:
    """``work`` with an sshd; whatever fails or interrupts it, no process of its hosts is left."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="dplaunch-fanout-") as name:
        folder = Path(name)
        try:
            with LoopbackSshd(folder, count) as sshd:
                return work(sshd)
        finally:
            left = left_by(folder)
            end(left)
            left_by(folder, 10.0)
            if left:
                print(f"{len(left)} processes had to be ended, the first: {left[0]}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description="SSH fan-out beside pdsh and clush")
    parser.add_argument("--hosts", type=int, default=64)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", choices=["text", "json"], default="text", dest="output")
    arguments = parser.parse_args()
    missing = [name for name in ("pdsh", "clush") if shutil.which(name) is None]
    if missing:
        print(f"fan-out: left out, it needs {' and '.join(missing)} (Debian: apt install pdsh clustershell)")
        return 0
    measured = on_hosts(arguments.hosts, lambda sshd: measure(sshd, arguments.processes, arguments.rounds))
    found = ratios(measured)
    if arguments.output == "json":
        print(json.dumps({"measured": measured, "ratios": found, "bars": BARS}, indent=2))
    else:
        report(measured, found)
    return 1 if any(found[name] > bar for name, bar in BARS.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
