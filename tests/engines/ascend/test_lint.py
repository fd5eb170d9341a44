"""Every row of the tables and every rule: quiet where the version takes it, told where it does not."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from specs import cluster, four_p_four_d, serve

from dplaunch import plan, spec
from dplaunch.engines import adapter
from dplaunch.engines.ascend import lint, releases
from dplaunch.engines.ascend.switches import ASCEND, ASCEND_PROXY, FAMILIES
from dplaunch.engines.versions import parse
from dplaunch.engines.vllm.switches import ENV, FLAG, KEY, NEVER, PROXY, REFUSED, VLLM, Switch
from dplaunch.errors import SpecError
from dplaunch.model.cluster import KvTransferSpec, Override, RouterSpec

RELEASES = tuple(release.version for release in releases.RELEASES)
PROXY_SCRIPT = RouterSpec(node="n1", kind="vllm-ascend", path="/x/load_balance_proxy_server_example.py")
DATADIST = KvTransferSpec(connector="LLMDataDistCMgrConnector", rank_table="/t.json")
COMPUTED_ENV = {"VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED", "VLLM_DP_SIZE_LOCAL"}


def table(*kinds: str):
    return [row for row in (*ASCEND, *ASCEND_PROXY) if row.kind in kinds]


def shown(row):
    return f"{row.name}-{row.effect}"


def nested(name, value=1):
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def found(given):
    return adapter(given.engine.kind).check(given)


def keys(given):
    return [problem.key for problem in found(given)]


def with_switch(row, version, kind="vllm-ascend"):
    """A cluster that gives this switch and nothing else."""
    if row.kind == ENV:
        return cluster(serve(env={row.name: "1"}), version=version, kind=kind)
    if row.kind == FLAG:
        return cluster(serve(args={row.name: True}), version=version, kind=kind)
    if row.kind == KEY:
        return cluster(serve(args={"additional-config": nested(row.name)}), version=version, kind=kind)
    return four_p_four_d(version, kv_transfer=None, router=replace(PROXY_SCRIPT, args={row.name: 2}))


def place(row):
    return {
        ENV: f"roles.serve.env.{row.name}",
        FLAG: f"roles.serve.args.{row.name}",
        KEY: f"roles.serve.args.additional-config.{row.name}",
        PROXY: f"router.args.{row.name}",
    }[row.kind]


def told_by(row, version, kind="vllm-ascend"):
    """The problems about this row: its own, not those about the section or about another row of its name."""
    problems = found(with_switch(row, version, kind))
    warned = row.effect != REFUSED
    return [p for p in problems if p.key == place(row) and p.source == row.source and p.warning is warned]


def outside(row):
    return [version for version in RELEASES if not row.lives(version)]


@pytest.mark.parametrize("row", table(ENV, FLAG, KEY, PROXY), ids=shown)
def test_a_switch_is_told_where_it_is_not_read_with_all_there_is_to_say_and_nowhere_else(row):
    inside = [version for version in RELEASES if row.lives(version)]
    if row.name in COMPUTED_ENV:  # errors, in every version
        assert all(not p.warning for v in RELEASES for p in found(with_switch(row, v)))
        return
    for version in (*inside[:1], *inside[-1:]):
        assert told_by(row, version) == []
    for version in (*outside(row)[:1], *outside(row)[-1:]):
        problems = told_by(row, version)
        section = row.name.rpartition(".")[0]
        dead = [s for s in ASCEND if section and s.name == section and not s.lives(version)]
        assert len(problems) == 1 or (dead and problems == [])
        assert [p.text for p in problems if not says_all(p, row, version)] == []


def says_all(problem, row, version):
    """Version, name, reason, replacement and source."""
    reason = problem.text.partition(": ")[2]
    return (
        f"vllm-ascend {version}: " in problem.text
        and row.name in problem.text
        and reason.startswith(("it is ", "so it is ", "no version "))
        and problem.hint
        and problem.source
    )


@pytest.mark.parametrize("row", VLLM, ids=shown)
def test_vllm_alone_has_its_own_ranges(row):
    versions = ("0.10.0", "0.11.0", "0.13.0", "0.18.0", "0.23.0")
    for version in versions:
        assert bool(told_by(row, version, "vllm")) is not row.lives(version)


def test_the_tables_hold_real_versions_names_and_sources():
    for row in (*ASCEND, *ASCEND_PROXY):
        assert all(parse(v) for v in (row.first, row.gone, row.lacking) if v), row
        assert row.source
        assert not row.first or not row.gone or parse(row.first) < parse(row.gone), row
    known = {row.name for row in ASCEND}
    assert {name for family in FAMILIES for name in family} <= known
    assert {s for s in known if "." in s} <= {f"{s}.{k}" for s, of in lint.SECTIONS.items() for k in of}


@pytest.mark.parametrize(
    ("name", "version", "successor"),
    [
        ("enable_weight_nz_layout", "0.10.1rc1", "remove it"),
        ("enable_weight_nz_layout", "0.13.0", "VLLM_ASCEND_ENABLE_NZ in env"),
        ("enable_weight_nz_layout", "0.23.0", "additional-config: {weight_nz_mode: …}"),
        ("weight_nz_mode", "0.18.0", "VLLM_ASCEND_ENABLE_NZ in env"),
        ("enable_flashcomm1", "0.13.0", "VLLM_ASCEND_ENABLE_FLASHCOMM1 in env"),
        (
            "lmhead_tensor_parallel_size",
            "0.23.0",
            "{finegrained_tp_config: {lmhead_tensor_parallel_size: …}}",
        ),
        ("finegrained_tp_config.lmhead_tensor_parallel_size", "0.11.0", "{lmhead_tensor_parallel_size: …}"),
        ("torchair_graph_config.enable_multistream_moe", "0.23.0", "{multistream_overlap_shared_expert: …}"),
        ("num_iterations_eplb_update", "0.23.0", "{expert_heat_collection_interval: …}"),
        ("VLLM_LLMDD_ABORT_REQUEST_TIMEOUT", "0.10.1rc1", "VLLM_ASCEND_KVCACHE_DELAY_FREE_TIMEOUT"),
        ("VLLM_LLMDD_ABORT_REQUEST_TIMEOUT", "0.13.0", "VLLM_NIXL_ABORT_REQUEST_TIMEOUT"),
        ("VLLM_NIXL_ABORT_REQUEST_TIMEOUT", "0.23.0", "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT"),
        ("VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT", "0.18.0rc1", "VLLM_NIXL_ABORT_REQUEST_TIMEOUT"),
        ("VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT", "0.9.1", "VLLM_LLMDD_ABORT_REQUEST_TIMEOUT"),
        ("HCCL_BUFFER_SIZE", "0.23.0", "HCCL_BUFFSIZE"),
    ],
)
def test_the_replacement_is_what_this_version_reads(name, version, successor):
    row = next(row for row in ASCEND if row.name == name)
    (problem,) = told_by(row, version)
    assert successor in problem.hint


@pytest.mark.parametrize("version", ["0.20.2rc1", "0.21.0rc1"])
def test_a_connector_that_reads_a_switch_longer_keeps_it_quiet(version):
    role = {"env": {"VLLM_NIXL_ABORT_REQUEST_TIMEOUT": "300"}}
    of_decode = replace(four_p_four_d(version).roles[1], **role)
    given = four_p_four_d(version)
    given = replace(given, roles=(given.roles[0], of_decode))
    hybrid = replace(given, kv_transfer=KvTransferSpec(connector="MooncakeHybridConnector"))
    assert keys(given) == ["roles.decode.env.VLLM_NIXL_ABORT_REQUEST_TIMEOUT"]
    assert keys(hybrid) == []


def test_every_place_of_a_variable_and_of_a_flag_is_told():
    env = {"VLLM_ASCEND_ENABLE_DBO": "1"}
    args = {"disable-log-requests": True}
    node = replace(cluster(serve()).nodes[0], env=env, args=args)
    given = cluster(
        serve(env=env, args=args), nodes=(node,), overrides={"serve-0": Override(env=env, args=args)}
    )
    places = ("roles.serve", "nodes.n1", "overrides.serve-0")
    assert sorted(keys(given)) == sorted(
        f"{place}.{entry}"
        for place in places
        for entry in ("env.VLLM_ASCEND_ENABLE_DBO", "args.disable-log-requests")
    )


def test_a_flag_that_is_left_out_is_not_told():
    assert keys(cluster(serve(args={"disable-log-requests": False, "enable-dbo": None}))) == []


@pytest.mark.parametrize(
    ("args", "key"),
    [
        ({"additional-config": '{"enable_weight_nz_layout": true}'}, "additional-config"),
        ({"additional-config.enable_weight_nz_layout": True}, "additional-config.enable_weight_nz_layout"),
    ],
)
def test_a_key_is_found_in_every_way_to_write_it(args, key):
    assert keys(cluster(serve(args=args))) == [f"roles.serve.args.{key}"]


@pytest.mark.parametrize(
    ("config", "version", "guess"),
    [
        ({"enable_shared_expert_dpp": True}, "0.23.0", "enable_shared_expert_dp"),
        ({"multistream_overlap_shared_experts": True}, "0.23.0", "multistream_overlap_shared_expert"),
        ({"torchair_graph_config": {"graph_batch_size": (28,)}}, "0.9.1", "graph_batch_sizes"),
        (
            {"finegrained_tp_config": {"lm_head_tensor_parallel_size": 4}},
            "0.23.0",
            "lmhead_tensor_parallel_size",
        ),
        ({"eplb_config": {"dynamic_eplbb": True}}, "0.23.0", "dynamic_eplb"),
        ({"something_of_our_own": 1}, "0.23.0", None),
        ({"enable_shared_expert_dpp": True}, "0.25.1rc1", "enable_shared_expert_dp"),
        ({"enable_shared_expert_dpp": True}, "0.26.0", None),
        (
            {"scheduler_config": {"recompute_scheduler_enabled": True}},
            "0.25.1rc1",
            "recompute_scheduler_enable",
        ),
        ({"torchair_graph_config": {"enabled": True, "mode": "max-autotune"}}, "0.10.1rc1", None),
    ],
)
def test_a_key_that_is_close_to_a_known_one_is_asked_about(config, version, guess):
    problems = [
        p
        for p in found(cluster(serve(args={"additional-config": config}), version=version))
        if p.key != "engine.version"
    ]
    if guess is None:
        assert problems == []
    else:
        (problem,) = problems
        assert problem.hint == f"did you mean '{guess}'?"
        assert version in problem.text


def test_a_section_that_refuses_strangers_is_told_so():
    config = {"eplb_config": {"num_iterations_eplb_update": 400}}
    (problem,) = found(cluster(serve(args={"additional-config": config})))
    assert "is refused by vllm-ascend 0.23.0" in problem.text
    assert "expert_heat_collection_interval" in problem.hint
    assert keys(cluster(serve(args={"additional-config": config}), version="0.13.0")) == []


def test_a_dead_section_is_told_once_and_what_has_a_successor_too():
    config = {
        "torchair_graph_config": {"enabled": True, "enable_multistream_mla": True, "use_cached_graph": True}
    }
    at = "roles.serve.args.additional-config.torchair_graph_config"
    assert keys(cluster(serve(args={"additional-config": config}))) == [at]
    config["torchair_graph_config"]["enable_multistream_moe"] = True
    assert keys(cluster(serve(args={"additional-config": config}))) == [at, f"{at}.enable_multistream_moe"]


def test_json_given_as_text_is_read_before_the_engine_does():
    bad = {"compilation-config": '{"cudagraph_mode": "FULL",}', "speculative-config": '{"method": "mtp"}'}
    (problem,) = found(cluster(serve(args=bad)))
    assert problem.key == "roles.serve.args.compilation-config"
    assert "not JSON" in problem.text
    assert problem.source


def test_other_routers_take_their_own_flags():
    args = {"prefiller-hosts-num": 2}
    assert keys(four_p_four_d(router=RouterSpec(node="n1", kind="vllm-router", args=args))) == []
    assert keys(four_p_four_d(router=replace(PROXY_SCRIPT, args=args))) == ["router.args.prefiller-hosts-num"]


def test_vllm_alone_hears_nothing_of_ascend():
    given = cluster(serve(env={"VLLM_ASCEND_ENABLE_DBO": "1", "HCCL_BUFFER_SIZE": "1"}), kind="vllm")
    assert keys(given) == []


def test_an_unknown_version_is_the_only_thing_said():
    given = cluster(serve(env={"VLLM_USE_V1": "1"}), kind="vllm", version="0.1.0")
    assert keys(given) == ["engine.version"]


def test_never_and_always_hold_for_every_version():
    row = Switch("x", ENV, "s", gone=NEVER, effect=REFUSED)
    assert not any(row.lives(version) for version in RELEASES)
    assert all(row._replace(gone="").lives(version) for version in RELEASES)


BODY = """\
cluster: c
engine: {kind: vllm-ascend, version: "0.23.0"}
model: deepseek-ai/DeepSeek-R1
hardware: atlas-800t-a3
nodes: [{name: "n[1-2]", host: "192.0.2.[1-2]"}]
"""

PAIR = """\
defaults:
  env:
    VLLM_ASCEND_ENABLE_DBO: 1
  args:
    additional-config:
      enable_weight_nz_layout: true
      finegrained_tp_config: {lmhead_tensor_parallel_size: 8}
