"""The plan as tables: who sits where, with which ranks, devices and ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.text import Text

from dplaunch.errors import Problem
from dplaunch.model.kubernetes import Deployment
from dplaunch.model.plan import CONTAINER, Overlap, Plan, Process, Seat
from dplaunch.ranges import fold, grouped, ranges
from dplaunch.view import problems, style
from dplaunch.view.table import Table, tabulate
from dplaunch.words import plural

_HEADS = ("ROLE", "NODES", "GROUPS", "ENGINES", "RANKS", "DEVICES")
_PORTS = ("http", "rpc", "kv")
"""The first columns of ports; an engine's further ones follow."""


def render(
    plan: Plan,
    warnings: Sequence[Problem] = (),
    overlaps: Mapping[str, Overlap] = MappingProxyType({}),
    *,
    verbose: int = 0,
) -> RenderableType:
    """Headline, table (``-v``: a row per engine), how to read it, and the warnings of the file.

    ``overlaps``: role → which of its steps are split.
    """
    rows = _engine_table(plan) if verbose else _node_table(plan)
    notes = (Text(""), problems.render(warnings)) if warnings else ()
    split = [_overlap(role, one) for role, one in overlaps.items()]
    return Group(_headline(plan), Text(""), rows, Text(""), _legend(plan), *split, *_containers(plan), *notes)


def _headline(plan: Plan) -> Text:
    model = plan.served_model_name
    model += f" ({plan.model})" if plan.model != model else ""
    where = f", router on {plan.router.node}" if plan.router and plan.router.kind != "none" else ""
    return style.lines(
        Text.assemble((plan.title, style.HEAD), f": {plan.engine}, revision {plan.revision}"),
        f"model     {model}",
        *((Text.assemble("endpoint  ", (plan.url, style.NAME), where),) if plan.url else ()),
    )


def _node_table(plan: Plan) -> Table:
    rows, names = [], _engines(plan)
    for (role, _, *ports_and_devices), nodes in _folded(plan).items():
        seats = [seat for _, mine in nodes for seat in mine]
        groups, ranks = ranges(seat.group for seat in seats), ranges(seat.rank for seat in seats)
        engines = fold(dict.fromkeys(names[seat.name] for seat in seats))
        rows.append((role, fold(node for node, _ in nodes), groups, engines, ranks, *ports_and_devices))
    return _tabulate(plan, rows, flex=("NODES", "ENGINES", "HTTP", "KV"))


def _engine_table(plan: Plan) -> Table:
    names, engines = _port_names(plan), _engines(plan)
    rows = [
        (seat.role, seat.node, str(seat.group), engines[seat.name], str(seat.rank), *_columns([seat], names))
        for seat in _seats(plan)
    ]
    return _tabulate(plan, rows, flex=("NODES", "ENGINES"))


def _folded(plan: Plan) -> dict[tuple[str, ...], list[tuple[str, list[Seat]]]]:
    """Nodes with their seats, by role and all that must be equal for nodes to share a row."""
    names = _port_names(plan)
    nodes = grouped(((seat.role, seat.node), seat) for seat in _seats(plan))
    return grouped(
        ((role, _offsets(seats), *_columns(seats, names)), (node, seats))
        for (role, node), seats in nodes.items()
    )


def _offsets(seats: Sequence[Seat]) -> str:
    """Ranks, and how far their groups are from the first: equal on nodes with the same share."""
    return str([(seat.rank, seat.group - seats[0].group) for seat in seats])


def _tabulate(plan: Plan, rows: Sequence[tuple[str, ...]], flex: tuple[str, ...]) -> Table:
    """The rows with those of the services, without columns that are empty in all of them."""
    heads = (*_HEADS, *(name.upper() for name in _port_names(plan)))
    services = [row + ("-",) * (len(heads) - len(row)) for row in _services(plan)]
    columns = zip(heads, *rows, *services, strict=True)
    used = [column for column in columns if set(column[1:]) != {"-"}]
    cells = zip(*(column for _, *column in used), strict=True)
    return tabulate([head for head, *_ in used], cells, flex=flex, key="ENGINES")


def _engines(plan: Plan) -> dict[str, str]:
    """Each seat's name → that of the engine that answers for its rank, or of its job; else its own."""
    answers = {(e.group, rank): e.name for e in plan.endpoints for rank in e.ranks}
    jobs = {seat.name: process.name for process in plan.jobs for seat in process.seats}
    return {
        seat.name: answers.get((seat.group_name, seat.rank), jobs.get(seat.name, seat.name))
        for seat in _seats(plan)
    }


def _port_names(plan: Plan) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*_PORTS, *(name for seat in _seats(plan) for name in seat.ports))))


def _columns(seats: Sequence[Seat], names: Sequence[str]) -> tuple[str, ...]:
    """DEVICES, then the ports of each name."""
    ports = (
        ranges(port for seat in seats if name in seat.ports for port in seat.ports[name].ports)
        for name in names
    )
    devices = ranges(device for seat in seats for device in seat.devices)
    return tuple(column or "-" for column in (devices, *ports))


def _seats(plan: Plan) -> list[Seat]:
    """Roles in plan order; in a role by group and rank."""
    seats = [seat for process in plan.processes for seat in process.seats]
    roles = list(dict.fromkeys(seat.role for seat in seats))
    return sorted(seats, key=lambda seat: (roles.index(seat.role), seat.group, seat.rank))


