"""``host.proxy``: a proxy in the environment that would get what nodes say to each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.words import answer, clean, shown_list, unread, unread_finding

NAME = "host.proxy"
ASKED = "env | grep -iE '^(https?|all|no)_proxy=' || true"
_LINE = re.compile(r"((?:http|https|all|no)_proxy)=(.*)", re.IGNORECASE)
_LOGIN = re.compile(r"^(\w+://)?.*@")


def proxies(text: str) -> dict[str, object]:
    """``proxies``: variable → where it points, without user and password; ``no_proxy``: its entries."""
    found: dict[str, str] = {}
    spared: list[str] = []
    for line in clean(text).splitlines():
        match = _LINE.fullmatch(line.strip())
        if match and match[1].lower() == "no_proxy":
            spared += [entry.strip() for entry in match[2].split(",") if entry.strip()]
        elif match and match[2].strip():
            found[match[1]] = _LOGIN.sub(r"\1", match[2].strip())
    return {"proxies": found, "no_proxy": list(dict.fromkeys(spared))}


def spares(entries: Iterable[str], address: str) -> bool:
    """Whether a list of no_proxy leaves this address alone, by the rules that curl and Python share."""
    return any(_matches(entry, address) for entry in entries)


def _matches(entry: str, address: str) -> bool:
    if entry in ("*", address):
        return True
    try:
        return "/" in entry and ip_address(address) in ip_network(entry, strict=False)
    except ValueError:
        return False


def _commands(target: Target, seen: Seen) -> Iterable[Command]:
    del target, seen
    yield Command(key="proxies", argv=("sh", "-c", ASKED))


def _parse(target: Target, outputs: Outputs) -> Facts:
    del target
    output = answer(outputs, "proxies")
    return proxies(output.out) if output.code == 0 else {"unread": [unread("proxies", output)]}


def _judge(targets: Sequence[Target], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    addresses = [target.node.address for target in targets]
    for node, facts in seen.items():
        yield from unread_finding(NAME, node, facts)
        if not facts.get("unread"):
            yield _judged(node, facts, addresses)


def _judged(node: str, facts: Facts, addresses: Sequence[str]) -> Finding:
    names = shown_list(sorted(facts["proxies"]))
    bare = [address for address in addresses if not spares(facts["no_proxy"], address)]
    if not names:
        return Finding(probe=NAME, level=Level.OK, text="no proxy in the environment", node=node)
    if not bare:
        text = f"{names} set, and no_proxy spares the nodes"
        return Finding(probe=NAME, level=Level.OK, text=text, node=node)
    text = (
        f"{names} set, and no_proxy does not spare {shown_list(bare, 3)}; engines and router start without "
        "it, but whatever else calls them from there goes through the proxy"
    )
    remedy = "add the nodes' addresses to no_proxy, or take the proxy out of the login's environment"
    return Finding(probe=NAME, level=Level.WARN, text=text, node=node, remedy=remedy)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge)
