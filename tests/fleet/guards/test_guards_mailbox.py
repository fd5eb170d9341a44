"""One mailbox for all sessions: who comes in, whose mail counts, and Ctrl-C."""

import threading

import pytest
from plans import a_plan, a_process
from rawsessions import RawFleet, RawNode

from dplaunch.errors import HostError, Interrupted
from dplaunch.fleet.guards import GuardedMachines

PLAN = a_plan(a_process("serve-0", "n1"), a_process("serve-1", "n2"))


def fleet(*nodes: RawNode, **how):
    return RawFleet(PLAN, *nodes, **how)


def nothing(_):
    """Takes what comes."""


def test_a_node_that_is_off_is_known_with_its_reason_and_the_others_are_reached():
    n2 = RawNode("n2")
    n2.unreachable = "n2 is off"
    made = fleet(n2)
    made.driver.open()
    assert list(made.driver.reached) == ["n1"]
    assert made.driver.unreached["n2"].text == "n2 is off"
    n2.unreachable = ""
    made.driver.open({"n2"})
    assert set(made.driver.reached) == {"n1", "n2"}
    assert made.driver.unreached == {}


def test_a_node_that_has_a_session_is_not_opened_again():
    made = fleet()
    made.driver.open()
    made.driver.unreached["n2"] = HostError("n2", "it could not answer")
    made.driver.open({"n2"})
    assert (made.nodes["n2"].opened, made.driver.unreached) == (1, {})


def test_whatever_breaks_while_a_node_is_reached_is_that_node_s_error():
    def opener(node):
        if node.name == "n2":
            raise RuntimeError("boom")
        return fleet().reach(node.name)

    driver = GuardedMachines(PLAN.nodes, opener)
    driver.open()
    assert "boom" in driver.unreached["n2"].text
    assert list(driver.reached) == ["n1"]


def test_a_session_that_comes_too_late_is_closed(until):
    made, go = fleet(), threading.Event()

    def opener(node):
        if node.name == "n2":
            assert go.wait(10)
        return made.reach(node.name)

    driver = GuardedMachines(PLAN.nodes, opener, patience=0.05)
    driver.open()
    assert list(driver.reached) == ["n1"]
    assert "n2" in driver.unreached
    go.set()
    until(lambda: made.nodes["n2"].closed == 1)
    assert made.nodes["n1"].closed == 0


def test_mail_of_an_earlier_session_does_not_end_the_new_one():
    made = fleet()
    made.driver.open()
    first = made.nodes["n2"].session
    made.driver.lose("n2", HostError("n2", "it was given up"))
    made.driver.open({"n2"})
    first.end("the session that was given up ended")
    made.driver.pause(0.0)
    made.driver.listen(nothing, until=lambda: False, deadline=made.now + 1.0)
    assert "n2" in made.driver.reached


def test_a_node_that_is_lost_before_it_answers_is_never_given():
    n2 = RawNode("n2", survey=[])
    made = fleet(n2)
    made.driver.open()
    seen = []
    made.driver.survey_aside({"n2": {}}, lambda *found: seen.append(found))
    n2.session.end("the link broke")
    made.driver.listen(nothing, until=lambda: "n2" not in made.driver.reached, deadline=made.now + 100)
    made.driver.open({"n2"})
    n2.session.say(id=1, ok=True)
    made.driver.listen(nothing, until=lambda: False, deadline=made.now + 1.0)
    assert seen == []


def test_all_sessions_end_with_the_fleet():
    made = fleet()
    made.driver.open()
    made.driver.close()
    assert [node.closed for node in made.nodes.values()] == [1, 1]
    assert list(made.driver.reached) == []


def test_ctrl_c_before_hosts_are_reached_is_heard_there_and_each_press_counts_once():
    made = fleet()
    made.driver.interrupt()
    with pytest.raises(Interrupted):
        made.driver.open()
    made.driver.open()
    presses = []
    made.driver.on_interrupt = lambda: presses.append(1) is None
    made.driver.interrupt()
    made.driver.interrupt()
    made.driver.listen(nothing, until=lambda: len(presses) == 2, deadline=made.now + 60)
    assert len(presses) == 2


def test_ctrl_c_ends_a_wait_for_nodes_that_are_silent():
    made = fleet(RawNode("n1", observe=[]), step=0.1)
    made.driver.open()
    made.on_tick = made.driver.interrupt
    with pytest.raises(Interrupted):
        made.driver.observe()


def test_ctrl_c_while_the_user_is_asked_is_heard_at_once():
    made = fleet()
    with pytest.raises(Interrupted), made.driver.unheard():
        made.driver.interrupt()


def test_time_is_told_while_nothing_happens():
    made = fleet(step=1.0)
    made.driver.open()
    ticks = []
    made.on_tick = lambda: ticks.append(made.now)
    made.driver.pause(3.0)
    assert ticks == [1001.0, 1002.0, 1003.0]
