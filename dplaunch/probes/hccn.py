"""``hccn_tool``: how it is called, and what its answers say.

Two of it at once on a machine answer ``busy``: all calls share one lane. A reader gives the value, an empty
text where the tool says that there is none, and ``None`` for what is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from dplaunch.model.check import Command, Output
from dplaunch.probes.ascend import argv, hindrance, trouble, unread
from dplaunch.probes.words import clean

LANE = "hccn"
BUSY = "hccn_tool is busy"
TIMEOUT = 4.0
"""Seconds: an answer takes a fraction of one, and on a sick driver the tool hangs."""

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

Reader = Callable[[str], Any]


def command(key: str, device: int, *words: str, timeout: float = TIMEOUT) -> Command:
    """One call of ``hccn_tool`` for a device."""
    return Command(
        key=key,
        argv=argv("hccn_tool", "-i", str(device), *words),
        timeout=timeout,
        lane=LANE,
        again=BUSY,
    )


def asked(what: str, device: int) -> Command:
    """``hccn_tool -i 3 -link -g``, under the key that ``gathered`` reads."""
    return command(f"{what} {device}", device, f"-{what}", "-g")


def gathered(outputs: Mapping[str, Output], readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Facts of many calls of ``asked``: ``devices`` (number → what → value), ``unread``, ``hindrance``."""
    calls = {key: output for key, output in outputs.items() if key.partition(" ")[0] in readers}
    facts: dict[str, Any] = {"devices": {}, "unread": [], "hindrance": hindrance(calls.values())}
    for key, output in calls.items():
        what, _, device = key.partition(" ")
        value = None if trouble(output) else readers[what](clean(output.out))
        if value is not None:
            facts["devices"].setdefault(device, {})[what] = value
        elif not facts["hindrance"]:
            facts["unread"].append(unread(key, output))
    return facts


@lru_cache(maxsize=4096)
def address(text: str) -> str:
    """The address as it should be written; empty for what is none, or stands for none."""
    try:
        found = str(IPv4Address(text))
    except AddressValueError:
        return ""
    return "" if found == UNSET else found


def _first(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text, re.ASCII | re.MULTILINE)
    return match[1].strip() if match else None


def link(text: str) -> str | None:
    """``UP`` or ``DOWN``."""
    return _first(r"^link status:\s*(UP|DOWN)\b", text)


def net_health(text: str) -> str | None:
    """One of ``HEALTHS``."""
    return _first(rf"^net health status:\s*({'|'.join(HEALTHS)})\s*$", text)


def netdetect(text: str) -> str | None:
    """The address that is asked for health; empty when none is set."""
    found = _first(r"^netdetect address:\s*([0-9.]+)", text)
    return "" if found == UNSET else address(found or "") or None


def gateway(text: str) -> str | None:
    """The default gateway; empty when none is set."""
    if "no gateway was preset" in text:
        return ""
    found = _first(r"default gateway:\s*([0-9.]+)", text)
    return "" if found == UNSET else address(found or "") or None


def lldp(text: str) -> str | None:
    """The switch's port; empty when the switch tells nothing."""
    return "" if not text.strip() else _first(r"Ifname:\s*([\w/:.\-]+)", text)


def ip(text: str) -> Mapping[str, str] | None:
    """``address`` and ``netmask`` of the device; both empty when none is set."""
    if "no ip was preset" in text:
        return {"address": "", "netmask": ""}
    found = address(_first(r"^ipaddr:\s*([0-9.]+)", text) or "")
    mask = address(_first(r"^netmask:\s*([0-9.]+)", text) or "")
    return {"address": found, "netmask": mask} if found else None


def vnic(text: str) -> Mapping[str, str] | None:
    """``address``, ``netmask`` and ``link`` of an A3 device inside its super pod."""
    state = _first(r"^vnic link status:\s*(UP|DOWN)\b", text)
    given = _first(r"^vnic ipaddr:\s*([0-9.]+)", text)
    mask = address(_first(r"^vnic netmask:\s*([0-9.]+)", text) or "")
    found = address(given or "")
    if state is None or (not found and given != UNSET and state == "UP"):
        return None
    return {"address": found, "netmask": mask, "link": state}


def tls(text: str) -> int | None:
    """1 when TLS is on."""
    found = _first(r"tls switch\[([01])\]", text)
    return None if found is None else int(found)


_LOST = (
    "not start to send",
    "recv time out",
    "Destination Host Unreachable",
    "Message too long",
    "pkt send fail",
    "recv msg fail",
)


def ping(text: str) -> Mapping[str, Any] | None:
    """``lost`` in percent and what was said about it, of ``-ping`` and of ``-hccs_ping``."""
    said = next((line.strip() for line in text.splitlines() if any(word in line for word in _LOST)), "")
    summary = re.search(r"(\d{1,6}) packets transmitted, (\d{1,6}) received", text, re.ASCII)
    if summary and int(summary[1]):
        sent, received = int(summary[1]), min(int(summary[1]), int(summary[2]))
        return {"lost": round(100 * (sent - received) / sent), "said": said}
    return {"lost": 100, "said": said} if said else None