roles:
  prefill: {nodes: n1, dp: 2, tp: 8}
  decode: {nodes: n2, dp: 16}
kv_transfer: {connector: MooncakeConnectorV1}
"""


def lines(text, *, read_file=lambda path: Path(path).read_text()):
    """(line, key) of each warning, and of each flag that is refused, as ``validate`` places it."""
    try:
        problems = spec.load(text, "c.yaml", read_file=read_file, check=plan.check).warnings
    except SpecError as error:
        problems = error.problems
    assert all(problem.hint and problem.source for problem in problems)
    return {(problem.line, problem.source_line.strip()) for problem in problems}


def test_warnings_stand_at_their_lines_of_the_file():
    assert lines(BODY + PAIR) == {
        (8, "VLLM_ASCEND_ENABLE_DBO: 1"),
        (11, "enable_weight_nz_layout: true"),
    }


SEED = """\
defaults:
  env:
    VLLM_ASCEND_ENABLE_DBO: 1
    VLLM_ENABLE_DBO: 1
    VLLM_USE_V1: 1
    HCCL_BUFFER_SIZE: 1024
    DISAGGREGATED_PREFILL_RANK_TABLE_PATH: /data/ranktable.json
  args:
    disable-log-requests: true
    speculative-config: {num_speculative_tokens: 1, method: deepseek_mtp}
    additional-config:
      enable_weight_nz_layout: true
      enable_prefill_optimizations: true
      expert_tensor_parallel_size: 1
      enable_inter_dp_scheduling: true
      init_torchair_graph_batch_sizes: true
      trace_recompiles: true
      ascend_scheduler_config: {enabled: true}
      enable_graph_mode: false