def _services(plan: Plan) -> list[tuple[str, ...]]:
    services = [process for process in plan.processes if not process.seats]
    return [(s.role, s.node, "-", s.name, "-", "-", ranges(s.ports) or "-") for s in services]


def _legend(plan: Plan) -> Text:
    """How the numbers follow from each other, for readers who see such a table for the first time."""
    by_role = grouped((seat.role, seat) for seat in _seats(plan))
    names = {node.address: node.name for node in plan.nodes}
    if plan.deployment is not None:
        return _legend_of_deployment(plan.deployment, by_role)
    sums = [_sum(role, seats) + _masters(seats, names) for role, seats in by_role.items()]
    seats = [seat for members in by_role.values() for seat in members]
    devices = sum(len(seat.devices) for seat in seats)
    where = f"{plural(devices, 'device')} of " if devices else ""
    units = "; ".join((*_units(plan), "a group starts and stops as one"))
    return style.lines(
        Text(units, style.DIM),
        *sums,
        f"total: {problems.size(plan)} on {where}{plural(len(plan.nodes), 'node')}",
    )


def _legend_of_deployment(deployment: Deployment, by_role: Mapping[str, Sequence[Seat]]) -> Text:
    """How many pods there are in all."""
    groups, where = sum(map(len, by_role.values())), f"namespace {deployment.kubectl.namespace}"
    first = f"1 group = pods that {deployment.process} makes in {where}; all start and stop together"
    return style.lines(
        Text(first, style.DIM),
        *(
            f"{role}: {plural(len(seats), 'group')} × {deployment.shapes[role]}"
            for role, seats in by_role.items()
        ),
        f"total: {plural(groups, 'group')}, {plural(len(deployment.needs.pods), 'pod')} with devices",
    )


def _overlap(role: str, overlap: Overlap) -> Text:
    return style.lines(
        f"dual-batch overlap of {role} splits into {overlap.parts} micro-batches:",
        *(f"  {steps.describe()}" for steps in overlap.steps),
        *(
            Text(f"  {'and' if number else 'only if'} {condition}", style.DIM)
            for number, condition in enumerate(overlap.conditions)
        ),
    )


def _containers(plan: Plan) -> list[Text]:
    """The command that starts the first node's container, and how the others' differ."""
    boxed = [node for node in plan.nodes if node.container and node.container.image]
    scripts = {node.name: file.text for node in boxed for file in node.files if file.path == CONTAINER}
    if not boxed or boxed[0].container is None:
        return []
    first = boxed[0].name
    command = scripts[first].partition("exec ")[2].rstrip()
    parts = [Text(""), Text(f"one container per node holds all its processes; on {first}:", style.DIM)]
    parts.append(Text(f"  {style.plain(command)}".replace("\n", "\n  ")))
    if len(boxed) > 1:
        names = fold(node.container.name for node in boxed if node.container)
        parts.append(
            Text(f"{names}: the same, but for name and label, and devices where they differ", style.DIM)
        )
    return parts


def _units(plan: Plan) -> list[str]:
    """What an engine is made of: once, where all roles are alike."""
    if plan.is_job:
        ranks = {len(process.seats) for process in plan.jobs if process.seats}
        size = plural(ranks.pop(), "rank") if len(ranks) == 1 else "some ranks"
        return [f"1 process = {size} of a job, which ends; all start at once"]
    roles = grouped((process.role, process) for process in plan.processes if process.seats)
    units = grouped((_unit(processes), role) for role, processes in roles.items())
    return [unit if len(units) == 1 else f"{', '.join(of)}: {unit}" for unit, of in units.items()]


def _unit(processes: Sequence[Process]) -> str:
    """Of one role."""
    engines = sum(len(process.endpoints) for process in processes) or len(processes)
    ranks = sum(seat.part == 0 for process in processes for seat in process.seats)
    if engines == ranks == len(processes):
        return "1 engine = 1 process = 1 data-parallel rank"
    if engines > len(processes):
        return f"1 engine = 1 data-parallel rank; 1 process holds {engines // len(processes)} of them"
    of = plural(ranks // engines, "data-parallel rank")
    return f"1 engine = {of} in {plural(len(processes) // engines, 'process')}"


def _sum(role: str, seats: Sequence[Seat]) -> str:
    groups = len({seat.group for seat in seats})
    ranks = sum(seat.part == 0 for seat in seats)
    devices = len(seats[0].devices) * seats[0].parts
    product = f"{plural(groups, 'group')} × {plural(ranks // groups, 'rank')}"
    if not devices:
        return f"{role}: {product} = {plural(ranks, 'rank')}"
    return f"{role}: {product} × {plural(devices, 'device')} = {plural(devices * ranks, 'device')}"


def _masters(seats: Sequence[Seat], names: Mapping[str, str]) -> str:
    """Where each group's rank 0 waits for the others."""
    masters = {
        seat.group: f"{names.get(seat.master, seat.master)}:{port}"
        for seat in seats
        if (port := seat.port("rpc") or seat.port("master"))
    }
    return f"; {'master' if len(masters) == 1 else 'masters'} {fold(masters.values())}" if masters else ""
