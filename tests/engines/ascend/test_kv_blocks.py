import json

import pytest
from msgspec.structs import replace
from specs import MOONCAKE, cluster, four_p_four_d

from dplaunch import plan
from dplaunch.engines import PortNeed, adapter
from dplaunch.engines.ascend.connectors import registered
from dplaunch.model.cluster import KvTransferSpec, RoleSpec

SIZES = {"prefill": {"dp_size": 2, "tp_size": 8}, "decode": {"dp_size": 64, "tp_size": 1}}


def blocks(spec):
    """The blocks of the first prefill and decode engine, read from their scripts."""
    planned = plan.build(spec)
    found = []
    for name in ("prefill/run_dp_template.sh", "decode/run_dp_template.sh"):
        text = next(f.text for node in planned.nodes for f in node.files if f.path == name)
        line = next(line for line in text.splitlines() if "--kv-transfer-config" in line)
        found.append(json.loads(line.split("'")[1]))
    return found


@pytest.mark.parametrize(
    ("version", "more", "own"),
    [
        ("0.10.1rc1", {"kv_buffer_device": "npu"}, {"use_ascend_direct": True}),
        ("0.11.0", {"kv_buffer_device": "npu"}, {"use_ascend_direct": True}),
        ("0.13.0", {"kv_buffer_device": "npu"}, {}),
        ("0.18.0", {}, {}),
        ("0.23.0", {}, {}),
    ],
)
def test_mooncake_by_version(version, more, own):
    common = {"kv_connector": "MooncakeConnectorV1", "kv_port": "61000", **more}
    prefill, decode = blocks(four_p_four_d(version))
    assert prefill == {**common, "kv_role": "kv_producer", "kv_connector_extra_config": {**own, **SIZES}}
    assert decode == {**common, "kv_role": "kv_consumer", "kv_connector_extra_config": {**own, **SIZES}}


def test_extra_goes_to_the_block_or_to_the_connector_by_its_name():
    extra = {
        "kv_load_failure_policy": "recompute",
        "kv_connector_extra_config": {"a": 1},
        "tls_config": {"ssl_enable": True},
    }
    prefill, _ = blocks(
        four_p_four_d(kv_transfer=KvTransferSpec(connector="MooncakeConnectorV1", extra=extra))
    )
    assert prefill["kv_load_failure_policy"] == "recompute"
    assert prefill["kv_connector_extra_config"] == {"a": 1, "tls_config": {"ssl_enable": True}, **SIZES}


def test_a_role_has_entries_of_its_own_over_those_of_both():
    both = {"send_type": "PUT", "kv_buffer_size": 1}
    by_role = {"decode": {"send_type": "GET", "kv_load_failure_policy": "recompute"}}
    transfer = KvTransferSpec(connector="MooncakeConnectorV1", extra=both, by_role=by_role)
    prefill, decode = blocks(four_p_four_d(kv_transfer=transfer))
    assert (prefill["kv_buffer_size"], decode["kv_buffer_size"]) == (1, 1)
    assert prefill["kv_connector_extra_config"]["send_type"] == "PUT"
    assert decode["kv_connector_extra_config"]["send_type"] == "GET"
    assert "kv_load_failure_policy" not in prefill
    assert decode["kv_load_failure_policy"] == "recompute"


def test_entries_of_multi_connector_are_filled_too():
    entries = (
        {"kv_connector": "MooncakeConnectorV1"},
        {"kv_connector": "AscendStoreConnector", "kv_connector_extra_config": {"backend": "mooncake"}},
    )
    store = {"master_server_address": "192.0.2.9:50088"}
    transfer = KvTransferSpec(connector="MultiConnector", extra={"connectors": entries}, store=store)
    spec = four_p_four_d(kv_transfer=transfer)
    _, decode = blocks(spec)
    assert decode == {
        "kv_connector": "MultiConnector",
        "kv_role": "kv_consumer",
        "kv_connector_extra_config": {
            "connectors": [
                {
                    "kv_connector": "MooncakeConnectorV1",
                    "kv_role": "kv_consumer",
                    "kv_port": "61000",
                    "kv_connector_extra_config": SIZES,
                },
                {
                    "kv_connector": "AscendStoreConnector",
                    "kv_role": "kv_consumer",
                    "kv_connector_extra_config": {"backend": "mooncake", "lookup_rpc_port": "4"},
                },
            ]
        },
    }
    script = next(f.text for f in plan.build(spec).nodes[0].files if f.path.endswith("template.sh"))
    assert "export PYTHONHASHSEED=0\n" in script
    assert "export ASCEND_A3_ENABLE=1\n" in script


