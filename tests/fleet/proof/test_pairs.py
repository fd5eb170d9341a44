"""The proof of routes: what is asked where, and how each answer is judged."""

import json

import pytest
from nodes import GOOD_STREAM, Node
from plans import API, a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import up, wait_ready
from dplaunch.fleet.proof.pairs import NO_PAIRS, examine
from dplaunch.model.cluster import RouterSpec, SecretRef
from dplaunch.model.event import Failed, PhaseBegan, Proved
from dplaunch.model.proof import OddOneOut
from dplaunch.model.remote import HttpReply
from dplaunch.model.trail import Result

ENGINES = (
    a_process("prefill-0", "n1"),
    a_process("prefill-1", "n2"),
    *(a_process(f"decode-{n}", f"n{3 + n // 2}") for n in range(4)),
)
ROUTER = a_process("router", "n1")
COLD = HttpReply(status=500, body="handshake_setup_failed")
CLOSED = HttpReply(status=503, body="group decode/0 of decode-1 is out of service")
LAYERWISE = RouterSpec(
    node="n1", kind="vllm-ascend", path="/x/load_balance_proxy_layerwise_server_example.py"
)
WORDS = " qx zp!! 0f vvk?"
EVERY_PAIR = [f"prefill-{p},decode-{d}" for p in range(2) for d in range(4)]


def says(text):
    return HttpReply(status=200, body=json.dumps({"choices": [{"text": text}]}))


GARBAGE, RIGHT, TOWN = says("!!!!!!"), says(" Rome, of course"), says(" a large town")
STREAM = HttpReply(status=200, body='data: {"choices": [{"text": " a large town"}]}\n\ndata: [DONE]\n\n')


def scene(*nodes: Node, processes=(*ENGINES, ROUTER), **fields):
    return Scene(a_plan(*processes, **fields), *nodes)


def running(stage):
    """Everything of the plan was started."""
    for process in stage.job.plan.processes:
        stage.nodes[process.node].observed(process.name)
    return stage


def named(stage, node="n1"):
    """Requests that name a pair, in order."""
    return [one for one in stage.asked(node) if "X-Dplaunch-Pair" in one.headers]


def failure(stage, **options):
    with pytest.raises(DplaunchError) as caught:
        up(stage.job, ChangeOptions(**options), lambda *_: True)
    return caught.value


def brought_up(stage, **options):
    assert up(stage.job, ChangeOptions(**options), lambda *_: True).ready
    return stage


def test_every_pair_is_asked_through_the_router_on_its_own_node():
    stage = running(scene())
    proof = examine(stage.job, everything=False)
    assert proof.passed
    assert (len(proof.pairs), proof.total, proof.notes) == (8, 8, ())
    found = named(stage)
    assert [one.headers["X-Dplaunch-Pair"] for one in found] == [p.key for p, _ in proof.pairs] == EVERY_PAIR
    assert {one.url for one in found} == {"http://n1:9000/v1/completions"}
    body = json.loads(found[0].body)
    assert len(body["prompt"].split()) > 128  # more than a block of KV
    assert body["temperature"] == 0
    whole, stream = [json.loads(one.body) for one in stage.asked() if one.key == "router"]
    assert (whole.get("stream", False), stream["stream"]) == (False, True)


def test_a_test_takes_no_lock_changes_nothing_and_leaves_a_line_in_the_trail():
    stage = running(scene())
    examine(stage.job, everything=False)
    assert not {call.verb for call in stage.driver.calls} & {"lock", "put", "swap", "start", "stop"}
    assert [(entry.verb, entry.result) for entry in stage.trail] == [("test", Result.PROVED)]


def test_a_test_that_fails_is_recorded_with_its_reason_and_is_no_error():
    stage = running(scene(Node("n1", answers={"prefill-1,decode-3": GARBAGE})))
    assert not examine(stage.job, everything=False).passed
    assert stage.trail[-1].result is Result.FAILED
    assert "decode-3" in stage.trail[-1].reason


def test_no_prompt_is_asked_twice_so_that_no_cache_answers_for_a_broken_route():
    stage = running(scene(Node("n1", answers={"prefill-0,decode-1": [COLD, RIGHT]})))
    examine(stage.job, everything=False)
    stage.driver.pause(1.0)
    examine(stage.job, everything=False)
    prompts = [json.loads(one.body)["prompt"] for one in named(stage)]
    assert len(prompts) == 8 + 1 + 8
    assert len({prompt[:120] for prompt in prompts}) == len(prompts)


def test_the_key_goes_with_every_question():
    ref = SecretRef("env", "K")
    stage = running(scene(api_key=ref))
    stage.job.secrets[ref] = "sesame"  # type: ignore[index]
    examine(stage.job, everything=False)
    assert {one.headers["Authorization"] for one in stage.asked()} == {"Bearer sesame"}


