"""The host's TCP plane: real listeners, real connects, on the ports engines and router will use.

An NPU's ping says nothing about it, and a firewall that opens the fixed ports only is not enough: the
other ports of a data-parallel group are random, so that some random ones are tried too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dplaunch.errors import DplaunchError
from dplaunch.fleet.job import Job
from dplaunch.model.check import Finding, Level
from dplaunch.model.cluster import DECODE, PREFILL
from dplaunch.model.plan import NodePlan, Plan, Process
from dplaunch.model.remote import Listening
from dplaunch.ranges import fold, grouped, ranges
from dplaunch.words import plural

RANDOM = 2
"""Random ports that each node opens."""
LISTEN_FOR = 300.0
"""Seconds, should nobody end it before: all connections must have been tried until then."""
TIMEOUT = 3.0
AT_ONCE = 64
"""Connections that a node tries side by side (the guard's own bound)."""
GRACE = 10.0
MANY = 2
"""From so many peers on, what all of them see is said of the node, not of each pair."""
REMEDY = (
    "open TCP between the nodes in firewall and security groups, all ports: "
    "those of rendezvous, gloo and coordinator are random"
)


AGAIN = "see why they cannot be opened, then `dplaunch check` again"


@dataclass(frozen=True, slots=True)
class Link:
    """``source`` must reach ``port`` of ``target``; port 0: any of its random ones."""

    source: str
    target: str
    port: int


@dataclass(frozen=True, slots=True)
class Tried:
    """A link and what came of it; ``error`` is empty when it was made."""

    link: Link
    error: str = ""
    untried: str | None = None
    """Why nobody tried it: neither made nor broken. Empty: its target was lost, which is told elsewhere."""


def links(plan: Plan) -> tuple[Link, ...]:
    """What the planned processes will connect to on other nodes."""
    found = dict.fromkeys(_links(plan))
    return tuple(link for link in found if link.source != link.target)


def _links(plan: Plan) -> Iterator[Link]:
    engines = [p for p in plan.processes if p.seats]
    members: dict[str, dict[str, None]] = {}
    for engine in engines:
        members.setdefault(engine.group, {})[engine.node] = None
    yield from _within(engines, members)
    yield from _to_router(plan, engines)
    yield from _kv(engines)


def _within(engines: Sequence[Process], members: Mapping[str, Mapping[str, None]]) -> Iterator[Link]:
    """Members of a group: all to the master's rendezvous port, and each to each on random ones."""
    for engine in engines:
        for seat in engine.seats:
            if seat.rank == 0 and "rpc" in seat.ports:
                yield from (Link(node, engine.node, seat.port("rpc")) for node in members[engine.group])
    for nodes in members.values():
        for source in nodes:
            yield from (Link(source, target, 0) for target in nodes)


def _to_router(plan: Plan, engines: Sequence[Process]) -> Iterator[Link]:
    """The router to every engine's HTTP port; every other node to the router, as a client would."""
    if plan.router is None:
        return
    for engine in engines:
        for seat in engine.seats:
            yield Link(plan.router.node, engine.node, seat.port("http"))
    yield from (Link(node.name, plan.router.node, plan.router.port) for node in plan.nodes)


def _kv(engines: Sequence[Process]) -> Iterator[Link]:
    """Between prefill and decode nodes: which side listens for KV depends on the connector."""
    for one, other in ((DECODE, PREFILL), (PREFILL, DECODE)):
        sources = dict.fromkeys(e.node for e in engines if e.role == one)
        for engine in engines:
            first = [seat.port("kv") for seat in engine.seats if "kv" in seat.ports]
            for port in first if engine.role == other else ():
                if port in engine.ports:
                    yield from (Link(node, engine.node, port) for node in sources)


def attempt(job: Job) -> tuple[Tried, ...]:
    """Open the listeners, try every link, close them again."""
    wanted = links(job.plan)
    targets = {link.target for link in wanted}
    ports = {node.name: (node.address, _bound(node)) for node in job.plan.nodes if node.name in targets}
    with job.driver.listening(ports, RANDOM, LISTEN_FOR) as opened:
        return _connect(job, wanted, opened)


def _bound(node: NodePlan) -> list[int]:
    return sorted({port for process in node.processes for port in process.ports})


_Opened = Mapping[str, Listening | DplaunchError]
"""By node: what it opened, or why it opens nothing; a lost node is missing."""


def _connect(job: Job, wanted: Sequence[Link], opened: _Opened) -> tuple[Tried, ...]:
    addresses = {node.name: node.address for node in job.plan.nodes}
    asked: dict[str, list[tuple[str, str, int]]] = {}
    by_key: dict[str, Link] = {}
    untried: list[Tried] = []
    for link in wanted:
        ports, why = _ports(link, opened.get(link.target))
        if not ports:
            untried.append(Tried(link, untried=why))
        for port in ports:
            key = str(len(by_key))
            by_key[key] = Link(link.source, link.target, port)
            asked.setdefault(link.source, []).append((key, addresses[link.target], port))
    rounds = 1 + max((len(many) for many in asked.values()), default=0) // AT_ONCE
    results = job.driver.connect(asked, TIMEOUT, rounds * TIMEOUT + GRACE)
    return (*(Tried(by_key[result.key], result.error) for result in results), *untried)


def _ports(link: Link, opened: Listening | DplaunchError | None) -> tuple[list[int], str]:
    """Which ports to try, or why none: one that could not be opened and that nothing holds proves nothing."""
    if opened is None:
        return [], ""
    if isinstance(opened, DplaunchError):
        return [], opened.text
    named = [] if link.port in opened.closed else [link.port]
    return named if link.port else list(opened.random), opened.closed.get(link.port, "")


def judge(tried: Sequence[Tried]) -> Iterator[Finding]:
    """One finding per cause: a node nobody reaches, a node that reaches nobody, a pair, a port."""
    untried = [one for one in tried if one.untried is not None]
    ways = grouped(((one.link.source, one.link.target), one) for one in tried if one.untried is None)
    broken = {way: bad for way, all_ in ways.items() if (bad := [one for one in all_ if one.error])}
    yield from _nodes(ways, broken)
    for (source, target), bad in list(broken.items()):
        if (source, target) in broken:
            yield _pair(ways, broken, (source, target), bad)
    yield from _unknown(untried)
    troubled = {way[0] for way in ways if any(one.error for one in ways[way])}
    troubled |= {end for one in untried for end in (one.link.source, one.link.target)}
    for node in dict.fromkeys(source for source, _ in ways):
        if node not in troubled:
            text = "every node it talks to is reached over TCP"
            yield Finding(probe="net.tcp", level=Level.OK, node=node, text=text)


def _unknown(untried: Sequence[Tried]) -> Iterator[Finding]:
    """Nodes that could not open what the others were to reach: neither good nor bad."""
    for node, closed in grouped((one.link.target, one) for one in untried if one.untried).items():
        ports = sorted({one.link.port for one in closed})
        what = f"port {ranges(ports)}" if 0 not in ports else "its ports"
        why = fold(dict.fromkeys(one.untried or "" for one in closed))
        text = f"{what} could not be opened there, so whether others reach it was not tried: {why}"
        yield Finding(probe="net.tcp", level=Level.WARN, node=node, text=text, remedy=AGAIN)


def _nodes(
    ways: Mapping[tuple[str, str], list[Tried]], broken: dict[tuple[str, str], list[Tried]]
) -> Iterator[Finding]:
    """What all peers of one node agree on; the ways told of are taken out of ``broken``."""
    for end, words in ((1, "is reached by none of"), (0, "reaches none of")):
        for node in dict.fromkeys(way[end] for way in ways):
            mine = [way for way in ways if way[end] == node]
            if len(mine) < MANY or any(len(broken.get(way, ())) < len(ways[way]) for way in mine):
                continue
            peers = fold(way[1 - end] for way in mine)
            bad = [one for way in mine for one in broken.pop(way)]
            yield _finding(node, f"{words} {peers} over TCP", bad)
            for way in [way for way in broken if node in way]:  # the way back, through the same wall
                del broken[way]


def _pair(
    ways: Mapping[tuple[str, str], list[Tried]],
    broken: dict[tuple[str, str], list[Tried]],
    way: tuple[str, str],
    bad: Sequence[Tried],
) -> Finding:
    source, target = way
    del broken[way]
    back = broken.pop((target, source), None)
    both = f"no TCP between {source} and {target}, in either direction"
    text = both if back else f"no TCP connection to {target}"
    whole = len(bad) == len(ways[way]) and (not back or len(back) == len(ways[target, source]))
    return _finding(source, text, [*bad, *(back or ())], whole=whole)


def _finding(node: str, text: str, bad: Sequence[Tried], *, whole: bool = True) -> Finding:
    ports = sorted({one.link.port for one in bad})
    where = f"on {plural(len(ports), 'port')} tried" if whole else f"on port {ranges(ports)}"
    why = fold(dict.fromkeys(one.error for one in bad))
    return Finding(probe="net.tcp", level=Level.FAIL, node=node, text=f"{text} {where}: {why}", remedy=REMEDY)
