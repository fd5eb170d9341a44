"""Rules about nodes: names and addresses are unique, and addresses are addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dplaunch.spec.finding import Finding, KeyPath
from dplaunch.spec.rules.rule import Case, Rule

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")


def names_unique(case: Case) -> Iterator[Finding]:
    """Every other key refers to a node by its name."""
    seen: set[str] = set()
    for index, node in case.entries():
        if node.name in seen:
            yield Finding(
                ("nodes", index, "name"),
                f"a second node is called {node.name}",
                "give each node its own name",
            )
        seen.add(node.name)


def addresses_ipv4(case: Case) -> Iterator[Finding]:
    """Engines connect to this address, and the scripts find the node's network interface by it."""
    for index, node in case.entries():
        if not _IPV4.fullmatch(node.address):
            yield Finding(
                _address_path(case, index),
                f"the address of {node.name} is '{node.address}', which is not an IPv4 address",
                f"add address: the IPv4 address of {node.name} on the network between the nodes",
            )


def addresses_unique(case: Case) -> Iterator[Finding]:
    """Ports are counted per node; on a shared address they would meet."""
    owners: dict[str, str] = {}
    for index, node in case.entries():
        owner = owners.setdefault(node.address, node.name)
        if owner != node.name:
            yield Finding(
                _address_path(case, index),
                f"{owner} and {node.name} have the same address {node.address}",
                "give each node its own address; on this machine 127.0.0.1, 127.0.0.2 … will do",
            )


def _address_path(case: Case, index: int) -> KeyPath:
    entry = case.file.nodes[index]
    key = "address" if entry.address else "host" if entry.host else "name"
    return ("nodes", index, key)


_ADDRESSES = ("nodes.*.host", "nodes.*.address")
RULES = (
    Rule(("nodes.*.name",), names_unique),
    Rule(_ADDRESSES, addresses_ipv4),
    Rule(_ADDRESSES, addresses_unique),
)
