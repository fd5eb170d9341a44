"""Why processes failed: what one log says, and which of all logs said it first."""

from nodes import SILENT, Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.fleet.logs.cause import diagnose, examine, find_cause, find_dead
from dplaunch.fleet.targets import find
from dplaunch.model.observed import State
from dplaunch.model.remote import LogQuery

PLAN = a_plan(
    a_process("prefill-0", "n1"),
    *(a_process(f"decode-{n}", "n2") for n in range(4)),
    a_process("router", "n1"),
)


def opened(plan, *nodes: Node):
    stage = Scene(plan, *nodes)
    stage.driver.open()
    return stage


def test_the_line_that_a_signature_knows_is_the_cause():
    cause = find_cause(["INFO fine", "ERROR something", "RuntimeError: NPU out of memory", "EI0006 again"])
    assert cause.line == "RuntimeError: NPU out of memory"
    assert cause.hint.startswith("the device has too little memory")
    assert "`dplaunch diagnose`" in cause.hint


def test_without_a_signature_the_first_error_is_the_cause():
    assert find_cause(["ERROR a", "ValueError: b", "goodbye"]).line == "ValueError: b"
    assert find_cause(["one", "two", " "]).line == "two"
    assert find_cause([]).line == ""


def test_a_consequence_is_the_cause_only_where_no_line_says_more():
    symptoms = ["RuntimeError: Connection closed by peer", "RuntimeError: failed. See root cause above."]
    assert find_cause(["ValueError: root", "noise", *symptoms]).line == "ValueError: root"
    assert find_cause(symptoms).line == symptoms[0]


def test_a_harmless_word_is_no_error_line():
    assert find_cause(["Found ulimit of 20000 with errors possible", "done"]).line == "done"


def test_a_process_that_was_killed_is_found_though_its_log_says_nothing():
    n2 = Node("n2").observed("decode-0", state=State.EXITED, signal="SIGKILL").observed("decode-1")
    stage = opened(PLAN, n2)
    found, _ = diagnose(stage.job, find(["decode"], PLAN), LogQuery())
    assert (found.first, found.failed) == (None, True)
    assert [(one.process, one.node) for one in found.unexplained] == [("decode-0", "n2")]
    assert "SIGKILL" in found.unexplained[0].how
    assert not diagnose(stage.job, find(["decode"], PLAN), LogQuery(previous=True))[0].failed


def test_a_diagnosis_knows_which_may_be_stuck():
    n1 = Node("n1").observed("router", healthy=False)
    n2 = Node("n2", health={"decode-0": SILENT}).observed("decode-0").observed("decode-1")
    stage = opened(PLAN, n1, n2.observed("decode-2", endpoints=()))
    found, _ = diagnose(stage.job, PLAN.processes, LogQuery())
    assert (found.waiting, found.failed) == (("decode-0",), False)
    assert diagnose(stage.job, find(["router"], PLAN), LogQuery())[0].waiting == ("router",)


def test_a_log_that_cannot_be_read_leaves_the_others():
    line = "ERROR 04-25 10:01:17 [x.py:1] EI0008 The HCCL versions are inconsistent"
    stage = opened(PLAN, Node("n1", breaks_at="follow"), Node("n2", logs={"decode-2": [line]}))
    found, _ = examine(stage.job, PLAN.processes, LogQuery())
    assert (found.first.process, found.first.node) == ("decode-2", "n2")


def test_the_first_failure_is_found_although_the_clocks_of_nodes_differ():
    engines = [a_process(f"serve-{i}", f"n{i + 1}") for i in range(3)]
    late = "ERROR 2026-11-27 10:01:00.000 [worker.py:1] RuntimeError: NPU out of memory."
    early = "ERROR 2026-11-27 10:00:00.000 [core.py:1] No available memory for the cache blocks"
    n1 = Node("n1", clock_ahead=100.0, logs={"serve-0": [late]})
    stage = opened(a_plan(*engines), n1, Node("n2", logs={"serve-1": [early]}))
    found, _ = examine(stage.job, engines, LogQuery())
    assert found.first.process == "serve-0"


def test_only_those_that_ended_by_themselves_have_died():
    n2 = Node("n2").observed("decode-0", state=State.EXITED, exit_code=1, log="/l").observed("decode-1")
    n2.observed("decode-2", state=State.STOPPED).observed("decode-3", kind="job", state=State.DONE)
    stage = opened(PLAN, n2)
    [failed] = find_dead(stage.job, PLAN.processes)
    assert (failed.process, failed.node, failed.log) == ("decode-0", "n2", "/l")
    assert find_dead(stage.job, find(["decode-1"], PLAN)) == ()
