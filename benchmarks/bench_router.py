"""Our router beside vllm-router (and the example proxy): requests/s, CPU per token, death of a group.

    python benchmarks/bench_router.py --vllm-router PATH [--proxy-script PATH --proxy-python PATH]

2 prefill and 2 decode stand-ins on 127.0.0.1; rounds alternate between the routers and the figures are
medians of one run: only their ratios mean anything on another machine. Under two minutes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import uvloop

HERE = Path(__file__).parent / "router"
sys.path.insert(0, str(HERE))

import load  # noqa: E402 - found through the line above

TICK = os.sysconf("SC_CLK_TCK")
BURST = {"clients": 32, "tokens": 64, "pause": 0.0}
TRICKLE = {"clients": 100, "tokens": 100_000, "pause": 0.05}
BARS = {("dprouter", "vllm-router"): (0.9, 1.3), ("dprouter", "proxy"): (None, 0.35)}
"""Requests/s at least, CPU per token at most, as a multiple of the other's."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Processes:
    """What was started here, and nothing else, is ended here."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.all: list[subprocess.Popen] = []

    def start(self, name: str, argv: list[str], **env: str) -> subprocess.Popen:
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen(argv, cwd=self.folder, stdout=log, stderr=log, env={**os.environ, **env})
        self.all.append(process)
        return process

    def end(self) -> None:
        for process in self.all:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


def engines(processes: Processes) -> dict[str, tuple[int, subprocess.Popen]]:
    """name → (port, process) of two prefill and two decode stand-ins."""
    found = {}
    for name in ("prefill-0", "prefill-1", "decode-0", "decode-1"):
        port = free_port()
        found[name] = (
            port,
            processes.start(name, [sys.executable, str(HERE / "standin.py"), str(port), name]),
        )
    for port, _ in found.values():
        wait_for(port, "/health")
    return found


def wait_for(port: int, path: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing answers on port {port}")


def start_ours(
    processes: Processes, placed: dict, _arguments: argparse.Namespace
) -> tuple[int, subprocess.Popen]:
    package = processes.folder / "dprouter"
    if not package.exists():
        shutil.copytree(
            HERE.parents[1] / "dplaunch" / "router", package, ignore=shutil.ignore_patterns("__pycache__")
        )
    members = processes.folder / f"members-{len(processes.all)}.json"
    api = {"health": "/health", "metrics": "/metrics"}
    api |= {"running": "vllm:num_requests_running", "waiting": "vllm:num_requests_waiting"}
    entries = [
        {
            "name": name,
            "role": name[:-2],
            "group": name.replace("-", "/"),
            "url": f"http://127.0.0.1:{port}",
            "state": "serving",
            "api": api,
        }
        for name, (port, _) in placed.items()
    ]
    document = {"format": 2, "revision": "1", "model": "m", "flow": "pull", "members": entries}
    members.write_text(json.dumps(document))
    port = free_port()
    argv = [
        sys.executable,
        "-m",
        "dprouter",
        "--members",
        str(members),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    process = processes.start(f"dprouter-{port}", argv, DPROUTER_API_KEY="")
    wait_for(port, "/health")
    return port, process


def start_rust(
    processes: Processes, placed: dict, arguments: argparse.Namespace
) -> tuple[int, subprocess.Popen]:
    port = free_port()
    argv = [
        arguments.vllm_router,
        "--vllm-pd-disaggregation",
        "--kv-connector",
        "nixl",
        "--policy",
        "round_robin",
    ]
    for name, (engine, _) in placed.items():
        argv += [f"--{name[:-2]}", f"http://127.0.0.1:{engine}"]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())]
    argv += ["--log-level", "error", "--health-check-interval-secs", "1", "--health-failure-threshold", "1"]
    process = processes.start(f"vllm-router-{port}", argv)
    wait_for(port, "/health")
    return port, process


def start_proxy(
    processes: Processes, placed: dict, arguments: argparse.Namespace
) -> tuple[int, subprocess.Popen]:
    port = free_port()
    argv = [arguments.proxy_python, arguments.proxy_script, "--host", "127.0.0.1", "--port", str(port)]
    for role, flag in (("prefill", "prefiller"), ("decode", "decoder")):
        ports = [str(engine) for name, (engine, _) in placed.items() if name.startswith(role)]
        argv += [f"--{flag}-hosts", *["127.0.0.1"] * len(ports), f"--{flag}-ports", *ports]
    process = processes.start(f"proxy-{port}", argv)
    wait_for(port, "/healthcheck")
    return port, process


def tree(pid: int) -> list[int]:
    """The process and everything below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in tree(int(child)))]


def cpu(pid: int) -> float:
    """Seconds of CPU that the process and what is below it have used."""
    fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in tree(pid)]
    return sum(int(f[11]) + int(f[12]) for f in fields) / TICK


