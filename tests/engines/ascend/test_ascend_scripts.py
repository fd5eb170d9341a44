"""vllm-ascend's scripts, run with a vllm that tells its arguments and environment."""

import json

import pytest
from msgspec.structs import replace
from specs import A2, A3, A5, MOONCAKE, cluster, four_p_four_d, nodes, serve

from dplaunch import plan
from dplaunch.model.cluster import KvTransferSpec, Override, RoleSpec, RuntimeSpec, SecretRef


def process(planned, name):
    return next(p for p in planned.processes if p.name == name)


def node_of(planned, name):
    return next(node for node in planned.nodes if any(p.name == name for p in node.processes))


def run(stage, planned, name, **env):
    stage.put(node_of(planned, name))
    ran = stage.run(process(planned, name), **env)
    assert (ran.code, ran.err) == (0, ""), ran.err
    return ran


HOSTILE = 'it\'s "two" $words `and` --more; exec vllm serve --not-a-flag #x\n--nor-this'


@pytest.mark.parametrize("version", ["0.9.1", "0.11.0", "0.23.0"])
def test_the_plan_names_the_flags_that_the_engine_gets(stage, version):
    connector = "LLMDataDistCMgrConnector" if version == "0.9.1" else "MooncakeConnectorV1"
    spec = four_p_four_d(
        version,
        kv_transfer=KvTransferSpec(connector=connector, rank_table="/t" if version == "0.9.1" else None),
    )
    own = {
        "additional-config": {"a": HOSTILE},
        "chat-template": HOSTILE,
        "compilation-config.level": 3,
        "tokenizer-revision": "-1s",
    }
    planned = plan.build(replace(spec, overrides={"decode-1": Override(args=own)}))
    for name in ("prefill-0", "decode-0", "decode-1"):
        given = [
            word.split("=")[0].split(".")[0]
            for word in run(stage, planned, name).argv
            if word.startswith("--")
        ]
        assert sorted(given) == sorted(process(planned, name).flags)


KV_SIZES = {"prefill": {"dp_size": 2, "tp_size": 8}, "decode": {"dp_size": 64, "tp_size": 1}}


def test_documented_prefill_node_of_the_newest_version(stage):
    planned = plan.build(four_p_four_d())
    for rank in (0, 1):
        ran = run(
            stage, planned, f"prefill-{rank}", http_proxy="http://proxy", HTTPS_PROXY="x", ALL_PROXY="y"
        )
        *head, kv, name_flag, served = ran.argv
        assert head == [
            "serve", "some/model",
            "--port", str(9000 + rank),
            "--data-parallel-size", "2",
            "--data-parallel-rank", str(rank),
            "--data-parallel-address", "192.0.0.1",
            "--data-parallel-rpc-port", "13395",
            "--tensor-parallel-size", "8",
            "--host", "0.0.0.0",
            "--disable-access-log-for-endpoints", "/health,/metrics",
            "--shutdown-timeout", "600",
            "--enable-expert-parallel",
            "--max-num-seqs", "4",
            "--enforce-eager",
            "--kv-transfer-config",
        ]  # fmt: skip
        assert (name_flag, served) == ("--served-model-name", "model")
        assert json.loads(kv) == {
            "kv_connector": "MooncakeConnectorV1",
            "kv_role": "kv_producer",
            "kv_port": "61000",
            "kv_connector_extra_config": KV_SIZES,
        }
        first = 8 * rank
        expected = {
            "ASCEND_RT_VISIBLE_DEVICES": ",".join(map(str, range(first, first + 8))),
            "VLLM_HOST_IP": "192.0.0.1",
            "HCCL_IF_IP": "192.0.0.1",
            "HCCL_SOCKET_IFNAME": "eth0",
            "GLOO_SOCKET_IFNAME": "eth0",
            "TP_SOCKET_IFNAME": "eth0",
            "VLLM_ENGINE_READY_TIMEOUT_S": "2400",
            "ASCEND_AGGREGATE_ENABLE": "1",
            "ASCEND_TRANSPORT_PRINT": "1",
            "ACL_OP_INIT_MODE": "1",
            "ASCEND_A3_ENABLE": "1",
            "HCCL_BUFFSIZE": "256",
        }
        assert ran.env.items() >= expected.items()
        assert not {name for name in ran.env if name.lower().endswith("_proxy")}
        assert not {name for name in ran.env if name.startswith(("VLLM_DP_", "VLLM_USE_V1", "HCCL_INTRA"))}


