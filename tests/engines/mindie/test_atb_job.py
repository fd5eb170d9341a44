"""The model library's script as a job: ranks, environment, flags, and what is refused before anything starts."""

import pytest
from msgspec.structs import replace
from specs import A2, cluster, nodes, serve

from dplaunch import plan
from dplaunch.errors import SpecError
from dplaunch.model.cluster import EngineSpec, Override, RouterSpec
from dplaunch.model.plan import RankTable, Ready

TWO = ("n1", "n2")


def job(role=None, **changes):
    role = role or serve(nodes=TWO, tp=16)
    machines = tuple(replace(node, devices=tuple(range(8))) for node in nodes(len(role.nodes)))
    given = {"model": "/weights", "hardware": A2, "nodes": machines, **changes}
    return cluster(role, kind="mindie-atb", version="", **given)


def problems(spec):
    with pytest.raises(SpecError) as caught:
        plan.build(spec)
    return [(problem.key, problem.text) for problem in caught.value.problems]


def commands(role):
    return plan.commands(job(role))


def flags(role):
    return " ".join(commands(role)["serve-0"].argv[2:])


def test_every_device_is_a_rank_and_a_job():
    found = plan.build(job()).processes
    assert [p.name for p in found] == [f"serve-{rank}" for rank in range(16)]
    assert {(p.kind, p.ready, p.endpoints) for p in found} == {("job", Ready("exit"), ())}
    assert found[11].node == "n2"
    assert found[11].argv == (
        "bash",
        "serve/run_pa.sh",
        "11",
        "3",
    )  # local rank = rank - ranks before its node
    assert found[11].seats[0].devices == (3,)


def test_ranks_begin_on_the_node_of_the_master():
    planned = plan.build(job(serve(nodes=TWO, tp=16, masters=("n2",))))
    assert {p.node for p in planned.processes if int(p.name[6:]) < 8} == {"n2"}
    assert planned.rank_table.nodes == ("n2", "n1")


def test_devices_that_a_node_may_use_are_taken_in_numeric_order_as_the_rank_table_has_them():
    machines = tuple(replace(node, devices=(7, 4)) for node in nodes(2))
    planned = plan.build(job(serve(nodes=TWO, tp=4), nodes=machines))
    assert [p.seats[0].devices for p in planned.processes] == [(4,), (7,), (4,), (7,)]


def test_the_environment_is_that_of_the_document():
    env = commands(serve(nodes=TWO, tp=16))["serve-8"].env
    assert (env["BACKEND"], env["WORLD_SIZE"], env["RANK"], env["LOCAL_RANK"]) == ("hccl", "16", "8", "0")
    tables = {env[name] for name in ("RANKTABLEFILE", "RANK_TABLE_FILE", "MIES_RANKTABLEFILE")}
    assert tables == {"${root}/ranktable.json"}
    assert (env["HCCL_INTRA_PCIE_ENABLE"], env["HCCL_INTRA_ROCE_ENABLE"]) == ("1", "0")


def test_on_one_node_there_is_no_rank_table_but_a_list_of_devices():
    spec = job(serve(tp=8))
    assert plan.build(spec).rank_table is None
    env = plan.commands(spec)["serve-0"].env
    assert env["ASCEND_RT_VISIBLE_DEVICES"] == "0,1,2,3,4,5,6,7"
    assert "RANK_TABLE_FILE" not in env


@pytest.mark.parametrize(
    ("sizes", "written"),
    [
        ({"tp": 16}, "--model_path /weights"),
        ({"tp": 8, "pp": 2}, "--model_path /weights --tp 8 --pp 2"),
        ({"tp": 8, "dp": 2}, "--model_path /weights --tp 8 --dp 2"),
        ({"tp": 8, "pcp": 2}, "--model_path /weights --tp 8 --cp 2"),
        ({"tp": 16, "args": {"sp": 16}}, "--model_path /weights --tp 16 --sp 16"),
        (
            {"tp": 8, "dp": 2, "expert_parallel": True},
            "--model_path /weights --tp 8 --dp 2 --moe_ep 16 --moe_tp 1",
        ),
        (
            {"tp": 8, "dp": 2, "args": {"moe-ep": 4, "moe-tp": 4, "microbatch-size": 2}},
            "--model_path /weights --tp 8 --dp 2 --moe_ep 4 --moe_tp 4 --microbatch_size 2",
        ),
        (
            {"tp": 16, "args": {"max-batch-size": 1, "is-chat-model": True, "input-texts": ("a b", "c")}},
            "--model_path /weights --max_batch_size 1 --is_chat_model --input_texts a b c",
        ),
    ],
)
def test_sizes_that_are_not_the_scripts_own_choice_become_flags(sizes, written):
    assert flags(serve(nodes=TWO, **sizes)) == written


