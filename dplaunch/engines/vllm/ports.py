"""Ports of every vLLM that is started rank by rank."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.engines.adapter import PortNeed
from dplaunch.model.cluster import RoleSpec


def needs(role: RoleSpec, kv: int = 0, *, listens: bool = False) -> Iterator[PortNeed]:
    """HTTP, the group's rendezvous, and ``kv`` ports for KV transfer of each rank."""
    yield PortNeed("http", "HTTP")
    if role.dp > 1:
        yield PortNeed("rpc", "rendezvous", per="group")
    if kv:
        yield PortNeed("kv", "KV transfer", count=kv, common=True, listens=listens)
