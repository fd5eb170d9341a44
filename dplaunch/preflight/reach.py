"""``net.tcp``: tests TCP between the nodes, with real listeners on the ports of engines and router.

The ping of an NPU does not test it. A firewall that opens only the fixed ports is not enough either: vLLM
takes further ports of a data-parallel group at random (``data_parallel_master_port``), so some random ports
are tested too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from msgspec import Struct

from dplaunch.errors import DplaunchError
from dplaunch.fleet.job import Job
from dplaunch.model.check import Finding, Level
from dplaunch.model.cluster import DECODE, PREFILL
from dplaunch.model.plan import Plan, Process
from dplaunch.model.remote import Listening
from dplaunch.ranges import fold, grouped, ranges
from dplaunch.words import plural

RANDOM = 2
"""Number of random ports that each node opens."""
LISTEN_FOR = 300.0
"""Seconds after which a listener ends by itself: all connections must have been tried by then."""
TIMEOUT = 3.0
AT_ONCE = 64
"""Connections that a node tries at once (the limit of the guard)."""
GRACE = 10.0
MANY = 2
"""If so many peers or more see the same fault, it is reported for the node instead of each pair."""
REMEDY = (
    "allow TCP on all ports between the nodes in firewalls and security groups: "
    "rendezvous, gloo and coordinator use random ports"
)
AGAIN = "find out why the ports cannot be opened, then run `dplaunch check` again"


class TcpLink(Struct, frozen=True):
    """``source`` must reach ``port`` of ``target``; port 0 stands for its random ports."""

    source: str
    target: str
    port: int


class TriedLink(Struct, frozen=True):
    """A link and its test; ``error`` is empty if the connection succeeded."""

    link: TcpLink
    error: str = ""
    untried: str | None = None
    """Why it was not tested. Empty: its target was lost, which is reported elsewhere. None: it was tested."""


def plan_links(plan: Plan) -> tuple[TcpLink, ...]:
    """Return the links between nodes that the planned processes will use."""
    found = dict.fromkeys(_list_links(plan))
    return tuple(link for link in found if link.source != link.target)


def _list_links(plan: Plan) -> Iterator[TcpLink]:
    engines = [p for p in plan.processes if p.seats]
    yield from _link_groups(engines)
    yield from _link_router(plan, engines)
    yield from _link_kv(engines)


def _link_groups(engines: Sequence[Process]) -> Iterator[TcpLink]:
    """Link the nodes of a group: all to the master's rendezvous port, and each to each on random ports."""
    groups = grouped((engine.group, engine.node) for engine in engines)
    members = {group: dict.fromkeys(nodes) for group, nodes in groups.items()}
    for engine in engines:
        for seat in engine.seats:
            for name in ("rpc", "master") if seat.leads else ():
                if name in seat.ports:
                    port = seat.port(name)
                    yield from (TcpLink(node, engine.node, port) for node in members[engine.group])
    for nodes in members.values():
        for source in nodes:
            yield from (TcpLink(source, target, 0) for target in nodes)


def _link_router(plan: Plan, engines: Sequence[Process]) -> Iterator[TcpLink]:
    """Link the router to every engine's HTTP port, and every node to the router, as a client would."""
    if plan.router is None:
        return
    for engine in engines:
        for endpoint in engine.endpoints:
            yield TcpLink(plan.router.node, engine.node, urlsplit(endpoint.url).port or 0)
    yield from (TcpLink(node.name, plan.router.node, plan.router.port) for node in plan.nodes)


def _link_kv(engines: Sequence[Process]) -> Iterator[TcpLink]:
    """Link prefill and decode nodes; the connector decides which side listens for KV."""
    for one, other in ((DECODE, PREFILL), (PREFILL, DECODE)):
        sources = dict.fromkeys(e.node for e in engines if e.role == one)
        for engine in engines:
            first = [seat.port("kv") for seat in engine.seats if "kv" in seat.ports]
            for port in first if engine.role == other else ():
                if port in engine.ports:
                    yield from (TcpLink(node, engine.node, port) for node in sources)


def try_links(job: Job) -> tuple[TriedLink, ...]:
    """Open listeners, try every planned link, close the listeners."""
    wanted = plan_links(job.plan)
    targets = {link.target for link in wanted}
    listeners = {
        node.name: (node.address, sorted({port for process in node.processes for port in process.ports}))
        for node in job.plan.nodes
        if node.name in targets
    }
    with job.driver.listening(listeners, RANDOM, LISTEN_FOR) as opened:
        return _connect(job, wanted, opened)


_Opened = Mapping[str, Listening | DplaunchError]
"""Node → its open ports, or why it opened none; a lost node is missing."""


