"""Which of this machine's addresses others see, by the kernel's own choice of a route."""

from __future__ import annotations

import ipaddress
import socket


def own_address(peer: str) -> str:
    """Return the address that this machine sends from when it sends to ``peer``. Raises ``OSError``.

    Nothing is sent: connecting a datagram socket only looks up the route. Resolving a host name blocks.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(peer, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as route:
        route.connect(address)
        return str(route.getsockname()[0])


def is_own(peer: str) -> bool:
    """Whether ``peer`` is an address of this machine: only to those does it send from that very address."""
    try:
        if ipaddress.ip_address(peer.partition("%")[0]).is_loopback:
            return True
        return own_address(peer) == peer
    except (OSError, ValueError):
        return False
