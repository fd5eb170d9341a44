"""The walk of ``down`` on nodes in memory."""

import pytest
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import LockedError
from dplaunch.fleet.change.down import down
from dplaunch.model.event import NodeFailed, Stopped
from dplaunch.model.observed import State
from dplaunch.model.trail import Lock, Result

PLAN = a_plan(a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("router", "n1"))


def running():
    return Node("n1").observed("prefill-0").observed("router"), Node("n2").observed("decode-0")


def yes(_):
    return True


def names(events):
    return [event.process for event in events]


def test_the_router_stops_first_then_the_engines():
    stage = Scene(PLAN, *running())
    result = down(stage.job, yes)
    assert result.clean
    assert names(stage.of(Stopped)) == names(result.verdicts) == ["router", "prefill-0", "decode-0"]


def test_what_has_ended_is_forgotten_and_the_trail_says_so():
    stage = Scene(PLAN, *running())
    down(stage.job, yes)
    verbs = [call.verb for call in stage.driver.calls]
    assert verbs == ["open", "lock", "observe", "stop", "stop", "forget", "record", "unlock"]
    assert [node.processes for node in stage.nodes.values()] == [{}, {}]
    assert [(entry.verb, entry.result) for entry in stage.trail] == [("down", Result.STOPPED)]


def test_down_of_nothing_is_done_and_asks_no_question():
    stage = Scene(PLAN)
    result = down(stage.job, lambda _: pytest.fail("asked"))
    assert result.clean
    assert result.verdicts == ()
    assert stage.trail == []


def test_what_is_left_is_named_and_stays_known():
    n1, n2 = running()
    n2.left["decode-0"] = ("pid 9 (stuck)", "port 9000 held by pid 9 (stuck)")
    stage = Scene(PLAN, n1, n2)
    result = down(stage.job, yes)
    assert not result.clean
    assert next(v for v in result.verdicts if v.process == "decode-0").left == n2.left["decode-0"]
    assert stage.calls("forget") == []
    assert n2.processes["decode-0"].left
    assert stage.trail[-1].result is Result.INCOMPLETE


def test_a_node_that_is_off_does_not_hold_the_others():
    n1, n2 = running()
    n2.unreachable = "n2 is silent"
    stage = Scene(PLAN, n1, n2)
    result = down(stage.job, yes)
    assert result.unreached == ("n2",)
    assert names(stage.of(Stopped)) == ["router", "prefill-0"]


def test_a_node_that_breaks_while_stopping_is_named():
    n1, n2 = running()
    n2.breaks_at = "stop"
    stage = Scene(PLAN, n1, n2)
    assert down(stage.job, yes).unreached == ("n2",)
    assert [event.node for event in stage.of(NodeFailed)] == ["n2"]


def test_where_no_node_is_reached_all_are_named():
    stage = Scene(PLAN, Node("n1", unreachable="off"), Node("n2", unreachable="off"))
    assert down(stage.job, yes).unreached == ("n1", "n2")


def test_no_stops_nothing():
    stage = Scene(PLAN, *running())
    assert down(stage.job, lambda _: False) is None
    assert stage.of(Stopped) == []


def test_a_held_lock_is_respected():
    with pytest.raises(LockedError, match="bob"):
        down(Scene(PLAN, Node("n1", lock=Lock(holder="bob", verb="up", since=1.0))).job, yes)


def test_processes_that_left_the_file_are_stopped_too():
    n1, n2 = running()
    stage = Scene(PLAN, n1, n2.observed("decode-7"))
    down(stage.job, yes)
    assert "decode-7" in names(stage.of(Stopped))


def test_a_job_that_is_done_is_forgotten_and_asks_no_question():
    n1 = Node("n1").observed("convert", kind="job", state=State.DONE)
    stage = Scene(PLAN, n1)
    assert down(stage.job, lambda _: pytest.fail("asked")).clean
    assert n1.processes == {}


def test_the_first_ctrl_c_warns_and_the_second_skips_the_grace():
    n1, n2 = running()
    n1.slow = {"router"}
    stage = Scene(PLAN, n1, n2)
    stage.driver.then = {5.0: stage.driver.interrupt, 8.0: stage.driver.interrupt}
    result = down(stage.job, yes)
    assert next((v.process, v.how) for v in result.verdicts) == ("router", "KILL")
    assert stage.driver.clock() == 1008.0
    assert stage.calls("hurry") == [(("n1", "router"),)]
    assert ["Ctrl-C" in note for note in stage.notes] == [True]


def test_ctrl_c_twice_skips_the_grace_of_all_that_stops_later():
    n1, n2 = running()
    n1.slow = {"router", "prefill-0"}
    stage = Scene(PLAN, n1, n2)
    stage.driver.then = {5.0: stage.driver.interrupt, 8.0: stage.driver.interrupt}
    down(stage.job, yes)
    assert stage.driver.clock() == 1008.0


def test_one_ctrl_c_for_the_router_and_one_for_the_engines_skip_the_grace_too():
    n1, n2 = running()
    n1.slow = {"router", "prefill-0"}
    stage = Scene(PLAN, n1, n2)
    stage.driver.then = {2.0: stage.driver.interrupt, 4.0: stage.driver.interrupt}
    down(stage.job, yes, grace=3.0)
    assert stage.calls("hurry") == [(("n1", "prefill-0"), ("n2", "decode-0"))]
    assert stage.driver.clock() == 1004.0


def test_a_process_that_does_not_end_is_killed_after_its_grace():
    n1, n2 = running()
    n1.slow = {"router"}
    stage = Scene(PLAN, n1, n2)
    down(stage.job, yes, grace=3.0)
    assert stage.driver.clock() == 1003.0


def test_state_of_another_host_is_left_alone_and_never_forgotten():
    n1, n2 = running()
    n1.observed("other", state=State.FOREIGN)
    n1.left["other"] = ("the state of other was written by host h9; stop it there",)
    stage = Scene(PLAN, n1, n2)
    result = down(stage.job, yes)
    assert not result.clean
    assert [verdict.process for verdict in result.verdicts if verdict.left] == ["other"]
    assert stage.calls("forget") == []
    assert stage.trail[-1].result is Result.INCOMPLETE


def test_a_process_whose_state_was_lost_is_stopped_too():
    n1, n2 = running()
    n1.observed("lost", state=State.UNKNOWN, left=(7,))
    stage = Scene(PLAN, n1, n2)
    assert "lost" in names(down(stage.job, yes).verdicts)


def test_what_begins_to_run_before_the_state_is_dropped_is_not_forgotten():
    stage = Scene(PLAN, *running())
    stage.driver.before["forget"] = lambda: stage.nodes["n2"].observed("late")
    result = down(stage.job, yes)
    assert (result.clean, result.kept) == (False, ("n2",))
