"""The rank table as MindIE LLM reads it: the rules it dies of (atb_llm/utils/env.py and file_utils.py)."""

from __future__ import annotations

import ipaddress
import json
import os
import stat

from .log import FatalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READABLE = 0o640


class Table:
    """Servers and devices of a rank table. ``places``: rank → address of its server, and its device."""

    def __init__(self, servers: list[dict[str, Any]]) -> None:
        self.servers = servers
        self.places = {
            int(device["rank_id"]): (str(server["server_id"]), int(device["device_id"]))
            for server in servers
            for device in server["device"]
        }

    def place(self, rank: int) -> tuple[str, int]:
        """Server and device of a rank. Raises FatalError where the table lacks it."""
        if rank not in self.places:
            text = f"ERROR: Rank id is not in the rankTableFile, the input rank is  {rank}"
            raise FatalError(f"ValueError: {text}")
        return self.places[rank]


def read_table(path: str) -> Table:
    """Read a table. Raises FatalError with what MindIE or HCCL writes of one that it refuses."""
    _check_file(path)
    try:
        with open(path, encoding="utf-8") as file:
            table = Table(json.load(file)["server_list"])
    except (ValueError, KeyError, TypeError) as fault:
        raise FatalError(
            f"{type(fault).__name__}: {fault}", _unreadable(path, "it is not a rank table")
        ) from None
    if any(rank >= len(table.places) for rank in table.places):
        raise FatalError("ValueError: rank_id should be a number less than world size.")
    for server in table.servers:
        if not all(_is_address(device.get("device_ip")) for device in server["device"]):
            raise FatalError("ValueError: device_ip is invalid.")
        if not _is_address(server["server_id"]):
            raise FatalError("ValueError: server_id is invalid.")
    return table


def _check_file(path: str) -> None:
    if os.path.islink(path):
        text = f"The path should not be a symbolic link file. Please check the input path:{path}."
        raise FatalError(f"ValueError: {text}")
    try:
        mode = os.stat(path).st_mode
    except OSError:
        text = f"The file {path} is expected to exist, but it does not. Please check the input path:{path}."
        raise FatalError(
            f"FileNotFoundError: {text}", _unreadable(path, "it is not a valid real path")
        ) from None
    if os.environ.get("MINDIE_CHECK_INPUTFILES_PERMISSION") != "0" and stat.S_IMODE(mode) & ~READABLE:
        text = f"The file {path} has mode {stat.S_IMODE(mode):04o}, and at most {READABLE:04o} is allowed"
        raise FatalError(f"PermissionError: {text}.")


def _unreadable(path: str, why: str) -> str:
    return f"File_Operation_Error_Parse(EI0004): Failed to parse the ranktable file {path}. Reason: {why}"


def _is_address(text: object) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True
