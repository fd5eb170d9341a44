"""``multi_api_server``: starts a server for each port, and then only waits."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

from . import SERVER
from .arguments import UsageError, numbers, parse, refuse
from .log import Log

FILE = "multi_api_server.log"
PLACE = "multi_api_server.py[line:60]"
FLAGS = dict.fromkeys(("--ports", "--num-servers", "--metrics-ports", "--controller-ports"), "text")
RAISES_SINCE = (2, 5)
"""From then on a port in use is an error, and visible devices must be chosen."""


def run(words: list[str], env: dict[str, str]) -> int:
    """Play it until SIGINT; SIGTERM ends it alone, and its servers run on."""
    own, rest = (
        (words[: words.index("--args")], words[words.index("--args") + 1 :])
        if "--args" in words
        else (words, [])
    )
    try:
        flags = parse(own, FLAGS)
    except UsageError as fault:
        return refuse("multi_api_server", fault)
    log = Log(env)
    count = int(flags.get("num-servers", "2"))
    try:
        groups = _port_lists(flags, rest, env)
        fits = _check(groups, count, env, log)
    except (AssertionError, RuntimeError) as fault:
        log.uncaught(f"{type(fault).__name__}: {fault}")
        return 1
    children = _start(groups, count, rest, env, log) if fits else []
    return _wait(children, log)


def newer(env: dict[str, str]) -> bool:
    """Whether it plays a version that fills in what is missing and raises."""
    given = (env.get("DPLAUNCH_REHEARSAL_VERSION") or "2.5").split(".")
    return tuple(int(part) if part.isdigit() else 0 for part in given[:2]) >= RAISES_SINCE


def _port_lists(flags: dict[str, str], rest: list[str], env: dict[str, str]) -> dict[str, list[int]]:
    if newer(env) and not (env.get("CUDA_VISIBLE_DEVICES") or env.get("XPU_VISIBLE_DEVICES")):
        raise RuntimeError("Please set CUDA_VISIBLE_DEVICES or XPU_VISIBLE_DEVICES before starting servers")
    usual = "-1" if newer(env) else "8800,8802"
    groups = {"ports": numbers(flags.get("ports", "8000,8002"))}
    metrics = flags.get("metrics-ports", usual)
    if metrics != "-1":
        groups["metrics-ports"] = numbers(metrics)
    if "--engine-worker-queue-port" not in rest:
        raise RuntimeError("cannot access local variable 'engine_worker_queue_port'")
    groups["queue"] = numbers(rest[rest.index("--engine-worker-queue-port") + 1])
    return groups


def _check(groups: dict[str, list[int]], count: int, env: dict[str, str], log: Log) -> bool:
    """Whether all ports are free. An older version then does nothing, for ever; a newer one raises."""
    for ports in groups.values():
        log.file(FILE, PLACE, f"check param {ports}, {count}")
        if len(ports) != count:
            raise AssertionError("Number of ports must match num-servers")
        for port in ports:
            if not _free(port, env):
                if newer(env):
                    raise RuntimeError(f"Port {port} is already in use.")
                log.file(FILE, PLACE, f"check port {port}")
                return False
    return True


def _free(port: int, env: dict[str, str]) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((env.get("DPLAUNCH_REHEARSAL_BIND") or "0.0.0.0", port))
        except OSError:
            return False
    return True


def _start(
    groups: dict[str, list[int]], count: int, rest: list[str], env: dict[str, str], log: Log
) -> list[subprocess.Popen[bytes]]:
    log.console(f"Starting servers on ports: {groups['ports']} with args: {rest}")
    children = []
    base = "" if (env.get("DPLAUNCH_REHEARSAL_VERSION") or "").startswith("2.2") else f"{log.folder}/"
    for index in range(count):
        metrics = groups.get("metrics-ports")
        words = [*rest, "--port", str(groups["ports"][index])]
        words += ["--metrics-port", str(metrics[index])] if metrics else []
        words += ["--controller-port", "-1", "--local-data-parallel-id", str(index)]
        bundle = env.get("DPLAUNCH_BUNDLE", "")
        command = [sys.executable, "-I", "-S", bundle, "rehearsal", SERVER, *words]
        child = subprocess.Popen(command, env={**env, "FD_LOG_DIR": f"{base}log_{index}"})
        children.append(child)
        log.file(
            FILE, PLACE, f"Starting servers #{index + 1} (PID: {child.pid}) port: {groups['ports'][index]}"
        )
    return children


def _wait(children: list[subprocess.Popen[bytes]], log: Log) -> int:
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
        log.file(FILE, PLACE, "All servers stopped.")
    return 0
