import json

import pytest
from msgspec.structs import replace
from specs import CPU, GPU, cluster, nodes, serve

from dplaunch import plan
from dplaunch.engines import adapter
from dplaunch.model.cluster import KvTransferSpec, RoleSpec
from dplaunch.model.plan import PortRange, StopStep

NIXL = KvTransferSpec(connector="NixlConnector")


def pd(*, devices=8, version="0.23.0", **changes):
    roles = (
        RoleSpec(name="prefill", nodes=("n1",), groups=2, dp=2, tp=2),
        RoleSpec(name="decode", nodes=("n2",), dp=4, tp=2),
    )
    hardware = GPU if devices else CPU
    given = {"kind": "vllm", "hardware": hardware, "nodes": nodes(2, devices=devices), "kv_transfer": NIXL}
    return cluster(*roles, version=version, **{**given, **changes})


def run(stage, planned, name):
    node = next(n for n in planned.nodes if any(p.name == name for p in n.processes))
    stage.put(node)
    ran = stage.run(next(p for p in planned.processes if p.name == name))
    assert (ran.code, ran.err) == (0, "")
    return ran


def test_gpus_and_nixl(stage):
    planned = plan.build(pd())
    ran = run(stage, planned, "prefill-3")
    expected = {
        "CUDA_VISIBLE_DEVICES": "6,7",
        "VLLM_HOST_IP": "192.0.0.1",
        "GLOO_SOCKET_IFNAME": "eth0",
        "NCCL_SOCKET_IFNAME": "eth0",
        "VLLM_NIXL_SIDE_CHANNEL_HOST": "192.0.0.1",
        "VLLM_NIXL_SIDE_CHANNEL_PORT": "61002",
        "VLLM_ENGINE_READY_TIMEOUT_S": "2400",
    }
    assert ran.env.items() >= expected.items()
    assert not [name for name in ran.env if name.startswith(("ASCEND", "HCCL"))]
    assert json.loads(ran.option("kv-transfer-config")) == {
        "kv_connector": "NixlConnector",
        "kv_role": "kv_producer",
    }
    assert (ran.option("data-parallel-rank"), ran.option("data-parallel-rpc-port")) == ("1", "13396")
    decode = run(stage, planned, "decode-2")
    assert json.loads(decode.option("kv-transfer-config"))["kv_role"] == "kv_consumer"
    assert decode.env["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "61000"


@pytest.mark.parametrize(
    ("version", "sizes", "wrong"),
    [
        ("0.23.0", {"pcp": 2}, ["roles.serve.pcp"]),
        ("0.27.0", {"pcp": 2}, []),
        ("0.33.0", {"pcp": 2, "tp": 2, "dcp": 4}, []),
        ("0.33.0", {"pcp": 4, "tp": 4, "dcp": 2}, ["roles.serve.dcp"]),
        ("0.23.0", {"tp": 2, "dcp": 4}, ["roles.serve.dcp"]),
        ("0.33.0", {"tp": 4, "dcp": 2}, []),
    ],
)
def test_context_parallelism_that_this_version_refuses(version, sizes, wrong):
    spec = cluster(serve(**sizes), kind="vllm", version=version, hardware=GPU)
    assert [problem.key for problem in adapter("vllm").check(spec)] == wrong


@pytest.mark.parametrize(
    ("version", "sizes", "wrong"),
    [
        ("0.23.0", {"dcp": 2, "tp": 4}, []),
        ("0.29.0", {"pcp": 2, "tp": 2, "dcp": 2}, ["roles.decode.pcp"]),
        ("0.31.0", {"pcp": 2, "tp": 2, "dcp": 2}, []),
        ("0.33.0", {"dcp": 2, "tp": 4}, ["roles.decode.dcp"]),
        ("0.33.0", {"dcp": 4, "tp": 4}, []),
    ],
)
def test_nixl_and_context_parallelism(version, sizes, wrong):
    spec = pd(version=version)
    role = replace(spec.roles[1], dp=1, **sizes)
    found = adapter("vllm").check(replace(spec, roles=(spec.roles[0], role)))
    assert [problem.key for problem in found] == wrong


def test_a_group_shares_its_base_and_ranks_bind_their_own_port():
    planned = plan.build(pd())
    ports = {p.name: (p.seats[0].ports["kv"], p.ports) for p in planned.processes}
    assert ports["prefill-0"] == (PortRange(61000, 1, 61000), (9000, 13395, 61000))
    assert ports["prefill-3"] == (PortRange(61003, 1, 61002), (9003, 61003))
    assert ports["decode-3"] == (PortRange(61003, 1, 61000), (9003, 61003))


def test_before_0_14_nixl_counted_by_device():
    planned = plan.build(pd(version="0.13.0"))
    assert {p.name: p.seats[0].ports["kv"].ports for p in planned.processes}["prefill-3"] == range(
        61006, 61008
    )


def test_a_cpu_is_not_pinned(stage):
    ran = run(stage, plan.build(pd(devices=0)), "decode-0")
    assert "CUDA_VISIBLE_DEVICES" not in ran.env
    assert "NCCL_SOCKET_IFNAME" not in ran.env
    assert json.loads(ran.option("kv-transfer-config"))["kv_buffer_device"] == "cpu"


def test_extra_is_merged(stage):
    transfer = KvTransferSpec(
        connector="NixlConnector", extra={"kv_connector_extra_config": {"backends": ("UCX",)}}
    )
    ran = run(stage, plan.build(pd(kv_transfer=transfer)), "decode-0")
    assert json.loads(ran.option("kv-transfer-config"))["kv_connector_extra_config"] == {"backends": ["UCX"]}


POOLED = KvTransferSpec(
    connector="MultiConnector",
    extra={"connectors": ({"kv_connector": "NixlConnector"}, {"kv_connector": "LMCacheConnectorV1"})},
)


def test_nixl_and_a_store_work_as_one(stage):
    ran = run(stage, plan.build(pd(kv_transfer=POOLED)), "decode-0")
    assert json.loads(ran.option("kv-transfer-config")) == {
        "kv_connector": "MultiConnector",
        "kv_role": "kv_consumer",
        "kv_connector_extra_config": {
            "connectors": [
                {"kv_connector": "NixlConnector", "kv_role": "kv_consumer"},
                {"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_consumer"},
            ]
        },
    }
    assert ran.env["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "61000"


def test_a_store_of_engines_that_serve_alone_has_no_side_channel(stage):
    transfer = KvTransferSpec(connector="OffloadingConnector", extra={"cpu_bytes_to_use": 8})
    spec = cluster(serve(), kind="vllm", hardware=GPU, nodes=nodes(1, devices=8), kv_transfer=transfer)
    assert found(spec) == []
    ran = run(stage, plan.build(spec), "serve-0")
    assert json.loads(ran.option("kv-transfer-config")) == {
        "kv_connector": "OffloadingConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {"cpu_bytes_to_use": 8},
    }
    assert not [name for name in ran.env if "NIXL" in name]


def found(spec):
    return [problem.key for problem in adapter("vllm").check(spec)]


def test_a_sound_file_has_no_problem():
    assert found(pd()) == []
    assert found(cluster(serve(), kind="vllm", hardware=GPU)) == []


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"version": "0.9.1"}, "engine.version"),
        ({"version": "main"}, "engine.version"),
        ({"kv_transfer": KvTransferSpec(connector="MooncakeConnectorV1")}, "kv_transfer.connector"),
        ({"kv_transfer": KvTransferSpec(connector="LMCacheConnectorV1")}, "kv_transfer.connector"),
        ({"kv_transfer": KvTransferSpec(connector="MultiConnector")}, "kv_transfer.connector"),
        ({"kv_transfer": replace(NIXL, rank_table="/t")}, "kv_transfer.rank_table"),
        ({"kv_transfer": replace(NIXL, extra={"kv_role": "kv_both"})}, "kv_transfer.extra.kv_role"),
    ],
)
def test_what_cannot_work_is_said(changes, key):
    assert found(pd(**changes)) == [key]


