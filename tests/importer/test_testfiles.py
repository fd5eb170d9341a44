"""Files of the form that vllm-ascend's multi-node tests have: each process as the harness starts it."""

import pytest

from dplaunch.errors import UsageError
from dplaunch.importer import Wanted, bring, read

EXTERNAL = """
test_name: "test Some Model PD"
model: "org/Some-MoE-W8A8"
num_nodes: 3
npu_per_node: 16
routing:
  type: disaggregated_prefill
  groups: {prefiller: [0, 1], decoder: [2]}
config:
  - {node_index: 0, port_start: 7100, dp_rpc_port: 12321, dp_size: 2, dp_size_local: 2, dp_rank_start: 0, tp_size: 8,
     dp_address: "${NODE_0_IP}"}
  - {node_index: 1, port_start: 7100, dp_rpc_port: 12321, dp_size: 2, dp_size_local: 2, dp_rank_start: 0, tp_size: 8,
     dp_address: "${NODE_1_IP}"}
  - {node_index: 2, port_start: 7100, dp_rpc_port: 12321, dp_size: 16, dp_size_local: 16, dp_rank_start: 0, tp_size: 1,
     dp_address: "${NODE_2_IP}"}
env_common: &common
  OMP_PROC_BIND: false
  HCCL_BUFFSIZE: 256
  SERVER_PORT: "${PORT}"
  ASCEND_RT_VISIBLE_DEVICES: "${VISIBLE_DEVICES}"
  LD_LIBRARY_PATH: "/opt/x:$LD_LIBRARY_PATH"
env_decode: &decode
  <<: *common
  HCCL_BUFFSIZE: 1024
templates:
  - node_index: 0
    envs: {<<: *common}
    server_cmd_template: &prefill [--host, 0.0.0.0, --port, $SERVER_PORT, --data-parallel-size, "${DP_SIZE}",
      --data-parallel-rank, "${DP_RANK}", --data-parallel-address, "${DP_ADDRESS}", --data-parallel-rpc-port,
      "${DP_RPC_PORT}", --tensor-parallel-size, "${TP_SIZE}", --enable-expert-parallel, --enforce-eager,
      --no-enable-prefix-caching, --kv-transfer-config, '{"kv_connector": "MooncakeConnectorV1", "kv_role":
      "kv_producer", "kv_port": 61000, "kv_connector_extra_config": {"prefill": {"dp_size": 2, "tp_size": 8},
      "decode": {"dp_size": 16, "tp_size": 1}}}']
  - node_index: 1
    envs: {<<: *common}
    server_cmd_template: *prefill
  - node_index: 2
    envs: {<<: *decode}
    server_cmd_template: [--host, 0.0.0.0, --port, $SERVER_PORT, --data-parallel-size, "${DP_SIZE}",
      --data-parallel-rank, "${DP_RANK}", --data-parallel-address, "${DP_ADDRESS}", --data-parallel-rpc-port,
      "${DP_RPC_PORT}", --tensor-parallel-size, "${TP_SIZE}", --enable-expert-parallel, --max-num-seqs, 28,
      --kv-transfer-config, '{"kv_connector": "MooncakeConnectorV1", "kv_role": "kv_consumer", "kv_port": 61200,
      "engine_id": "1", "kv_connector_extra_config": {"prefill": {"dp_size": 2, "tp_size": 8},
      "decode": {"dp_size": 16, "tp_size": 1}}}']
benchmarks: {perf: {case_type: performance}}
"""
INTERNAL = """
test_name: two nodes
model: org/Some-MoE
num_nodes: 2
npu_per_node: 16
cluster_hosts: [192.0.2.21, 192.0.2.22]
env_common: &env {HCCL_BUFFSIZE: 512, SERVER_PORT: 8080, VLLM_ENGINE_READY_TIMEOUT_S: 3000}
deployment:
  - envs: {<<: *env}
    server_cmd: >
      vllm serve org/Some-MoE --host 0.0.0.0 --port $SERVER_PORT --data-parallel-size 4
      --data-parallel-size-local 2 --data-parallel-address $LOCAL_IP --data-parallel-rpc-port 13389
      --tensor-parallel-size 8 --enable-expert-parallel
      --additional-config '{"enable_cpu_binding": true,
      "eplb_config": {"a": 1}}'
  - envs: {<<: *env, HCCL_BUFFSIZE: 1024}
    server_cmd: >
      vllm serve org/Some-MoE --headless --data-parallel-size 4
      --data-parallel-size-local 2 --data-parallel-start-rank 2 --data-parallel-address $MASTER_IP
      --data-parallel-rpc-port 13389 --tensor-parallel-size 8 --enable-expert-parallel
      --additional-config '{"enable_cpu_binding": true, "eplb_config": {"a": 1}}'
"""
POOL = """
kv_pool: {type: mooncake, master_port: 50088, metrics_port: 50089, config: {global_segment_size: 1GB}}
special_dependencies: {transformers: 5.2.0}
"""


def wanted(**more):
    return Wanted((("", "t.yaml"),), version="0.23.0", **more)


def test_a_rank_of_an_external_file_has_its_template_filled_in():
    launches = read(wanted(hosts=("a", "b", "c")), lambda _: EXTERNAL).launches
    one = launches[2]
    assert [launch.host for launch in launches] == [*"aabb", *["c"] * 16]
    assert one.words[:9] == (
        *("org/Some-MoE-W8A8", "--host", "0.0.0.0", "--port", "7100"),
        *("--data-parallel-size", "2", "--data-parallel-rank", "0"),
    )
    assert one.env == {
        "OMP_PROC_BIND": "False",
        "HCCL_BUFFSIZE": "256",
        "SERVER_PORT": "7100",
        "ASCEND_RT_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7",
        "LD_LIBRARY_PATH": "/opt/x:${LD_LIBRARY_PATH}",
    }


@pytest.mark.parametrize(("name", "text", "engines"), [("external", EXTERNAL, 20), ("internal", INTERNAL, 2)])
def test_the_cluster_file_starts_the_same_but_for_what_is_explained(name, text, engines, expect, request):
    found = bring(wanted(), lambda _: text)
    what = sorted({f"{one.what}: {one.why}" for one in found.differences})
    expect(request.path.parent / "cases" / f"{name}.txt", "\n".join((found.text, *what, "")))
    assert (found.engines, found.complete) == (engines, True)


def test_a_pool_becomes_a_service_and_its_clients_file():
    source = read(wanted(), lambda _: EXTERNAL + POOL)
    assert source.services["mooncake"]["command"] == [
        "mooncake_master",
        "--port=50088",
        "--metrics_port=50089",
    ]
    assert source.store == {"global_segment_size": "1GB"}
    assert ("t.yaml: special_dependencies", True) in [(one.where, one.matters) for one in source.left]
    assert ("t.yaml: benchmarks", False) in [(one.where, one.matters) for one in source.left]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (INTERNAL.replace("num_nodes: 2", "num_nodes: 3"), "deployment has 2 entries"),
        ("a: 1", "does not know"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(text, what):
    with pytest.raises(UsageError) as error:
        read(wanted(), lambda _: text)
    assert what in error.value.text


def test_too_few_hosts_are_refused():
    with pytest.raises(UsageError, match="3 nodes, and 1 hosts"):
        read(wanted(hosts=("a",)), lambda _: EXTERNAL)


def test_a_process_without_a_server_needs_none_of_its_flags():
    text = INTERNAL.replace("--headless", "--headless --host 0.0.0.0 --port $SERVER_PORT")
    assert bring(wanted(), lambda _: text).complete
