import pytest
from msgspec.structs import replace
from specs import cluster, four_p_four_d, serve

from dplaunch.engines import adapter
from dplaunch.model.cluster import KvTransferSpec, Override, RoleSpec, RouterSpec

DATADIST = KvTransferSpec(connector="LLMDataDistCMgrConnector", rank_table="/t.json")
LAYERWISE = KvTransferSpec(connector="MooncakeLayerwiseConnector")


def found(spec):
    return adapter(spec.engine.kind).check(spec)


def keys(spec):
    return [problem.key for problem in found(spec)]


def pd(prefill=None, decode=None, **changes):
    spec = four_p_four_d(**changes)
    roles = replace(spec.roles[0], **(prefill or {})), replace(spec.roles[1], **(decode or {}))
    return replace(spec, roles=roles)


def test_the_documented_cluster_has_no_problem():
    assert found(four_p_four_d()) == ()
    assert found(four_p_four_d("0.9.1", kv_transfer=DATADIST)) == ()
    assert found(cluster(serve(tp=16))) == ()


@pytest.mark.parametrize("version", ["0.10.0", "0.9.2", "0.8.5", "0.10.0rc1"])
def test_a_version_without_a_contract_names_its_neighbours(version):
    (problem,) = found(four_p_four_d(version))
    assert problem.key == "engine.version"
    assert version in problem.text
    assert "0.9.1" in problem.hint


def test_a_newer_version_is_taken_for_the_newest_and_said():
    (problem,) = found(four_p_four_d("0.26.0"))
    assert (problem.key, problem.warning) == ("engine.version", True)
    assert problem.text.endswith("written as for 0.25.1rc1")


def test_contract_a_variables_are_refused_with_the_reason():
    env = {"VLLM_DP_SIZE": "64", "VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED": "1"}
    problems = found(pd(decode={"env": env}))
    assert [p.key for p in problems] == [
        "roles.decode.env.VLLM_DP_SIZE",
        "roles.decode.env.VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED",
    ]
    assert all("die after loading" in p.text for p in problems)
    old = found(
        replace(four_p_four_d("0.9.1", kv_transfer=DATADIST), overrides={"decode-1": Override(env=env)})
    )
    assert [p.key for p in old] == [
        "overrides.decode-1.env.VLLM_DP_SIZE",
        "overrides.decode-1.env.VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED",
    ]
    assert all("computed by dplaunch" in p.text for p in old)


def test_the_device_list_is_computed():
    node_env = cluster(serve(tp=16, env={"ASCEND_RT_VISIBLE_DEVICES": "0"}))
    assert keys(node_env) == ["roles.serve.env.ASCEND_RT_VISIBLE_DEVICES"]


def test_context_parallelism_needs_0_12():
    assert keys(cluster(serve(tp=4, pcp=2, dcp=2), version="0.11.0")) == [
        "roles.serve.pcp",
        "roles.serve.dcp",
    ]
    assert keys(cluster(serve(tp=4, pcp=2, dcp=2), version="0.12.0rc1")) == []


@pytest.mark.parametrize(
    ("version", "connector", "listed"),
    [
        ("0.9.1", "MooncakeConnectorV1", "LLMDataDistCMgrConnector"),
        ("0.23.0", "LLMDataDistCMgrConnector", "MooncakeConnectorV1"),
        ("0.23.0", "MooncakeConnector", "MooncakeConnectorV1"),
        ("0.11.0rc3", "MooncakeLayerwiseConnector", "MooncakeConnectorV1"),
    ],
)
def test_an_unregistered_connector_lists_those_there_are(version, connector, listed):
    problem = found(four_p_four_d(version, kv_transfer=KvTransferSpec(connector=connector, rank_table="/t")))[
        0
    ]
    assert problem.key == "kv_transfer.connector"
    assert f"'{connector}'" in problem.text
    assert listed in problem.hint


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ({"engine_id": "0"}, "engine_id"),
        ({"kv_connector_module_path": "x.y"}, "kv_connector_module_path"),
        ({"kv_role": "kv_both"}, "kv_role"),
        ({"kv_port": 1}, "kv_port"),
        ({"prefill": {"tp_size": 1, "pp_layer_partition": "30,31"}}, "prefill.tp_size"),
        ({"kv_connector_extra_config": {"decode": {"dp_size": 1}}}, "decode.dp_size"),
    ],
)
def test_what_is_computed_or_harmful_is_not_given(extra, key):
    spec = four_p_four_d(kv_transfer=KvTransferSpec(connector="MooncakeConnectorV1", extra=extra))
    assert keys(spec) == [f"kv_transfer.extra.{key}"]