def test_many_pairs_are_sampled_and_asked_in_batches():
    many = [a_process(f"prefill-{n}", "n1") for n in range(2)]
    many += [a_process(f"decode-{n}", "n2") for n in range(100)]
    stage = running(scene(processes=(*many, ROUTER)))
    assert len(examine(stage.job, everything=False).pairs) == 100
    batches = [len([one for one in asked if one.method == "POST"]) for asked in stage.calls("ask")]
    assert [count for count in batches if count] == [64, 36, 1, 1]
    assert len(examine(stage.job, everything=True).pairs) == 200


def test_a_pair_that_answers_garbage_is_not_ready_and_is_named():
    stage = scene(Node("n1", answers={"prefill-1,decode-3": GARBAGE}))
    error = failure(stage)
    assert error.text.startswith("prefill-1 → decode-3 answered 200 with garbage")
    assert error.hint == "dplaunch logs decode-3 prefill-1 -n 50"
    assert error.detail == ()  # one failed pair shows no odd one
    assert [(event.process, event.node) for event in stage.of(Failed)] == [("decode-3", "n4")]


def test_an_engine_that_is_in_every_failed_pair_is_the_odd_one():
    error = failure(scene(Node("n1", answers={f"prefill-{n},decode-3": GARBAGE for n in range(2)})))
    assert error.text.startswith("prefill-[0-1] → decode-3")
    assert error.detail[0].startswith("decode-3 on n4 is in every failed pair")


def test_an_odd_prefill_engine_is_what_failed_and_its_log_comes_first():
    stage = scene(Node("n1", answers={f"prefill-1,decode-{n}": GARBAGE for n in range(4)}))
    assert failure(stage).hint == "dplaunch logs prefill-1 decode-0 -n 50"
    assert [(event.process, event.node) for event in stage.of(Failed)] == [("prefill-1", "n2")]


def test_a_node_whose_engines_all_fail_is_the_odd_one():
    bad = {f"prefill-{p},decode-{d}": COLD for p in range(2) for d in (2, 3)}
    proof = examine(running(scene(Node("n1", answers=bad))).job, everything=False)
    assert not proof.passed
    assert proof.odd_one_out == OddOneOut("node", "n4", "n4")


@pytest.mark.parametrize("first", [COLD, says(WORDS)])
def test_a_cold_pair_is_asked_once_more_and_noted(first):
    stage = brought_up(scene(Node("n1", answers={"prefill-0,decode-1": [first, RIGHT]})))
    [note] = stage.notes
    assert "prefill-0 → decode-1" in note
    assert [one.key for one in stage.asked()].count("prefill-0,decode-1") == 2


def test_a_group_that_the_router_has_not_seen_healthy_yet_is_waited_for():
    stage = brought_up(scene(Node("n1", answers={"prefill-0,decode-1": [CLOSED, RIGHT]})))
    assert stage.notes == []
    assert [one.key for one in stage.asked()].count("prefill-0,decode-1") == 2


def test_a_group_that_stays_out_of_service_is_a_failure():
    error = failure(scene(Node("n1", answers={"prefill-0,decode-1": CLOSED})))
    assert error.text.startswith("prefill-0 → decode-1 answered 503")


def test_a_right_answer_that_continues_otherwise_is_no_failure():
    stage = brought_up(scene(Node("n1", answers={"prefill-0,decode-1": says(" Rome. The")})))
    assert [note.startswith("prefill-0 → decode-1 answered ' Rome. The'") for note in stage.notes] == [True]


@pytest.mark.parametrize("text", [WORDS, "!?!?!?!?", "ÃÂ¤ÃÂ¥", "the the the the", " Milan"])
def test_a_pair_that_does_not_know_what_others_know_is_not_ready_and_is_named(text):
    stage = scene(Node("n1", answers={"prefill-0,decode-1": says(text)}))
    assert failure(stage).text.startswith(f"prefill-0 → decode-1 answered 200 with wrong words: {text!r}")
    assert [one.key for one in stage.asked()].count("prefill-0,decode-1") == 2


def test_what_no_pair_knows_but_an_engine_alone_does_was_spoilt_on_the_way():
    answers = dict.fromkeys([*EVERY_PAIR, "router"], says(WORDS))
    proof = examine(running(scene(Node("n1", answers=answers))).job, everything=False)
    assert all("wrong words" in answer.wrong for _, answer in proof.pairs)
    assert all("wrong words" in answer.wrong for answer in proof.router)


def test_where_no_engine_knows_the_answer_it_only_has_to_be_text():
    answers = dict.fromkeys([*EVERY_PAIR, *(engine.name for engine in ENGINES)], TOWN)
    answers |= {"router": [TOWN, STREAM], "prefill-0,decode-1": says(" a small town")}
    stage = brought_up(scene(*(Node(f"n{n}", answers=dict(answers)) for n in range(1, 5))))
    [note] = stage.notes
    assert note.startswith("prefill-0 → decode-1 answered ' a small town', 7 pairs ' a large town'")


