"""The environment vllm-ascend needs, computed from addresses, hardware, connector and version.

Source: vllm-ascend, examples/external_online_dp/run_dp_template.sh and its documents of each release.

Values are ``env`` text: ``${local_ip}`` and the like are shell variables of the script.
"""

from __future__ import annotations

from dplaunch.engines.adapter import Site
from dplaunch.engines.ascend import dbo
from dplaunch.engines.ascend.connectors import Kind, transfer_connectors
from dplaunch.engines.ascend.releases import is_contract_a
from dplaunch.engines.settings import Env
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.shell import group_devices
from dplaunch.model.plan import Seat

CONTRACT_A_ONLY = frozenset(
    (
        "VLLM_DP_SIZE",
        "VLLM_DP_RANK",
        "VLLM_DP_RANK_LOCAL",
        "VLLM_DP_SIZE_LOCAL",
        "VLLM_DP_MASTER_IP",
        "VLLM_DP_MASTER_PORT",
        "VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED",
    )
)
"""What only 0.9.1 reads as external data parallelism: later engines take VLLM_DP_* for their offline
mode and die after loading (vLLM, vllm/config/parallel.py)."""

RDMA_INTRA_NODE: Env = {"HCCL_INTRA_ROCE_ENABLE": "1"}
PCIE_INTRA_NODE: Env = {"HCCL_INTRA_PCIE_ENABLE": "1", "HCCL_INTRA_ROCE_ENABLE": "0"}


def computed(site: Site, seat: Seat, version: str) -> Env:
    """All of it for one engine; the cluster file's own entries win over these."""
    return {
        **_addresses(seat),
        **(_contract_a(site, seat) if has_contract_a(site, version) else _contract_b(seat)),
        **_by_version(site, version),
        **dbo.env(site.role, version),
        **_connector(site, seat, version),
        **_hardware(site),
    }


def has_contract_a(site: Site, version: str) -> bool:
    """Whether an engine gets its rank from its environment; other forms have flags in every release."""
    return is_contract_a(version) and site.role.lb == "external"


def _addresses(seat: Seat) -> Env:
    """HCCL takes an interface's IPv4 address by default (CANN manual, HCCL_SOCKET_FAMILY)."""
    interfaces = ("HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
    addresses = dict.fromkeys(("VLLM_HOST_IP", "HCCL_IF_IP"), "${local_ip}")
    family: Env = {"HCCL_SOCKET_FAMILY": "AF_INET6"} if ":" in seat.address else {}
    return {**addresses, **dict.fromkeys(interfaces, "${nic_name}"), **family}


def _contract_a(site: Site, seat: Seat) -> Env:
    # the patch of 0.9.1 takes each rank's share out of the whole list itself
    devices: Env = {"ASCEND_RT_VISIBLE_DEVICES": group_devices(site, seat)} if seat.devices else {}
    if site.role.dp == 1:
        return devices
    return {
        **devices,
        "VLLM_DP_SIZE": "${dp_size}",
        "VLLM_DP_MASTER_IP": "${dp_address}",
        "VLLM_DP_MASTER_PORT": "${dp_rpc_port}",
        "VLLM_DP_RANK_LOCAL": "${dp_rank_local}",
        "VLLM_DP_RANK": "${dp_rank}",
        "VLLM_DP_SIZE_LOCAL": "${dp_size_local}",
        "VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "fork",
    }


def _contract_b(seat: Seat) -> Env:
    return {"ASCEND_RT_VISIBLE_DEVICES": "${devices}"} if seat.devices else {}


def _by_version(site: Site, version: str) -> Env:
    env: Env = {}
    if not at_least(version, "0.12.0rc1"):
        env["VLLM_USE_V1"] = "1"
    if at_least(version, "0.14.0rc1"):
        env["VLLM_ENGINE_READY_TIMEOUT_S"] = str(int(site.spec.ready_timeout))
    uses_context_parallel = site.role.pcp > 1 or site.role.dcp > 1
    if uses_context_parallel and not at_least(version, "0.21.0rc1"):
        env["VLLM_ASCEND_ENABLE_CONTEXT_PARALLEL"] = "1"
    return env


def _connector(site: Site, seat: Seat, version: str) -> Env:
    used = transfer_connectors(site.spec.kv_transfer)
    env: Env = {}
    if any(c.mooncake for c in used):
        env |= {"ASCEND_AGGREGATE_ENABLE": "1", "ASCEND_TRANSPORT_PRINT": "1", "ACL_OP_INIT_MODE": "1"}
    if any(c.kind is Kind.STORE for c in used):
        # block hashes must agree between processes
        env["PYTHONHASHSEED"] = "0"
    if any(c.kind is Kind.RANK_TABLE for c in used):
        env |= _rank_table(site, seat, version)
    return env


def _rank_table(site: Site, seat: Seat, version: str) -> Env:
    transfer = site.spec.kv_transfer
    port = "VLLM_ASCEND_LLMDD_RPC_PORT" if at_least(version, "0.10.1rc1") else "VLLM_LLMDD_RPC_PORT"
    table = transfer.rank_table if transfer else None
    path = (table or "").replace("$", "$$")
    return {"DISAGGREGATED_PREFILL_RANK_TABLE_PATH": path, port: str(seat.ports["kv"].base)}


def _hardware(site: Site) -> Env:
    family = site.spec.hardware.family
    mooncake = any(c.mooncake for c in transfer_connectors(site.spec.kv_transfer))
    if family == "a3":
        return {"ASCEND_A3_ENABLE": "1"} if mooncake else {}
    if family == "a2":
        # with RoCE inside a node too, every device needs an address and a cable: only where KV leaves nodes
        several = len({node for role in site.spec.roles for node in role.nodes}) > 1
        return RDMA_INTRA_NODE if mooncake and several else PCIE_INTRA_NODE
    return {}
