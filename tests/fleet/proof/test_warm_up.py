"""Warm-up: who gets how many requests of which size, and what is noted about them."""

import json

import pytest
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.fleet.job import connect_all
from dplaunch.fleet.proof.warm_up import prompt, warm_up
from dplaunch.model.cluster import WarmupSpec
from dplaunch.model.event import Failed
from dplaunch.model.remote import HttpReply

SPLIT = (a_process("prefill-0", "n1"), a_process("prefill-1", "n2"), a_process("decode-0", "n2"))
ALONE = (a_process("serve-0", "n1"), a_process("serve-1", "n2"))


def warmed(processes, *nodes: Node, **fields):
    stage = Scene(a_plan(*processes, warmup=WarmupSpec(**fields) if fields else None), *nodes)
    connect_all(stage.job)
    return stage, warm_up(stage.job, stage.job.plan.endpoints)


def requests(stage, node):
    """(endpoint, tokens of the prompt, tokens of the answer) of each request of a node."""
    bodies = [(one.key, json.loads(one.body)) for one in stage.asked(node)]
    return [(key, len(body["prompt"]), body["max_tokens"]) for key, body in bodies]


def test_every_prefill_engine_gets_its_requests_one_after_another():
    stage, failures = warmed(SPLIT, requests_per_engine=3, prompt_tokens=100, output_tokens=5)
    assert failures == ()
    assert requests(stage, "n1") == [("prefill-0", 100, 5)] * 3
    assert requests(stage, "n2") == [("prefill-1", 100, 5)] * 3
    assert stage.phases[-1] == "warm up"


def test_engines_that_do_both_are_all_warmed_up():
    stage, _ = warmed(ALONE, requests_per_engine=1)
    assert requests(stage, "n1") == [("serve-0", 1024, 8)]
    assert requests(stage, "n2") == [("serve-1", 1024, 8)]


def test_the_first_and_the_last_latency_are_noted():
    replies = [HttpReply(status=200, seconds=42.0), HttpReply(status=200, seconds=0.2)]
    stage, _ = warmed(SPLIT, Node("n2", answers={"prefill-1": replies}), requests_per_engine=2)
    [note] = stage.notes
    assert "first request 42 s, last 0.2 s" in note


@pytest.mark.parametrize(("processes", "fields"), [(SPLIT, {}), (SPLIT[2:], {"requests_per_engine": 1})])
def test_without_the_section_or_an_engine_that_computes_prompts_there_is_none(processes, fields):
    stage, failures = warmed(processes, **fields)
    assert failures == ()
    assert stage.asked() == []
    assert stage.phases == ["connect"]


def test_the_text_of_the_answers_is_not_judged():
    nonsense = HttpReply(status=200, body='{"choices": [{"text": ""}]}')
    _, failures = warmed(SPLIT, Node("n1", answers={"prefill-0": nonsense}), requests_per_engine=2)
    assert failures == ()


def test_a_request_that_fails_ends_it():
    broken = HttpReply(status=500, body="out of memory")
    stage, [failed] = warmed(SPLIT, Node("n1", answers={"prefill-0": broken}), requests_per_engine=2)
    assert (failed.process, failed.node) == ("prefill-0", "n1")
    assert "500: out of memory" in failed.text
    assert stage.of(Failed) == [failed]
    assert len(requests(stage, "n1")) == 1
    assert stage.notes == []


def test_prompts_are_as_long_as_asked_and_differ_from_their_first_token_on():
    first, second = prompt(1024, 0), prompt(1024, 1)
    assert len(first) == len(second) == 1024
    assert first[0] != second[0]
    assert all(100 <= token < 228 for token in first)
