"""``mindie_llm_server`` or ``mindieservice_daemon``: one daemon of a group, from its configuration on."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time

from .. import faults, knobs
from ..record import Record
from ..web import Server
from .api import Api
from .configuration import Configuration, find_place
from .devices import occupy
from .log import FatalError, Log
from .meeting import Meeting

STAGES = ("configuration", "table", "model", "endpoint")
SECONDS = 1.5
"""Of each stage at speed 1."""
KEEP_ALIVE = 180.0


class StoppedError(Exception):
    """SIGTERM or SIGINT."""


def main(words: list[str]) -> int:
    """Play the daemon until it ends; the exit code."""
    log = Log("llm")
    log.plain(f"g_mainPid = {os.getpid()}")
    given = dict(zip(words[::2], words[1::2]))
    if len(words) % 2 or given.keys() - {"--config-file", "--expert-parallel"}:
        log.plain("Unrecognized command-line argument, expect [--expert-parallel, --config-file]")
        return 255
    path = given.get("--config-file") or os.environ.get("MIES_CONFIG_JSON_PATH", "")
    try:
        return _Daemon(path, log).run()
    except FatalError as failure:
        for line in (*failure.lines, failure.text):
            log.plain(line)
        log.plain("Failed to init endpoint! Please check the service log or console output.")
        return _die(signal.SIGKILL)


def _die(number: int) -> int:
    """End by a signal, as the daemon does, without a core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 1


def _raise_stopped(*_: object) -> None:
    raise StoppedError


class _Daemon:
    def __init__(self, path: str, log: Log) -> None:
        self.log = log
        self.path = path
        self.knobs = knobs.Knobs(dict(os.environ), 0, STAGES)
        self._held: list[socket.socket | None] = []

    def run(self) -> int:
        """From the configuration to the end."""
        signal.signal(signal.SIGINT, _raise_stopped)
        signal.signal(signal.SIGTERM, _raise_stopped)
        try:
            faults.arm(self.knobs, self.log.plain, lambda: self.log.plain("Process was terminated"))
            self._serve()
        except StoppedError:
            self.log.plain("Daemon is killing, please wait about 15 seconds...")
            self.log.plain("All subprocesses exited gracefully.")
            return _die(signal.SIGABRT)
        return 0

    def _serve(self) -> None:
        self._stage("configuration", f"ConfigManager: Load Config from {self.path}.")
        configuration = Configuration(self.path)
        address = str(configuration.server["ipAddress"])
        self._stage("table", "Start to parse ranktable file" if configuration.several else "")
        place = find_place(configuration.several, address)
        self._stage("model", "[ConfigManager::InitConfigManager] Successfully init config manager")
        host = os.environ.get("DPLAUNCH_REHEARSAL_BIND", address)
        self._held = [occupy(host, device, device) for device in configuration.backend["npuDeviceIds"][0]]
        where = place.master, int(configuration.backend["multiNodesInferPort"])
        Meeting(place.rank, place.nodes, where, self._lose).join()
        self._stage("endpoint", "")
        if place.rank == 0:
            self._open(configuration, address)
        else:
            text = "Multi Nodes infer slave instance need not init TokenizerProcessPool and HttpWrapper"
            self.log.plain(text)
        self.log.plain("Daemon start success!")
        self._write_own_log("Daemon start success!")
        while True:
            signal.pause()

    def _open(self, configuration: Configuration, address: str) -> None:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, int(configuration.server["port"])))
        except OSError as fault:
            raise FatalError(f"Socket bind failed, bind_result is -1. {fault.strerror}") from None
        record = Record(self.knobs.requests, dict(os.environ))
        name, longest = str(configuration.model["modelName"]), int(configuration.deploy["maxSeqLen"])
        api = Api(name, longest, self.knobs.token_ms / 1000, record)
        Server(sock, api.handle, KEEP_ALIVE).start()

    def _stage(self, name: str, text: str) -> None:
        if name == self.knobs.hang:
            while True:
                signal.pause()
        if text:
            self.log.plain(text)
        time.sleep(SECONDS * self.knobs.speed)

    def _write_own_log(self, text: str) -> None:
        folder = os.environ.get("MINDIE_LOG_PATH", "")
        if folder and os.environ.get("MINDIE_LOG_TO_FILE") == "1":
            os.makedirs(os.path.join(folder, "debug"), exist_ok=True)
            with open(
                os.path.join(folder, "debug", f"mindie-llm_{os.getpid()}.log"), "a", encoding="utf-8"
            ) as file:
                file.write(f"{text}\n")

    def _lose(self, _rank: int) -> None:
        self.log.plain("Successfully handled SIGCHLD, now killing process group: another node has gone")
        os.kill(os.getpid(), signal.SIGKILL)