def test_nested_entries_are_checked_too():
    entries = ({"kv_connector": "MooncakeConnectorV1", "engine_id": "1"}, {"kv_connector": "Nonesuch"})
    transfer = KvTransferSpec(connector="MultiConnector", extra={"connectors": entries})
    assert keys(four_p_four_d(kv_transfer=transfer)) == [
        "kv_transfer.connector",
        "kv_transfer.extra.connectors.0.engine_id",
    ]
    assert keys(four_p_four_d(kv_transfer=KvTransferSpec(connector="MultiConnector"))) == [
        "kv_transfer.connector"
    ]


def test_what_is_for_one_role_is_checked_too():
    by_role = {"decode": {"engine_id": "1"}}
    transfer = KvTransferSpec(connector="MooncakeConnectorV1", by_role=by_role)
    assert keys(four_p_four_d(kv_transfer=transfer)) == ["kv_transfer.decode.engine_id"]


def test_which_part_a_store_plays_is_the_users_choice():
    other = {"backend": "yuanrong"}
    store = {"kv_connector": "AscendStoreConnector", "kv_role": "kv_both", "kv_connector_extra_config": other}
    mover = {"kv_connector": "MooncakeConnectorV1", "kv_role": "kv_both"}
    transfer = KvTransferSpec(connector="MultiConnector", extra={"connectors": (mover, store)})
    assert keys(four_p_four_d(kv_transfer=transfer)) == ["kv_transfer.extra.connectors.0.kv_role"]


def test_the_hybrid_connector_takes_no_context_parallelism():
    decode = RoleSpec(name="decode", nodes=("n2",), tp=8, dcp=2)
    prefill = RoleSpec(name="prefill", nodes=("n1",), tp=4, pcp=2)
    transfer = KvTransferSpec(connector="MooncakeHybridConnector")
    wrong = keys(cluster(replace(prefill, tp=8), decode, kv_transfer=transfer))
    assert wrong == ["roles.prefill.pcp", "roles.decode.dcp"]


@pytest.mark.parametrize(
    ("version", "role", "wrong"),
    [
        ("0.21.0rc1", {"pcp": 2, "dp": 2}, []),
        ("0.22.1rc1", {"pcp": 2, "dp": 2}, ["roles.serve.pcp"]),
        ("0.23.0", {"pcp": 2, "dp": 2}, ["roles.serve.pcp"]),
        ("0.23.0", {"pcp": 2, "groups": 2}, []),
        ("0.25.1rc1", {"pcp": 2}, ["roles.serve.pcp"]),
        ("0.25.1rc1", {"pcp": 2, "env": {"VLLM_USE_V2_MODEL_RUNNER": "1"}}, []),
        ("0.23.0", {"pcp": 2, "tp": 2, "dcp": 4}, ["roles.serve.dcp"]),
    ],
)
def test_context_parallelism_that_this_version_refuses(version, role, wrong):
    assert keys(cluster(serve(**role), version=version)) == wrong


def test_a_rank_table_is_for_llmdatadist_and_only_for_it():
    bare = KvTransferSpec(connector="LLMDataDistCMgrConnector")
    assert keys(four_p_four_d("0.9.1", kv_transfer=bare)) == ["kv_transfer.connector"]
    other = KvTransferSpec(connector="MooncakeConnectorV1", rank_table="/t")
    assert keys(four_p_four_d(kv_transfer=other)) == ["kv_transfer.rank_table"]


