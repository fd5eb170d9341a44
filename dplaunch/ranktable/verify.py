"""The text of any rank table → every breach of a rule, each at its line and column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from dplaunch.errors import Problem
from dplaunch.model.cluster import NodeSpec
from dplaunch.ranktable.positions import read_json
from dplaunch.ranktable.rules import canonical, judge
from dplaunch.ranktable.shape import breach, read_table
from dplaunch.ranktable.table import VERSION_A2, VERSION_A3, Cell, Device, NodeDevices, Server, Site, Table


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
    yield from _judge_nodes(table, site.nodes)


def _index(nodes: Sequence[NodeSpec]) -> dict[str, NodeSpec]:
    """Return the nodes by what a server_id may call them."""
    return {name: node for node in nodes for name in (node.host, node.address)}


def _judge_nodes(table: Table, nodes: Sequence[NodeSpec]) -> Iterator[Problem]:
    """Hold the servers against the nodes of the cluster file, and their devices against those it allows."""
    by_id = _index(nodes)
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
    for node in nodes if place else ():
        if node.name not in found and place:
            text = f"{node.name} ({node.address}) of the cluster file is not in server_list"
            yield breach(place, "server_list", text, "add it, or make the table again")


def _find_foreign(node: NodeSpec, numbers: Sequence[Cell]) -> Iterator[Problem]:
    for cell in numbers:
        if node.devices and cell.number not in node.devices:
            text = f"device_id {cell.text} is not among the devices of {node.name} in the cluster file"
            yield breach(cell.place, cell.key, text)


MODE = 0o640


def judge_file(file: str, *, is_link: bool, mode: int) -> tuple[Problem, ...]:
    """Return warnings about a file as such: MindIE refuses links and files that others may read."""
    found = []
    if is_link:
        found.append(Problem(f"{file} is a symbolic link, which MindIE does not read", file, warning=True))
    if mode & 0o777 & ~MODE:
        text = f"the mode is {mode & 0o777:04o}, but MindIE reads the file with {MODE:04o} at most"
        found.append(Problem(text, file, hint=f"chmod {MODE:o} {file}", warning=True))
    return tuple(found)


def read_nodes(text: str, nodes: Sequence[NodeSpec]) -> tuple[NodeDevices, ...]:
    """Return the devices of a table that is valid for these nodes; their pods count from 0."""
    root = read_json(text)
    table = None if isinstance(root, Problem) else read_table(root)[0]
    by_id = _index(nodes)
    pods = {
        canonical(cell): index
        for index, pod in enumerate(table.pods if table else ())
        for one in pod.servers
        if (cell := one.find("server_id"))
    }
    return tuple(
        _read_server(by_id[canonical(cell)], server, pods.get(canonical(cell)))
        for server in (table.servers if table else ())
        if (cell := server.find("server_id"))
    )


def _read_server(node: NodeSpec, server: Server, pod: int | None) -> NodeDevices:
    devices = []
    for one in server.devices:
        address, sdid = one.find("device_ip"), one.find("super_device_id")
        number, place = one.cells["device_id"].number, sdid.number if sdid else None
        devices.append(
            Device(number=number, address=str(address.text) if address else "", sdid=place, pod=pod)
        )
    return NodeDevices(name=node.name, address=node.address, devices=tuple(devices))