def _connect(job: Job, wanted: Sequence[TcpLink], opened: _Opened) -> tuple[TriedLink, ...]:
    addresses = {node.name: node.address for node in job.plan.nodes}
    chosen = [(link, *_choose_ports(link, opened.get(link.target))) for link in wanted]
    links = [TcpLink(link.source, link.target, port) for link, ports, _ in chosen for port in ports]
    by_key = {str(number): link for number, link in enumerate(links)}
    targets = grouped((link.source, (key, addresses[link.target], link.port)) for key, link in by_key.items())
    rounds = 1 + max(map(len, targets.values()), default=0) // AT_ONCE
    results = job.driver.connect(targets, TIMEOUT, rounds * TIMEOUT + GRACE)
    untried = [TriedLink(link, untried=why) for link, ports, why in chosen if not ports]
    return (*(TriedLink(by_key[result.key], result.error) for result in results), *untried)


def _choose_ports(link: TcpLink, opened: Listening | DplaunchError | None) -> tuple[list[int], str]:
    """Return the ports to try, or why not: a port that is neither open nor held cannot be tested."""
    if opened is None:
        return [], ""
    if isinstance(opened, DplaunchError):
        return [], opened.text
    named = [] if link.port in opened.closed else [link.port]
    return named if link.port else list(opened.random), opened.closed.get(link.port, "")


def judge_links(tried: Sequence[TriedLink]) -> Iterator[Finding]:
    """Yield one finding for each cause: an unreachable node, a node that reaches no other, a pair, a port."""
    untried = [one for one in tried if one.untried is not None]
    ways = grouped(((one.link.source, one.link.target), one) for one in tried if one.untried is None)
    broken = {way: bad for way, all_ in ways.items() if (bad := [one for one in all_ if one.error])}
    yield from _judge_nodes(ways, broken)
    for (source, target), bad in list(broken.items()):
        if (source, target) in broken:
            yield _judge_pair(ways, broken, (source, target), bad)
    yield from _report_untried(untried)
    troubled = {way[0] for way in ways if any(one.error for one in ways[way])}
    troubled |= {end for one in untried for end in (one.link.source, one.link.target)}
    for node in dict.fromkeys(source for source, _ in ways):
        if node not in troubled:
            text = "reaches every node that it will connect to over TCP"
            yield Finding(probe="net.tcp", level=Level.OK, node=node, text=text)


def _report_untried(untried: Sequence[TriedLink]) -> Iterator[Finding]:
    """Yield a warning for each node that could not open its ports."""
    for node, closed in grouped((one.link.target, one) for one in untried if one.untried).items():
        ports = sorted({one.link.port for one in closed})
        what = f"port {ranges(ports)}" if 0 not in ports else "its ports"
        why = fold(dict.fromkeys(one.untried or "" for one in closed))
        text = f"{what} could not be opened, so connections to the node were not tested: {why}"
        yield Finding(probe="net.tcp", level=Level.WARN, node=node, text=text, remedy=AGAIN)


def _judge_nodes(
    ways: Mapping[tuple[str, str], list[TriedLink]], broken: dict[tuple[str, str], list[TriedLink]]
) -> Iterator[Finding]:
    """Yield the faults that all peers of a node see, and remove their ways from ``broken``."""
    for end, words in ((1, "is unreachable over TCP from"), (0, "has no TCP connection to")):
        for node in dict.fromkeys(way[end] for way in ways):
            mine = [way for way in ways if way[end] == node]
            if len(mine) < MANY or any(len(broken.get(way, ())) < len(ways[way]) for way in mine):
                continue
            peers = fold(way[1 - end] for way in mine)
            bad = [one for way in mine for one in broken.pop(way)]
            yield _make_finding(node, f"{words} {peers}", bad)
            for way in [way for way in broken if node in way]:  # the way back has the same cause
                del broken[way]


def _judge_pair(
    ways: Mapping[tuple[str, str], list[TriedLink]],
    broken: dict[tuple[str, str], list[TriedLink]],
    way: tuple[str, str],
    bad: Sequence[TriedLink],
) -> Finding:
    source, target = way
    del broken[way]
    back = broken.pop((target, source), None)
    both = f"no TCP connection between {source} and {target} in either direction"
    text = both if back else f"no TCP connection to {target}"
    whole = len(bad) == len(ways[way]) and (not back or len(back) == len(ways[target, source]))
    return _make_finding(source, text, [*bad, *(back or ())], whole=whole)


def _make_finding(node: str, text: str, bad: Sequence[TriedLink], *, whole: bool = True) -> Finding:
    ports = sorted({one.link.port for one in bad})
    where = f"on {plural(len(ports), 'port')}" if whole else f"on port {ranges(ports)}"
    why = fold(dict.fromkeys(one.error for one in bad))
    return Finding(probe="net.tcp", level=Level.FAIL, node=node, text=f"{text} {where}: {why}", remedy=REMEDY)
