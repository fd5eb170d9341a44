import pytest
from msgspec.structs import replace
from specs import A2, cluster, four_p_four_d, names, serve

from dplaunch.engines import adapter
from dplaunch.engines.vllm.advice import DENSE
from dplaunch.model.cluster import KvTransferSpec

DATADIST = KvTransferSpec(connector="LLMDataDistCMgrConnector", rank_table="/t.json")
MTP = {"method": "mtp", "num_speculative_tokens": 1}


def told(given):
    """Key → problem, of a file without errors but for what a dense model cannot do."""
    problems = adapter(given.engine.kind).check(given)
    assert all(p.text and p.hint and p.source for p in problems)
    assert all(p.warning or "has no experts" in p.text for p in problems)
    assert len({p.key for p in problems}) == len(problems)
    return {p.key: p for p in problems}


def keys(given):
    return list(told(given))


def with_env(**env):
    return cluster(serve(env=env))


def decode(version="0.23.0", kind="vllm-ascend", **changes):
    given = four_p_four_d(version, kv_transfer=DATADIST if version == "0.9.1" else KvTransferSpec(
        connector="NixlConnector" if kind == "vllm" else "MooncakeConnectorV1"))  # fmt: skip
    roles = given.roles[0], replace(given.roles[1], **changes)
    return replace(given, roles=roles, engine=replace(given.engine, kind=kind))


@pytest.mark.parametrize(
    ("tokens", "seqs", "config", "needed"),
    [
        (56, 28, MTP, None),
        (55, 28, MTP, 56),
        ("55", 28, MTP, 56),
        (27, 28, None, 28),
        (28, 28, None, None),
        (83, 28, '{"method": "mtp", "num_speculative_tokens": 2}', 84),
        (16, None, MTP, None),
        (None, 28, MTP, None),
    ],
)
@pytest.mark.parametrize("kind", ["vllm-ascend", "vllm"])
def test_decode_should_take_all_its_sequences_in_one_step(kind, tokens, seqs, config, needed):
    args = {"max-num-batched-tokens": tokens, "max-num-seqs": seqs, "speculative-config": config}
    problems = told(decode(kind=kind, args={key: value for key, value in args.items() if value}))
    if needed is None:
        assert problems == {}
    else:
        assert (
            f"max-num-batched-tokens: {needed}" in problems["roles.decode.args.max-num-batched-tokens"].hint
        )


@pytest.mark.parametrize(
    "name",
    [
        *("Qwen/Qwen3-32B", "Qwen3-8B", "/data/Qwen3-32B/", "Qwen/Qwen3-32B-W8A8", "qwen2.5-7b-instruct"),
        *("meta-llama/Llama-3.1-70B-Instruct", "Llama-2-7b-hf", "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"),
        *("Qwen/QwQ-32B", "mistralai/Mistral-7B-Instruct-v0.3", "google/gemma-3-27b-it"),
    ],
)
def test_a_model_that_is_dense_by_name_has_no_ranks(name):
    assert keys(cluster(serve(dp=4), model=name)) == ["roles.serve.dp"]
    assert keys(cluster(serve(dp=4), model=name, kind="vllm")) == ["roles.serve.dp"]
    assert keys(cluster(serve(groups=4), model=name)) == []


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Qwen/Qwen3-30B-A3B",
            "Qwen3-235B-A22B-W8A8",
            "Qwen3-30B-A3B-Instruct-2507",
            "Qwen/Qwen3-Next-80B-A3B",
        ),
        *("deepseek-ai/DeepSeek-R1", "DeepSeek-V3.1", "Kimi-K2.5", "meta-llama/Llama-4-Scout-17B-16E"),
        *("mistralai/Mixtral-8x7B-v0.1", "GLM-4.7", "my-model", "Qwen3-Coder-480B-A35B", "Qwen2-57B-A14B"),
        *("Qwen1.5-MoE-A2.7B", "/weights/model"),
    ],
)
def test_any_other_name_says_nothing(name):
    assert not DENSE.fullmatch(name.rpartition("/")[2])
    assert keys(cluster(serve(dp=4), model=name)) == []


