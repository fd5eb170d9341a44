"""Who balances over the ranks of a group: flags and ports by form, and what a version refuses."""

import pytest
from specs import CPU, GPU, RoleSpec, cluster, names, nodes, serve

from dplaunch import plan
from dplaunch.engines import adapter
from dplaunch.model.cluster import KvTransferSpec, Override

TWO = {"nodes": names(1, 2)}


def built(role, version="0.23.0", **changes):
    return cluster(role, kind="vllm", version=version, hardware=GPU, nodes=nodes(2, devices=8), **changes)


def flags(command):
    """The words of the layout, as they stand."""
    layout = ("--data-parallel", "--headless", "--port", "--nnodes", "--node-rank", "--master")
    words = list(command.argv)
    return [
        " ".join([word, *words[i + 1 : i + 2]] if not words[i + 1].startswith("--") else [word])
        for i, word in enumerate(words)
        if word.startswith(layout)
    ]


def keys(spec):
    return [problem.key for problem in adapter(spec.engine.kind).check(spec) if not problem.warning]


def test_hybrid_balancing_has_a_server_on_each_node():
    spec = built(serve(**TWO, lb="hybrid", dp=4, tp=2))
    assert flags(plan.commands(spec)["serve@n2"]) == [
        "--port 9000",
        "--data-parallel-size 4",
        "--data-parallel-size-local 2",
        "--data-parallel-start-rank 2",
        "--data-parallel-address 192.0.0.1",
        "--data-parallel-rpc-port 13395",
        "--data-parallel-hybrid-lb",
    ]
    assert [(e.name, e.url, e.ranks) for e in plan.build(spec).endpoints] == [
        ("serve-0", "http://192.0.0.1:9000", (0, 1)),
        ("serve-2", "http://192.0.0.2:9000", (2, 3)),
    ]


