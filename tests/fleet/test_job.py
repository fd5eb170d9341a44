"""What every walk shares: reaching nodes, what was started, lines in the trail."""

import pytest
from nodes import Node
from plans import a_job, a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError, HostError
from dplaunch.fleet.job import authorization, connect, missing, need_started, phase, record
from dplaunch.model.cluster import SecretRef
from dplaunch.model.event import NodeFailed
from dplaunch.model.observed import State
from dplaunch.model.trail import Result

PLAN = a_plan(a_process("decode-0", "n1"), a_process("decode-1", "n2"), a_job("convert", "n2"))


def test_of_many_nodes_that_are_off_the_first_few_say_why():
    off = {f"n{n}": HostError(f"n{n}", f"n{n} is off", hint=f"look at n{n}") for n in range(1, 65)}
    error = missing(a_plan(*(a_process(f"e-{n}", f"n{n}") for n in range(1, 65))), off)
    assert "64 of 64" in error.text
    assert "n[1-64]" in error.text
    assert error.detail[0] == "n1 is off"
    assert "56 more" in error.detail[-1]
    assert error.hint == "look at n1"


def test_a_node_that_is_off_is_an_event_and_the_others_are_reached():
    stage = Scene(PLAN, Node("n2", unreachable="n2 is off"))
    connect(stage.job)
    assert [(event.node, event.text, event.hint) for event in stage.of(NodeFailed)] == [
        ("n2", "n2 is off", "plug it in")
    ]
    assert list(stage.driver.reached) == ["n1"]


def test_what_was_never_started_is_named_and_what_has_ended_is_not():
    n2 = Node("n2").observed("decode-1", state=State.EXITED).observed("convert", kind="job", state=State.DONE)
    stage = Scene(PLAN, n2)
    connect(stage.job)
    with pytest.raises(DplaunchError, match="nothing to wait for: decode-0 on n1"):
        need_started(stage.job, "wait for")
    stage.nodes["n1"].observed("decode-0")
    need_started(stage.job, "wait for")


def test_the_key_is_a_header_only_where_the_cluster_has_one():
    ref = SecretRef("env", "K")
    stage = Scene(a_plan(a_process("e-0", "n1"), api_key=ref))
    assert authorization(stage.job) == {}
    stage.job.secrets[ref] = "sesame"  # type: ignore[index]
    assert authorization(stage.job) == {"Authorization": "Bearer sesame"}
    assert authorization(Scene(PLAN).job) == {}


def test_phases_of_one_name_add_up_in_the_line_of_a_start_and_only_there():
    stage = Scene(PLAN)
    connect(stage.job)
    for _ in range(2):
        with phase(stage.job, "load"):
            stage.driver.pause(3.0)
    record(stage.job, "up", Result.READY, started=2)
    record(stage.job, "up", Result.PROVED)
    assert [entry.phases for entry in stage.trail] == [{"connect": 0.0, "load": 6.0}, {}]
