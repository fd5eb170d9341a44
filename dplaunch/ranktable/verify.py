"""The text of any rank table → every breach of a rule, each at its line and column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from dplaunch.errors import Problem
from dplaunch.model.cluster import NodeSpec
from dplaunch.ranges import grouped
from dplaunch.ranktable.positions import read_json
from dplaunch.ranktable.rules import canonical, judge
from dplaunch.ranktable.shape import breach, read_table
from dplaunch.ranktable.table import (
    VERSION_A2,
    VERSION_A3,
    Cell,
    Device,
    Entry,
    NodeDevices,
    Site,
    Table,
    TransferTable,
)
from dplaunch.ranktable.transfer import is_transfer_table, judge_transfer, read_transfer_table
from dplaunch.ranktable.whole import judge_whole

MODE = 0o640
"""Of the file, on every node."""
MAKE = "`dplaunch ranktable` makes the right one"


def verify(text: str, file: str, site: Site | None) -> tuple[Problem, ...]:
    """Return what is wrong with a table, in the order of the file; errors and warnings.

    ``site``: what the cluster file has, None where there is none.
    """
    first: dict[tuple[int, int, str], Problem] = {}  # of each value: what else it breaks follows from it
    for problem in _find(text, site):
        first.setdefault((problem.line, problem.column, problem.key), problem)
    found = sorted(first.values(), key=lambda problem: (problem.line, problem.column))
    lines = text.split("\n")
    return tuple(replace(one, file=file, source_line=lines[one.line - 1].rstrip()) for one in found)


def _find(text: str, site: Site | None) -> Iterator[Problem]:
    root = read_json(text)
    if isinstance(root, Problem):
        yield root
        return
    is_transfer = is_transfer_table(root)
    if site and site.transfer is not is_transfer:
        reader = "LLMDataDist, which the cluster file names," if site.transfer else "HCCL"
        yield breach(root.place, "", f"{reader} reads another kind of rank table", MAKE, warning=True)
    if is_transfer:
        transfer, problems = read_transfer_table(root)
        yield from (*problems, *judge_transfer(transfer, site))
        return
    table, problems = read_table(root)
    yield from problems
    if table:
        yield from judge(table)
        yield from _judge_site(table, site) if site else ()


def _judge_site(table: Table, site: Site) -> Iterator[Problem]:
    version = table.find("version")
    wanted = VERSION_A3 if site.family == "a3" else VERSION_A2
    if version and version.text != wanted:
        text = f"version {version.text} is not that of the hardware in the cluster file ({site.family})"
        yield breach(version.place, version.key, text, f'"{wanted}" is made for it', warning=True)
    yield from _judge_nodes(table, site)
    if site.whole:
        yield from judge_whole(table, site)


def _judge_nodes(table: Table, site: Site) -> Iterator[Problem]:
    """Hold the servers against the nodes of the cluster file, and their devices against those it allows."""
    by_id = site.index()
    found: set[str] = set()
    for server in table.servers:
        cell = server.find("server_id")
        node = by_id.get(canonical(cell)) if cell else None
        if cell and not node:
            text = f"server_id {cell.text} is the address of no node in the cluster file"
            yield breach(cell.place, cell.key, text, "use the addresses of `dplaunch plan`")
        if node:
            found.add(node.name)
            numbers = [number for one in server.devices if (number := one.find("device_id"))]
            yield from _find_foreign(node, numbers)
    place = table.places.get("server_list")
    for node in site.nodes if place else ():
        if node.name not in found and place:
            text = f"{node.name} ({node.address}) of the cluster file is not in server_list"
            yield breach(place, "server_list", text, "add it, or make the table again")


def _find_foreign(node: NodeSpec, numbers: Sequence[Cell]) -> Iterator[Problem]:
    for cell in numbers:
        if node.devices and cell.number not in node.devices:
            text = f"device_id {cell.text} is not among the devices of {node.name} in the cluster file"
            yield breach(cell.place, cell.key, text)


def judge_file(file: str, *, is_link: bool, mode: int) -> tuple[Problem, ...]:
    """Return warnings about a file as such: MindIE refuses links and files that others may read."""
    found = []
    if is_link:
        found.append(
            Problem(f"{file} is a symbolic link, which inference services refuse", file, warning=True)
        )
    if mode & 0o777 & ~MODE:
        text = f"the mode is {mode & 0o777:04o}, but inference services refuse more than {MODE:04o}"
        found.append(Problem(text, file, hint=f"chmod {MODE:o} {file}", warning=True))
    return tuple(found)


def read_nodes(text: str, site: Site) -> tuple[NodeDevices, ...]:
    """Return the devices of a table that is valid; super pods that HCCL tells apart count from 0."""
    root = read_json(text)
    if isinstance(root, Problem):
        return ()
    if is_transfer_table(root):
        return _read_transfer(read_transfer_table(root)[0], site)
    table = read_table(root)[0]
    pods = {
        canonical(cell): index
        for index, pod in enumerate(table.pods if table else ())
        for one in pod.servers
        if (cell := one.find("server_id"))
    }
    servers = [(cell, one) for one in (table.servers if table else ()) if (cell := one.find("server_id"))]
    return tuple(
        _read_devices(site.index()[canonical(cell)], server.devices, pods.get(canonical(cell)))
        for cell, server in servers
    )


def _read_transfer(table: TransferTable, site: Site) -> tuple[NodeDevices, ...]:
    servers = grouped((canonical(cell), one) for one in table.devices if (cell := one.find("server_id")))
    by_id = site.index()
    return tuple(_read_devices(by_id[name], devices, None) for name, devices in servers.items())


def _read_devices(node: NodeSpec, devices: Sequence[Entry], pod: int | None) -> NodeDevices:
    found = []
    for one in devices:
        address, sdid = one.find("device_ip"), one.find("super_device_id")
        number, place = one.cells["device_id"].number, sdid.number if sdid else None
        found.append(Device(number=number, address=str(address.text) if address else "", sdid=place, pod=pod))
    return NodeDevices(name=node.name, address=node.address, devices=tuple(found))
