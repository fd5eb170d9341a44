"""Rules about port bases. Which port each engine gets, and whether two collide, is the plan's arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from dplaunch.engines import adapter
from dplaunch.model.cluster import KvTransferSpec, RoleSpec
from dplaunch.nearest import did_you_mean, nearest
from dplaunch.spec.finding import Finding, KeyPath, dotted
from dplaunch.spec.rules.rule import Case, RoleRule, Rule
from dplaunch.spec.schema import Ports

EPHEMERAL = range(32768, 61000)
"""Linux's default ``net.ipv4.ip_local_port_range``: the kernel may hand any of them out."""


class _Noise(NamedTuple):
    """Ports that another process may take at any time."""

    owner: str
    source: str
    ports: range


_KERNEL = _Noise("the kernel's ephemeral range", "Linux, net.ipv4.ip_local_port_range", EPHEMERAL)


def names_known(case: Case) -> Iterator[Finding]:
    """Each engine has ports of its own names."""
    known = tuple(case.engine.ports)
    sections: dict[KeyPath, Ports] = {("ports",): case.file.ports}
    sections |= {("roles", name, "ports"): role.ports for name, role in case.file.roles.given().items()}
    for path, section in sections.items():
        for name in section.given():
            if name not in known:
                guess = nearest(name, known)
                yield Finding(
                    (*path, name),
                    f"unknown key '{name}' in {dotted(path)}",
                    did_you_mean(name, known, f"known here: {', '.join(known)}"),
                    at_key=True,
                    meant=(*path, guess) if guess else (),
                )


def bases_differ(case: Case, role: RoleSpec) -> Iterator[Finding]:
    """Ports of each name count up from a base of their own."""
    bases = {**case.engine.ports, **role.ports}
    for one, other in combinations(case.engine.ports, 2):
        base = bases[one]
        if base == bases[other]:
            yield Finding(
                _key(case, role, other, one),
                f"{one} and {other} of {role.name} both begin at port {base}",
                "move one of the two",
            )


def kv_quiet(case: Case) -> Iterator[Finding]:
    """Warn about KV ports that another process may already hold when the engine binds them."""
    transfer = case.spec.kv_transfer
    reported: set[KeyPath] = set()
    engine = adapter(case.file.engine.kind)
    wanted = [(role, need) for role in case.spec.roles for need in engine.ports(case.spec, role)]
    for role, need in wanted:
        if need.name != "kv" or not need.listens:
            continue
        first = role.ports.get("kv", case.engine.ports["kv"])
        ports = range(first, first + role.dp * need.count)
        path = _key(case, role, "kv")
        for whose, source, noise in (_KERNEL, *_drawn(case, role, transfer)):
            if _meet(ports, noise) and path not in reported:
                reported.add(path)
                yield Finding(
                    path,
                    f"kv ports {ports.start}–{ports.stop - 1} of {role.name} lie in {whose} "
                    f"{noise.start}–{noise.stop - 1}, where another process may already hold one",
                    f"use ports from {EPHEMERAL.stop} on",
                    warning=True,
                    source=source,
                )


def _drawn(case: Case, role: RoleSpec, transfer: KvTransferSpec | None) -> Iterator[_Noise]:
    """Where the engine's connectors bind at random, alone or listed in another one's ``connectors``."""
    names = transfer.connectors if transfer else ()
    devices = [device for node in case.spec.nodes if node.name in role.nodes for device in node.devices]
    for drawn in case.engine.random_ports:
        if any(name.startswith(drawn.connector) for name in names):
            yield _Noise(drawn.owner, drawn.source, drawn.on(devices))


def _key(case: Case, role: RoleSpec, *bases: str) -> KeyPath:
    """Where the first of the bases is written that is written at all: at the role, or for all."""
    for base in bases:
        if base in case.file.roles.given()[role.name].ports.model_fields_set:
            return ("roles", role.name, "ports", base)
        if base in case.file.ports.model_fields_set:
            return ("ports", base)
    return ("ports", bases[0])


def _meet(one: range, other: range) -> bool:
    return max(one.start, other.start) < min(one.stop, other.stop)


ROLE_RULES = (RoleRule(("engine.kind", "ports.**", "roles.{role}.ports.**"), bases_differ),)
RULES = (
    Rule(("engine.kind", "ports.**", "roles.*.ports.**"), names_known),
    Rule(
        (
            "ports.kv",
            "kv_transfer.connector",
            "engine.kind",
            "engine.version",
            "hardware.**",
            "nodes.*.name",
            "nodes.*.devices",
            *(f"roles.*.{key}" for key in ("ports.kv", "nodes", "dp", "tp", "pp", "pcp")),
        ),
        kv_quiet,
    ),
)