def test_documented_decode_node_of_the_newest_version(stage):
    planned = plan.build(four_p_four_d())
    for rank, node in ((0, 5), (17, 6), (63, 8)):
        ran = run(stage, planned, f"decode-{rank}")
        assert ran.option("port") == str(9000 + rank % 16)
        assert ran.option("data-parallel-size") == "64"
        assert ran.option("data-parallel-rank") == str(rank)
        assert ran.option("data-parallel-address") == "192.0.0.5"
        assert ran.option("data-parallel-rpc-port") == "13395"
        assert ran.option("tensor-parallel-size") == "1"
        assert json.loads(ran.option("speculative-config")) == {"method": "mtp", "num_speculative_tokens": 1}
        assert json.loads(ran.option("kv-transfer-config"))["kv_role"] == "kv_consumer"
        assert ran.env["ASCEND_RT_VISIBLE_DEVICES"] == str(rank % 16)
        assert ran.env["HCCL_IF_IP"] == f"192.0.0.{node}"
        assert ran.env["HCCL_BUFFSIZE"] == "1024"


def test_contract_a_gives_the_layout_by_environment(stage):
    transfer = KvTransferSpec(connector="LLMDataDistCMgrConnector", rank_table="/r/t$x.json")
    planned = plan.build(four_p_four_d("0.9.1", kv_transfer=transfer))
    ran = run(stage, planned, "prefill-3")
    assert process(planned, "prefill-3").argv == (
        "bash", "prefill/run_dp_template.sh", "2", "192.0.0.2", "13395", "1", "1", "9001", "2",
    )  # fmt: skip
    expected = {
        "VLLM_DP_SIZE": "2",
        "VLLM_DP_MASTER_IP": "192.0.0.2",
        "VLLM_DP_MASTER_PORT": "13395",
        "VLLM_DP_RANK_LOCAL": "1",
        "VLLM_DP_RANK": "1",
        "VLLM_DP_SIZE_LOCAL": "2",
        "VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED": "1",
        "VLLM_USE_V1": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "fork",
        "ASCEND_RT_VISIBLE_DEVICES": ",".join(map(str, range(16))),
        "DISAGGREGATED_PREFILL_RANK_TABLE_PATH": "/r/t$x.json",
        "VLLM_LLMDD_RPC_PORT": "61000",
    }
    assert ran.env.items() >= expected.items()
    assert "VLLM_ENGINE_READY_TIMEOUT_S" not in ran.env
    assert "ASCEND_A3_ENABLE" not in ran.env
    assert not [word for word in ran.argv if word.startswith("--data-parallel")]
    assert ran.option("tensor-parallel-size") == "8"
    assert ran.option("port") == "9001"
    assert json.loads(ran.option("kv-transfer-config")) == {
        "kv_connector": "LLMDataDistCMgrConnector",
        "kv_role": "kv_producer",
        "kv_port": "61000",
        "kv_buffer_device": "npu",
    }


def test_contract_a_lists_only_the_devices_of_the_own_group(stage):
    planned = plan.build(cluster(serve(groups=2, dp=4, tp=2, name="serve"), version="0.9.1"))
    assert run(stage, planned, "serve-3").env["ASCEND_RT_VISIBLE_DEVICES"] == "0,1,2,3,4,5,6,7"
    second = run(stage, planned, "serve-5")
    assert second.env["ASCEND_RT_VISIBLE_DEVICES"] == "8,9,10,11,12,13,14,15"
    assert second.env["VLLM_DP_RANK_LOCAL"] == "1"


