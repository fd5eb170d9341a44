"""``hccn_tool``: how to call it, and parsers of its answers.

If two run at once on a machine, one answers ``busy``, so all calls share one lane. A parser returns the
value, an empty one if the tool answers that it is not set, and None if the text is not an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from dplaunch.model.check import Command, Output
from dplaunch.probes.ascend import describe_unread, find_hindrance, find_trouble, make_argv
from dplaunch.probes.outputs import clean

LANE = "hccn"
BUSY = "hccn_tool is busy"
TIMEOUT = 4.0
"""Seconds: an answer takes a fraction of one, but with a broken driver the tool hangs."""

HEALTHS = (
    "Success",
    "Socket fail",
    "Receive timeout",
    "Unreachable",
    "Time exceeded",
    "Fault",
    "Init",
    "Thread error",
    "Detect ip set",
    "Unknown",
)
UNSET = "0.0.0.0"

Parser = Callable[[str], Any]


def make_command(key: str, device: int, *words: str, timeout: float = TIMEOUT) -> Command:
    """Return a call of ``hccn_tool`` for a device."""
    return Command(
        key=key,
        argv=make_argv("hccn_tool", "-i", str(device), *words),
        timeout=timeout,
        lane=LANE,
        again=BUSY,
    )


def make_query(what: str, device: int) -> Command:
    """Return ``hccn_tool -i 3 -link -g``, with the key that ``collect_answers`` reads."""
    return make_command(f"{what} {device}", device, f"-{what}", "-g")


def collect_answers(outputs: Mapping[str, Output], parsers: Mapping[str, Parser]) -> dict[str, Any]:
    """Return the facts of many queries: ``devices`` (number → what → value), ``unread`` and ``hindrance``."""
    calls = {key: output for key, output in outputs.items() if key.partition(" ")[0] in parsers}
    facts: dict[str, Any] = {"devices": {}, "unread": [], "hindrance": find_hindrance(calls.values())}
    for key, output in calls.items():
        what, _, device = key.partition(" ")
        value = None if find_trouble(output) else parsers[what](clean(output.out))
        if value is not None:
            facts["devices"].setdefault(device, {})[what] = value
        elif not facts["hindrance"]:
            facts["unread"].append(describe_unread(key, output))
    return facts


@lru_cache(maxsize=4096)
def parse_address(text: str) -> str:
    """Return the address in its usual form; empty for 0.0.0.0 and for what is not an address."""
    try:
        found = str(IPv4Address(text))
    except AddressValueError:
        return ""
    return "" if found == UNSET else found


def _search(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text, re.ASCII | re.MULTILINE)
    return match[1].strip() if match else None


def parse_link(text: str) -> str | None:
    """Return ``UP`` or ``DOWN``."""
    return _search(r"^link status:\s*(UP|DOWN)\b", text)


def parse_net_health(text: str) -> str | None:
    """Return one of ``HEALTHS``."""
    return _search(rf"^net health status:\s*({'|'.join(HEALTHS)})\s*$", text)


def parse_netdetect(text: str) -> str | None:
    """Return the address that the device probes for its net health; empty if none is set."""
    found = _search(r"^netdetect address:\s*([0-9.]+)", text)
    return "" if found == UNSET else parse_address(found or "") or None


def parse_gateway(text: str) -> str | None:
    """Return the default gateway; empty if none is set."""
    if "no gateway was preset" in text:
        return ""
    found = _search(r"default gateway:\s*([0-9.]+)", text)
    return "" if found == UNSET else parse_address(found or "") or None


def parse_lldp(text: str) -> str | None:
    """Return the switch's port; empty if the switch does not announce it."""
    return "" if not text.strip() else _search(r"Ifname:\s*([\w/:.\-]+)", text)


def parse_ip(text: str) -> Mapping[str, str] | None:
    """Return ``address`` and ``netmask`` of the device; both are empty if none is set."""
    if "no ip was preset" in text:
        return {"address": "", "netmask": ""}
    found = parse_address(_search(r"^ipaddr:\s*([0-9.]+)", text) or "")
    mask = parse_address(_search(r"^netmask:\s*([0-9.]+)", text) or "")
    return {"address": found, "netmask": mask} if found else None


def parse_vnic(text: str) -> Mapping[str, str] | None:
    """Return ``address``, ``netmask`` and ``link`` of an A3 device in its super pod."""
    state = _search(r"^vnic link status:\s*(UP|DOWN)\b", text)
    given = _search(r"^vnic ipaddr:\s*([0-9.]+)", text)
    mask = parse_address(_search(r"^vnic netmask:\s*([0-9.]+)", text) or "")
    found = parse_address(given or "")
    if state is None or (not found and given != UNSET and state == "UP"):
        return None
    return {"address": found, "netmask": mask, "link": state}


def parse_tls(text: str) -> int | None:
    """Return 1 if TLS is on, 0 if it is off."""
    found = _search(r"tls switch\[([01])\]", text)
    return None if found is None else int(found)


_LOST = (
    "not start to send",
    "recv time out",
    "Destination Host Unreachable",
    "Message too long",
    "pkt send fail",
    "recv msg fail",
)


def parse_ping(text: str) -> Mapping[str, Any] | None:
    """Return ``lost`` (percent) and ``error`` (the tool's line about it) of ``-ping`` or ``-hccs_ping``."""
    error = next((line.strip() for line in text.splitlines() if any(word in line for word in _LOST)), "")
    summary = re.search(r"(\d{1,6}) packets transmitted, (\d{1,6}) received", text, re.ASCII)
    if summary and int(summary[1]):
        sent, received = int(summary[1]), min(int(summary[1]), int(summary[2]))
        return {"lost": round(100 * (sent - received) / sent), "error": error}
    return {"lost": 100, "error": error} if error else None
