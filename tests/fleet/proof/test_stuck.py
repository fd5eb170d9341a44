"""Engines that ran before `up`: one that is stuck is found without waiting as long as for a fresh one."""

import json

import pytest
from msgspec.structs import replace
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import up
from dplaunch.fleet.proof.completion import COMPLETION_TIMEOUT, QUICK
from dplaunch.fleet.proof.stuck import NOTICED_WITHIN
from dplaunch.model.remote import HttpReply

ENGINES = (a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("decode-1", "n2"))
PLAN = a_plan(*ENGINES, a_process("router", "n1"))


def running(reply_of_decode_1, stuck="", plan=PLAN):
    """Everything runs; what decode-1 answers to completions, and what the router says of it."""
    members = [{"name": "decode-1", "group": "decode/0", "state": "serving", "stuck": stuck}]
    report = HttpReply(status=200, body=json.dumps({"members": members}))
    n1 = Node("n1", revision="r1", http=lambda asked: report if asked.url.endswith("/members") else None)
    n2 = Node("n2", revision="r1", http=lambda asked: (asked.key == "decode-1" and reply_of_decode_1) or None)
    n1.observed("prefill-0").observed("router")
    n2.observed("decode-0").observed("decode-1")
    stage = Scene(plan, n1, n2)
    return stage.admitted() if plan.members else stage


def bring_up(stage):
    with pytest.raises(DplaunchError) as caught:
        up(stage.job, ChangeOptions(), lambda *_: True)
    return caught.value


def waits(stage):
    """The longest that each completion of decode-1 could take, in seconds."""
    return [one.timeout for one in stage.asked("n2") if one.key == "decode-1" and one.method == "POST"]


SILENT = HttpReply(error="no response within its time")


def test_one_that_is_stuck_is_named_with_what_mends_it_and_not_asked_again():
    stage = running(SILENT, stuck="a request waits, and nothing moves")
    error = bring_up(stage)
    assert error.text == "decode-1 on n2 is stuck: a request waits, and nothing moves"
    assert error.hint == "dplaunch restart decode-1"
    assert waits(stage) == [QUICK]
    assert stage.calls("stop") == []


def test_one_that_is_only_busy_gets_the_time_of_a_fresh_one():
    stage = running(SILENT)
    began = stage.job.now
    assert "did not answer" in bring_up(stage).text
    assert waits(stage)[:2] == [QUICK, COMPLETION_TIMEOUT]
    assert stage.job.now - began >= NOTICED_WITHIN
    assert any("decode-1" in note and "busy or stuck" in note for note in stage.notes)


def test_behind_a_router_that_sees_no_stuck_engine_nothing_is_waited_for():
    stage = running(SILENT, plan=replace(PLAN, members=None))
    began = stage.job.now
    assert "did not answer" in bring_up(stage).text
    assert waits(stage)[0] == COMPLETION_TIMEOUT
    assert stage.job.now - began < NOTICED_WITHIN


def test_one_that_refuses_is_not_taken_for_stuck():
    stage = running(HttpReply(status=500, body="broken"))
    began = stage.job.now
    assert "500" in bring_up(stage).text
    assert stage.job.now - began < NOTICED_WITHIN


def test_one_that_starts_now_is_not_hurried():
    stage = Scene(PLAN, Node("n1", revision="r1").observed("prefill-0").observed("router"), Node("n2"))
    assert up(stage.admitted().job, ChangeOptions(), lambda *_: True).changed
    assert COMPLETION_TIMEOUT in waits(stage)
    assert QUICK not in waits(stage)
