"""What a source starts, collected while its files are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct, field

from dplaunch.model.imported import Launch, Left

ReadFile = Callable[[str], str]
"""Path → text; raises ``OSError``."""


class Proxy(Struct, frozen=True):
    """A proxy of the source: where it listens, and the endpoints that it is given."""

    host: str
    port: int
    prefill: tuple[tuple[str, int], ...]
    decode: tuple[tuple[str, int], ...]
    where: str


class Source(Struct):
    """Everything found so far."""

    launches: list[Launch] = field(default_factory=list)
    proxies: list[Proxy] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    """Shell lines that prepare the environment of every engine."""
    name: str = ""
    """What the source calls the deployment."""
    devices: int = 0
    """Devices of a node; 0: the source does not say."""
    container: str = ""
    """The container on every node in which everything runs."""
    user: str = ""
    """Who logs in."""
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Programs beside the engines, on the first node, as the cluster file has them."""
    store: dict[str, Any] = field(default_factory=dict)
    """What the clients of a KV pool read."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Host → its address on the data network, where it is another."""

    def leave(self, where: str, text: str, hint: str = "", *, matters: bool = True) -> None:
        """Note something that the cluster file will not hold, once."""
        one = Left(where, text, hint, matters)
        if one not in self.left:
            self.left.append(one)