@pytest.mark.parametrize(
    ("version", "words"),
    [("0.11.0", "runs alone"), ("0.13.0", "AssertionError"), ("0.18.0", "runs alone"), ("0.23.0", "refuses")],
)
def test_what_becomes_of_a_dense_model_depends_on_the_version(version, words):
    given = cluster(serve(dp=4, groups=1), model="Qwen3-32B", version=version)
    assert words in told(given)["roles.serve.dp"].text


@pytest.mark.parametrize(
    ("version", "method", "wanted"),
    [
        ("0.9.1", "deepseek_mtp", None),
        ("0.9.1", "mtp", "deepseek_mtp"),
        ("0.11.0", "deepseek_mtp", None),
        ("0.11.0", "mtp", None),
        ("0.12.0rc1", "deepseek_mtp", "mtp"),
        ("0.23.0", "mtp", None),
        ("0.23.0", "eagle3", None),
    ],
)
def test_multi_token_prediction_is_spelt_as_the_version_does(version, method, wanted):
    forms = {
        "speculative-config.method": {"speculative-config": {"method": method, "num_speculative_tokens": 1}},
        "speculative-config": {"speculative-config": f'{{"method": "{method}"}}'},
    }
    for key, args in forms.items():
        problems = told(cluster(serve(args=args), version=version))
        assert [p.hint for p in problems.values()] == ([f"method: {wanted}"] if wanted else [])
        assert list(problems) == ([f"roles.serve.args.{key}"] if wanted else [])
    dotted = told(cluster(serve(args={"speculative-config.method": method}), version=version))
    assert bool(dotted) is bool(wanted)


def test_recompute_has_no_place_outside_decode():
    args = {"additional-config": {"recompute_scheduler_enable": True}}
    at = "roles.serve.args.additional-config.recompute_scheduler_enable"
    assert keys(cluster(serve(args=args))) == [at]
    assert keys(cluster(serve(args=args), version="0.13.0")) == []


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy"])
def test_a_proxy_in_the_environment_is_told(name):
    assert keys(with_env(**{name: "http://proxy.example.com:3128"})) == [f"roles.serve.env.{name}"]
    assert keys(with_env(no_proxy="localhost")) == []


@pytest.mark.parametrize(
    ("env", "key"),
    [
        ({"HCCL_CONNECT_TIMEOUT": "60"}, "HCCL_CONNECT_TIMEOUT"),
        ({"HCCL_CONNECT_TIMEOUT": "7201"}, "HCCL_CONNECT_TIMEOUT"),
        ({"HCCL_CONNECT_TIMEOUT": "120"}, None),
        ({"HCCL_RDMA_TIMEOUT": "21"}, "HCCL_RDMA_TIMEOUT"),
        ({"HCCL_IF_BASE_PORT": "65521"}, "HCCL_IF_BASE_PORT"),
        ({"HCCL_EXEC_TIMEOUT": "1800"}, None),
        ({"HCCL_EXEC_TIMEOUT": "1800", "HCCL_OP_EXPANSION_MODE": "AIV"}, "HCCL_EXEC_TIMEOUT"),
        ({"HCCL_EXEC_TIMEOUT": "204", "HCCL_OP_EXPANSION_MODE": "AIV"}, None),
        ({"LD_LIBRARY_PATH": "/usr/local/lib"}, "LD_LIBRARY_PATH"),
        ({"LD_LIBRARY_PATH": "/usr/local/lib:${LD_LIBRARY_PATH}"}, None),
    ],
)
def test_values_that_hccl_or_cann_cannot_work_with(env, key):
    assert keys(with_env(**env)) == ([f"roles.serve.env.{key}"] if key else [])


def test_atlas_a2_has_its_own_rules():
    env = {"HCCL_OP_EXPANSION_MODE": "AIV", "HCCL_DETERMINISTIC": "True", "ASCEND_A3_ENABLE": "1"}
    assert keys(cluster(serve(env=env))) == []
    assert keys(cluster(serve(env=env), hardware=A2)) == [
        "roles.serve.env.HCCL_DETERMINISTIC",
        "roles.serve.env.ASCEND_A3_ENABLE",
    ]