@pytest.mark.parametrize(
    ("prefill", "decode", "key"),
    [
        ({"tp": 1}, {"tp": 2}, "roles.prefill.tp"),
        ({"tp": 6}, {"tp": 4}, "roles.prefill.tp"),
        ({}, {"pp": 2}, "roles.decode.pp"),
        ({"pp": 2, "pcp": 2, "dp": 1, "groups": 4}, {}, "roles.prefill.pcp"),
        ({}, {"tp": 4, "dcp": 2}, "roles.decode.dcp"),
        ({"dcp": 2}, {"tp": 8, "dcp": 4}, "roles.decode.dcp"),
    ],
)
def test_sizes_that_mooncake_refuses(prefill, decode, key):
    assert keys(pd(prefill, decode)) == [key]


def test_latent_attention_needs_no_multiple():
    assert keys(replace(pd({"tp": 6}, {"tp": 4}), model="vllm-ascend/DeepSeek-R1-W8A8")) == []


def test_order_of_connector_and_router_must_agree():
    proxy = RouterSpec(node="n1", kind="vllm-ascend", path="/x/load_balance_proxy_server_example.py")
    layerwise = replace(proxy, path="/x/load_balance_proxy_layerwise_server_example.py")
    foreign = RouterSpec(node="n1", kind="vllm-router")
    assert keys(four_p_four_d(kv_transfer=LAYERWISE)) == []
    assert keys(four_p_four_d(kv_transfer=LAYERWISE, router=foreign)) == ["router.kind"]
    assert keys(four_p_four_d(kv_transfer=LAYERWISE, router=proxy)) == ["router.kind"]
    assert keys(four_p_four_d(kv_transfer=LAYERWISE, router=layerwise)) == []
    assert keys(four_p_four_d(kv_transfer=LAYERWISE, router=None)) == []
    assert keys(four_p_four_d(router=layerwise)) == ["router.path"]
    assert keys(four_p_four_d(router=proxy)) == []
    assert keys(pd(decode={"pcp": 2, "dp": 1, "groups": 4}, kv_transfer=LAYERWISE, router=None)) == [
        "roles.decode.pcp"
    ]


@pytest.mark.parametrize(
    "config",
    [{"recompute_scheduler_enable": True}, {"scheduler_config": {"recompute_scheduler_enable": True}}],
)
def test_recompute_is_for_decode_and_routers_that_know_it(config):
    def wrong(spec):
        return [problem.key for problem in found(spec) if not problem.warning]

    args = {"additional-config": config}
    assert wrong(pd(decode={"args": args})) == []
    assert wrong(pd(decode={"args": args}, router=RouterSpec(node="n1", kind="vllm-router"))) == [
        "router.kind"
    ]


@pytest.mark.parametrize(
    ("version", "effect"),
    [("0.13.0", "does not refuse it"), ("0.22.1rc1", "does not refuse it"), ("0.23.0", "ignores it")],
)
def test_recompute_on_prefill_is_told_as_that_version_takes_it(version, effect):
    args = {"additional-config": {"recompute_scheduler_enable": True}}
    told = [p for p in found(pd({"args": args}, version=version)) if "recompute" in p.text]
    (problem,) = [p for p in told if p.key == "roles.prefill.args.additional-config"]
    assert problem.warning
    assert f"vllm-ascend {version} {effect}" in problem.text


def test_settings_that_differ_between_the_sides_are_suspicious():
    (problem,) = found(pd({"args": {"quantization": "ascend"}}))
    assert problem.warning
    assert problem.key == "roles.decode.args.quantization"
    assert "'ascend'" in problem.text


def test_a_rehearsal_is_checked_as_what_it_stands_for():
    spec = cluster(*pd({"tp": 1}, {"tp": 2}).roles, kind="rehearsal", kv_transfer=four_p_four_d().kv_transfer)
    assert keys(spec) == ["roles.prefill.tp"]
    assert adapter("rehearsal").release(spec) == "rehearsal of vllm-ascend 0.23.0"


def test_roles_named_otherwise_are_left_to_the_file_rules():
    spec = cluster(RoleSpec(name="serve", nodes=("n1",)), kv_transfer=four_p_four_d().kv_transfer)
    assert found(spec) == ()