@pytest.mark.parametrize("knowing", ["router", "engines"])
def test_a_router_whose_answers_are_not_what_is_known_elsewhere_fails(knowing):
    first = says(" Rome" if knowing == "router" else WORDS)
    stage = running(scene(Node("n1", answers={"router": [first, STREAM]}), router=LAYERWISE, flow="push"))
    wrong = [bool(answer.wrong) for answer in examine(stage.job, everything=False).router]
    assert wrong == ([False, True] if knowing == "router" else [True, True])


def test_an_engine_that_alone_does_not_know_what_others_know_fails_before_its_pairs():
    stage = scene(Node("n3", answers={"decode-1": says(WORDS)}))
    assert failure(stage).text.startswith("decode-1 on n3 answered 200 with wrong words")
    assert named(stage) == []


def test_a_stream_that_breaks_off_is_a_failure_of_the_router():
    cut = HttpReply(status=200, body=GOOD_STREAM.replace("data: [DONE]", ""))
    stage = scene(Node("n1", answers={"router": [RIGHT, cut]}))
    error = failure(stage)
    assert error.text.startswith("router on n1")
    assert "streamed" in error.text
    assert "router" not in [event.process for event in stage.of(Proved)]


def test_a_router_that_has_not_opened_the_groups_yet_is_asked_again():
    closed = HttpReply(status=503, body="no group is open")
    stage = brought_up(
        scene(Node("n1", answers={"router": [closed, RIGHT, HttpReply(status=200, body=GOOD_STREAM)]}))
    )
    assert stage.notes == []


def test_an_engine_that_counts_and_fetched_nothing_computed_its_prompts_itself():
    stage = scene(Node("n4", pages={"decode-3": f"{API.fetched[0]} 40"}))
    error = failure(stage)
    assert error.text.startswith("decode-3 on n4")
    assert "no KV" in error.text


def test_where_no_engine_counts_that_is_noted_once():
    silent = {f"decode-{n}": "toy:running 0" for n in range(4)}
    stage = brought_up(scene(Node("n3", pages=silent), Node("n4", pages=silent)))
    assert ["decode-[0-3]" in note for note in stage.notes] == [True]


def test_a_layerwise_proxy_pairs_engines_itself_and_is_asked_alone():
    stage = running(scene(router=LAYERWISE, flow="push"))
    proof = examine(stage.job, everything=False)
    assert (proof.passed, proof.pairs, proof.notes) == (True, (), (NO_PAIRS,))
    assert [one.key for one in stage.asked()] == ["router", "router"]


def test_engines_that_do_both_are_asked_one_by_one_and_no_kv_is_counted():
    alone = [a_process(f"serve-{n}", "n1") for n in range(3)]
    proof = examine(running(scene(processes=(*alone, ROUTER))).job, everything=False)
    assert ([p.key for p, _ in proof.pairs], proof.kv_growth) == (["serve-0", "serve-1", "serve-2"], ())


def test_a_process_with_several_endpoints_is_proved_through_each_of_them():
    parent = a_process(
        "decode@n3", "n3", kind="engine", role="decode", group="decode/0", endpoints=["decode-0", "decode-1"]
    )
    stage = brought_up(scene(processes=(ENGINES[0], parent, ROUTER)))
    assert [one.key for one in named(stage)] == ["prefill-0,decode-0", "prefill-0,decode-1"]


def test_what_was_never_started_cannot_be_tested():
    with pytest.raises(DplaunchError, match="was not started"):
        examine(scene().job, everything=False)


def test_all_pairs_are_proved_on_demand_and_waiting_proves_them_too():
    many = [a_process(f"{role}-{n}", "n1") for role in ("prefill", "decode") for n in range(10)]
    stage = brought_up(scene(processes=(*many, ROUTER)), all_pairs=True)
    wait_ready(stage.job, None)
    counts = [event.detail.split()[0] for event in stage.of(PhaseBegan) if event.phase == "prove pairs"]
    assert counts == ["100", "64"]


def test_an_engine_that_does_not_answer_its_health_check_is_not_asked():
    stage = running(scene())
    stage.nodes["n3"].observed("decode-0", healthy=False)
    proof = examine(stage.job, everything=False)
    asked = {one.key for one in named(stage)}
    assert asked == {pair for pair in EVERY_PAIR if "decode-0" not in pair}
    assert {pair.key for pair, _ in proof.failed} == {pair for pair in EVERY_PAIR if "decode-0" in pair}
    assert proof.odd_one_out == OddOneOut("engine", "decode-0", "n3")
    assert not [one for one in stage.asked("n3") if one.key == "decode-0" and one.method == "POST"]
