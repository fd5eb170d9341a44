import json
from types import MappingProxyType

import pytest
from nodes import Node
from plans import a_plan, a_process
from scene import Scene
from specs import cluster, serve

from dplaunch.model.check import Level
from dplaunch.model.observed import Observed, State
from dplaunch.model.plan import Registry
from dplaunch.model.remote import Claim, SurveyReply
from dplaunch.plan import build
from dplaunch.preflight import CheckOptions, basics, check, fingerprint
from dplaunch.probes.probe import ProbeTarget


@pytest.fixture
def scene():
    def make(*nodes: Node, **plan):
        engines = [a_process(f"serve-{i}", f"n{i + 1}", ports=(9000 + i,)) for i in range(3)]
        made = Scene(a_plan(*engines, **plan), *nodes)
        made.driver.open()
        return made

    return make


def bad(findings):
    return [(f.probe, f.level, f.node, f.text) for f in findings if f.level is not Level.OK]


def test_a_host_that_is_off_is_a_finding_with_its_remedy(scene):
    findings = list(basics.judge_logins(scene(Node("n2", unreachable="n2 does not answer")).job))
    [wrong] = [f for f in findings if f.level is Level.FAIL]
    assert (wrong.node, wrong.text, wrong.remedy) == ("n2", "does not answer", "plug it in")
    assert {f.node for f in findings if f.level is Level.OK} == {"n1", "n3"}


def test_a_clock_that_is_off_is_found_whatever_the_operators_own_is(scene):
    nodes = [
        Node("n1", clock_ahead=500),
        Node("n2", clock_ahead=410),
        Node("n3", clock_ahead=500),
    ]
    assert bad(basics.judge_clocks(scene(*nodes).job)) == [
        ("host.clock", Level.FAIL, "n2", "the clock is 90 s behind the other nodes")
    ]


def test_a_small_difference_is_a_warning_and_a_tiny_one_none(scene):
    nodes = [Node("n1", clock_ahead=5), Node("n3", clock_ahead=0.3)]
    assert bad(basics.judge_clocks(scene(*nodes).job)) == [
        ("host.clock", Level.WARN, "n1", "the clock is 5 s ahead of the other nodes")
    ]


def test_ranks_that_report_to_redis_bear_no_more_than_their_reports_live(scene):
    registry = Registry(address="h:1", node="n1", key="k", expires=3.0)
    nodes = [Node("n1", clock_ahead=5), Node("n3", clock_ahead=0.3)]
    [(_, level, node, _)] = bad(basics.judge_clocks(scene(*nodes, registry=registry).job))
    assert (level, node) == (Level.FAIL, "n1")


def targets_of(scene):
    spec = cluster(serve(nodes=("n1", "n2", "n3")))
    return [
        ProbeTarget(spec=spec, node=spec.nodes[n], plan=plan) for n, plan in enumerate(scene.job.plan.nodes)
    ]


def test_a_taken_port_is_reported_with_its_holder(scene):
    made = scene()
    holder = {"port": 9001, "pid": 77, "user": "eve", "command": "python3 -m http.server"}
    surveys = {
        "n1": SurveyReply(),
        "n2": SurveyReply(taken=[holder]),
        "n3": SurveyReply(taken=[{**holder, "port": 9002}], ours=frozenset({77})),
    }
    [(probe, level, name, text)] = bad(basics.judge_ports(targets_of(made), surveys, Observed()))
    assert (probe, level, name) == ("host.ports", Level.FAIL, "n2")
    assert "9001" in text
    assert "pid 77 (python3 -m http.server) of user eve" in text


def test_what_runs_already_holds_its_own_port(scene):
    made = scene(Node("n2").observed("serve-1", ports=(9001,)))
    holder = {"port": 9001, "pid": 0, "user": "", "command": ""}
    surveys = {"n2": SurveyReply(taken=[holder])}
    assert bad(basics.judge_ports(targets_of(made), surveys, made.driver.observe())) == []


def test_what_another_cluster_holds_is_reported_once_by_its_name(scene):
    made = scene()
    taken = {"port": 9001, "pid": 77, "user": "eve", "command": "vllm serve"}
    claims = (
        Claim(cluster="other", process="serve-0", ports=(9001,), devices=(4, 5)),
        Claim(cluster="other", process="serve-1", devices=(6,)),
    )
    surveys = {"n2": SurveyReply(taken=[taken], claims=claims)}
    assert bad(basics.judge_ports(targets_of(made), surveys, Observed())) == []
    [(probe, level, node, text)] = bad(basics.find_claims(surveys))
    assert (probe, level, node) == ("host.clusters", Level.FAIL, "n2")
    assert text == "devices 4-6 and port 9001 in use by serve-[0-1] of cluster other"


def test_what_an_earlier_run_left_is_reported_and_a_planned_process_is_not(scene):
    n1 = Node("n1").observed("serve-0").observed("old-3", pid=41)
    n2 = Node("n2").observed("serve-1", state=State.EXITED, left=(7, 8))
    made = scene(n1, n2)
    found = {name: text for _, _, name, text in bad(basics.find_leftovers(made.job, made.driver.observe()))}
    assert found.keys() == {"n1", "n2"}
    assert "old-3 (pid 41)" in found["n1"]
    assert "2 processes" in found["n2"]


