"""vLLM-Ascend as a value."""

from __future__ import annotations

from msgspec.structs import replace

from dplaunch.engines.ascend.connectors import alone
from dplaunch.engines.facts import RandomPorts, ReservedPorts
from dplaunch.engines.vllm import facts as vllm

HCCL_HOST_PORTS = ReservedPorts(60000, 60032, "HCCL", moved_by="HCCL_IF_BASE_PORT")
"""HCCL_IF_BASE_PORT and the 31 above it (CANN manual, HCCL's environment variables)."""

MOONCAKE_DIRECT = RandomPorts(
    connector="Mooncake",
    first=20000,
    each=1000,
    owner="Mooncake's random range",
    source="vllm-ascend PR #6455, issue #8938",
)
"""Mooncake's AscendDirect binds random ports there."""

A3_DEVICES = 16
"""An Atlas 800 A3 has 8 cards of 2 dies; an A2 has 8 devices."""

FACTS = replace(
    vllm.FACTS,
    kind="vllm-ascend",
    needs=vllm.FACTS.needs | {"devices"},
    families=(("a3", A3_DEVICES), ("a2", 0)),
    example_hardware="atlas-800t-a3",
    default_connector="MooncakeConnectorV1",
    stores=alone(),
    reserved=(HCCL_HOST_PORTS,),
    random_ports=(MOONCAKE_DIRECT,),
    packages={
        "vllm-ascend": ("vllm-ascend",),
        "vllm": vllm.PACKAGES["vllm"],
        "CANN": (),
        "torch": vllm.PACKAGES["torch"],
        "torch_npu": ("torch-npu",),
        **vllm.PACKAGES,
    },
    lb=("external", "hybrid", "internal"),
    must_agree=("vllm-ascend", "vllm", "CANN", "torch_npu"),
    titles=(r"launch_online_dp\.py", r"\S*load_balance_proxy\S*\.py"),
)
