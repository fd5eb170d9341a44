"""The rules of a rank table across its fields. What cannot be read, ``shape`` reports; it is skipped here.

Sources: HCCL (hicann/hccl, docs/zh/user_guide/cluster_info_config/rank_table_config_a3.md) and the checks of
MindIE LLM (src/config_manager/ranktable_config.cpp).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from itertools import groupby

from dplaunch.errors import Problem
from dplaunch.ranges import grouped
from dplaunch.ranktable.shape import breach
from dplaunch.ranktable.table import VERSION_A2, VERSION_A3, Cell, Entry, Table
from dplaunch.words import plural

MOST_SERVERS = 60
"""Of MindIE's service."""
MOST_DEVICES = 32
"""On a server."""
LOW_PORT = 1024
_UNIQUE = "every server and device needs its own"
ADDRESSES = ("server_id", "container_ip", "host_ip")


def judge(table: Table) -> Iterator[Problem]:
    """Yield every breach of a rule that is about more than one field."""
    yield from _judge_count(table)
    yield from _judge_servers(table)
    yield from _judge_devices(table)
    yield from _judge_ranks(table)
    yield from _judge_device_addresses(table)
    yield from _judge_families(table)
    yield from _judge_super_devices(table)
    if table.version == VERSION_A3:
        yield from _judge_pods(table)


def _at(cell: Cell, text: str, hint: str = "", *, warning: bool = False) -> Problem:
    return breach(cell.place, cell.key, text, hint, warning=warning)


def _name(cell: Cell) -> str:
    """``device_ip 10.0.0.1``."""
    return f"{cell.key.rpartition('.')[2]} {cell.text}"


def _judge_count(table: Table) -> Iterator[Problem]:
    count, servers = table.find("server_count"), len(table.servers)
    if count and "server_list" in table.places and count.number != servers:
        text = f"server_count is {count.text}, but server_list has {plural(servers, 'server')}"
        yield _at(count, text, f'write "{servers}"')
    if "server_count" not in table.cells and table.version == VERSION_A2:
        yield breach(
            table.place, "server_count", "server_count is missing", f'add "server_count":"{servers}"'
        )
    if servers == 1:
        text = "there is one server only: engines of a single machine run without a rank table"
        yield breach(table.servers[0].place, table.servers[0].key, text, warning=True)
    if servers > MOST_SERVERS:
        text = f"there are {servers} servers, but inference services take {MOST_SERVERS} at most"
        yield breach(table.places["server_list"], "server_list", text, warning=True)


def _judge_servers(table: Table) -> Iterator[Problem]:
    for name in ADDRESSES:
        yield from find_repeated(table.servers, name)


def find_repeated(entries: Iterable[Entry], name: str) -> Iterator[Problem]:
    """Yield values that an earlier entry has too. Addresses are equal in whatever form they are written."""
    first: dict[str, Cell] = {}
    for cell in filter(None, (entry.find(name) for entry in entries)):
        earlier = first.setdefault(canonical(cell), cell)
        if earlier is not cell:
            yield _at(
                cell, f"{_name(cell)} is already used at {earlier.place.line}:{earlier.place.column}", _UNIQUE
            )


def canonical(cell: Cell) -> str:
    """Return an address as every tool prints it, any other text as it is."""
    try:
        return str(ip_address(cell.text or ""))
    except ValueError:
        return cell.text or ""


def _judge_devices(table: Table) -> Iterator[Problem]:
    sizes = Counter(len(server.devices) for server in table.servers if server.devices)
    usual = sizes.most_common(1)[0][0] if sizes else 0
    for server in table.servers:
        yield from find_repeated(server.devices, "device_id")
        count = len(server.devices)
        if server.devices and count != usual:
            text = f"this server has {plural(count, 'device')}, but others have {usual}"
            yield breach(server.place, f"{server.key}.device", text, "every server needs the same number")
        if count > MOST_DEVICES:
            text = f"this server has {count} devices, which is more than {MOST_DEVICES}"
            yield breach(server.place, f"{server.key}.device", text)
        for cell in filter(None, (d.find(p) for d in server.devices for p in ("device_port", "host_port"))):
            if cell.number < LOW_PORT:
                text = f"{_name(cell)} is below {LOW_PORT}, where system services listen"
                yield _at(cell, text, warning=True)


def _judge_ranks(table: Table) -> Iterator[Problem]:
    """Ranks are 0 to N-1, each once; in a server one after another, in the numeric order of its devices."""
    yield from find_repeated(table.devices, "rank_id")
    for index, server in enumerate(table.servers):
        yield from _judge_order(index, server.devices)
    count = len(table.devices)
    cells = [cell for device in table.devices if (cell := device.find("rank_id"))]
    for cell in cells:
        if cell.number >= count:
            text = f"rank_id {cell.text} leaves a gap: {plural(count, 'device')} have ranks 0 to {count - 1}"
            yield _at(cell, text)
    first = next((cell for cell in cells if cell.number == 0), None)
    if first and not first.key.startswith(f"{table.servers[0].key}."):
        text = "rank 0 is not on the first server, where readers look for the master"
        yield _at(first, text, "put its server first in server_list", warning=True)