def test_internal_balancing_has_one_server_and_the_rest_is_headless():
    spec = built(serve(**TWO, lb="internal", dp=4, tp=2, args={"api-server-count": 2}))
    commands = plan.commands(spec)
    assert flags(commands["serve@n1"])[:3] == [
        "--port 9000",
        "--data-parallel-size 4",
        "--data-parallel-size-local 2",
    ]
    assert "--api-server-count" in commands["serve@n1"].argv
    assert "--data-parallel-start-rank" not in commands["serve@n1"].argv
    assert not {"--host", "--port", "--api-server-count"} & set(commands["serve@n2"].argv)
    assert "--headless" in flags(commands["serve@n2"])
    planned = plan.build(spec)
    assert [(e.name, e.ranks) for e in planned.endpoints] == [("serve-0", (0, 1, 2, 3))]
    assert [(p.name, p.ports, p.units) for p in planned.processes if p.seats] == [
        ("serve@n1", (9000, 13395), ("serve-0",)),
        ("serve@n2", (), ("serve@n2",)),
    ]
    [head, headless] = [p for p in planned.processes if p.seats]
    assert head.seats[0].devices + head.seats[1].devices == (0, 1, 2, 3)
    assert commands["serve@n1"].env["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"
    assert headless.ready.how == "line"


def test_a_group_on_one_node_meets_nobody():
    spec = built(serve(nodes=names(1, 2), groups=2, lb="internal", dp=2, tp=4))
    assert flags(plan.commands(spec)["serve@n2"]) == [
        "--port 9000",
        "--data-parallel-size 2",
        "--data-parallel-size-local 2",
    ]
    assert [e.name for e in plan.build(spec).endpoints] == ["serve-0", "serve-2"]


def test_groups_on_one_node_have_ports_and_devices_of_their_own():
    spec = built(serve(nodes=("n1",), groups=2, lb="hybrid", dp=2, tp=2))
    commands = plan.commands(spec)
    assert [flags(commands[name])[0] for name in ("serve.0@n1", "serve.1@n1")] == [
        "--port 9000",
        "--port 9001",
    ]
    assert commands["serve.1@n1"].env["CUDA_VISIBLE_DEVICES"] == "4,5,6,7"


def test_the_supervisor_takes_the_ports_of_its_ranks_and_one_more():
    spec = built(serve(**TWO, lb="supervisor", dp=4, ports={"supervisor": 8008, "http": 8000}))
    assert flags(plan.commands(spec)["serve@n2"]) == [
        "--port 8000",
        "--data-parallel-supervisor-port 8008",
        "--data-parallel-size 4",
        "--data-parallel-size-local 2",
        "--data-parallel-start-rank 2",
        "--data-parallel-address 192.0.0.1",
        "--data-parallel-rpc-port 13395",
        "--data-parallel-multi-port-external-lb",
    ]
    parents = [p for p in plan.build(spec).processes if p.seats]
    assert [p.ports for p in parents] == [(8000, 13395, 8008, 8001), (8000, 8008, 8001)]
    assert parents[1].units == ("serve-2", "serve-3")


def test_an_engine_is_spread_over_the_nodes_of_its_group():
    spec = built(serve(**TWO, tp=8, pp=2))
    commands, planned = plan.commands(spec), plan.build(spec)
    assert flags(commands["serve@n2"]) == [
        "--nnodes 2",
        "--node-rank 1",
        "--master-addr 192.0.0.1",
        "--master-port 29501",
        "--headless",
    ]
    assert flags(commands["serve@n1"])[0] == "--port 9000"
    assert [(s.name, s.part, s.devices) for p in planned.processes for s in p.seats] == [
        ("serve-0", 0, tuple(range(8))),
        ("serve-0.1", 1, tuple(range(8))),
    ]
    assert [e.name for e in planned.endpoints] == ["serve-0"]


def test_nixl_counts_its_ports_by_rank_in_every_form():
    roles = [
        RoleSpec(name=name, nodes=(node,), lb="internal", dp=2)
        for name, node in (("prefill", "n1"), ("decode", "n2"))
    ]
    nixl = KvTransferSpec(connector="NixlConnector")
    spec = cluster(
        *roles, kind="vllm", version="0.32.0", hardware=CPU, nodes=nodes(2, devices=0), kv_transfer=nixl
    )
    assert [p.ports for p in plan.build(spec).processes if p.seats] == [
        (9000, 61000, 61001),
        (9000, 61000, 61001),
    ]


@pytest.mark.parametrize(
    ("version", "role", "wrong"),
    [
        ("0.22.1", {"lb": "supervisor", "dp": 4}, ["roles.serve.lb"]),
        ("0.23.0", {"lb": "supervisor", "dp": 4}, []),
        ("0.23.0", {"lb": "supervisor", "dp": 2}, ["roles.serve.lb"]),
        (
            "0.23.0",
            {"lb": "supervisor", "dp": 4, "args": {"api-server-count": 2}},
            ["roles.serve.args.api-server-count"],
        ),
        ("0.10.0", {"lb": "hybrid", "dp": 4}, []),
        ("0.11.0", {"tp": 8, "pp": 2}, ["roles.serve.dp"]),
        ("0.13.0", {"tp": 8, "pp": 2}, []),
        ("0.13.0", {"tp": 8, "pp": 2, "lb": "internal"}, ["roles.serve.lb"]),
    ],
)
def test_what_a_version_does_not_have(version, role, wrong):
    assert keys(built(serve(**TWO, **role), version)) == wrong


def test_only_the_first_rank_of_a_process_has_a_command_line_to_override():
    overrides = {"serve-1": Override(args={"seed": 1}), "serve-2": Override(args={"seed": 1})}
    spec = built(serve(**TWO, lb="internal", dp=4), overrides=overrides)
    assert keys(spec) == ["overrides.serve-1"]
    assert (
        "--seed"
        in plan.commands(built(serve(**TWO, lb="internal", dp=4), overrides=overrides))["serve@n2"].argv
    )


def test_kv_is_not_handed_over_between_engines_on_several_nodes():
    prefill = RoleSpec(name="prefill", nodes=names(1, 2), tp=16)
    decode = RoleSpec(name="decode", nodes=("n1",))
    spec = cluster(prefill, decode, kind="vllm", kv_transfer=KvTransferSpec(connector="NixlConnector"))
    assert keys(spec) == ["roles.prefill.nodes"]
