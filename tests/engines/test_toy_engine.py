"""What a new engine needs is its adapter: an engine that no product file knows is planned like any other."""

import pytest

from dplaunch import plan, spec
from dplaunch.engines import facts
from dplaunch.errors import SpecError
from dplaunch.model.plan import LogFile, PortRange, Ready, StopStep
from dplaunch.spec.jsonschema import json_schema

FILE = """\
cluster: toys
engine: {kind: %(kind)s, version: "1.0"}
model: some/model
served_model_name: m
nodes:
  - {name: "n[1-2]", host: "192.0.2.[1-2]"}
roles:
  serve: {nodes: "n[1-2]", groups: %(groups)s, dp: %(dp)s%(more)s}
router: {kind: %(router)s}
api_key: {from_env: KEY}
"""

pytestmark = pytest.mark.usefixtures("toys")


def loaded(kind="toy", groups=2, dp=4, more="", router="dplaunch"):
    text = FILE % {"kind": kind, "groups": groups, "dp": dp, "more": more, "router": router}
    return spec.load(text, "c.yaml", read_file=lambda _: "").spec


def problems(**given):
    with pytest.raises(SpecError) as caught:
        loaded(**given)
    return [(problem.key, problem.text) for problem in caught.value.problems]


def engines(planned):
    return [process for process in planned.processes if process.kind == "engine"]


def test_its_kind_is_one_that_files_and_editors_know():
    assert "toy" in json_schema()["$defs"]["Engine"]["properties"]["kind"]["enum"]
    assert loaded().engine.kind == "toy"


def test_one_parent_for_each_node_holds_four_ranks_with_an_endpoint_each():
    planned = plan.build(loaded(), router_files={})
    first, second = engines(planned)
    assert [(p.name, p.node, p.group) for p in (first, second)] == [
        ("serve@n1", "n1", "serve/0"),
        ("serve@n2", "n2", "serve/1"),
    ]
    assert [seat.name for seat in first.seats] == ["serve-0", "serve-1", "serve-2", "serve-3"]
    assert [(e.name, e.url, e.ranks) for e in second.endpoints] == [
        (f"serve-{4 + rank}", f"http://192.0.2.2:{9000 + rank}", (rank,)) for rank in range(4)
    ]
    assert first.argv == (
        *("bash", "serve/toy.sh", "m", "192.0.2.1", "7000", "8200"),
        *("9000", "9001", "9002", "9003"),
    )
    assert list(first.env) == ["TOY_KEY"]
    assert first.stop == (StopStep("INT", 5.0), StopStep("KILL", 5.0))
    assert first.logs == (LogFile("control", "toyd-7000.log"),)
    assert [stage.name for stage in planned.stages] == ["ranks", "serving"]
    assert planned.url == "http://192.0.2.1:8000"


def test_its_ports_have_its_own_names_and_the_file_may_move_them():
    first, second = engines(plan.build(loaded(more=", ports: {hand-over: 8300, control: 7700}")))
    assert [seat.ports["hand-over"] for seat in first.seats] == [
        PortRange(8300 + 2 * rank, 2, 8300) for rank in range(4)
    ]
    assert {seat.ports["control"] for seat in second.seats} == {PortRange(7700)}
    assert first.ports == (9000, 7700, 8300, 8301, 9001, 8302, 8303, 9002, 8304, 8305, 9003, 8306, 8307)


def test_several_groups_on_a_node_have_a_parent_each():
    found = engines(plan.build(loaded(groups=4, dp=2)))
    assert [p.name for p in found] == ["serve.0@n1", "serve.1@n1", "serve.2@n2", "serve.3@n2"]
    assert [p.seats[0].port("control") for p in found] == [7000, 7001, 7000, 7001]


@pytest.mark.parametrize(
    ("more", "hint"), [(", ports: {rpc: 1}", "rpc"), (", ports: {hand_over: 1}", "hand_over")]
)
def test_a_port_that_it_does_not_have_is_an_unknown_key(more, hint):
    assert problems(more=more) == [
        (f"roles.serve.ports.{hint}", f"unknown key '{hint}' in roles.serve.ports")
    ]


def test_ports_that_meet_are_a_problem_by_their_names():
    with pytest.raises(SpecError) as caught:
        plan.build(loaded(more=", ports: {control: 9002}"))
    assert "serve/0 on n1 (control)" in caught.value.problems[0].text


def test_the_plan_goes_through_json_and_a_rehearsal_has_the_stand_in():
    planned = plan.build(loaded(), rehearse=True)
    assert plan.from_json(plan.to_json(planned)) == planned
    [program] = [file for file in planned.nodes[0].files if file.path == "bin/toyd"]
    assert program.mode == 0o755
    [script] = [file for file in planned.nodes[0].files if file.path == "serve/toy.sh"]
    assert "/bin:$PATH" in script.text
    assert "export DPLAUNCH_REHEARSAL_BIND='127." in script.text


def test_a_job_has_no_endpoint_and_its_end_is_its_success():
    planned = plan.build(loaded("toy-job", router="none"))
    assert [(p.kind, p.ready, p.endpoints) for p in planned.processes] == [("job", Ready("exit"), ())] * 2
    assert (planned.url, planned.endpoints) == ("", ())
    assert plan.from_json(plan.to_json(planned)) == planned


def test_it_says_what_it_needs():
    assert facts("toy").needs == {"version"}
    text = (FILE % {"kind": "toy", "groups": 2, "dp": 4, "more": "", "router": "none"}).replace(
        ', version: "1.0"', ""
    )
    with pytest.raises(SpecError) as caught:
        spec.load(text, "c.yaml", read_file=lambda _: "")
    assert caught.value.problems[0].key == "engine.version"
