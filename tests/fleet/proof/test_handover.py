"""A pair without our router: prefill on its node, then decode on its own with the handle that prefill returned."""

import json

import pytest
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.fleet.job import connect_all
from dplaunch.fleet.proof.handover import SEEN_WITHIN, ask_pairs
from dplaunch.fleet.proof.routes import routes
from dplaunch.model.cluster import RouterSpec
from dplaunch.model.remote import HttpReply

ENGINES = (a_process("prefill-0", "n1"), a_process("prefill-1", "n2"), a_process("decode-0", "n3"))
ROUTER = a_process("router", "n1")
HANDLE = {"do_remote_prefill": True, "remote_request_id": "7"}
GIVEN = HttpReply(status=200, body=json.dumps({"choices": [{"text": "R"}], "kv_transfer_params": HANDLE}))
CLOSED = HttpReply(status=503, body="group decode/0 is out of service")
KEY = "prefill-0,decode-0"


def asked(*nodes: Node, ours=False, foreign=False):
    """The answers of both pairs, and the scene."""
    processes = (*ENGINES, ROUTER) if ours or foreign else ENGINES
    router = {"router": RouterSpec(node="n1", kind="vllm-router")} if foreign else {}
    stage = Scene(a_plan(*processes, **router), *nodes)
    connect_all(stage.job)
    stage.driver.start(stage.job.plan, [process.place for process in processes], {})
    pairs = routes(stage.job.plan.endpoints)
    return {pair.key: answer.wrong for pair, answer in ask_pairs(stage.job, pairs, "1").items()}, stage


@pytest.mark.parametrize("foreign", [False, True])
def test_both_phases_are_asked_on_the_engines_own_nodes(foreign):
    answers, stage = asked(Node("n1", answers={KEY: GIVEN}), foreign=foreign)
    assert answers == {KEY: "", "prefill-1,decode-0": ""}
    [first] = list(stage.asked("n1"))
    assert json.loads(first.body)["kv_transfer_params"]["do_remote_decode"] is True
    assert json.loads(first.body)["max_tokens"] == 1
    second, without = stage.asked("n3")
    assert json.loads(second.body)["kv_transfer_params"] == HANDLE
    assert second.headers["X-Request-Id"] == first.headers["X-Request-Id"]
    assert json.loads(second.body)["prompt"] == json.loads(first.body)["prompt"]
    assert "kv_transfer_params" not in json.loads(without.body)


def test_a_prefill_engine_that_refuses_is_named_and_decode_not_asked():
    answers, stage = asked(Node("n1", answers={KEY: HttpReply(status=500, body="handshake_setup_failed")}))
    assert "prefill-0 answered 500" in answers[KEY]
    assert [one.key for one in stage.asked("n3")] == ["prefill-1,decode-0"]


def test_a_group_that_the_router_does_not_open_is_waited_for_a_while():
    answers, stage = asked(Node("n1", answers={KEY: CLOSED}), ours=True)
    assert "503" in answers[KEY]
    assert stage.driver.clock() == pytest.approx(1000.0 + SEEN_WITHIN, abs=0.2)
    assert [one.key for one in stage.asked()].count("prefill-1,decode-0") == 1  # it was open at once


def test_a_group_that_lost_an_engine_is_not_waited_for():
    n3 = Node("n3")

    def dies(request):
        if n3.processes["decode-0"].runs:
            n3.end("decode-0", 1)

    answers, stage = asked(Node("n1", answers={KEY: CLOSED}, http=dies), n3, ours=True)
    assert "503" in answers[KEY]
    assert stage.driver.clock() < 1001.0