@pytest.mark.parametrize("name", ["HCCL_IF_IP", "VLLM_HOST_IP"])
def test_one_address_for_many_nodes_is_told(name):
    assert keys(cluster(serve(nodes=names(1, 2), dp=2, env={name: "192.0.0.1"}))) == [
        f"roles.serve.env.{name}"
    ]
    assert keys(cluster(serve(nodes=names(1, 2), dp=2, env={name: "${local_ip}"}))) == []
    assert keys(with_env(**{name: "192.0.0.1"})) == []


@pytest.mark.parametrize(
    ("version", "env", "bad"),
    [
        ("0.23.0", {"ASCEND_TRANSFER_TIMEOUT": "480000"}, False),
        ("0.23.0", {"ASCEND_TRANSFER_TIMEOUT": "480001"}, True),
        (
            "0.23.0",
            {"ASCEND_TRANSFER_TIMEOUT": "480001", "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT": "600"},
            False,
        ),
        ("0.11.0", {"ASCEND_TRANSFER_TIMEOUT": "120001"}, True),
        ("0.11.0", {"ASCEND_TRANSFER_TIMEOUT": "120001", "VLLM_NIXL_ABORT_REQUEST_TIMEOUT": "300"}, False),
    ],
)
def test_mooncake_gives_up_before_the_kv_is_freed(version, env, bad):
    assert keys(decode(version, env=env)) == (["roles.decode.env.ASCEND_TRANSFER_TIMEOUT"] if bad else [])


def test_spawn_is_not_for_0_9_1():
    env = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
    assert keys(cluster(serve(env=env), version="0.9.1")) == ["roles.serve.env.VLLM_WORKER_MULTIPROC_METHOD"]
    assert keys(cluster(serve(env=env))) == []


def with_config(version="0.23.0", env=None, **config):
    return cluster(serve(env=env or {}, args={"additional-config": config}), version=version)


OVERLAP = "roles.serve.args.additional-config.multistream_overlap_shared_expert"


def test_the_fused_operator_switches_the_overlap_of_the_shared_expert_off():
    fused = {"VLLM_ASCEND_ENABLE_FUSED_MC2": "1"}
    assert keys(with_config(env=fused, multistream_overlap_shared_expert=True)) == [OVERLAP]
    assert keys(with_config(enable_fused_mc2=1, multistream_overlap_shared_expert=True)) == [OVERLAP]
    off = {"VLLM_ASCEND_ENABLE_FUSED_MC2": "0"}
    assert keys(with_config(env=off, multistream_overlap_shared_expert=True)) == []
    assert keys(with_config("0.18.0", env=fused, multistream_overlap_shared_expert=True)) == []


def test_balancing_experts_while_serving_needs_a_variable_too():
    wanted = {"eplb_config": {"dynamic_eplb": True}}
    [problem] = adapter("vllm-ascend").check(with_config(**wanted))
    assert (problem.warning, problem.key[-12:]) == (False, "dynamic_eplb")
    assert keys(with_config(env={"DYNAMIC_EPLB": "true"}, **wanted)) == []
    assert keys(with_config(env={"EXPERT_MAP_RECORD": "true"}, **wanted)) == []
    assert keys(with_config(eplb_config={"dynamic_eplb": False})) == []


@pytest.mark.parametrize(
    ("key", "section"),
    [
        ("fuse_muls_add", "ascend_compilation_config"),
        ("expert_heat_collection_interval", "eplb_config"),
        ("algorithm_execution_interval", "eplb_config"),
    ],
)
def test_a_key_of_a_section_is_ignored_at_the_top(key, section):
    [problem] = told(with_config(**{key: 1})).values()
    assert f"{section}: {{{key}" in problem.hint
    assert keys(with_config(env={"DYNAMIC_EPLB": "1"}, **{section: {key: 1}})) == []


def test_a_spelling_of_one_models_prediction_is_an_old_one():
    given = decode(args={"speculative-config": {"method": "qwen3_5_mtp", "num_speculative_tokens": 1}})
    [problem] = told(given).values()
    assert problem.hint == "method: mtp"


def test_a_fixed_port_to_look_from_never_ends_for_ranks_of_a_group():
    env = {"VLLM_PORT": "40000"}
    assert keys(cluster(serve(dp=2, env=env))) == ["roles.serve.env.VLLM_PORT"]
    assert keys(cluster(serve(env=env))) == []