@pytest.mark.parametrize("version", ["0.9.1", "0.23.0"])
def test_a_lone_engine_joins_no_group(stage, version):
    ran = run(stage, plan.build(cluster(serve(tp=16), version=version)), "serve-0")
    assert not [word for word in ran.argv if word.startswith("--data-parallel")]
    assert not [name for name in ran.env if name.startswith("VLLM_DP_") or "EXTERNAL_DP" in name]
    assert ran.env["ASCEND_RT_VISIBLE_DEVICES"] == ",".join(map(str, range(16)))


def test_pipeline_and_context_parallel_sizes(stage):
    planned = plan.build(cluster(serve(tp=4, pp=2, pcp=2, dcp=4), version="0.18.0"))
    ran = run(stage, planned, "serve-0")
    assert ran.option("pipeline-parallel-size") == "2"
    assert ran.option("prefill-context-parallel-size") == "2"
    assert ran.option("decode-context-parallel-size") == "4"
    assert ran.env["VLLM_ASCEND_ENABLE_CONTEXT_PARALLEL"] == "1"
    assert "--enable-expert-parallel" not in ran.argv
    newest = run(stage, plan.build(cluster(serve(tp=4, pcp=4))), "serve-0")
    assert "VLLM_ASCEND_ENABLE_CONTEXT_PARALLEL" not in newest.env


@pytest.mark.parametrize(
    ("hardware", "transfer", "expected"),
    [
        (A2, None, {"HCCL_INTRA_PCIE_ENABLE": "1", "HCCL_INTRA_ROCE_ENABLE": "0"}),
        (A2, MOONCAKE, {"HCCL_INTRA_PCIE_ENABLE": "1", "HCCL_INTRA_ROCE_ENABLE": "0"}),
        (A3, None, {}),
        (A5, MOONCAKE, {}),
        (A3, MOONCAKE, {"ASCEND_A3_ENABLE": "1"}),
    ],
)
def test_hardware_and_connector_decide_the_environment(stage, hardware, transfer, expected):
    if transfer is None:
        spec = cluster(serve(tp=8), hardware=hardware)
    else:
        two = (RoleSpec(name="prefill", nodes=("n1",), tp=4), RoleSpec(name="decode", nodes=("n1",), tp=4))
        spec = cluster(*two, hardware=hardware, kv_transfer=transfer)
    planned = plan.build(spec)
    ran = run(stage, planned, planned.processes[0].name)
    names = ("HCCL_INTRA_PCIE_ENABLE", "HCCL_INTRA_ROCE_ENABLE", "ASCEND_A3_ENABLE")
    assert {name: ran.env[name] for name in names if name in ran.env} == expected


@pytest.mark.parametrize(
    ("version", "extra", "env", "path"),
    [
        ("0.23.0", {}, {}, "/etc/hixlep"),
        ("0.23.0", {"ascend_local_comm_res_path": "/mine"}, {}, "/mine"),
        ("0.23.0", {}, {"ASCEND_LOCAL_COMM_RES": '{"version":"1.3"}'}, None),
        ("0.21.0rc1", {}, {}, None),
    ],
)
def test_a_950_is_given_where_its_links_are_described(stage, version, extra, env, path):
    sides = (RoleSpec(name=name, nodes=("n1",), tp=4, env=env) for name in ("prefill", "decode"))
    transfer = replace(MOONCAKE, extra=extra)
    planned = plan.build(cluster(*sides, hardware=A5, version=version, kv_transfer=transfer))
    for name in ("prefill-0", "decode-0"):
        given = json.loads(run(stage, planned, name).option("kv-transfer-config"))
        assert given["kv_connector_extra_config"].get("ascend_local_comm_res_path") == path


