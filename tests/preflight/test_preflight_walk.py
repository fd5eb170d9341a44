"""The whole walk of ``check`` on nodes in memory: what becomes of a node that is lost on the way."""

import pytest
from nodes import Node
from scene import Scene
from specs import cluster, four_p_four_d, serve

from dplaunch.model.check import Level
from dplaunch.plan import build
from dplaunch.preflight import CheckOptions, check
from dplaunch.preflight.survey import make_targets


def scene(spec, *nodes: Node):
    return Scene(build(spec), *nodes)


def logins(checked, level):
    return [(f.node, f.text) for f in checked.findings if f.probe == "host.login" and f.level is level]


@pytest.mark.parametrize(
    ("n2", "why"),
    [
        (Node("n2", breaks_at="survey"), "the link"),
        (Node("n2", refuses={"survey": "the guard failed at survey"}), "the guard failed at survey"),
        (Node("n2", breaks_at="connect"), "the link"),
        (Node("n2", refuses={"connect": "no more threads"}), "no more threads"),
    ],
    ids=["broken", "refused", "broken later", "refused later"],
)
def test_a_node_that_is_lost_on_the_way_is_a_finding_and_the_others_are_checked(n2, why):
    spec = four_p_four_d()
    checked = check(scene(spec, n2).job, spec, CheckOptions())
    [(node, text)] = logins(checked, Level.FAIL)
    assert (node, why in text) == ("n2", True)
    assert "n2" not in text
    assert len(logins(checked, Level.OK)) == 7
    assert [one.node for one in checked.nodes if one.problem] == ["n2"]
    assert {f.node for f in checked.findings if f.probe == "host.ports"} >= {"n1", "n8"}


def test_a_cluster_of_one_node_is_checked_whole():
    spec = cluster(serve(nodes=("n1",)))
    checked = check(scene(spec).job, spec, CheckOptions())
    assert [one.node for one in checked.nodes] == ["n1"]
    assert not [f for f in checked.findings if f.probe == "net.tcp"]
    assert logins(checked, Level.OK)


def test_a_node_has_the_time_that_all_commands_of_one_tool_may_take():
    spec = four_p_four_d()
    made = scene(spec)
    check(made.job, spec, CheckOptions())
    first = made.calls("survey")[0]["n1"]
    lane = sum(command["timeout"] for command in first["commands"] if command["lane"] == "hccn")
    assert lane > 300
    assert first["limit"] >= lane
    assert len(make_targets(made.job, spec)) == 8
