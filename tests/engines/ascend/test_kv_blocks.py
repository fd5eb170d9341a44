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
    transfer = KvTransferSpec(connector="MultiConnector", extra={"connectors": entries})
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
                    "kv_connector_extra_config": {"backend": "mooncake"},
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


def test_no_transfer_no_block():
    spec = cluster(RoleSpec(name="serve", nodes=("n1",), tp=16))
    assert [need.name for need in adapter("vllm-ascend").ports(spec, spec.roles[0])] == ["http"]
    assert "kv-transfer" not in plan.build(spec).nodes[0].files[0].text
    assert MOONCAKE.rank_table is None
