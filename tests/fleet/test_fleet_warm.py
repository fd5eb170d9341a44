"""Warm-up: who gets how many requests of which size, and what is said of them."""

import json

import pytest
from fakefleet import FakeNode, Scene, a_plan, a_process

from dplaunch.errors import DplaunchError
from dplaunch.fleet.up import UpOptions, up
from dplaunch.fleet.warm import prompt
from dplaunch.model.cluster import WarmupSpec
from dplaunch.model.event import Note, PhaseEnded, Stopped

SPLIT = (a_process("prefill-0", "n1"), a_process("prefill-1", "n2"), a_process("decode-0", "n2"))
ALONE = (a_process("serve-0", "n1"), a_process("serve-1", "n2"))


def brought_up(processes, *nodes: FakeNode, warmup):
    stage = Scene(a_plan(*processes, warmup=warmup), *nodes)
    up(stage.job, UpOptions(), lambda _: True)
    return stage


def warmed(stage, node):
    """(engine, tokens of the prompt, tokens of the answer) of each warm-up request of a node."""
    requests = [r for verb, f in stage.nodes[node].asked if verb == "probe" for r in f["requests"]]
    bodies = [(r["key"], json.loads(r["body"])) for r in requests if r["method"] == "POST"]
    return [(key, len(b["prompt"]), b["max_tokens"]) for key, b in bodies if isinstance(b["prompt"], list)]


def test_every_prefill_engine_gets_its_requests_one_after_another():
    stage = brought_up(SPLIT, warmup=WarmupSpec(requests_per_engine=3, prompt_tokens=100, output_tokens=5))
    assert warmed(stage, "n1") == [("prefill-0", 100, 5)] * 3
    assert warmed(stage, "n2") == [("prefill-1", 100, 5)] * 3
    assert [e.phase for e in stage.of(PhaseEnded)][2:5] == ["load", "warm up", "prove"]


def test_engines_that_do_both_are_all_warmed_up():
    stage = brought_up(ALONE, warmup=WarmupSpec(requests_per_engine=1))
    assert warmed(stage, "n1") == [("serve-0", 1024, 8)]
    assert warmed(stage, "n2") == [("serve-1", 1024, 8)]


def test_the_first_and_the_last_latency_are_told():
    slow = [{"seconds": 42.0}, {"seconds": 0.2}]
    stage = brought_up(SPLIT, FakeNode("n2", answers={"prefill-1": [*slow, {}]}), warmup=WarmupSpec())
    assert [note.text for note in stage.of(Note)] == [
        "prefill is warm: first request 42 s, last 0.2 s (slowest of 2 engines)"
    ]


def test_without_the_section_there_is_none():
    stage = brought_up(SPLIT, warmup=None)
    assert warmed(stage, "n1") == []
    assert "warm up" not in [e.phase for e in stage.of(PhaseEnded)]


def test_what_it_says_is_not_looked_at():
    nonsense = [{"body": '{"choices": [{"text": ""}]}'}] * 2
    stage = brought_up(SPLIT, FakeNode("n1", answers={"prefill-0": [*nonsense, {}]}), warmup=WarmupSpec())
    assert len(stage.of(Note)) == 1


def test_a_request_that_fails_fails_up():
    broken = {"prefill-0": {"status": 500, "body": "out of memory"}}
    stage = Scene(a_plan(*SPLIT, warmup=WarmupSpec()), FakeNode("n1", answers=broken))
    with pytest.raises(
        DplaunchError, match="prefill-0 on n1 failed its warm-up: it answered 500: out of memory"
    ):
        up(stage.job, UpOptions(), lambda _: True)
    assert len(stage.of(Stopped)) == 3
    assert len(warmed(stage, "n1")) == 1


def test_prompts_are_as_long_as_asked_and_differ_from_their_first_token_on():
    first, second = prompt(1024, 0), prompt(1024, 1)
    assert len(first) == len(second) == 1024
    assert first[0] != second[0]
    assert all(100 <= token < 228 for token in first)