@pytest.mark.parametrize("modules", [("sql-lora=/lora/sql",), '{"name": "sql-lora", "path": "/lora/sql"}'])
def test_an_adapter_has_its_name_from_its_own_flag(stage, modules):
    role = serve(tp=16, args={"enable-lora": True, "lora-modules": modules})
    planned = plan.build(cluster(role, aliases=("r1", "sql-lora")))
    ran = run(stage, planned, "serve-0")
    at = ran.argv.index("--served-model-name")
    assert ran.argv[at + 1 :] == ["model", "r1"]
    assert planned.endpoints[0].model == "model"


def test_roce_inside_a_node_is_only_for_kv_that_leaves_nodes(stage):
    two = (RoleSpec(name="prefill", nodes=("n1",), tp=8), RoleSpec(name="decode", nodes=("n2",), tp=8))
    planned = plan.build(cluster(*two, hardware=A2, kv_transfer=MOONCAKE))
    ran = run(stage, planned, "prefill-0")
    assert ran.env["HCCL_INTRA_ROCE_ENABLE"] == "1"
    assert "HCCL_INTRA_PCIE_ENABLE" not in ran.env


NASTY = {
    "QUOTES": """it's "both" `id` $(id) \\ end\\""",
    "LINES": "one\ntwo\n",
    "DOLLARS": "$$5 $HOME $${X} ${GIVEN}${UNSET_HERE}!",
    "UNICODE": "数据并行 ✓",
    "EMPTY": "",
}


def test_every_value_survives_the_script(stage):
    args = {
        "chat-template": NASTY["QUOTES"],
        "hf-overrides": {"k": NASTY["LINES"], "é": (1, None)},
        "lora-modules": ("a b", "$(id)", "'"),
    }
    spec = cluster(
        serve(tp=16, env=NASTY, args=args),
        model="we ird/$(id)'m",
        served_model_name='"s"',
        name="a\nb",
    )
    ran = run(stage, plan.build(spec), "serve-0", GIVEN="<g>")
    assert ran.argv[1] == "we ird/$(id)'m"
    assert ran.option("served-model-name") == '"s"'
    assert ran.option("chat-template") == NASTY["QUOTES"]
    assert json.loads(ran.option("hf-overrides")) == {"k": "one\ntwo\n", "é": [1, None]}
    at = ran.argv.index("--lora-modules")
    assert ran.argv[at + 1 : at + 4] == ["a b", "$(id)", "'"]
    expected = {**NASTY, "DOLLARS": "$5 $HOME ${X} <g>!"}
    assert {name: ran.env[name] for name in NASTY} == expected


def test_user_environment_comes_after_setup_and_wins_over_computed(stage):
    setup = ("false; set_by_setup=1; export LD_LIBRARY_PATH=/cann", 'echo "$NEVER_SET" >/dev/null')
    env = {
        "LD_LIBRARY_PATH": "/mooncake:${LD_LIBRARY_PATH}",
        "HCCL_IF_IP": "10.0.0.1",
        "NCCL_X": "${nic_name}",
    }
    spec = cluster(serve(tp=16, env=env), runtime=RuntimeSpec(setup=setup))
    ran = run(stage, plan.build(spec), "serve-0")
    assert ran.env["LD_LIBRARY_PATH"] == "/mooncake:/cann"
    assert ran.env["HCCL_IF_IP"] == "10.0.0.1"
    assert ran.env["VLLM_HOST_IP"] == "192.0.0.1"
    assert ran.env["NCCL_X"] == "eth0"