roles:
  prefill: {nodes: n1, dp: 2, tp: 8}
  decode: {nodes: n2, dp: 16}
ports: {kv: 20001}
kv_transfer: {connector: MooncakeConnectorV1}
router:
  kind: vllm-ascend
  path: /x/load_balance_proxy_server_example.py
  args: {prefiller-hosts-num: 2, prefiller-ports-inc: 2, decoder-hosts-num: 16, decoder-ports-inc: 16}
"""
"""What documents in circulation give: the guide to large-scale EP, its example script, the DBO pull request."""

TOLD = (
    "VLLM_ASCEND_ENABLE_DBO",
    "VLLM_ENABLE_DBO",
    "VLLM_USE_V1",
    "HCCL_BUFFER_SIZE",
    "DISAGGREGATED_PREFILL_RANK_TABLE_PATH",
    "disable-log-requests",
    "speculative-config",
    "enable_weight_nz_layout",
    "enable_prefill_optimizations",
    "expert_tensor_parallel_size",
    "enable_inter_dp_scheduling",
    "init_torchair_graph_batch_sizes",
    "trace_recompiles",
    "ascend_scheduler_config",
    "enable_graph_mode",
    "ports",
    "args: {prefiller-hosts-num",
)


def test_the_documents_own_values_are_all_told():
    told = lines(BODY + SEED)
    assert {text.partition(":")[0] for _, text in told} == {name.partition(":")[0] for name in TOLD}
    loaded = spec.load(BODY + SEED, "c.yaml", read_file=str)
    proxy = [p for p in plan.check(loaded.spec) if p.key.startswith("router.args")]
    assert len(proxy) == 4


@pytest.mark.parametrize(
    "entry",
    [
        "engine_id: '0'",
        "kv_port: '20001'",
        "kv_role: kv_producer",
        "kv_connector_module_path: a.b",
        "kv_rank: 0",
    ],
)
def test_what_the_documents_give_the_connector_is_refused(entry):
    text = BODY + PAIR.replace("MooncakeConnectorV1}", f"MooncakeConnectorV1, extra: {{{entry}}}}}")
    loaded = spec.load(text, "c.yaml", read_file=str)
    wrong = [p for p in plan.check(loaded.spec) if not p.warning]
    assert [p.key for p in wrong] == [f"kv_transfer.extra.{entry.partition(':')[0]}"]


def test_the_documents_environment_of_0_9_1_is_refused():
    for name in (
        "VLLM_DP_SIZE",
        "VLLM_DP_RANK_LOCAL",
        "VLLM_DP_SIZE_LOCAL",
        "VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED",
    ):
        assert [p.warning for p in found(cluster(serve(env={name: "1"})))] == [False]


def test_mooncake_among_others_is_warned_of_its_random_range():
    multi = "MultiConnector, extra: {connectors: [{kv_connector: MooncakeConnectorV1}]}}"
    text = BODY + PAIR.replace("MooncakeConnectorV1}", multi) + "ports: {kv: 28000}\n"
    assert (17, "ports: {kv: 28000}") in lines(text)
    assert all(line != 17 for line, _ in lines(text.replace("28000", "61000")))


def test_a_connector_reads_a_switch_longer_but_not_for_ever():
    given = four_p_four_d("0.23.0", kv_transfer=KvTransferSpec(connector="MooncakeHybridConnector"))
    of_decode = replace(given.roles[1], env={"VLLM_NIXL_ABORT_REQUEST_TIMEOUT": "300"})
    given = replace(given, roles=(given.roles[0], of_decode))
    assert keys(given) == ["roles.decode.env.VLLM_NIXL_ABORT_REQUEST_TIMEOUT"]
