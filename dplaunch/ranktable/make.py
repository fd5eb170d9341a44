"""Devices of nodes → the text of a rank table.

Ranks count through the nodes in the order of the cluster file, and in a node through its devices as numbers:
10 comes after 9. Keys are in the order of MindIE LLM's own example, which is the alphabetical one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from dplaunch.ranges import grouped
from dplaunch.ranktable.table import VERSION_A2, VERSION_A3, Device, NodeDevices


def make_table(nodes: Sequence[NodeDevices], *, containers: bool = False) -> str:
    """Return the text of a table of these nodes: version 1.2 where devices are in super pods, else 1.0.

    ``containers``: each server also gets the address of its container, which is that of its node.
    """
    ranks = count()
    table: dict[str, Any] = {
        "server_count": str(len(nodes)),
        "server_list": [
            {
                "device": list(_list_devices(node.devices, ranks)),
                "server_id": node.address,
                **({"container_ip": node.address} if containers else {}),
            }
            for node in nodes
        ],
        "status": "completed",
        "version": VERSION_A2,
    }
    pods = grouped((node.devices[0].pod, {"server_id": node.address}) for node in nodes)
    if None not in pods:
        table["version"] = VERSION_A3
        table["super_pod_list"] = [
            {"server_list": servers, "super_pod_id": str(pod)} for pod, servers in pods.items()
        ]
    return json.dumps(table, indent=4, separators=(",", ":"), sort_keys=True) + "\n"


def _list_devices(devices: Sequence[Device], ranks: Iterator[int]) -> Iterator[dict[str, str]]:
    for device in devices:
        entry = {"device_id": str(device.number), "rank_id": str(next(ranks))}
        if device.address:
            entry["device_ip"] = device.address
        if device.sdid is not None:
            entry["super_device_id"] = str(device.sdid)
        yield entry
