"""Who sits in which process: layouts that an adapter chooses.

Each turns the seats of one role on one node into processes with their names, seats and endpoints; what they
run (``argv``, ``env``, ``stop`` …) is the adapter's to fill in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from dplaunch.engines.adapter import Site
from dplaunch.model.plan import Endpoint, Process, Ready, Seat
from dplaunch.ranges import grouped


def url(address: str, port: int) -> str:
    """``http://192.0.0.1:9000``; IPv6 in brackets."""
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def per_rank(site: Site) -> Iterator[Process]:
    """One process and one endpoint for each rank: ``decode-3``."""
    for seat in site.seats:
        yield _process(site, seat.name, (seat,), (_endpoint(site, seat, (seat.rank,)),))


def per_device(site: Site) -> Iterator[Process]:
    """One process without an endpoint for each device, named by its rank in the group: ``serve-12``.

    Its seat is that rank's. Ranks of a node follow its devices in numeric order, as a rank table has them.
    """
    for seats in _groups(site):
        first, size = seats[0], site.role.devices_per_seat * len(seats)
        offset = (first.rank * first.parts + first.part) * site.role.devices_per_seat
        devices = sorted(device for seat in seats for device in seat.devices)
        before = first.group * site.role.dp * site.role.devices_per_rank
        for local in range(size):
            name = f"{first.role}-{before + offset + local}"
            own = tuple(devices[local : local + 1])
            whole = replace(first, name=name, devices=own, part=0, parts=1)
            seat = replace(whole, rank=offset + local, local_rank=local, local_size=size)
            yield _process(site, name, (seat,), ())


def one_per_node(site: Site) -> Iterator[Process]:
    """One process without an endpoint for all ranks that a group has on the node."""
    for seats in _groups(site):
        yield _process(site, _parent(site, seats[0]), seats, ())


def per_node(site: Site) -> Iterator[Process]:
    """One parent process for all ranks that a group has on the node, and an endpoint for each rank."""
    for process in one_per_node(site):
        yield replace(process, endpoints=tuple(_endpoint(site, s, (s.rank,)) for s in process.seats))


def front_per_node(site: Site) -> Iterator[Process]:
    """One process for each group on the node, and one endpoint that answers for its ranks there."""
    for process in per_node(site):
        ranks = tuple(seat.rank for seat in process.seats)
        yield replace(process, endpoints=(replace(process.endpoints[0], ranks=ranks),))


def front_and_headless(site: Site, headless: Ready) -> Iterator[Process]:
    """One process for each group on the node; the one with rank 0 answers for all ranks of the group.

    The others have no endpoint: ``headless`` decides when they are ready.
    """
    for process in per_node(site):
        front = process.endpoints[:1] if process.seats[0].leads else ()
        whole = tuple(replace(endpoint, ranks=tuple(range(site.role.dp))) for endpoint in front)
        yield replace(process, endpoints=whole, ready=process.ready if whole else headless)


def whole_cluster(site: Site) -> Iterator[Process]:
    """One process for each group, on the master's node: it starts what the group needs elsewhere itself."""
    return (process for process in front_and_headless(site, Ready()) if process.endpoints)


def _groups(site: Site) -> Iterable[tuple[Seat, ...]]:
    return [tuple(seats) for seats in grouped((seat.group, seat) for seat in site.seats).values()]


def _parent(site: Site, seat: Seat) -> str:
    """``decode@n5``; ``decode.1@n5`` where several groups have one there."""
    alone = len({other.group for other in site.seats}) == 1
    return f"{seat.role}@{seat.node}" if alone else f"{seat.role}.{seat.group}@{seat.node}"


def _process(site: Site, name: str, seats: tuple[Seat, ...], endpoints: Iterable[Endpoint]) -> Process:
    return Process(
        name=name,
        kind="engine",
        role=site.role.name,
        group=seats[0].group_name,
        node=site.node.name,
        argv=(),
        seats=seats,
        endpoints=tuple(endpoints),
    )


def _endpoint(site: Site, seat: Seat, ranks: tuple[int, ...]) -> Endpoint:
    return Endpoint(
        name=seat.name,
        role=seat.role,
        group=seat.group_name,
        node=seat.node,
        url=url(seat.address, seat.port("http")),
        ranks=ranks,
        api=site.facts.api,
        model=site.spec.served_model_name,
    )