def a_stranger(pid, command, user="eve", pids=()):
    return {"pid": pid, "user": user, "command": command, "pids": [pid, *pids]}


def test_foreign_engines_are_one_finding_of_their_node():
    surveys = {
        "n1": SurveyReply(),
        "n2": SurveyReply(
            strangers=[a_stranger(4242, "vllm serve /w"), a_stranger(5000, "VLLM::EngineCore_DP0", user="")],
        ),
    }
    [finding] = basics.find_strangers(surveys)
    assert (finding.probe, finding.level, finding.node) == ("host.leftover", Level.WARN, "n2")
    assert finding.text.endswith("pid 4242 (vllm serve /w) of user eve, pid 5000 (VLLM::EngineCore_DP0)")
    assert "never stops them" in finding.remedy


def test_of_many_foreign_engines_some_are_named_and_all_counted():
    many = [a_stranger(pid, "vllm serve " + 80 * "x" + "\x1b[2J") for pid in range(100, 116)]
    [finding] = basics.find_strangers({"n1": SurveyReply(strangers=many)})
    assert finding.text.count("pid ") == basics.NAMED
    assert finding.text.endswith("… (16 in all)")
    assert "\x1b" not in finding.text


def test_a_foreign_engine_that_holds_one_of_our_ports_is_reported_as_its_holder_only():
    holder = {"port": 9001, "pid": 78, "user": "eve", "command": "VLLM::ApiServer_0"}
    survey = SurveyReply(taken=[holder], strangers=[a_stranger(77, "vllm serve /w", pids=[78])])
    assert list(basics.find_strangers({"n2": survey})) == []


def test_check_looks_for_foreign_engines_once_and_not_in_a_rehearsal():
    spec = cluster(serve(nodes=("n1", "n2"), dp=2))
    for rehearse, asked in ((False, [True, False]), (True, [False, False])):
        made = Scene(
            build(spec, rehearse=rehearse),
            Node("n1", found=SurveyReply(strangers=(a_stranger(4242, "vllm serve"),))),
        )
        found = bad(check(made.job, spec, CheckOptions()).findings)
        assert [bool(surveys["n1"]["titles"]) for surveys in made.calls("survey")] == asked
    assert [where for probe, _, where, _ in found if probe == "host.leftover"] == ["n1"]


def test_the_fingerprint_is_saved_on_each_node_and_later_changes_are_reported(scene):
    made = scene()
    failed = fingerprint.save(made.job, {"n1": {"host.kernel.release": "5.10"}}, "2026-11-27")
    assert failed == ()
    [(path, text)] = made.nodes["n1"].files.items()
    saved = json.loads(text)
    assert path == "fingerprint.json"
    now = {"host.kernel.release": "5.15", "host.nic.name": "eth0"}
    [finding] = fingerprint.compare("n1", saved, now)
    assert finding.level is Level.WARN
    assert finding.text == "release was 5.10 on 2026-11-27 and is now 5.15"
    assert list(fingerprint.compare("n1", saved, MappingProxyType({"host.kernel.release": "5.10"}))) == []
    assert list(fingerprint.compare("n1", None, now)) == []


@pytest.mark.parametrize(
    ("was", "now", "texts"),
    [
        ({"3": {"link": "UP", "lldp": "p3"}}, {"3": {"link": "UP"}}, []),
        ({"3": {"link": "UP"}}, {"3": {"link": "UP", "lldp": "p3"}, "4": {"link": "UP"}}, []),
        ({"3": {"lldp": "p3"}}, {"3": {"lldp": None}}, []),
        ({"3": {"lldp": None}}, {"3": {"lldp": "p3"}}, []),
        (
            {"3": {"lldp": "p3", "link": "UP"}},
            {"3": {"lldp": "p4"}},
            ["devices 3 lldp was p3 on d and is now p4"],
        ),
    ],
)
def test_what_was_not_read_on_either_day_did_not_change(was, now, texts):
    saved = {"day": "d", "values": {"npu.network.devices": was}}
    assert [f.text for f in fingerprint.compare("n1", saved, {"npu.network.devices": now})] == texts


def test_a_node_without_changes_since_its_fingerprint_is_reported_with_the_day():
    spec = cluster(serve(nodes=("n1", "n2"), dp=2))
    saved = {"day": "2026-11-27", "values": {}}
    made = Scene(build(spec), Node("n1", found=SurveyReply(saved=saved)))
    found = check(made.job, spec, CheckOptions()).findings
    [finding] = [finding for finding in found if finding.probe == "fingerprint"]
    assert (finding.node, finding.level) == ("n1", Level.OK)
    assert "2026-11-27" in finding.text


def test_nodes_where_a_fingerprint_could_not_be_written_are_returned(scene):
    made = scene(Node("n2", refuses={"write": "no space"}))
    assert fingerprint.save(made.job, {"n1": {}, "n2": {}}, "2026-11-27") == ("n2",)
