"""The rank table of vllm-ascend's LLMDataDist connector: made as its own script does, and verified.

It lists the devices of prefill and of decode nodes. A rank of an engine finds its device in the list of its
role, by the address of its node and its place among that node's devices.
Source: vllm-ascend v0.9.1, examples/disaggregate_prefill_v1/gen_ranktable.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count

from dplaunch.errors import Problem
from dplaunch.ranges import grouped
from dplaunch.ranktable import fields
from dplaunch.ranktable.positions import Members, Node
from dplaunch.ranktable.rules import canonical, find_mixed, find_repeated
from dplaunch.ranktable.shape import Reading, breach
from dplaunch.ranktable.table import VERSION_A3, NodeDevices, Site, TransferTable

LISTS = {"prefill": "prefill_device_list", "decode": "decode_device_list"}
"""Role → its list."""


def make_transfer_table(prefill: Sequence[NodeDevices], decode: Sequence[NodeDevices]) -> str:
    """Return the text of a table; its version is 1.2 on every hardware."""
    numbers = count(1)
    lists = {
        name: [entry for node in nodes for entry in _list_devices(node, numbers)]
        for name, nodes in (("prefill_device_list", prefill), ("decode_device_list", decode))
    }
    servers = {node.address for node in (*prefill, *decode)}
    head = {"version": VERSION_A3, "server_count": str(len(servers))}
    return json.dumps({**head, **lists, "status": "completed"}, indent=4) + "\n"


def _list_devices(node: NodeDevices, numbers: Iterator[int]) -> Iterator[dict[str, str]]:
    for device in node.devices:
        entry = {"server_id": node.address, "device_id": str(device.number), "device_ip": device.address}
        if device.sdid is not None:
            entry |= {"super_pod_id": str(device.pod), "super_device_id": str(device.sdid)}
        yield {**entry, "cluster_id": str(next(numbers))}


def is_transfer_table(root: Node) -> bool:
    """Return whether the file is a table of this kind."""
    return isinstance(root.value, Members) and not set(LISTS.values()).isdisjoint(root.value.nodes)


def read_transfer_table(root: Node) -> tuple[TransferTable, tuple[Problem, ...]]:
    """Return what the file holds, and everything in it that cannot be read."""
    reading = Reading()
    given = root.value.nodes if isinstance(root.value, Members) else {}
    table = TransferTable(
        **reading.entry(root, "", fields.TABLE),
        prefill=reading.entries(root, LISTS["prefill"], fields.TRANSFER_DEVICE),
        decode=reading.entries(root, LISTS["decode"], fields.TRANSFER_DEVICE),
        places={name: node.place for name, node in given.items()},
    )
    return table, tuple(reading.problems)


def judge_transfer(table: TransferTable, site: Site | None) -> Iterator[Problem]:
    """Yield every breach of a rule that is about more than one field."""
    yield from _judge_count(table)
    for name in ("cluster_id", "device_ip"):
        yield from find_repeated(table.devices, name)
    for name in ("server_id", "device_ip"):
        yield from find_mixed(table.devices, (name,))
    servers = ((canonical(cell), one) for one in table.devices if (cell := one.find("server_id")))
    for devices in grouped(servers).values():
        yield from find_repeated(devices, "device_id")
    pods = ((cell.text, one) for one in table.devices if (cell := one.find("super_pod_id")))
    for devices in grouped(pods).values():
        yield from find_repeated(devices, "super_device_id")
    yield from _find_unplaced(table, needed=site is not None and site.family == "a3")
    yield from _judge_site(table, site) if site else ()


def _judge_count(table: TransferTable) -> Iterator[Problem]:
    count, servers = table.find("server_count"), {c.text for d in table.devices if (c := d.find("server_id"))}
    if count and count.number != len(servers):
        text = f"server_count is {count.text}, but the lists name {len(servers)}"
        yield breach(count.place, count.key, text, f'write "{len(servers)}"', warning=True)


def _find_unplaced(table: TransferTable, *, needed: bool) -> Iterator[Problem]:
    """Yield devices without a place in a super pod, where they are of an A3 or others have one."""
    names = ("super_pod_id", "super_device_id")
    needed = needed or any(name in device.cells for device in table.devices for name in names)
    for device in table.devices if needed else ():
        for name in names:
            if device.cells and name not in device.cells:
                hint = "npu-smi info -t spod-info -i CARD -c CHIP prints it"
                yield breach(device.place, f"{device.key}.{name}", f"{name} is missing", hint)


def _judge_site(table: TransferTable, site: Site) -> Iterator[Problem]:
    """Hold each list against the nodes of its role, and its devices against those that the file allows."""
    by_id = site.index()
    for role, devices in (("prefill", table.prefill), ("decode", table.decode)):
        wanted = set(site.roles.get(role, ()))
        found: set[str] = set()
        for device in devices:
            cell, number = device.find("server_id"), device.find("device_id")
            node = by_id.get(canonical(cell)) if cell else None
            if cell and (node is None or node.name not in wanted):
                text = f"server_id {cell.text} is the address of no {role} node in the cluster file"
                yield breach(cell.place, cell.key, text, "use the addresses of `dplaunch plan`")
            elif node:
                found.add(node.name)
                if number and node.devices and number.number not in node.devices:
                    text = (
                        f"device_id {number.text} is not among the devices of {node.name} in the cluster file"
                    )
                    yield breach(number.place, number.key, text)
        yield from _find_absent(table, LISTS[role], wanted - found)


def _find_absent(table: TransferTable, name: str, nodes: set[str]) -> Iterator[Problem]:
    place = table.places.get(name, table.place)
    for node in sorted(nodes):
        yield breach(place, name, f"{node} of the cluster file is not in {name}", "make the table again")
