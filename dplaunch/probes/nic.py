"""``host.nic``: the interface that carries each node's address, found as the engines' scripts find it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.probe import Outputs, Probe, Seen, Target
from dplaunch.probes.words import answer, clean, shown_list, unread, unread_finding
from dplaunch.render import render

NAME = "host.nic"
LOOPBACK = "127."
_LISTING = """
if command -v ip >/dev/null 2>&1; then exec ip -o addr show; fi
exec python3 - <<'END'
%sEND
"""
"""As ``templates/shell/nic.sh.j2`` does it: what this finds, the scripts will find."""

_IP_LINE = re.compile(r"\d+:\s+(\S+)\s+inet6?\s+([0-9A-Fa-f.:]+)")
_PLAIN_LINE = re.compile(r"([^\s:]\S*) (\d+\.\d+\.\d+\.\d+)")


def interfaces(text: str) -> list[list[str]]:
    """``[name, address]`` for each address, from either listing."""
    found = []
    for line in clean(text).splitlines():
        match = _IP_LINE.match(line.strip()) or _PLAIN_LINE.fullmatch(line.strip())
        if match:
            found.append([match[1].partition("@")[0], match[2]])
    return found


def _commands(target: Target, seen: Seen) -> Iterable[Command]:
    del target, seen
    yield Command(key="interfaces", argv=("sh", "-c", _LISTING % render("shell/interfaces.py.j2", {})))


def _parse(target: Target, outputs: Outputs) -> Facts:
    output = answer(outputs, "interfaces")
    found = interfaces(output.out)
    if output.code != 0 or not found:
        return {"unread": [unread("interfaces", output)]}
    return {"interfaces": found, "nic": " ".join(_carriers(found, target.node.address))}


def _carriers(found: Iterable[Sequence[str]], address: str) -> list[str]:
    return list(dict.fromkeys(name for name, held in found if held == address))


def _judge(targets: Sequence[Target], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    here_only = all(_is_loopback(target) for target in targets)
    for target in targets:
        facts = seen.get(target.name)
        if facts is None:
            continue
        yield from unread_finding(NAME, target.name, facts)
        if not facts.get("unread"):
            yield _judged(target, facts["interfaces"], here_only=here_only)


def _is_loopback(target: Target) -> bool:
    return target.node.address.startswith(LOOPBACK)


def _judged(target: Target, found: Sequence[Sequence[str]], *, here_only: bool) -> Finding:
    address, given = target.node.address, target.node.nic
    carriers = _carriers(found, address)
    level = Level.FAIL
    remedy = f"correct address in the cluster file: {_candidates(found)}"
    if _is_loopback(target):
        if here_only:
            return Finding(probe=NAME, level=Level.OK, text="the address is on lo", node=target.name)
        text = f"{address} is a loopback address, which no other node can reach"
    elif not carriers:
        text = f"no interface carries {address}"
    elif given and given not in carriers:
        exists = any(name == given for name, _ in found)
        what = f"{given} does not carry" if exists else f"there is no interface {given} to carry"
        text = f"{what} {address}: {shown_list(carriers)} does"
        remedy = f"nic: {carriers[0]} in the cluster file, or leave nic out: it is found by address"
    elif not given and len(carriers) > 1:
        text = f"several interfaces carry {address}: {shown_list(carriers)}"
        remedy = "say with nic in the cluster file which one engines should use"
    else:
        level, remedy = Level.OK, ""
        text = f"the address is on {given or carriers[0]}"
    return Finding(probe=NAME, level=level, text=text, node=target.name, remedy=remedy)


def _candidates(found: Iterable[Sequence[str]]) -> str:
    """What the cluster file could say instead: IPv4 addresses that others may reach."""
    shown = [f"{name} has {held}" for name, held in found if _may_be_reached(held)]
    return shown_list(shown) if shown else "the node has no address but the loopback's"


def _may_be_reached(address: str) -> bool:
    try:
        found = IPv4Address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_link_local)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, judge=_judge, quick=True, steady=("nic",))
