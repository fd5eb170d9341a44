"""The values of a rank table."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from dplaunch.model.cluster import NodeSpec
from dplaunch.ranktable.positions import Place

VERSION_A2, VERSION_A3 = "1.0", "1.2"
"""Of servers that reach each other over RoCE, and of servers in super pods."""


class Device(Struct, frozen=True, kw_only=True):
    """A device as its tools report it. ``sdid`` and ``pod`` are those of an A3."""

    number: int
    address: str = ""
    """Empty: it needs none, because all of the table's devices are in one super pod."""
    sdid: int | None = None
    pod: int | None = None


class NodeDevices(Struct, frozen=True, kw_only=True):
    """A node of the table, and its devices in numeric order."""

    name: str
    address: str
    devices: tuple[Device, ...]


class Site(Struct, frozen=True, kw_only=True):
    """What a table is for: the nodes that it should have, and the family of their devices."""

    nodes: tuple[NodeSpec, ...]
    family: str
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Role → the names of its nodes."""

    transfer: bool = False
    """The table is read by the LLMDataDist connector of vllm-ascend."""
    whole: bool = False
    """Its readers take their ranks from it: all devices of the nodes, in the order of ``nodes``."""
    containers: bool = False
    """Its readers find themselves by ``container_ip``."""

    def index(self) -> dict[str, NodeSpec]:
        """Return the nodes by what a server_id may call them."""
        return {name: node for node in self.nodes for name in (node.host, node.address)}


class Cell(Struct, frozen=True):
    """A field of the file. ``text`` is None where it cannot be read: that is reported already."""

    text: str | None
    place: Place
    key: str
    """Its dotted path: ``server_list[0].device[3].rank_id``."""

    @property
    def number(self) -> int:
        """A field that was read as a number, as one."""
        return int(self.text or 0)


class Entry(Struct, frozen=True, kw_only=True):
    """An object of the file and those of its fields that are known and given."""

    place: Place
    key: str
    cells: Mapping[str, Cell]

    def find(self, name: str) -> Cell | None:
        """Return a field if it is given and can be read."""
        cell = self.cells.get(name)
        return cell if cell and cell.text is not None else None


class Server(Entry, frozen=True, kw_only=True):
    """An entry of ``server_list``."""

    devices: tuple[Entry, ...] = ()


class Pod(Entry, frozen=True, kw_only=True):
    """An entry of ``super_pod_list``."""

    servers: tuple[Entry, ...] = ()


class TransferTable(Entry, frozen=True, kw_only=True):
    """A table of vllm-ascend's LLMDataDist connector, as far as it could be read."""

    prefill: tuple[Entry, ...] = ()
    decode: tuple[Entry, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    """Where the values of both lists begin, if they are given."""

    @property
    def devices(self) -> tuple[Entry, ...]:
        """All devices, in the order of their cluster ids."""
        return self.prefill + self.decode


class Table(Entry, frozen=True, kw_only=True):
    """A whole file, as far as it could be read."""

    servers: tuple[Server, ...] = ()
    pods: tuple[Pod, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    """Where the values of ``server_list`` and ``super_pod_list`` begin, if they are given."""

    @property
    def version(self) -> str:
        """``1.0`` or ``1.2``; empty where it is neither."""
        cell = self.find("version")
        return cell.text or "" if cell else ""

    @property
    def devices(self) -> list[Entry]:
        """All devices, in the order of the file."""
        return [device for server in self.servers for device in server.devices]
