"""What a field of a rank table may hold: one function per kind, which returns why a text does not fit.

Limits are those of HCCL (hicann/hccl, docs/zh/user_guide/cluster_info_config/rank_table_config_a3.md) and of
MindIE LLM's service (src/config_manager/ranktable_config.cpp).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import NamedTuple

LONGEST_ID = 64
LAST_PORT = 65535


class Misfit(NamedTuple):
    """Why a text does not fit its field, as the end of a sentence, and what would."""

    text: str
    hint: str = ""


Kind = Callable[[str], "Misfit | None"]


class FieldRule(NamedTuple):
    """A field: how its text is read, and whether an entry may lack it."""

    kind: Kind
    needed: bool = False


def number(last: int) -> Kind:
    """Return the kind of a decimal number from 0 to ``last``, as text."""

    def check(text: str) -> Misfit | None:
        if not (text.isascii() and text.isdigit()):
            return Misfit("is not a decimal number", "write digits only, in quotes")
        if text != str(int(text[:20])):
            return Misfit("has leading zeros or is too long", f"write a number from 0 to {last}")
        if int(text) > last:
            return Misfit("is too large", f"write a number from 0 to {last}")
        return None

    return check


def port(text: str) -> Misfit | None:
    """Check a TCP port."""
    wrong = number(LAST_PORT)(text)
    return wrong or (Misfit("is not a port", f"write one from 1 to {LAST_PORT}") if text == "0" else None)


def address(text: str) -> Misfit | None:
    """Check the address of a machine or of a device."""
    try:
        found = ip_address(text)
    except ValueError:
        return Misfit("is not an IP address", "write an IPv4 or IPv6 address")
    if found.is_unspecified or found.is_multicast or found.is_loopback:
        return Misfit("is not an address that other servers reach", "write its own address")
    return None


def name(text: str) -> Misfit | None:
    """Check an identifier."""
    if not text:
        return Misfit("is empty", "give it a name")
    return Misfit(f"has more than {LONGEST_ID} characters", "shorten it") if len(text) > LONGEST_ID else None


def status(text: str) -> Misfit | None:
    """Check that the table is complete: an operator writes ``initializing`` while it fills it in."""
    if text == "completed":
        return None
    hint = (
        "an operator is still filling it in; wait for it" if text == "initializing" else 'write "completed"'
    )
    return Misfit('is not "completed": engines do not read the table', hint)


def version(text: str) -> Misfit | None:
    """Check that it is a version whose rules are known."""
    if text in ("1.0", "1.2"):
        return None
    if text == "2.0":
        return Misfit("is that of the 950 generation, which dplaunch cannot verify", "")
    return Misfit("is unknown", 'write "1.0" (A2), or "1.2" for super pods (A3)')


TABLE: Mapping[str, FieldRule] = {
    "version": FieldRule(version, needed=True),
    "status": FieldRule(status, needed=True),
    "server_count": FieldRule(number(1 << 20)),
}
SERVER: Mapping[str, FieldRule] = {
    "server_id": FieldRule(lambda text: name(text) or address(text), needed=True),
    "container_ip": FieldRule(address),
    "host_ip": FieldRule(address),
}
DEVICE: Mapping[str, FieldRule] = {
    "device_id": FieldRule(number(63), needed=True),
    "rank_id": FieldRule(number(511), needed=True),
    "device_ip": FieldRule(address),
    "device_port": FieldRule(port),
    "host_port": FieldRule(port),
    "backup_device_ip": FieldRule(address),
    "backup_device_port": FieldRule(port),
    "super_device_id": FieldRule(number((1 << 32) - 1)),
}
TRANSFER_DEVICE: Mapping[str, FieldRule] = {
    "server_id": SERVER["server_id"],
    "device_id": DEVICE["device_id"],
    "device_ip": FieldRule(address, needed=True),
    "cluster_id": FieldRule(number(1 << 31), needed=True),
    "super_pod_id": FieldRule(name),
    "super_device_id": DEVICE["super_device_id"],
}
POD: Mapping[str, FieldRule] = {"super_pod_id": FieldRule(name, needed=True)}
POD_SERVER: Mapping[str, FieldRule] = {"server_id": FieldRule(name, needed=True)}
