"""The devices of the machine: each serves one rank."""

from __future__ import annotations

import os
import socket

from .log import FatalError


def occupy(host: str, device: int, rank: int) -> socket.socket | None:
    """Hold a device as long as the socket lives. Raises FatalError where another process has it.

    Only where DEVICES is set: it is an abstract socket name per address and device, gone with its process.
    """
    installed = os.environ.get("DPLAUNCH_REHEARSAL_DEVICES")
    if not installed:
        return None
    if device >= int(installed):
        why = f"Invalid device ID: {device} (error code 107001), this node has {installed} devices"
        raise FatalError(f"RuntimeError: Set device npu:{device} for rank {rank} fails, {why}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.bind(f"\0dplaunch-rehearsal/{host}/{device}")
    except OSError:
        sock.close()
        why = "NPU out of memory: another process holds the device's memory"
        raise FatalError(f"RuntimeError: Set device npu:{device} for rank {rank} fails, {why}") from None
    return sock
