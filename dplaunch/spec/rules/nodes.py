"""Rules about nodes: names and addresses are unique, and addresses are addresses."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from dplaunch.ranges import fold, grouped
from dplaunch.spec.finding import Finding, KeyPath
from dplaunch.spec.rules.rule import Case, Rule


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


def addresses_are_numbers(case: Case) -> Iterator[Finding]:
    """Engines connect to this address, and the scripts find the node's network interface by it."""
    for index, node in case.entries():
        if node.pod and not case.file.nodes[index].address:
            continue  # a name that the cluster's DNS knows
        path = _address_path(case, index)
        number = _number(node.address)
        verb = "write" if path[-1] == "address" else "add address:"
        hint = f"{verb} the IP address of {node.name} on the network between the nodes"
        if number is None:
            text = f"the address of {node.name} is '{node.address}', which is neither IPv4 nor IPv6"
            yield Finding(path, text, hint)
        elif number.version == 6 and number.is_link_local:  # noqa: PLR2004 - IPv6
            text = f"the address of {node.name} is '{node.address}', which is valid on one link only"
            yield Finding(path, text, hint)


def addresses_of_one_kind(case: Case) -> Iterator[Finding]:
    """A node with an IPv4 address and one with an IPv6 address do not meet."""
    entries = [(_number(node.address), index, node.name) for index, node in case.entries()]
    kinds = grouped((number.version, (index, name)) for number, index, name in entries if number)
    if len(kinds) > 1:
        (one, first), (other, second) = kinds.items()
        names, others = (fold(name for _, name in members) for members in (first, second))
        yield Finding(
            _address_path(case, second[0][0]),
            f"{names} and {others} have addresses of two kinds, IPv{one} and IPv{other}",
            "give all nodes addresses on a network that all of them share",
        )


def _number(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address)
    except ValueError:
        return None


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
    Rule(_ADDRESSES, addresses_are_numbers),
    Rule(_ADDRESSES, addresses_of_one_kind),
    Rule(_ADDRESSES, addresses_unique),
)
