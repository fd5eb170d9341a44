"""Probes of hosts and of the software on them: all but devices and the network between nodes."""

from __future__ import annotations

from dplaunch.probes import disk, engine_flags, kernel, limits, memory, nic, proxy, python, versions
from dplaunch.probes.probe import Probe
from dplaunch.probes.weights import weights

PROBES: tuple[Probe, ...] = (
    python.PROBE,
    nic.PROBE,
    kernel.PROBE,
    limits.PROBE,
    memory.PROBE,
    disk.PROBE,
    proxy.PROBE,
    versions.PROBE,
    engine_flags.PROBE,
)
"""In the order in which findings are shown. ``weights`` makes the one that depends on a choice."""

__all__ = ["PROBES", "weights"]
