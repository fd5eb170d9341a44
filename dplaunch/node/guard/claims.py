"""Claims: devices and ports that processes of other clusters on this machine hold, bound yet or not."""

from __future__ import annotations

import os

from .observe import ALIVE, observe_process
from .store import Folder, read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

    from .shapes import Claim


def list_claims(folder: Folder) -> list[Claim]:
    """What live processes of all other clusters hold, as far as their state beside this one's is readable."""
    own = os.path.dirname(folder.root)
    found: list[Claim] = []
    for cluster in _folders(os.path.dirname(own)):
        if cluster != own:
            for node in _folders(cluster):
                found += _claims(os.path.basename(cluster), Folder(node))
    return found


def overlapping(
    claims: list[Claim], address: str, ports: Collection[int], devices: Collection[int]
) -> list[Claim]:
    """Those that hold one of these devices or ports of ``address``, without what is not wanted."""
    found = []
    for claim in claims:
        same_ports = sorted(set(ports).intersection(claim["ports"])) if claim["address"] == address else []
        same_devices = sorted(set(devices).intersection(claim["devices"]))
        if same_ports or same_devices:
            shared: Claim = {**claim, "ports": same_ports, "devices": same_devices}
            found.append(shared)
    return found


def describe(claim: Claim) -> str:
    """``device 4, port 9000 in use by serve-0 of cluster other``."""
    devices = [f"device {number}" for number in claim["devices"]]
    what = ", ".join([*devices, *(f"port {number}" for number in claim["ports"])])
    return f"{what} in use by {claim['process']} of cluster {claim['cluster']}"


def _folders(path: str) -> list[str]:
    try:
        return sorted(entry.path for entry in os.scandir(path) if entry.is_dir())
    except OSError:  # another user's, or gone meanwhile
        return []


def _claims(cluster: str, folder: Folder) -> Iterator[Claim]:
    for name in folder.names():
        state: Any = read_json(folder.proc(name, "state.json")) or {}
        ports, devices = _numbers(state.get("ports")), _numbers(_devices(state))
        if not ports and not devices:
            continue
        process = observe_process(folder, name)
        if process is not None and (process["state"] in ALIVE or process["left"]):
            address = str(state.get("address") or "")
            yield {
                "cluster": cluster,
                "process": name,
                "address": address,
                "ports": ports,
                "devices": devices,
            }


def _numbers(value: Any) -> list[int]:
    return [one for one in value if isinstance(one, int)] if isinstance(value, list) else []


def _devices(state: dict[str, Any]) -> Any:
    meta = state.get("meta")
    return meta.get("devices") if isinstance(meta, dict) else None