def _judge_order(index: int, devices: Sequence[Entry]) -> Iterator[Problem]:
    """Find ranks that are out of place on the ``index``-th server, whichever block of ranks it has."""
    numbers = [cell for device in devices if (cell := device.find("device_id"))]
    if len(numbers) < len(devices):
        return
    ordered = sorted(devices, key=lambda device: device.cells["device_id"].number)
    ranks = [(place, cell) for place, device in enumerate(ordered) if (cell := device.find("rank_id"))]
    starts = [cell.number - place for place, cell in ranks]
    blocks = Counter(start for start in starts if start % len(devices) == 0)
    start = blocks.most_common(1)[0][0] if blocks else index * len(devices)
    for place, cell in ranks:
        if cell.number != start + place:
            number = ordered[place].cells["device_id"].text
            text = f"rank_id of device {number} is {cell.text}, which is not its place on the server"
            hint = f'write "{start + place}": ranks count through the devices as numbers, 10 after 9'
            yield _at(cell, text, hint)


def _judge_device_addresses(table: Table) -> Iterator[Problem]:
    yield from find_repeated(table.devices, "device_ip")
    across = len(table.servers) > 1 if table.version == VERSION_A2 else len(table.pods) > 1
    where = "several servers" if table.version == VERSION_A2 else "several super pods"
    some = any("device_ip" in device.cells for device in table.devices)
    for device in table.devices if table.version else ():
        lacks = bool(device.cells) and "device_ip" not in device.cells
        if lacks and across:
            text = f"device_ip is missing: devices of {where} reach each other by it"
            yield breach(device.place, f"{device.key}.device_ip", text, "hccn_tool -i N -ip -g prints it")
        elif lacks and some:
            text = "device_ip is missing here, though other devices have one"
            yield breach(device.place, f"{device.key}.device_ip", text, warning=True)
    for server in table.servers:
        yield from _judge_backups(server.devices)


def _judge_backups(devices: Sequence[Entry]) -> Iterator[Problem]:
    """The backup of a device is the other die of its NPU."""
    own = {d.number: ip for one in devices if (d := one.find("device_id")) and (ip := one.find("device_ip"))}
    for one in devices:
        device, backup = one.find("device_id"), one.find("backup_device_ip")
        other = own.get(device.number ^ 1) if device else None
        if backup and other and canonical(backup) != canonical(other):
            text = f"{_name(backup)} is not the address of the NPU's other die, {other.text}"
            yield _at(backup, text, f'write "{other.text}"')


def _judge_families(table: Table) -> Iterator[Problem]:
    yield from find_mixed(table.servers, ADDRESSES)
    yield from find_mixed(table.devices, ("device_ip", "backup_device_ip"))


def find_mixed(entries: Iterable[Entry], names: Sequence[str]) -> Iterator[Problem]:
    """Yield addresses of another kind than the first: IPv4 and IPv6 do not reach each other."""
    cells = [cell for entry in entries for name in names if (cell := entry.find(name))]
    first = next(iter(cells), None)
    for cell in cells:
        if first and (":" in str(cell.text)) != (":" in str(first.text)):
            kinds = ("IPv6", "IPv4") if ":" in str(cell.text) else ("IPv4", "IPv6")
            text = f"{_name(cell)} is {kinds[0]}, but {_name(first)} is {kinds[1]}"
            yield _at(cell, text, "use one of the two everywhere")


def _judge_super_devices(table: Table) -> Iterator[Problem]:
    needed = table.version == VERSION_A3
    for device in table.devices if table.version else ():
        cell = device.cells.get("super_device_id")
        if device.cells and cell is None and needed:
            text = "super_device_id is missing, which version 1.2 needs"
            hint = "npu-smi info -t spod-info -i CARD -c CHIP prints it as SDID"
            yield breach(device.place, f"{device.key}.super_device_id", text, hint)
        if cell is not None and not needed:
            text = "super_device_id belongs to version 1.2, but the table is of version 1.0"
            yield _at(cell, text, 'write "version":"1.2", or remove it', warning=True)
    if "super_pod_list" in table.places and table.version == VERSION_A2:
        text = "super_pod_list belongs to version 1.2, but the table is of version 1.0"
        hint = 'write "version":"1.2", or remove it'
        yield breach(table.places["super_pod_list"], "super_pod_list", text, hint, warning=True)


def _judge_pods(table: Table) -> Iterator[Problem]:
    if "super_pod_list" not in table.places:
        text = "super_pod_list is missing, which version 1.2 needs"
        yield breach(table.place, "super_pod_list", text)
        return
    yield from find_repeated(table.pods, "super_pod_id")
    listed = [one for pod in table.pods for one in pod.servers]
    yield from find_repeated(listed, "server_id")
    known = {canonical(cell): server for server in table.servers if (cell := server.find("server_id"))}
    members = grouped(
        (index, known[name])
        for index, pod in enumerate(table.pods)
        for one in pod.servers
        if (cell := one.find("server_id")) and (name := canonical(cell)) in known
    )
    for cell in filter(None, (one.find("server_id") for one in listed)):
        if canonical(cell) not in known:
            yield _at(cell, f"{_name(cell)} is not in server_list")
    placed = {canonical(cell) for one in listed if (cell := one.find("server_id"))}
    for name, server in known.items():
        if name not in placed:
            cell = server.cells["server_id"]
            yield _at(cell, f"{_name(cell)} is in no super pod", "add it to super_pod_list")
    for servers in members.values():
        yield from find_repeated([device for s in servers for device in s.devices], "super_device_id")
    yield from _judge_adjacency(table, {s.key: index for index, ss in members.items() for s in ss})


def _judge_adjacency(table: Table, pods: dict[str, int]) -> Iterator[Problem]:
    """The servers of a super pod stand next to each other in ``server_list``."""
    known = [server for server in table.servers if server.key in pods]
    seen: set[int] = set()
    for pod, servers in groupby(known, key=lambda server: pods[server.key]):
        if pod in seen:
            text = "this server is apart from the others of its super pod"
            server = next(servers)
            yield breach(server.place, server.key, text, "list the servers of a super pod together")
        seen.add(pod)