def test_later_entries_win_role_node_override(stage):
    node = replace(
        nodes(1)[0],
        env={"A": "node", "B": "node"},
        args={"tokenizer": "node", "revision": "node", "skip-tokenizer-init": True},
    )
    spec = cluster(
        serve(
            dp=2,
            tp=8,
            env={"A": "role", "C": "role"},
            args={"tokenizer": "role", "dtype": "auto", "skip-tokenizer-init": True},
        ),
        nodes=(node,),
        overrides={
            "node:n1": Override(env={"B": "override-node"}, args={"revision": "override-node"}),
            "serve-1": Override(
                env={"B": "engine", "ONLY": "1"},
                args={"revision": "engine", "skip-tokenizer-init": None, "code-revision": "x y"},
            ),
        },
    )
    planned = plan.build(spec)
    zero, one = run(stage, planned, "serve-0"), run(stage, planned, "serve-1")
    assert {name: zero.env.get(name) for name in ("A", "B", "C", "ONLY")} == {
        "A": "node", "B": "override-node", "C": "role", "ONLY": None,
    }  # fmt: skip
    assert (one.env["B"], one.env["ONLY"]) == ("engine", "1")
    assert [zero.option(name) for name in ("tokenizer", "revision", "dtype")] == [
        "node",
        "override-node",
        "auto",
    ]
    assert [one.option(name) for name in ("tokenizer", "revision", "code-revision")] == [
        "node",
        "engine",
        "x y",
    ]
    assert "--skip-tokenizer-init" in zero.argv
    assert "--skip-tokenizer-init" not in one.argv
    assert "--code-revision" not in zero.argv


def test_several_groups_on_a_node_have_kv_ports_of_their_own(stage):
    prefill = RoleSpec(name="prefill", nodes=("n1",), groups=2, dp=2, tp=2)
    decode = RoleSpec(name="decode", nodes=("n1",), groups=2, dp=2, tp=1)
    planned = plan.build(cluster(prefill, decode, kv_transfer=MOONCAKE))
    found = {}
    for name in ("prefill-1", "prefill-2", "decode-0", "decode-3"):
        ran = run(stage, planned, name)
        found[name] = (
            json.loads(ran.option("kv-transfer-config"))["kv_port"],
            ran.option("data-parallel-rpc-port"),
        )
    assert found == {
        "prefill-1": ("61000", "13395"),
        "prefill-2": ("61004", "13396"),
        "decode-0": ("61008", "13397"),
        "decode-3": ("61010", "13398"),
    }


def test_secrets_are_named_in_the_script_and_given_in_the_environment(stage):
    token = SecretRef("env", "MY_TOKEN")
    spec = cluster(
        serve(tp=16, env={"HF_TOKEN": token, "PLAIN": "1"}), api_key=SecretRef("file", "/keys/key")
    )
    planned = plan.build(spec)
    found = process(planned, "serve-0")
    assert found.env == {"HF_TOKEN": token, "VLLM_API_KEY": SecretRef("file", "/keys/key")}
    text = next(f.text for f in planned.nodes[0].files if f.path == "serve/run_dp_template.sh")
    assert "HF_TOKEN VLLM_API_KEY\n" in text
    assert "MY_TOKEN" not in text
    assert "/keys" not in text
    ran = run(stage, planned, "serve-0", HF_TOKEN="t0ken", VLLM_API_KEY="k3y")
    assert (ran.env["HF_TOKEN"], ran.env["VLLM_API_KEY"]) == ("t0ken", "k3y")


def test_called_by_hand_with_too_few_words_it_says_how(stage):
    planned = plan.build(cluster(serve(tp=16)))
    stage.put(planned.nodes[0])
    ran = stage.run(replace(process(planned, "serve-0"), argv=("bash", "serve/run_dp_template.sh", "0")))
    assert ran.code == 2
    assert "DEVICES HTTP_PORT DP_SIZE DP_RANK DP_ADDRESS DP_RPC_PORT TP_SIZE" in ran.err


@pytest.mark.parametrize(("version", "quiet"), [("0.23.0", True), ("0.18.0", True), ("0.13.0", False)])
def test_the_routers_questions_stay_out_of_the_log_where_the_engine_can(version, quiet):
    spec = four_p_four_d()
    spec = replace(spec, engine=replace(spec.engine, version=version))
    texts = [f.text for node in plan.build(spec).nodes for f in node.files if f.path.endswith("template.sh")]
    assert all(("--disable-access-log-for-endpoints /health,/metrics" in text) is quiet for text in texts)