async def burst(port: int, seconds: float) -> float:
    """Requests per second."""
    tally, clients = await load.start(port, **BURST)
    await asyncio.sleep(0.5)
    before = tally.requests
    began = time.monotonic()
    await asyncio.sleep(seconds)
    rate = (tally.requests - before) / (time.monotonic() - began)
    load.stop(clients)
    if tally.failed:
        print("  failures in the burst:", dict(tally.failures))
    return rate


async def trickle(port: int, pid: int, seconds: float) -> float:
    """Microseconds of router CPU per streamed token."""
    tally, clients = await load.start(port, **TRICKLE, spread=1.0)
    await asyncio.sleep(0.5)
    tokens, used = tally.tokens, cpu(pid)
    await asyncio.sleep(seconds)
    tokens, used = tally.tokens - tokens, cpu(pid) - used
    load.stop(clients)
    if tally.failed:
        print("  failures in the trickle:", dict(tally.failures))
    return used / max(tokens, 1) * 1e6


async def kill_a_group(port: int, victim: subprocess.Popen) -> load.Tally:
    """40 clients streaming 32 tokens at 20 ms; kill -9 of one decode engine; 5 s of it."""
    tally, clients = await load.start(port, clients=40, tokens=32, pause=0.02, spread=0.5)
    await asyncio.sleep(1)
    victim.send_signal(signal.SIGKILL)
    await asyncio.sleep(4)
    load.stop(clients)
    return tally


def measure(arguments: argparse.Namespace, starters: dict, folder: Path) -> dict[str, tuple[float, float]]:
    """router → (requests/s, µs per token), medians over the rounds."""
    processes = Processes(folder)
    rates: dict[str, list[float]] = {name: [] for name in starters}
    costs: dict[str, list[float]] = {name: [] for name in starters}
    try:
        placed = engines(processes)
        running = {name: start(processes, placed, arguments) for name, start in starters.items()}
        for _ in range(arguments.rounds):
            for name, (port, _) in running.items():
                rates[name].append(uvloop.run(burst(port, arguments.seconds)))
            for name, (port, process) in running.items():
                costs[name].append(uvloop.run(trickle(port, process.pid, arguments.seconds)))
    finally:
        processes.end()
    return {name: (statistics.median(rates[name]), statistics.median(costs[name])) for name in starters}


def deaths(arguments: argparse.Namespace, starters: dict, folder: Path) -> dict[str, load.Tally]:
    """router → what 40 clients saw when decode-1 was killed; engines of their own for each."""
    seen = {}
    for name, start in starters.items():
        processes = Processes(folder)
        try:
            placed = engines(processes)
            port, _ = start(processes, placed, arguments)
            seen[name] = uvloop.run(kill_a_group(port, placed["decode-1"][1]))
        finally:
            processes.end()
    return seen


def show(figures: dict[str, tuple[float, float]], tallies: dict[str, load.Tally]) -> bool:
    """Print the tables; True when every bar held."""
    print(f"\n{'router':14}{'requests/s':>12}{'CPU µs/token':>14}")
    for name, (rate, cost) in figures.items():
        print(f"{name:14}{rate:12.0f}{cost:14.1f}")
    good = True
    for (ours, other), (least, most) in BARS.items():
        if other in figures:
            rate, cost = figures[ours][0] / figures[other][0], figures[ours][1] / figures[other][1]
            held = (least is None or rate >= least) and cost <= most
            good &= held
            wanted = f"{f'≥ {least}' if least else 'no bar'} and ≤ {most}"
            print(
                f"{ours} / {other}: requests/s × {rate:.2f}, CPU per token × {cost:.2f} ({wanted})",
                word(held),
            )
    print("\nkill -9 of one of two decode groups, 40 clients")
    for name, tally in tallies.items():
        print(f"{name:14}{tally.requests:6} good, {tally.failed:5} failed {dict(tally.failures)}")
    elsewhere = [why for why in tallies["dprouter"].failures if why != "cut, on decode-1"]
    print(
        "dprouter: only streams on the dead group failed:", "ok" if not elsewhere else f"MISSED {elsewhere}"
    )
    return good and not elsewhere


def word(held: bool) -> str:
    return "ok" if held else "MISSED"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--vllm-router", default=shutil.which("vllm-router"), help="its program; left out if none"
    )
    parser.add_argument("--proxy-script", help="vLLM-Ascend's load_balance_proxy_server_example.py")
    parser.add_argument("--proxy-python", default=sys.executable, help="with fastapi<0.124, httpx, uvicorn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    starters = {"dprouter": start_ours}
    if arguments.vllm_router:
        starters["vllm-router"] = start_rust
    if arguments.proxy_script:
        starters["proxy"] = start_proxy
    with tempfile.TemporaryDirectory(prefix="router-bench-") as folder:
        figures = measure(arguments, starters, Path(folder))
        good = show(figures, deaths(arguments, starters, Path(folder)))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