def test_computed_variables_are_not_given():
    spec = cluster(serve(env={"CUDA_VISIBLE_DEVICES": "0"}), kind="vllm", hardware=GPU)
    assert found(spec) == ["roles.serve.env.CUDA_VISIBLE_DEVICES"]


def test_it_says_which_release():
    assert adapter("vllm").release(pd()) == "vllm 0.23.0"
    assert adapter("vllm").stand_in(pd()).env == {"DPLAUNCH_REHEARSAL_VERSION": "0.23.0"}


@pytest.mark.parametrize(
    ("kind", "version", "waits"),
    [
        ("vllm", "0.17.1", False),
        ("vllm", "0.18.0", True),
        ("vllm", "0.33.0", True),
        ("vllm-ascend", "0.17.0rc1", False),
        ("vllm-ascend", "0.18.0rc1", True),
        ("vllm-ascend", "0.9.1", False),
    ],
)
def test_an_engine_that_can_wait_for_requests_after_a_signal_does_and_is_given_longer(kind, version, waits):
    role = serve(tp=8, drain_timeout=90.5)
    [engine] = plan.build(cluster(role, kind=kind, version=version, router=None)).processes
    assert engine.stop == (StopStep("TERM", 121.0 if waits else 30.0), StopStep("KILL", 10.0))
    [script] = [file.text for file in plan.build(cluster(role, kind=kind, version=version)).nodes[0].files]
    assert ("--shutdown-timeout 91 " in script) is waits
