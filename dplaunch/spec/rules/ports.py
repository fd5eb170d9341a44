"""Rules about port bases. Which port each engine gets, and whether two collide, is the plan's arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from dplaunch.model.cluster import KvTransferSpec, RoleSpec
from dplaunch.spec.finding import Finding, KeyPath
from dplaunch.spec.rules.rule import Case, RoleRule, Rule

EPHEMERAL = range(32768, 61000)
"""Linux's default ``ip_local_port_range``: the kernel may hand any of them out (facts §2.3.4)."""
MOONCAKE = 20000
"""Mooncake's AscendDirect binds at random in [20000, 20000 + 1000 × devices) (facts §2.3.4)."""
SOURCES = {
    "the kernel's ephemeral range": "Linux, net.ipv4.ip_local_port_range",
    "Mooncake's random range": "vllm-ascend PR #6455, issue #8938",
}


def bases_differ(case: Case, role: RoleSpec) -> Iterator[Finding]:
    """Engines, rendezvous and KV transfer count up from three bases."""
    for one, other in combinations(("http", "rpc", "kv"), 2):
        base = getattr(role.ports, one)
        if base == getattr(role.ports, other):
            yield Finding(
                _key(case, role, other, one),
                f"{one} and {other} of {role.name} both begin at port {base}",
                "move one of the two",
            )


def kv_quiet(case: Case) -> Iterator[Finding]:
    """A KV port that somebody else may hold by then fails the start, now and then."""
    transfer = case.spec.kv_transfer
    told: set[KeyPath] = set()
    for role in case.spec.roles if transfer else ():
        ports = range(role.ports.kv, role.ports.kv + role.dp * role.devices_per_rank)
        path = _key(case, role, "kv")
        noises = {"the kernel's ephemeral range": EPHEMERAL}
        if transfer and _mooncake(transfer):
            noises["Mooncake's random range"] = range(MOONCAKE, MOONCAKE + 1000 * _devices(case, role))
        for whose, noise in noises.items():
            if _meet(ports, noise) and path not in told:
                told.add(path)
                yield Finding(
                    path,
                    f"kv ports {ports.start}–{ports.stop - 1} of {role.name} lie in {whose} "
                    f"{noise.start}–{noise.stop - 1}, where one may be taken already",
                    f"{EPHEMERAL.stop} and above is quiet",
                    warning=True,
                    source=SOURCES[whose],
                )


def _mooncake(transfer: KvTransferSpec) -> bool:
    """Whether Mooncake moves KV, alone or among MultiConnector's."""
    entries = transfer.extra.get("connectors")
    listed = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, tuple) else []
    names = (transfer.connector, *(str(entry.get("kv_connector")) for entry in listed))
    return any(name.startswith("Mooncake") for name in names)


def _devices(case: Case, role: RoleSpec) -> int:
    return max(node.devices for node in case.spec.nodes if node.name in role.nodes)


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


ROLE_RULES = (RoleRule(("ports.**", "roles.{role}.ports.**"), bases_differ),)
RULES = (
    Rule(
        (
            "ports.kv",
            "kv_transfer.connector",
            "engine.kind",
            "hardware.**",
            "nodes.*.name",
            "nodes.*.devices",
            *(f"roles.*.{key}" for key in ("ports.kv", "nodes", "dp", "tp", "pp", "pcp")),
        ),
        kv_quiet,
    ),
)
