"""The probes of hosts and of their software, without devices and the network between nodes."""

from __future__ import annotations

from dplaunch.probes import (
    disk,
    engine_flags,
    kernel,
    limits,
    memory,
    nic,
    proxy,
    python,
    router_python,
    versions,
)
from dplaunch.probes.probe import Probe
from dplaunch.probes.weights import make_weights_probe

PROBES: tuple[Probe, ...] = (
    python.PROBE,
    router_python.PROBE,
    nic.PROBE,
    kernel.PROBE,
    limits.PROBE,
    memory.PROBE,
    disk.PROBE,
    proxy.PROBE,
    versions.PROBE,
    engine_flags.PROBE,
)
"""In the order of their findings in a report. ``make_weights_probe`` makes the one that takes an option."""

__all__ = ["PROBES", "make_weights_probe"]
