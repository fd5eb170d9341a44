"""What the launcher costs on 64 hosts with 16 processes each, beside pdsh and clush that run ``true`` there.

One sshd plays all hosts (127.0.1.N, each with a home of its own), all on this machine: sshd's share is the
same for every client, so ratios within one run are what counts. Rounds alternate.

The hosts' homes are in memory where that can be: 64 nodes do not share one disk, and an ext4 without a
journal seeks a new inode past all that were freed in the last minute.

    python benchmarks/bench_fanout.py [--hosts 64] [--processes 16] [--rounds 3] [--place DIR] [-o json]

start     ``up --detach``: all processes acknowledged                           ≤ 1.2 × ``pdsh … true``
cpu       user + system time of that client and its children                    ≤ 0.25 × pdsh's
status    ``status``, health asked, while they all run                          ≤ 0.7 × ``clush … true``
rss       peak resident memory of the client                                    ≤ 200 MB
floor     the same processes forked by one Python per host, without SSH

Seconds and CPU are those of whole commands, interpreter, imports and plan included. ``answered`` is when the
last process was acknowledged (what follows is closing 64 sessions), ``planned`` when connecting began.
Ratios are taken within each round, their medians are held against the bars. Exit 1: one was missed.
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
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from leftovers import end, left_by  # noqa: E402
from sshd import LoopbackSshd  # noqa: E402 - found through the line above
from waiting import until  # noqa: E402

T = TypeVar("T")
MEMORY = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)

BARS = {"start / pdsh": 1.2, "client cpu / pdsh cpu": 0.25, "status / clush": 0.7, "client MB": 200.0}
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


def run_ours(sshd: LoopbackSshd, verb: str, processes: int, kind: str = "rehearsal") -> dict[str, Any]:
    """A walk of ours, see ``fanout/driver.py``, once the sessions of the one before are gone."""
    until(lambda: not sshd.sessions(), 30.0)
    names = ",".join(sshd.address(n) for n in sshd.numbers)
    driver = [sys.executable, str(ROOT / "benchmarks/fanout/driver.py"), verb]
    return timed(verb, [*driver, str(sshd.config), names, str(processes), kind])


def timed(name: str, argv: list[str], env: dict[str, str] | None = None) -> dict[str, Any]:
    """Seconds, CPU seconds (children included) and what it says of itself, of a command that must succeed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        argv,
        env={**os.environ, **(env or {}), "BEGAN": str(began)},
        capture_output=True,
        text=True,
        check=False,
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
        """A walk of ours: its figures."""
        said = run_ours(self._sshd, verb, self._processes)
        return {name: value for name, value in said.items() if isinstance(value, float)}

    def _timed(self, name: str, argv: list[str], env: dict[str, str] | None = None) -> dict[str, float]:
        """Measured once the sessions of the one before are gone."""
        until(lambda: not self._sshd.sessions(), 30.0)
        return timed(name, argv, env)


Round = dict[str, dict[str, float]]
"""What one round measured: client → figure → value."""


def measure(sshd: LoopbackSshd, processes: int, rounds: int) -> list[Round]:
    """Every round runs all clients, those that are compared next to each other."""
    clients = Clients(sshd, processes)
    for verb in ("start", "stop"):  # unpacks the bundle: the first session ever is not what is measured
        clients.ours(verb)
    return [one_round(clients) for _ in range(rounds)]


def one_round(clients: Clients) -> Round:
    return {
        "pdsh": clients.pdsh(),
        "start": clients.ours("start"),
        "status": clients.ours("status"),
        "clush": clients.clush(),
        "stop": clients.ours("stop"),
        "floor": clients.floor(),
    }


def ratios(one: Round) -> dict[str, float]:
    """What the bars are held against, of one round."""
    return {
        "start / pdsh": one["start"]["answered"] / one["pdsh"]["seconds"],
        "client cpu / pdsh cpu": one["start"]["cpu"] / one["pdsh"]["cpu"],
        "status / clush": one["status"]["seconds"] / one["clush"]["seconds"],
        "start / floor": one["start"]["answered"] / one["floor"]["seconds"],
        "client MB": max(one[verb]["rss_mb"] for verb in ("start", "status", "stop")),
    }


def medians(found: list[dict[str, float]]) -> dict[str, tuple[float, float, float]]:
    """Median, least and most of each figure."""
    columns = {key: [one[key] for one in found] for key in found[0]}
    return {key: (statistics.median(c), min(c), max(c)) for key, c in columns.items()}


def report(rounds: list[Round]) -> None:
    """Medians, and from least to most what the rounds gave."""
    for name in rounds[0]:
        shown = medians([one[name] for one in rounds])
        print(f"{name:8}", "  ".join(f"{key} {m:6.2f} ({a:.2f}-{z:.2f})" for key, (m, a, z) in shown.items()))
    for name, (middle, least, most) in medians([ratios(one) for one in rounds]).items():
        bar = BARS.get(name)
        verdict = "" if bar is None else f"bar {bar:g}  {'ok' if middle <= bar else 'MISSED'}"
        print(f"{name:22} {middle:7.3f} ({least:.3f}-{most:.3f})  {verdict}")


def on_hosts(count: int, work: Callable[[LoopbackSshd], T], place: str | None = None) -> T:
    """``work`` with an sshd, homes in ``place``; whatever fails or interrupts it, no process is left."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="dplaunch-fanout-", dir=place) as name:
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
    parser.add_argument("--place", default=MEMORY, help="folder for the hosts' homes")
    parser.add_argument("-o", choices=["text", "json"], default="text", dest="output")
    arguments = parser.parse_args()
    missing = [name for name in ("pdsh", "clush") if shutil.which(name) is None]
    if missing:
        print(f"fan-out: left out, it needs {' and '.join(missing)} (Debian: apt install pdsh clustershell)")
        return 0
    rounds = on_hosts(
        arguments.hosts,
        lambda sshd: measure(sshd, arguments.processes, arguments.rounds),
        arguments.place,
    )
    if arguments.output == "json":
        print(
            json.dumps({"rounds": rounds, "ratios": [ratios(one) for one in rounds], "bars": BARS}, indent=2)
        )
    else:
        report(rounds)
    held = medians([ratios(one) for one in rounds])
    return 1 if any(held[name][0] > bar for name, bar in BARS.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