@pytest.mark.parametrize(
    ("connector", "version", "width", "prefill", "decode"),
    [
        ("MooncakeConnectorV1", "0.23.0", 8, True, False),
        ("MooncakeConnectorV1", "0.11.0", 4, True, False),
        ("MooncakeLayerwiseConnector", "0.23.0", 8, False, True),
        ("LLMDataDistCMgrConnector", "0.9.1", 4, True, True),
        ("AscendStoreConnector", "0.23.0", 0, False, False),
    ],
)
def test_ports_that_a_rank_takes_and_who_listens(connector, version, width, prefill, decode):
    p = RoleSpec(name="prefill", nodes=("n1",), tp=4, pp=2)
    d = RoleSpec(name="decode", nodes=("n1",), tp=4)
    spec = cluster(p, d, version=version, kv_transfer=KvTransferSpec(connector=connector))
    found = [
        need for role in (p, d) for need in adapter("vllm-ascend").ports(spec, role) if need.name == "kv"
    ]
    wanted = PortNeed("kv", "KV transfer", count=width, common=True, listens=prefill)
    assert found == ([wanted, replace(wanted, count=4, listens=decode)] if width else [])


def test_pipeline_size_of_prefill_is_told():
    spec = four_p_four_d()
    prefill = replace(spec.roles[0], tp=4, pp=2)
    block, _ = blocks(replace(spec, roles=(prefill, spec.roles[1])))
    assert block["kv_connector_extra_config"]["prefill"] == {"dp_size": 2, "tp_size": 4, "pp_size": 2}


def test_connectors_come_and_go():
    assert registered("0.9.1") == ("LLMDataDistCMgrConnector",)
    assert "MooncakeConnectorV1" in registered("0.10.1")
    assert "LLMDataDistCMgrConnector" in registered("0.11.0")
    assert "LLMDataDistCMgrConnector" not in registered("0.12.0rc1")
    assert "MooncakeLayerwiseConnector" not in registered("0.11.0rc3")


def serving(connector: str, version: str = "0.23.0", **extra):
    """The blocks of the engines of two groups that serve from one node, in order."""
    role = RoleSpec(name="serve", nodes=("n1",), groups=2, dp=2, tp=2)
    spec = cluster(role, version=version, kv_transfer=KvTransferSpec(connector=connector, extra=extra))
    words = [command.argv for command in plan.commands(spec).values()]
    return [json.loads(argv[argv.index("--kv-transfer-config") + 1]) for argv in words]


def test_a_store_of_engines_that_serve_alone_plays_both_parts():
    found = serving("AscendStoreConnector", backend="yuanrong")
    assert [block["kv_role"] for block in found] == ["kv_both"] * 4
    assert "kv_port" not in found[0]
    sockets = [block["kv_connector_extra_config"]["lookup_rpc_port"] for block in found]
    assert sockets == ["0", "0", "1", "1"], "the rank is in the path"


def test_before_0_13_each_rank_has_a_lookup_socket_of_its_own():
    found = serving("AscendStoreConnector", "0.12.0rc1", backend="yuanrong")
    assert len({block["kv_connector_extra_config"]["lookup_rpc_port"] for block in found}) == 4


def test_offloading_to_the_hosts_memory_names_the_npus_own_part():
    assert serving("OffloadingConnector", num_cpu_blocks=1000)[0]["kv_connector_extra_config"] == {
        "num_cpu_blocks": 1000,
        "spec_name": "NPUOffloadingSpec",
        "spec_module_path": "vllm_ascend.kv_offload.npu",
    }


def test_decode_loads_from_a_store_that_is_all_it_shares_with_prefill():
    extra = {"backend": "yuanrong"}
    transfer = KvTransferSpec(connector="AscendStoreConnector", extra=extra)
    prefill, decode = blocks(four_p_four_d(kv_transfer=transfer))
    assert prefill["kv_connector_extra_config"] == {"backend": "yuanrong", "lookup_rpc_port": "0"}
    assert decode["kv_connector_extra_config"] == {
        "backend": "yuanrong",
        "lookup_rpc_port": "4",
        "consumer_is_to_load": True,
    }


def test_a_role_may_combine_connectors_of_its_own():
    mover, keeper = ({"kv_connector": n} for n in ("MooncakeConnectorV1", "RecomputeCPUOffloadConnector"))
    transfer = KvTransferSpec(
        connector="MultiConnector",
        extra={"connectors": (mover,)},
        by_role={"decode": {"connectors": (mover, keeper)}},
    )
    prefill, decode = blocks(four_p_four_d(kv_transfer=transfer))
    named = [
        [entry["kv_connector"] for entry in block["kv_connector_extra_config"]["connectors"]]
        for block in (prefill, decode)
    ]
    assert named == [["MooncakeConnectorV1"], ["MooncakeConnectorV1", "RecomputeCPUOffloadConnector"]]


def test_no_transfer_no_block():
    spec = cluster(RoleSpec(name="serve", nodes=("n1",), tp=16))
    assert [need.name for need in adapter("vllm-ascend").ports(spec, spec.roles[0])] == ["http"]
    assert "kv-transfer" not in plan.build(spec).nodes[0].files[0].text
    assert MOONCAKE.rank_table is None
