"""``host.nic``: the interface that carries each node's address, found as the engines' scripts find it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address

from dplaunch.model.check import Command, Facts, Finding, Level
from dplaunch.probes.findings import list_some
from dplaunch.probes.outputs import Outputs, clean, describe_unread, find_output
from dplaunch.probes.probe import EarlierFacts, Probe, ProbeTarget
from dplaunch.render import render

NAME = "host.nic"
_LISTING = """
if command -v ip >/dev/null 2>&1; then exec ip -o addr show; fi
exec python3 - <<'END'
%sEND
"""
"""The same as in ``templates/shell/nic.sh.j2``, so that it finds what the scripts will find."""

_IP_LINE = re.compile(r"\d+:\s+(\S+)\s+inet6?\s+([0-9A-Fa-f.:]+)")
_PLAIN_LINE = re.compile(r"([^\s:]\S*) ([0-9A-Fa-f]*[.:][0-9A-Fa-f.:]+)")


def parse_interfaces(text: str) -> list[list[str]]:
    """Return ``[name, address]`` for each address, from the output of ``ip`` or of the script."""
    found = []
    for line in clean(text).splitlines():
        match = _IP_LINE.match(line.strip()) or _PLAIN_LINE.fullmatch(line.strip())
        if match:
            found.append([match[1].partition("@")[0], match[2]])
    return found


def _commands(target: ProbeTarget, _seen: EarlierFacts) -> Iterator[Command]:
    if target.plan.pod is not None:
        return  # its address is a name, and the scripts ask the pod for what it stands for
    yield Command(key="interfaces", argv=("sh", "-c", _LISTING % render("shell/interfaces.py.j2", {})))


def _parse(target: ProbeTarget, outputs: Outputs) -> Facts:
    output = find_output(outputs, "interfaces")
    found = parse_interfaces(output.out)
    if output.code != 0 or not found:
        return {"unread": [describe_unread("interfaces", output)]}
    return {"interfaces": found, "nic": " ".join(_find_carriers(found, target.node.address))}


def _find_carriers(found: Iterable[Sequence[str]], address: str) -> list[str]:
    return list(dict.fromkeys(name for name, held in found if held == address))


def _compare(targets: Sequence[ProbeTarget], seen: Mapping[str, Facts]) -> Iterator[Finding]:
    looked = [target for target in targets if target.name in seen]
    one_machine = all(_is_loopback(target) for target in looked)
    for target in looked:
        yield _judge_node(target, seen[target.name]["interfaces"], one_machine=one_machine)


def _is_loopback(target: ProbeTarget) -> bool:
    return ip_address(target.node.address).is_loopback


def _judge_node(target: ProbeTarget, found: Sequence[Sequence[str]], *, one_machine: bool) -> Finding:
    address, given = target.node.address, target.node.nic
    carriers = _find_carriers(found, address)
    level = Level.FAIL
    remedy = f"correct address in the cluster file: {_list_candidates(found)}"
    if _is_loopback(target):
        if one_machine:
            return Finding(probe=NAME, level=Level.OK, text="lo carries the node's address", node=target.name)
        text = f"{address} is a loopback address, which other nodes cannot reach"
    elif not carriers:
        text = f"no interface carries {address}"
    elif given and given not in carriers:
        exists = any(name == given for name, _ in found)
        what = "does not carry the address" if exists else "does not exist"
        text = f"interface {given} {what}; {list_some(carriers)} carries {address}"
        remedy = f"set nic: {carriers[0]} in the cluster file, or leave nic out to find it by address"
    elif not given and len(carriers) > 1:
        text = f"several interfaces carry {address}: {list_some(carriers)}"
        remedy = "choose the one for the engines with nic in the cluster file"
    else:
        level, remedy = Level.OK, ""
        text = f"{given or carriers[0]} carries the node's address"
    return Finding(probe=NAME, level=level, text=text, node=target.name, remedy=remedy)


def _list_candidates(found: Iterable[Sequence[str]]) -> str:
    """Return what the cluster file could hold instead: addresses that other nodes can reach."""
    candidates = [f"{name} has {address}" for name, address in found if _is_reachable(address)]
    return list_some(candidates) if candidates else "the node has loopback addresses only"


def _is_reachable(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_link_local)


PROBE = Probe(name=NAME, commands=_commands, parse=_parse, compare=_compare, quick=True, steady=("nic",))
