"""Everything there is to know about a node's Ascend devices and the network between them."""

from __future__ import annotations

from dplaunch.probes import hccn_conf, npu_address, npu_devices, npu_network, npu_superpod, npu_tls
from dplaunch.probes.npu_ping import ping
from dplaunch.probes.probe import Probe

PROBES: tuple[Probe, ...] = (
    npu_devices.PROBE,
    hccn_conf.PROBE,
    npu_address.PROBE,
    npu_network.PROBE,
    npu_tls.PROBE,
    npu_superpod.PROBE,
)
"""All but the ping, which ``ping(all_pairs)`` makes."""

__all__ = ["PROBES", "ping"]
