"""The service's config.json and its place in the rank table, with the rules that the daemon dies of."""

from __future__ import annotations

import json
import os
import stat

from .log import FatalError
from .table import READABLE, read_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Configuration:
    """What the daemon reads from a config.json. Raises FatalError where it would not start."""

    def __init__(self, path: str) -> None:
        data = _read(path)
        self.server: dict[str, Any] = data["ServerConfig"]
        backend: dict[str, Any] = data["BackendConfig"]
        self.backend = backend
        self.deploy: dict[str, Any] = backend["ModelDeployConfig"]
        self.model: dict[str, Any] = self.deploy["ModelConfig"][0]
        self.schedule: dict[str, Any] = backend["ScheduleConfig"]
        self.several = bool(backend["multiNodesInferEnabled"])
        self._check()

    def _check(self) -> None:
        devices = self.backend["npuDeviceIds"]
        if len(devices) != self.backend["modelInstanceNumber"]:
            raise FatalError("The size of npuDeviceIds does not equal to modelInstanceNumber")
        if any(len(subset) != self.model["worldSize"] for subset in devices):
            raise FatalError("The size of npuDeviceIds (subset) does not equal to worldSize")
        if self.server["port"] == self.backend["multiNodesInferPort"]:
            raise FatalError("Endpoint port cannot be equal to multiNodesInferPort.")
        if self.schedule["maxPrefillTokens"] < self.deploy["maxInputTokenLen"]:
            raise FatalError("The value of maxPrefillTokens should not be less than maxInputTokenLen.")


class Place:
    """Where a daemon is in its group. ``master``: address of the one that serves."""

    def __init__(self, rank: int, nodes: int, master: str) -> None:
        self.rank = rank
        self.nodes = nodes
        self.master = master


def find_place(several: bool, own: str) -> Place:
    """Find this daemon in the rank table. Raises FatalError where it cannot be found."""
    if not several:
        return Place(0, 1, own)
    path = os.environ.get("RANK_TABLE_FILE", "")
    if not path:
        text = "please set a valid ranktable file path with RANK_TABLE_FILE environment."
        raise FatalError(f"Ranktable file is not exist, {text}")
    table = read_table(path)
    if any(not server.get("container_ip") for server in table.servers):
        raise FatalError("The containerIp in the server node is empty in ranktable file.")
    master = table.place(0)[0]
    order = sorted(table.servers, key=lambda server: str(server["server_id"]) != master)
    mine = os.environ.get("MIES_CONTAINER_IP", ""), os.environ.get("HOST_IP", "")
    for rank, server in enumerate(order):
        if mine[0] == server["container_ip"] or mine[1] == server["server_id"]:
            return Place(rank, len(order), master)
    raise FatalError("Failed to parse the json data of ranktable file data.")


def _read(path: str) -> dict[str, Any]:
    try:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        with open(path, encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
    except OSError:
        raise FatalError("ConfigManager: Get config path failed.") from None
    except ValueError as fault:
        raise FatalError(f"JSON error in ConfigManager: {fault}") from None
    if os.path.islink(path) or mode & ~READABLE:
        raise FatalError("Check_path: config.json failed")
    return found
