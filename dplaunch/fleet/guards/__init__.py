"""The driver whose steps guards carry out: one session per node, over the transport that reaches it."""

from dplaunch.fleet.guards.machines import GuardedMachines
from dplaunch.fleet.guards.session import Address, NodeSession, open_session

__all__ = ["Address", "GuardedMachines", "NodeSession", "open_session"]
