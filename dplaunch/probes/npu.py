"""The probes of a node's Ascend devices and of the network between them."""

from __future__ import annotations

from dplaunch.probes import hccn_conf, npu_address, npu_devices, npu_links, npu_network, npu_superpod, npu_tls
from dplaunch.probes.npu_ping import make_ping_probe
from dplaunch.probes.probe import Probe

PROBES: tuple[Probe, ...] = (
    npu_devices.PROBE,
    hccn_conf.PROBE,
    npu_address.PROBE,
    npu_network.PROBE,
    npu_tls.PROBE,
    npu_superpod.PROBE,
    npu_links.PROBE,
)
"""All except the ping, which ``make_ping_probe`` makes."""

__all__ = ["PROBES", "make_ping_probe"]
