"""``host.proxy``: a proxy in the environment that would get the traffic between nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.findings import list_some
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget

NAME = "host.proxy"
SCRIPT = "env | grep -iE '^(https?|all|no)_proxy=' || true"
_LINE = re.compile(r"((?:http|https|all|no)_proxy)=(.*)", re.IGNORECASE)
_LOGIN = re.compile(r"^(\w+://)?.*@")


def parse_environment(text: str) -> dict[str, object]:
    """Return ``proxies``: variable → address, without user and password; ``no_proxy``: its entries."""
    found: dict[str, str] = {}
    exceptions: list[str] = []
    for line in clean(text).splitlines():
        match = _LINE.fullmatch(line.strip())
        if match and match[1].lower() == "no_proxy":
            exceptions += [entry.strip() for entry in match[2].split(",") if entry.strip()]
        elif match and match[2].strip():
            found[match[1]] = _LOGIN.sub(r"\1", match[2].strip())
    return {"proxies": found, "no_proxy": list(dict.fromkeys(exceptions))}


def covers(entries: Iterable[str], address: str) -> bool:
    """Return whether no_proxy covers the address, by the rules that curl and Python have in common."""
    return any(_matches(entry, address) for entry in entries)


def _matches(entry: str, address: str) -> bool:
    if entry in ("*", address):
        return True
    try:
        return "/" in entry and ip_address(address) in ip_network(entry, strict=False)
    except ValueError:
        return False


def _commands(_target: ProbeTarget, _seen: EarlierFacts) -> Iterator[Command]:
    yield Command(key="proxies", argv=("sh", "-c", SCRIPT))


def _parse(_: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "proxies")
    if output.code != 0:
        return {"unread": [describe_unread("proxies", output)]}
    return parse_environment(output.out)


def _compare(targets: Sequence[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    addresses = [target.node.address for target in targets]
    for node, facts in seen.items():
        yield _judge_node(node, facts, addresses)


def _judge_node(node: str, facts: Facts, addresses: Sequence[str]) -> Finding:
    names = list_some(sorted(facts["proxies"]))
    missed = [address for address in addresses if not covers(facts["no_proxy"], address)]
    if not names:
        return Finding(probe=NAME, level=Level.OK, text="no proxy in the environment", node=node)
    if not missed:
        text = f"{names} set, but no_proxy covers the nodes"
        return Finding(probe=NAME, level=Level.OK, text=text, node=node)
    text = (
        f"{names} set, and no_proxy does not cover {list_some(missed, 3)}; engines and router start without "
        "the proxy, but other programs on this node use it to connect to them"
    )
    remedy = "add the nodes' addresses to no_proxy, or remove the proxy from the login's environment"
    return Finding(probe=NAME, level=Level.WARN, text=text, node=node, remedy=remedy)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare)
