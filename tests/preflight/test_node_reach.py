import pytest
from msgspec.structs import replace
from nodes import Node
from plans import a_plan
from scene import Scene
from specs import four_p_four_d

from dplaunch.model.check import Level
from dplaunch.model.cluster import RouterSpec
from dplaunch.plan import build
from dplaunch.preflight.reach import TcpLink, TriedLink, judge_links, plan_links, try_links

SILENCE = "no answer within 3 s"


@pytest.fixture(scope="module")
def plan():
    return build(four_p_four_d(router=RouterSpec(node="n1")))


@pytest.fixture
def tried(plan):
    """``tried(broken)``: every link of the documented deployment; those that ``broken`` picks have failed."""

    def run(broken):
        ports = {0: [40001, 40002]}
        found = [
            TcpLink(link.source, link.target, port)
            for link in plan_links(plan)
            for port in ports.get(link.port, [link.port])
        ]
        return [TriedLink(link, SILENCE if broken(link) else "") for link in found]

    return run


def faults(tried):
    return [(f.node, f.text) for f in judge_links(tried) if f.level is not Level.OK]


def well(tried):
    return sorted(f.node for f in judge_links(tried) if f.level is Level.OK)


def test_what_the_documented_deployment_connects(plan):
    found = set(plan_links(plan))
    assert TcpLink("n6", "n5", 13395) in found  # every member to the rendezvous of its group
    assert TcpLink("n7", "n8", 0) in found  # gloo: each to each
    assert TcpLink("n1", "n5", 9015) in found  # the router to every engine
    assert TcpLink("n4", "n1", 8000) in found  # a client to the router
    assert TcpLink("n8", "n1", 61000) in found  # decode to where prefill listens for KV
    assert not [link for link in found if link.source == link.target]
    assert not [link for link in found if {link.source, link.target} == {"n2", "n3"}]  # strangers


def test_all_is_well_is_one_line_per_node(tried):
    findings = list(judge_links(tried(lambda _: False)))
    assert {f.level for f in findings} == {Level.OK}
    assert sorted(f.node for f in findings) == [f"n{i}" for i in range(1, 9)]


def test_a_firewall_between_two_hosts_is_one_finding(tried):
    assert faults(tried(lambda link: {link.source, link.target} == {"n6", "n7"})) == [
        ("n6", f"no TCP connection between n6 and n7 in either direction on 2 ports: {SILENCE}")
    ]


def test_one_direction_alone_is_reported_as_such(tried):
    [(node, text)] = faults(tried(lambda link: (link.source, link.target) == ("n6", "n7")))
    assert (node, text) == ("n6", f"no TCP connection to n7 on 2 ports: {SILENCE}")


def test_an_unreachable_host_is_one_finding(tried):
    [(node, text)] = faults(tried(lambda link: link.target == "n7"))
    assert node == "n7"
    assert text == f"is unreachable over TCP from n[1,5-6,8] on 18 ports: {SILENCE}"


def test_a_host_behind_a_wall_in_both_directions_is_one_finding(tried):
    [(node, _)] = faults(tried(lambda link: "n7" in (link.source, link.target)))
    assert node == "n7"


def test_a_host_that_reaches_no_other_is_one_finding(tried):
    [(node, text)] = faults(tried(lambda link: link.source == "n6"))
    assert node == "n6"
    assert text == f"has no TCP connection to n[1-5,7-8] on 6 ports: {SILENCE}"


def test_random_ports_closed_everywhere_are_reported_with_their_numbers(tried):
    texts = faults(tried(lambda link: link.port in (40001, 40002) and "n8" in (link.source, link.target)))
    assert len(texts) == 3  # n5, n6, n7 with n8: the rendezvous itself is open to n5
    assert all("n8" in text for _, text in texts)
    assert any("40001-40002" in text for _, text in texts)


def test_a_taken_port_is_tried_with_who_holds_it_and_a_closed_one_is_not(plan):
    scene = Scene(plan, Node("n5", held={9000}))
    scene.driver.open()
    found = {one.link for one in try_links(scene.job)}
    assert TcpLink("n1", "n5", 9000) in found
    assert {link.port for link in found if (link.source, link.target) == ("n6", "n5")} == {
        13395,
        40001,
        40002,
    }


def test_a_connection_that_fails_is_named_with_its_error(plan):
    scene = Scene(plan, Node("n6", cut={"192.0.0.5:13395": "connection refused"}))
    scene.driver.open()
    [finding] = [f for f in judge_links(try_links(scene.job)) if f.level is Level.FAIL]
    assert (finding.node, finding.text) == (
        "n6",
        "no TCP connection to n5 on port 13395: connection refused",
    )


def test_a_node_that_is_lost_is_left_out(plan):
    scene = Scene(plan, Node("n5", breaks_at="listening"))
    scene.driver.open()
    found = try_links(scene.job)
    assert {one.untried for one in found if one.link.target == "n5"} == {""}
    assert faults(found) == []  # that it was lost is reported elsewhere
    assert well(found) == ["n2", "n3", "n4"]  # who has nothing to do with it


def test_a_node_that_opens_nothing_is_a_warning_and_never_ok(plan):
    scene = Scene(plan, Node("n5", refuses={"listening": "too many open files"}))
    scene.driver.open()
    found = try_links(scene.job)
    [(node, text)] = faults(found)
    assert node == "n5"
    assert "too many open files" in text
    assert well(found) == ["n2", "n3", "n4"]
    assert [call.verb for call in scene.driver.calls][-1] == "closed"


def test_a_single_port_that_cannot_be_opened_is_named(plan):
    scene = Scene(plan, Node("n5", closed={9000: "Permission denied"}))
    scene.driver.open()
    [(node, text)] = faults(try_links(scene.job))
    assert node == "n5"
    assert text.startswith("port 9000 ")
    assert text.endswith("Permission denied")


def test_a_cluster_of_one_node_connects_nothing():
    assert try_links(Scene(a_plan()).job) == ()


def test_without_a_router_its_port_is_not_tried(plan):
    assert not [link for link in plan_links(replace(plan, router=None)) if link.port == 8000]