def test_only_a_pipeline_has_a_port_where_it_meets():
    env = commands(serve(nodes=TWO, tp=8, pp=2))["serve-9"].env
    assert (env["MASTER_IP"], env["MASTER_PORT"]) == ("192.0.0.1", "12345")
    assert "MASTER_IP" not in commands(serve(nodes=TWO, tp=16))["serve-9"].env


@pytest.mark.parametrize(
    ("sizes", "key", "word"),
    [
        ({"dp": 2, "tp": 4, "pp": 2}, "pp", "cannot combine dp 2 with pp 2"),
        ({"dp": 2, "tp": 4, "pcp": 2}, "pcp", "cannot combine dp 2 with pcp 2"),
        ({"tp": 4, "pp": 2, "pcp": 2}, "pcp", "cannot combine pp 2 with pcp 2"),
        ({"tp": 16, "args": {"sp": 8}}, "args.sp", "must be its tp 16"),
        ({"tp": 16, "args": {"sp": "x"}}, "args.sp", "whole number"),
        ({"dp": 2, "tp": 8, "args": {"moe-ep": 4, "moe-tp": 2}}, "args.moe-ep", "is 8, and a group has 16"),
        ({"tp": 16, "dcp": 2}, "dcp", "decode context parallelism"),
        ({"tp": 16, "args": {"max-model-len": 2}}, "args.max-model-len", "no flag --max_model_len"),
        ({"tp": 16, "env": {"RANK": "1"}}, "env.RANK", "computed by dplaunch"),
        (
            {"tp": 16, "env": {"HCCL_INTRA_PCIE_ENABLE": "1", "HCCL_INTRA_ROCE_ENABLE": "1"}},
            "env.HCCL_INTRA_ROCE_ENABLE",
            "exclude each other",
        ),
    ],
)
def test_what_the_script_would_die_of_is_refused(sizes, key, word):
    found = problems(job(serve(nodes=TWO, **sizes)))
    assert any(at == f"roles.serve.{key}" and word in text for at, text in found), found


def test_tp_that_spans_some_nodes_but_not_all_is_refused():
    role = serve(nodes=("n1", "n2", "n3", "n4"), tp=16, pcp=2)
    assert (
        "roles.serve.tp",
        "tp 16 of serve is neither within the 8 devices of a node nor all 32",
    ) in problems(job(role))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"router": RouterSpec(node="n1")}, "router"),
        ({"model": "some/model"}, "model"),
        ({"overrides": {"serve-0": Override(env={"A": "1"})}}, "overrides.serve-0"),
        ({"nodes": tuple(replace(n, devices=tuple(range(9))) for n in nodes(2))}, "nodes.n1.devices"),
    ],
)
def test_what_a_job_cannot_have_is_refused(changes, key):
    assert key in [at for at, _ in problems(job(**changes))]


def test_a_rank_table_that_the_file_names_is_sent_as_it_is():
    spec = job(engine=EngineSpec(kind="mindie-atb", version="", rank_table="t.json", rank_table_text="{}"))
    planned = plan.build(spec)
    [file] = [file for file in planned.nodes[1].files if file.path == "ranktable.json"]
    assert (file.text, file.mode) == ("{}", 0o640)
    assert planned.rank_table == RankTable(path="ranktable.json", nodes=TWO, made=False)


def test_a_rank_table_that_is_on_the_nodes_is_named_to_every_rank():
    spec = job(engine=EngineSpec(kind="mindie-atb", version="", rank_table="/etc/t.json"))
    assert plan.build(spec).rank_table == RankTable(path="/etc/t.json", nodes=TWO, made=False)
    assert plan.commands(spec)["serve-0"].env["RANK_TABLE_FILE"] == "/etc/t.json"


def test_a_rehearsal_makes_its_own_table():
    spec = job(engine=EngineSpec(kind="mindie-atb", version="", rank_table="/etc/t.json"))
    assert plan.build(spec, rehearse=True).rank_table == RankTable(path="ranktable.json", nodes=TWO)
