"""``status --wait``: waits for a cluster that somebody has started, proves it, and changes nothing."""

from functools import partial

import pytest
from nodes import READY, SILENT, Ending, Node
from plans import a_job, a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError, Interrupted, NotReadyError
from dplaunch.fleet.change.up import wait_ready
from dplaunch.model.event import BecameReady, Stopped
from dplaunch.model.observed import State
from dplaunch.model.remote import HttpReply
from dplaunch.model.trail import Result

ENGINES = (a_process("prefill-0", "n1"), a_process("decode-0", "n2"))
ROUTER = a_process("router", "n1")


def started(*nodes: Node, processes=(*ENGINES, ROUTER)):
    """All of it was started and is still held."""
    stage = Scene(a_plan(*processes), *nodes)
    stage.driver.open()
    stage.driver.start(stage.job.plan, [process.place for process in processes], {})
    return stage.admitted(prefill_0="proving", decode_0="proving") if stage.job.plan.members else stage


def test_it_waits_until_all_is_ready_and_proves_it():
    n2 = Node("n2", health={"decode-0": SILENT})
    stage = started(n2)
    stage.driver.then[25.0] = partial(n2.turn, "decode-0", "decode-0", READY)
    wait_ready(stage.job, None)
    assert {event.process for event in stage.of(BecameReady)} == {"prefill-0", "decode-0", "router"}
    assert stage.phases == ["connect", "load", "prove", "prove pairs", "prove router"]
    assert [(entry.verb, entry.result) for entry in stage.trail] == [("status --wait", Result.PROVED)]


def test_it_changes_nothing():
    stage = started()
    before = dict(stage.nodes["n1"].files)
    wait_ready(stage.job, None)
    assert not {call.verb for call in stage.driver.calls} & {"lock", "put", "write", "swap", "stop"}
    assert stage.nodes["n1"].files == before


def test_what_was_never_started_is_no_wait():
    with pytest.raises(DplaunchError, match="prefill-0"):
        wait_ready(Scene(a_plan(*ENGINES, ROUTER)).job, None)


def test_time_up_leaves_everything_as_it_is_and_a_line_in_the_trail():
    stage = started(Node("n2", health={"decode-0": SILENT}))
    with pytest.raises(NotReadyError, match="decode-0 on n2"):
        wait_ready(stage.job, 60.0)
    assert stage.of(Stopped) == []
    assert stage.trail[-1].result is Result.FAILED
    assert "decode-0" in stage.trail[-1].reason


def test_a_proof_that_fails_is_an_error():
    stage = started(Node("n1", answers={"prefill-0,decode-0": HttpReply(status=500, body="no")}))
    with pytest.raises(DplaunchError, match="decode-0"):
        wait_ready(stage.job, None)


def test_ctrl_c_leaves_no_line():
    stage = started(Node("n2", health={"decode-0": SILENT}))
    stage.driver.then[5.0] = stage.driver.interrupt
    with pytest.raises(Interrupted):
        wait_ready(stage.job, None)
    assert stage.trail == []


def test_a_job_that_is_done_is_not_waited_for_again():
    job = a_job("convert", "n1")
    stage = started(processes=(job, a_process("serve-0", "n1", after=("convert",))))
    stage.nodes["n1"].end("convert")
    wait_ready(stage.job, 60.0)
    assert stage.nodes["n1"].processes["convert"].state is State.DONE


def test_an_engine_that_has_died_is_the_failure():
    n2 = Node("n2")
    stage = started(n2)
    n2.end("decode-0", *Ending(code=3))
    with pytest.raises(DplaunchError, match="decode-0 on n2 exited with code 3"):
        wait_ready(stage.job, None)
