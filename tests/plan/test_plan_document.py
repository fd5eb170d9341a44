import json

import pytest
from msgspec.structs import fields, replace
from plans import a_deployment, a_job, a_plan, a_process
from specs import four_p_four_d

from dplaunch import plan
from dplaunch.errors import UsageError
from dplaunch.model.cluster import Container, RouterSpec, RuntimeSpec, SecretRef, SshSpec, WarmupSpec
from dplaunch.model.kubernetes import Kubectl, KubernetesPlan, Manifest, Pod
from dplaunch.model.plan import (
    Api,
    Endpoint,
    LogFile,
    NodePlan,
    Plan,
    PortRange,
    Process,
    RankTable,
    Ready,
    Registry,
    Seat,
    StopStep,
)

ARGS = {"a": (1, {"b": None}), "c": {"source": "env", "name": "X"}, "d": 0.5, "e": True}


def rich():
    """A plan with every kind of value in it."""
    spec = four_p_four_d(
        api_key=SecretRef("env", "KEY"),
        router=RouterSpec(node="n1", args=ARGS, path=None),
        runtime=RuntimeSpec(setup=("x",)),
        container=Container("box", "podman"),
        hooks={"after_up": "true"},
    )
    nodes = tuple(replace(n, ssh=SshSpec(user="u", port=2222)) for n in spec.nodes)
    return plan.build(replace(spec, nodes=nodes), router_files={"x.py": "é\n"})


def every_field():
    """A plan of shapes that no engine of today has: each field holds something else than its default."""
    seat = Seat(
        name="decode-1", role="decode", group=0, node="n1", address="10.0.0.1", rank=1, local_rank=1, local_size=2,
        devices=(1,), part=1, parts=2, master="10.0.0.1", ports={"http": PortRange(9001), "pd-comm": PortRange(5000, 4, 4998)},
    )  # fmt: skip
    api = Api(
        health="/up", models="", completions="/complete", metrics="/figures", registered="/all", running="toy:running",
        waiting="toy:waiting", fetched=('toy:fetched{from="elsewhere"}', "toy:bytes"),
        looked_up=("toy:asked", "toy:found"),
    )  # fmt: skip
    parent = a_process(
        "decode@n1", "n1", endpoints=("decode-0", "decode-1"), role="decode", kind="engine", seats=(seat,), after=("convert-0",),
        logs=(LogFile("worker", "log/worker-*.log"),), env={"KEY": SecretRef("file", "k"), "A": "b"},
        stop=(StopStep("INT", 1.5),), ports=(9001,), restarts=True, hands_over=True, files=("x",), flags=("--seed",), fingerprint="f",
        ready=Ready("line", "joined (.*)$"),
    )  # fmt: skip
    parent = replace(
        parent,
        endpoints=(replace(parent.endpoints[0], api=api, health_url="http://h:1"), *parent.endpoints[1:]),
    )
    whole = a_plan(
        a_process("router", "n1"),
        parent,
        a_job("convert-0", "n2"),
        flow="push",
        drain_timeout={"decode": 600.0, "prefill": 30.0},
        ready_timeout=9.0,
        hooks={"after_up": "true"},
        warmup=WarmupSpec(prompt_tokens=9),
        rank_table=RankTable(path="/etc/t.json", nodes=("n2", "n1"), made=False, containers=True),
        warnings=("w",),
        rehearsal=True,
        local=True,
        registry=Registry(address="h:1", node="n1", key="c.cluster", roles={"serve": "mixed"}),
    )
    pod = Pod(name="c-decode-0", workload="c-decode", kubectl=Kubectl(context="far"), template="t")
    inside = tuple(replace(node, container=Container("box", "podman"), pod=pod) for node in whole.nodes)
    service = Manifest(kind="Service", name="c", text="{}", nodes=("n1",))
    objects = KubernetesPlan(
        kubectl=Kubectl(namespace="n"),
        host="h",
        image="i",
        resource="r",
        devices={"n1": 8},
        manifests=(service,),
    )
    return replace(whole, nodes=inside, kubernetes=objects, deployment=a_deployment())


def test_every_field_survives_its_json():
    planned = every_field()
    assert planned.members is not None
    back = plan.load(plan.dump(planned), "p.json")
    assert back == planned
    assert {type(back.processes[1].ready), type(back.processes[1].seats[0].ports["pd-comm"])} == {
        Ready,
        PortRange,
    }
    assert back.processes[1].units == ("decode@n1",)


@pytest.mark.parametrize("kind", [Plan, NodePlan, Process, Endpoint, Api, Seat])
def test_every_field_holds_something_else_than_its_default_in_that_plan(kind):
    """So that a field that is added is tried too."""
    planned = every_field()
    parent = planned.processes[1]
    value = {
        Plan: planned,
        NodePlan: planned.nodes[0],
        Process: parent,
        Endpoint: parent.endpoints[0],
        Api: parent.endpoints[0].api,
        Seat: parent.seats[0],
    }[kind]
    default = {field.name: field.default for field in fields(kind)}
    same = {name for name, usual in default.items() if getattr(value, name) == usual}
    assert same - {"api_key"} == set()


def test_a_plan_survives_its_json():
    planned = rich()
    text = plan.dump(planned)
    assert plan.load(text, "p.json") == planned
    assert plan.from_json(json.loads(text)) == planned
    assert "é" in text
    assert text.endswith("}\n")


