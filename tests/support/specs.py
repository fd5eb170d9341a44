"""Small clusters made by hand, for tests below the cluster file."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from dplaunch.model.cluster import (
    ClusterSpec,
    EngineSpec,
    Hardware,
    KvTransferSpec,
    NodeSpec,
    RoleSpec,
    RouterSpec,
)

A3 = Hardware(name="atlas-800t-a3", devices=tuple(range(16)), family="a3")
A2 = Hardware(name="atlas-800t-a2", devices=tuple(range(8)), family="a2")
A5 = Hardware(name="ours", devices=tuple(range(8)), family="a5")
GPU = Hardware(name="gpu-8", devices=tuple(range(8)), family="gpu")
CPU = Hardware(name="cpu", devices=(), family="cpu")

MOONCAKE = KvTransferSpec(connector="MooncakeConnectorV1")


def nodes(count: int, *, devices: int = 16, nic: str | None = "eth0") -> tuple[NodeSpec, ...]:
    """n1 … with addresses 192.0.0.1 …"""
    return tuple(
        NodeSpec(name=f"n{i}", host=f"h{i}", address=f"192.0.0.{i}", nic=nic, devices=tuple(range(devices)))
        for i in range(1, count + 1)
    )


def names(first: int, last: int) -> tuple[str, ...]:
    """n1 … n4."""
    return tuple(f"n{i}" for i in range(first, last + 1))


def cluster(
    *roles: RoleSpec, kind: str = "vllm-ascend", version: str = "0.23.0", **changes: Any
) -> ClusterSpec:
    """A cluster with these roles and as many A3 nodes as they name."""
    used = {name for role in roles for name in role.nodes}
    spec = ClusterSpec(
        name="c1",
        engine=EngineSpec(kind=kind, version=version),
        model="some/model",
        served_model_name="model",
        hardware=A3,
        nodes=nodes(max(int(name[1:]) for name in used)),
        roles=roles,
    )
    return replace(spec, **changes)


def serve(**changes: Any) -> RoleSpec:
    """One role on n1, stand-alone."""
    return RoleSpec(**{"name": "serve", "nodes": ("n1",), **changes})


def four_p_four_d(version: str = "0.23.0", **changes: Any) -> ClusterSpec:
    """The documented deployment: 4 prefill groups of dp 2 × tp 8, one decode group of dp 64 over 4 nodes."""
    method = "deepseek_mtp" if version == "0.9.1" else "mtp"
    prefill = RoleSpec(
        name="prefill",
        nodes=names(1, 4),
        groups=4,
        dp=2,
        tp=8,
        expert_parallel=True,
        env={"HCCL_BUFFSIZE": "256"},
        args={"max-num-seqs": 4, "enforce-eager": True},
    )
    decode = RoleSpec(
        name="decode",
        nodes=names(5, 8),
        dp=64,
        expert_parallel=True,
        env={"HCCL_BUFFSIZE": "1024"},
        args={"max-num-seqs": 28, "speculative-config": {"method": method, "num_speculative_tokens": 1}},
    )
    given = {"kv_transfer": MOONCAKE, "router": RouterSpec(node="n1"), **changes}
    return cluster(prefill, decode, version=version, **given)
