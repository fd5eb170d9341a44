import json

import pytest
from msgspec.structs import replace
from specs import cluster, four_p_four_d, serve

from dplaunch import plan
from dplaunch.engines.vllm.facts import API
from dplaunch.errors import SpecError
from dplaunch.model.cluster import (
    Container,
    EngineSpec,
    KvTransferSpec,
    Override,
    RouterSpec,
    RuntimeSpec,
    SecretRef,
    SshSpec,
)
from dplaunch.model.plan import Endpoint, StopStep

SOURCES = {"__main__.py": "main\n", "pick.py": "pick\n"}


def process(planned, name):
    return next(p for p in planned.processes if p.name == name)


def files(planned, node):
    return {f.path: f for f in next(n for n in planned.nodes if n.name == node).files}


def test_the_whole_of_the_documented_cluster():
    spec = four_p_four_d(hooks={"after_up": "echo"}, ready_timeout=60.0, runtime=RuntimeSpec(python="/py"))
    planned = plan.build(spec, router_files=SOURCES)
    assert [node.name for node in planned.nodes] == [f"n{i}" for i in range(1, 9)]
    assert [p.name for p in planned.nodes[0].processes] == ["prefill-0", "prefill-1", "router"]
    assert len(planned.nodes[4].processes) == 16
    assert (planned.cluster, planned.engine, planned.model) == ("c1", "vllm-ascend 0.23.0", "some/model")
    assert (planned.url, planned.served_model_name) == ("http://192.0.0.1:8000", "model")
    assert (planned.ready_timeout, planned.hooks) == (60.0, {"after_up": "echo"})
    assert (planned.rehearsal, planned.local, planned.warnings) == (False, False, ())
    assert planned.router == spec.router
    assert planned.endpoints[9] == Endpoint(
        name="decode-1", role="decode", group="decode/0", node="n5", url="http://192.0.0.5:9001", ranks=(1,), api=API,
        model="model",
    )  # fmt: skip
    assert [s.name for s in planned.stages][-1] == "serving"
    assert (planned.nodes[0].host, planned.nodes[0].ssh) == ("h1", SshSpec())
    assert planned.nodes[0].runtime.python == "/py"
    assert {node.container for node in planned.nodes} == {None}


def test_every_node_has_the_container_of_the_file_and_a_rehearsal_none():
    spec = four_p_four_d(container=Container("box", "podman"))
    assert {node.container for node in plan.build(spec).nodes} == {Container("box", "podman")}
    assert {node.container for node in plan.build(spec, rehearse=True).nodes} == {None}


def test_an_engine_process():
    found = process(plan.build(four_p_four_d()), "prefill-1")
    assert (found.kind, found.role, found.group, found.node) == ("engine", "prefill", "prefill/0", "n1")
    assert found.argv == (
        "bash", "prefill/run_dp_template.sh", "8,9,10,11,12,13,14,15", "9001", "2", "1", "192.0.0.1", "13395", "8",
    )  # fmt: skip
    assert found.files == ("prefill/run_dp_template.sh",)
    assert found.ports == (9001, *range(61008, 61016))
    assert found.stop == (StopStep("TERM", 630.0), StopStep("KILL", 10.0))
    assert [(e.name, e.url, e.ranks) for e in found.endpoints] == [
        ("prefill-1", "http://192.0.0.1:9001", (1,))
    ]
    assert (found.after, found.restarts, found.env) == ((), False, {})
    assert len(found.fingerprint) == 16


def test_only_rank_0_binds_the_rendezvous_and_only_listeners_kv_ports():
    planned = plan.build(four_p_four_d())
    assert process(planned, "prefill-0").ports == (9000, 13395, *range(61000, 61008))
    assert process(planned, "decode-0").ports == (9000, 13395)
    assert process(planned, "decode-1").ports == (9001,)
    assert process(plan.build(cluster(serve(tp=16))), "serve-0").ports == (9000,)


