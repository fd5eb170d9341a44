"""KV-transfer connectors of vllm-ascend as data: what exists in which version, and how it behaves.

Source: vllm-ascend, vllm_ascend/distributed/__init__.py (later …/kv_transfer/__init__.py) of every tag.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.transfer import names
from dplaunch.model.cluster import KvTransferSpec


class Kind(Enum):
    """How a connector moves KV."""

    PULL = "pull"
    """Prefill first, decode fetches: the prefill side listens."""
    PUSH = "push"
    """Decode first, prefill sends layer by layer: the decode side listens."""
    RANK_TABLE = "rank table"
    """LLMDataDist: addresses come from a rank table."""
    STORE = "store"
    """A pool beside the engines, or the memory of their hosts."""
    MULTI = "multi"
    """Several connectors in one, listed in the extra configuration."""


class Connector(Struct, frozen=True):
    """``first``: version that registered it; ``gone``: first version without it."""

    name: str
    kind: Kind
    first: str
    gone: str = ""
    mooncake: bool = False
    alone: bool = False
    """A role that does both can use it."""

    def in_version(self, version: str) -> bool:
        """Registered in that vllm-ascend."""
        return at_least(version, self.first) and not (self.gone and at_least(version, self.gone))


CONNECTORS = (
    Connector("LLMDataDistCMgrConnector", Kind.RANK_TABLE, "0.9.1", "0.12.0rc1"),
    Connector("MooncakeConnectorV1", Kind.PULL, "0.10.1rc1", mooncake=True),
    Connector("MooncakeConnectorStoreV1", Kind.STORE, "0.11.0rc0", mooncake=True, alone=True),
    Connector("MooncakeLayerwiseConnector", Kind.PUSH, "0.11.0", mooncake=True),
    Connector("MultiConnector", Kind.MULTI, "0.11.0rc0", alone=True),
    Connector("AscendStoreConnector", Kind.STORE, "0.12.0rc1", mooncake=True, alone=True),
    Connector("OffloadingConnector", Kind.STORE, "0.12.0rc1", alone=True),
    Connector("UCMConnector", Kind.STORE, "0.13.0", alone=True),
    Connector("LMCacheAscendConnector", Kind.STORE, "0.18.0", alone=True),
    Connector("MooncakeHybridConnector", Kind.PULL, "0.20.2rc1", mooncake=True),
    Connector("SimpleCPUOffloadConnector", Kind.STORE, "0.23.0", alone=True),
    Connector("RecomputeCPUOffloadConnector", Kind.STORE, "0.23.0"),
)

_BY_NAME = {connector.name: connector for connector in CONNECTORS}


def find(name: str) -> Connector | None:
    """The connector of that name, in whatever version."""
    return _BY_NAME.get(name)


def alone() -> tuple[str, ...]:
    """Names of those that need no second role."""
    return tuple(connector.name for connector in CONNECTORS if connector.alone)


def registered(version: str) -> tuple[str, ...]:
    """Names that a vllm-ascend of this version knows."""
    return tuple(c.name for c in CONNECTORS if c.in_version(version))


def transfer_connectors(transfer: KvTransferSpec | None) -> tuple[Connector, ...]:
    """The known connectors in use, nested ones included."""
    return tuple(c for name in names(transfer) if (c := find(name)) is not None)