def test_the_json_has_stable_names():
    data = plan.to_json(rich())
    assert data["format"] == 2
    assert set(data) == {
        "format", "cluster", "revision", "engine", "model", "served_model_name", "nodes", "router",
        "url", "flow", "members", "api_key",
        "api_keys", "ready_timeout", "drain_timeout", "registry", "warmup", "rank_table", "hooks", "stages", "kubernetes", "deployment", "warnings", "rehearsal", "local",
    }  # fmt: skip
    assert data["api_key"] == {"source": "env", "name": "KEY"}
    (seat,) = data["nodes"][4]["processes"][2]["seats"]
    assert seat["ports"] == {
        "http": {"first": 9002, "count": 1, "base": 0},
        "rpc": {"first": 13395, "count": 1, "base": 0},
        "kv": {"first": 61002, "count": 1, "base": 61000},
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "is not a saved plan"),
        ("[1]", "is not a saved plan"),
        ('{"cluster": "x"}', "of format None"),
        ('{"format": 1}', "of format 1"),
        ('{"format": 2, "cluster": "x"}', "is damaged"),
        ('{"format": 2, "unknown": "x"}', "is damaged"),
    ],
)
def test_what_is_no_plan_is_said(text, why):
    with pytest.raises(UsageError, match=why) as caught:
        plan.load(text, "saved.json")
    assert "saved.json" in caught.value.text
    assert caught.value.hint == "save one with: dplaunch plan --save FILE"


def test_a_plan_does_not_differ_from_itself():
    assert plan.compare(rich(), rich()) == ()


def test_what_differs_is_told_per_thing():
    spec = four_p_four_d()
    before = plan.build(spec)
    fewer = replace(spec.roles[0], nodes=("n1", "n2", "n3"), groups=3)
    wider = replace(spec.roles[1], env={"HCCL_BUFFSIZE": "2048"})
    after = plan.build(
        replace(
            spec, roles=(fewer, wider), ready_timeout=99.0, api_key=SecretRef("env", "K"), model="other/model"
        )
    )
    lines = plan.compare(before, after)
    assert "± model: some/model → other/model" in lines
    assert "± ready timeout: 2400.0 → 99.0" in lines
    assert "- prefill-7 on n4" in lines
    assert "± decode-3 on n5: secret VLLM_API_KEY: none → ***(env K)" in lines
    at = lines.index("± n5/decode/run_dp_template.sh")
    assert {"    - export HCCL_BUFFSIZE=1024", "    + export HCCL_BUFFSIZE=2048"} <= set(lines[at:])
    assert "- n4/prefill/run_dp_template.sh" in lines
    back = plan.compare(after, before)
    assert "+ prefill-7 on n4" in back
    assert "± decode-3 on n5: secret VLLM_API_KEY: ***(env K) → none" in back
    assert "+ n4/prefill/run_dp_template.sh" in back


def test_how_requests_flow_and_how_long_they_drain_is_told():
    before = a_plan(a_process("serve-0", "n1"), flow="alone", drain_timeout={})
    after = replace(before, flow="pull", drain_timeout={"serve": 600.0})
    assert plan.compare(before, after) == (
        "± flow: alone → pull",
        "± drain timeout: none → serve 10 min 00 s",
    )
    assert plan.compare(after, replace(after, drain_timeout={"serve": 90.0})) == (
        "± drain timeout: serve 10 min 00 s → serve 1 min 30 s",
    )


def test_a_warm_up_that_comes_is_told():
    before, after = (plan.build(replace(four_p_four_d(), warmup=w)) for w in (None, WarmupSpec()))
    assert plan.compare(before, after) == ("± warmup: none → 2 × 1024 tokens, answered by 8",)
    assert plan.load(plan.dump(after), "x") == after


def test_another_command_is_shown_with_both():
    spec = four_p_four_d()
    moved = replace(spec, roles=(spec.roles[0], replace(spec.roles[1], masters=("n6",))))
    lines = plan.compare(plan.build(spec), plan.build(moved))
    assert "- decode-0 on n5" in lines
    assert "+ decode-0 on n6" in lines
    faster = replace(spec, roles=(replace(spec.roles[0], ports={"http": 9100}), spec.roles[1]))
    lines = plan.compare(plan.build(spec), plan.build(faster))
    assert lines[0] == (
        "± prefill-0 on n1: bash prefill/run_dp_template.sh 0,1,2,3,4,5,6,7 9000 2 0 192.0.0.1 13395 8 → "
        "bash prefill/run_dp_template.sh 0,1,2,3,4,5,6,7 9100 2 0 192.0.0.1 13395 8"
    )


def test_nodes_that_come_go_or_move_are_told():
    spec = four_p_four_d()
    fewer = replace(
        spec,
        nodes=(replace(spec.nodes[0], host="other"), *spec.nodes[1:-1]),
        roles=(spec.roles[0], replace(spec.roles[1], nodes=("n5", "n6", "n7"), dp=48)),
    )
    before, after = plan.build(spec), plan.build(fewer)
    assert plan.compare(before, after)[:2] == ("± node n1: h1 (192.0.0.1) → other (192.0.0.1)", "- node n8")
    assert "+ node n8" in plan.compare(after, before)
    assert not [line for line in plan.compare(before, after) if "members.json" in line or "n8/" in line]


def test_a_file_that_comes_or_goes_is_told():
    spec = four_p_four_d()
    without, with_source = plan.build(spec), plan.build(spec, router_files={"x.py": ""})
    assert plan.compare(without, with_source) == ("+ n1/router/dprouter/x.py",)
    assert plan.compare(with_source, without) == ("- n1/router/dprouter/x.py",)