def test_our_router():
    planned = plan.build(four_p_four_d(), router_files=SOURCES)
    router = process(planned, "router")
    assert (router.kind, router.role, router.group, router.node) == ("service", "router", "router", "n1")
    assert router.argv == ("bash", "router/run_router.sh")
    assert router.ports == (8000,)
    assert [(e.name, e.url, e.model) for e in router.endpoints] == [("router", "http://192.0.0.1:8000", "")]
    assert (router.after, router.restarts, router.seats) == ((), True, ())
    assert router.env == {}
    there = files(planned, "n1")
    assert there["router/dprouter/pick.py"].text == "pick\n"
    assert there["router/run_router.sh"].mode == 0o755
    assert list(files(planned, "n2")) == ["prefill/run_dp_template.sh"]
    assert files(planned, "n2")["prefill/run_dp_template.sh"].mode == 0o755
    assert "Secrets" not in there["router/run_router.sh"].text
    assert router.files == ("router/run_router.sh", "router/dprouter/__main__.py", "router/dprouter/pick.py")


def members(planned):
    return json.loads(planned.members.text)


def test_the_members_file_lists_every_endpoint_as_the_router_reads_it():
    planned = plan.build(four_p_four_d(), router_files=SOURCES)
    document = members(planned)
    assert {key: value for key, value in document.items() if key != "members"} == {
        "format": 2,
        "revision": planned.revision,
        "model": "model",
        "flow": "pull",
    }
    assert [member["name"] for member in document["members"]] == [e.name for e in planned.endpoints]
    assert document["members"][9] == {
        "name": "decode-1",
        "role": "decode",
        "group": "decode/0",
        "url": "http://192.0.0.5:9001",
        "state": "serving",
        "api": {"health": "/health", "metrics": "/metrics", "running": API.running, "waiting": API.waiting},
    }


def test_the_members_file_is_none_of_the_nodes_files_and_restarts_no_router():
    planned = plan.build(four_p_four_d(), router_files=SOURCES)
    assert planned.members.path == "router/members.json"
    assert not [f.path for node in planned.nodes for f in node.files if f.path == planned.members.path]
    assert not [p.name for p in planned.processes if planned.members.path in p.files]
    other = plan.build(four_p_four_d(served_model_name="other"), router_files=SOURCES)
    assert members(other)["members"][0] == members(planned)["members"][0]
    assert members(other)["revision"] != members(planned)["revision"]


@pytest.mark.parametrize("kind", ["vllm-router", "vllm-ascend"])
def test_a_router_of_others_reads_no_members_file(kind):
    assert plan.build(four_p_four_d(router=RouterSpec(node="n1", kind=kind, path="/p.py"))).members is None


@pytest.mark.parametrize(
    ("spec", "flow"),
    [
        (cluster(serve(), router=RouterSpec(node="n1")), "alone"),
        (four_p_four_d(), "pull"),
        (four_p_four_d(router=RouterSpec(node="n1", kind="vllm-ascend", path="/p.py")), "pull"),
        (
            four_p_four_d(
                router=RouterSpec(node="n1", kind="vllm-ascend", path="/x_layerwise_y.py"),
                kv_transfer=KvTransferSpec(connector="MooncakeLayerwiseConnector"),
            ),
            "push",
        ),
        (four_p_four_d(router=None), "pull"),
    ],
)
def test_how_a_request_flows(spec, flow):
    assert plan.build(spec).flow == flow


def test_without_a_router_clients_ask_the_first_engine():
    for router in (None, RouterSpec(node="n1", kind="none")):
        planned = plan.build(cluster(serve(dp=2, tp=8), router=router))
        assert planned.router is None
        assert planned.url == "http://192.0.0.1:9000"
        assert [p.name for p in planned.processes] == ["serve-0", "serve-1"]
        assert planned.members is None


def test_files_that_need_no_rendering_are_sent_as_they_are():
    text = "#!/bin/sh\nvllm serve --data-parallel-size $3\n"
    engine = EngineSpec(kind="script", version="0.23.0", path="run.sh", script_text=text)
    planned = plan.build(replace(cluster(serve(dp=2, tp=8)), engine=engine), checked=())
    found = files(planned, "n1")
    assert list(found) == ["serve/start.sh", "serve/run_dp_template.sh"]
    assert (found["serve/run_dp_template.sh"].text, found["serve/run_dp_template.sh"].mode) == (text, 0o755)
    assert planned.processes[0].files == ("serve/start.sh", "serve/run_dp_template.sh")


def test_a_file_with_problems_gives_no_plan():
    with pytest.raises(SpecError) as caught:
        plan.build(four_p_four_d("0.10.0"))
    assert [p.key for p in caught.value.problems] == ["engine.version"]


def test_warnings_are_carried():
    planned = plan.build(four_p_four_d("0.30.0"))
    assert len(planned.warnings) == 1
    assert "newer than 0.25.1rc1" in planned.warnings[0]


def fingerprints(spec, **changes):
    return {p.name: p.fingerprint for p in plan.build(spec, **changes).processes}


def changed(one, other):
    return {name for name in one if one[name] != other.get(name)}


def test_fingerprints_change_with_what_a_process_runs_from():
    spec = four_p_four_d()
    before = fingerprints(spec)
    assert fingerprints(four_p_four_d()) == before
    assert len(set(before.values())) == 73
    role = replace(spec.roles[0], env={**spec.roles[0].env, "X": "1"})
    assert changed(before, fingerprints(replace(spec, roles=(role, spec.roles[1])))) == {
        f"prefill-{n}" for n in range(8)
    }
    one = replace(spec, overrides={"prefill-2": Override(args={"seed": 1})})
    assert changed(before, fingerprints(one)) == {"prefill-2", "prefill-3"}
    assert changed(before, fingerprints(spec, router_files=SOURCES)) == {"router"}
    policy = replace(spec, router=RouterSpec(node="n1", policy="round-robin"))
    assert changed(before, fingerprints(policy)) == {"router"}


def test_fingerprints_do_not_change_with_where_the_file_lies_or_who_is_a_member():
    spec = four_p_four_d(api_key=SecretRef("file", "/one/key"))
    before = fingerprints(spec)
    moved = replace(spec, source="/elsewhere/c.yaml", api_key=SecretRef("file", "/two/key"))
    assert fingerprints(moved) == before
    assert changed(fingerprints(four_p_four_d()), before) == set(before)
    fewer = replace(spec.roles[0], nodes=("n1",), groups=1)
    assert fingerprints(replace(spec, roles=(fewer, spec.roles[1])))["router"] == before["router"]


def test_the_revision_is_that_of_everything():
    spec = four_p_four_d()
    revision = plan.build(spec).revision
    assert len(revision) == 12
    assert plan.build(four_p_four_d()).revision == revision
    assert plan.build(replace(spec, ready_timeout=1.0)).revision != revision
    assert plan.build(spec, rehearse=True).revision != revision


def test_ipv6_addresses_stand_in_brackets():
    spec = cluster(serve(tp=16), router=RouterSpec(node="n1"))
    spec = replace(spec, nodes=(replace(spec.nodes[0], address="fd00::1"),))
    planned = plan.build(spec)
    assert planned.url == "http://[fd00::1]:8000"
    assert planned.endpoints[0].url == "http://[fd00::1]:9000"


def test_check_gathers_engine_router_and_ports():
    bad = replace(
        cluster(serve(dp=2, tp=8, env={"ASCEND_RT_VISIBLE_DEVICES": "0"})),
        router=RouterSpec(node="n1", kind="vllm-ascend", path="/p.py", port=9000),
    )
    assert [p.key for p in plan.check(bad)] == [
        "roles.serve.env.ASCEND_RT_VISIBLE_DEVICES",
        "router.kind",
        "ports.http",
    ]
    router = plan.check(bad)[1]
    assert router.text.startswith("a router of kind vllm-ascend needs prefill and decode")
    assert router.hint == "router: {kind: dplaunch}"
    proxy = RouterSpec(node="n1", kind="vllm-ascend", path="/p.py")
    assert plan.check(four_p_four_d(router=proxy)) == ()
    transfer = KvTransferSpec(connector="MooncakeConnectorV1")
    assert plan.check(four_p_four_d(kv_transfer=transfer)) == ()
