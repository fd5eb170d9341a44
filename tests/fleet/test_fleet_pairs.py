"""The proof of routes: what is asked where, and how each answer is judged."""

import json

import pytest
from fakefleet import FakeNode, Scene, a_plan, a_process

from dplaunch.errors import DplaunchError
from dplaunch.fleet.pairs import NO_PAIRS, examine
from dplaunch.fleet.up import UpOptions, restart, up, wait_ready
from dplaunch.model.cluster import RouterSpec, SecretRef
from dplaunch.model.event import Failed, Note, PhaseBegan, Proved
from dplaunch.model.proof import Odd

ENGINES = (
    a_process("prefill-0", "n1"),
    a_process("prefill-1", "n2"),
    *(a_process(f"decode-{n}", f"n{3 + n // 2}") for n in range(4)),
)
ROUTER = a_process("router", "n1")
GARBAGE = {"body": '{"choices": [{"text": "!!!!!!"}]}'}
COLD = {"status": 500, "body": "handshake_setup_failed"}
COUNTER = 'vllm:prompt_tokens_by_source_total{source="external_kv_transfer"} %s'


def says(text):
    return {"body": json.dumps({"choices": [{"text": text}]})}


def scene(*nodes: FakeNode, processes=(*ENGINES, ROUTER), **fields):
    return Scene(a_plan(*processes, **fields), *nodes)


def running(stage):
    """Everything of the plan was started."""
    for process in stage.job.plan.processes:
        stage.nodes[process.node].observed(process.name)
    return stage


def asked(stage, node="n1"):
    """Every request of the verb probe on a node, in order."""
    return [r for verb, fields in stage.nodes[node].asked if verb == "probe" for r in fields["requests"]]


def yes(_):
    return True


def failure(stage, **options):
    with pytest.raises(DplaunchError) as caught:
        up(stage.job, UpOptions(**options), yes)
    return caught.value


def test_every_pair_is_asked_through_the_router_on_its_own_node():
    stage = running(scene(FakeNode("n1")))
    proof = examine(stage.job, everything=False)
    assert proof.holds
    assert (len(proof.pairs), proof.total, proof.notes) == (8, 8, ())
    named = [r for r in asked(stage) if "X-Dplaunch-Pair" in r["headers"]]
    assert [r["headers"]["X-Dplaunch-Pair"] for r in named] == [p.key for p, _ in proof.pairs]
    assert {r["url"] for r in named} == {"http://n1:9000/v1/completions"}
    bodies = [json.loads(r["body"]) for r in named]
    assert len(bodies[0]["prompt"].split()) > 128  # more than a block of KV
    assert bodies[0]["temperature"] == 0
    whole, stream = [r for r in asked(stage) if r["key"] == "router"]
    assert "stream" not in json.loads(whole["body"]) or not json.loads(whole["body"])["stream"]
    assert json.loads(stream["body"])["stream"]
    assert "lock" not in stage.nodes["n1"].verbs()


def test_no_prompt_is_asked_twice_so_that_no_cache_answers_for_a_broken_route():
    stage = running(scene(FakeNode("n1", answers={"prefill-0,decode-1": [COLD, says(" Rome, of course")]})))
    examine(stage.job, everything=False)
    examine(stage.job, everything=False)
    prompts = [json.loads(r["body"])["prompt"] for r in asked(stage) if "X-Dplaunch-Pair" in r["headers"]]
    assert len(prompts) == 8 + 1 + 8
    assert len({prompt[:120] for prompt in prompts}) == len(prompts)


def test_the_key_goes_with_every_question():
    ref = SecretRef("env", "K")
    stage = running(scene(api_key=ref))
    stage.job.secrets[ref] = "sesame"  # type: ignore[index]
    examine(stage.job, everything=False)
    assert {r["headers"]["Authorization"] for r in asked(stage)} == {"Bearer sesame"}


def test_many_pairs_are_sampled_and_asked_in_batches():
    many = [a_process(f"prefill-{n}", "n1") for n in range(2)]
    many += [a_process(f"decode-{n}", "n2") for n in range(100)]
    stage = running(scene(processes=(*many, ROUTER)))
    assert len(examine(stage.job, everything=False).pairs) == 100
    sizes = [len(f["requests"]) for v, f in stage.nodes["n1"].asked if v == "probe"]
    assert sizes == [64, 36, 1, 1]
    assert len(examine(stage.job, everything=True).pairs) == 200


def test_a_pair_that_answers_garbage_is_not_ready_and_is_named():
    stage = scene(FakeNode("n1", answers={"prefill-1,decode-3": GARBAGE}))
    error = failure(stage)
    assert error.text == "prefill-1 → decode-3 answered 200 with garbage: '!!!!!!'"
    assert error.hint == "dplaunch logs decode-3 prefill-1 -n 50"
    assert error.detail == ()  # one failed pair shows no odd one
    assert [(e.process, e.node) for e in stage.of(Failed)] == [("decode-3", "n4")]


def test_an_engine_that_is_in_every_failed_pair_is_the_odd_one():
    bad = {f"prefill-{n},decode-3": GARBAGE for n in range(2)}
    error = failure(scene(FakeNode("n1", answers=bad)))
    assert error.text == "prefill-[0-1] → decode-3 answered 200 with garbage: '!!!!!!'"
    assert error.detail == (
        "decode-3 on n4 is in every failed pair and in no good one: see its log, and the NIC of n4",
    )


def test_an_odd_prefill_engine_is_what_failed_and_its_log_comes_first():
    bad = {f"prefill-1,decode-{n}": GARBAGE for n in range(4)}
    stage = scene(FakeNode("n1", answers=bad))
    assert failure(stage).hint == "dplaunch logs prefill-1 decode-0 -n 50"
    assert [(e.process, e.node) for e in stage.of(Failed)] == [("prefill-1", "n2")]


def test_a_node_whose_engines_all_fail_is_the_odd_one():
    bad = {f"prefill-{p},decode-{d}": COLD for p in range(2) for d in (2, 3)}
    proof = examine(running(scene(FakeNode("n1", answers=bad))).job, everything=False)
    assert not proof.holds
    assert proof.odd == Odd("node", "n4", "n4")


def test_a_cold_pair_is_asked_once_more_and_told():
    stage = scene(FakeNode("n1", answers={"prefill-0,decode-1": [COLD, says(" Rome, of course")]}))
    assert up(stage.job, UpOptions(), yes).ready
    (note,) = stage.of(Note)
    assert note.text == (
        "the first request failed and the second was answered right: prefill-0 → decode-1 "
        "(answered 500: handshake_setup_failed)"
    )
    assert [r["key"] for r in asked(stage)].count("prefill-0,decode-1") == 2


def test_a_group_that_the_router_has_not_admitted_yet_is_waited_for_and_no_note():
    closed = {"status": 503, "body": "group decode/0 of decode-1 is out of service"}
    stage = scene(FakeNode("n1", answers={"prefill-0,decode-1": [closed, says(" Rome, of course")]}))
    assert up(stage.job, UpOptions(), yes).ready
    assert stage.of(Note) == []


def test_a_group_that_stays_out_of_service_is_a_failure():
    closed = {"status": 503, "body": "group decode/0 of decode-1 is out of service"}
    error = failure(scene(FakeNode("n1", answers={"prefill-0,decode-1": closed})))
    assert error.text == "prefill-0 → decode-1 answered 503: group decode/0 of decode-1 is out of service"


def test_a_right_answer_that_goes_on_otherwise_is_no_failure():
    stage = scene(FakeNode("n1", answers={"prefill-0,decode-1": says(" Rome. The")}))
    assert up(stage.job, UpOptions(), yes).ready
    assert stage.of(Note)[0].text.startswith("prefill-0 → decode-1 answered ' Rome. The', 7 pairs")


WORDS = " qx zp!! 0f vvk?"
TOLD = f"answered 200 with wrong words: {WORDS!r} (others answer 'Rome')"


@pytest.mark.parametrize("text", [WORDS, "!?!?!?!?", "ÃÂ¤ÃÂ¥", "the the the the", " Milan"])
def test_a_pair_that_does_not_say_what_others_know_is_not_ready_and_is_named(text):
    stage = scene(FakeNode("n1", answers={"prefill-0,decode-1": says(text)}))
    wrong = f"answered 200 with wrong words: {text!r} (others answer 'Rome')"
    assert failure(stage).text == f"prefill-0 → decode-1 {wrong}"
    assert [r["key"] for r in asked(stage)].count("prefill-0,decode-1") == 2


def test_a_cold_pair_that_talks_nonsense_once_is_told():
    stage = scene(FakeNode("n1", answers={"prefill-0,decode-1": [says(WORDS), says(" Rome, of course")]}))
    assert up(stage.job, UpOptions(), yes).ready
    assert [note.text for note in stage.of(Note)] == [
        f"the first request failed and the second was answered right: prefill-0 → decode-1 ({TOLD})"
    ]


def test_what_no_pair_knows_but_an_engine_alone_does_was_spoilt_on_the_way():
    every = {f"prefill-{p},decode-{d}": says(WORDS) for p in range(2) for d in range(4)}
    stage = running(scene(FakeNode("n1", answers={**every, "router": says(WORDS)})))
    proof = examine(stage.job, everything=False)
    assert {a.wrong for _, a in proof.pairs} == {a.wrong for a in proof.router} == {TOLD}


TOWN = says(" a large town")
STREAM = {"body": 'data: {"choices": [{"text": " a large town"}]}\n\ndata: [DONE]\n\n'}


def test_where_nobody_knows_the_answer_it_only_has_to_be_text():
    pairs = [f"prefill-{p},decode-{d}" for p in range(2) for d in range(4)]
    answers = dict.fromkeys([*pairs, *(e.name for e in ENGINES)], TOWN)
    answers |= {"router": [TOWN, STREAM], "prefill-0,decode-1": says(" a small town")}
    stage = scene(*(FakeNode(f"n{n}", answers=dict(answers)) for n in range(1, 5)))
    assert up(stage.job, UpOptions(), yes).ready
    [note] = stage.of(Note)
    assert note.text.startswith("prefill-0 → decode-1 answered ' a small town', 7 pairs ' a large town'")


@pytest.mark.parametrize("knowing", ["router", "engines"])
def test_a_router_whose_answers_are_not_what_is_known_elsewhere_fails(knowing):
    layerwise = RouterSpec(node="n1", kind="vllm-ascend", path="/x/proxy_layerwise.py")
    stage = running(scene(router=layerwise, flow="push"))
    stage.nodes["n1"].answers["router"] = [says(" Rome" if knowing == "router" else WORDS), STREAM]
    proof = examine(stage.job, everything=False)
    wrong = [bool(answer.wrong) for answer in proof.router]
    assert wrong == ([False, True] if knowing == "router" else [True, True])


def test_an_engine_that_alone_does_not_say_what_others_know_fails_before_its_pairs():
    stage = scene(FakeNode("n3", answers={"decode-1": says(WORDS)}))
    assert failure(stage).text == f"decode-1 on n3 {TOLD}"
    assert "prefill-0,decode-0" not in [r["key"] for r in asked(stage)]


def test_an_engine_that_talks_nonsense_once_is_told():
    stage = scene(FakeNode("n3", answers={"decode-1": [says(WORDS), says(" Rome, of course")]}))
    assert up(stage.job, UpOptions(), yes).ready
    assert [note.text for note in stage.of(Note)] == [f"decode-1 {TOLD} at first; asked again it was right"]


def test_a_stream_that_breaks_off_is_a_failure_of_the_router():
    cut = {"body": 'data: {"choices": [{"text": "Ro"}]}\n\n'}
    whole = says("Rome")
    stage = scene(FakeNode("n1", answers={"router": [whole, cut]}))
    assert failure(stage).text == "router on n1 answered 200 with empty text (a streamed request)"
    assert "router" not in [e.process for e in stage.of(Proved)]


@pytest.mark.parametrize("after", [COUNTER % 40, COUNTER % 40 + "\nvllm:nixl_bytes_transferred_sum{} 9"])
def test_an_engine_that_counts_and_fetched_nothing_computed_its_prompts_itself(after):
    stage = scene(FakeNode("n4", metrics={"decode-3": [COUNTER % 40, after]}))
    error = failure(stage)
    assert error.text == "decode-3 on n4 computed its prompts itself: no KV came from prefill"


def test_a_counter_that_grows_late_is_waited_for():
    late = [COUNTER % 40, COUNTER % 40, COUNTER % 41]
    proof = examine(running(scene(FakeNode("n4", metrics={"decode-3": late}))).job, everything=False)
    assert proof.holds
    assert {m.engine: m.grown for m in proof.moved}["decode-3"] == 1.0


def test_without_a_counter_it_is_not_provable_and_said_once():
    silent = {f"decode-{n}": ["vllm:num_requests_running 0"] for n in range(4)}
    stage = scene(FakeNode("n3", metrics=silent), FakeNode("n4", metrics=silent))
    assert up(stage.job, UpOptions(), yes).ready
    assert [note.text for note in stage.of(Note)] == [
        "that KV moved is not provable on this engine: decode-[0-3] has no counter of it"
    ]


@pytest.mark.parametrize("answer", [{"status": 503}, {"status": None, "error": "timed out"}])
def test_what_was_not_counted_before_is_no_proof_that_something_came(answer):
    stage = running(scene(FakeNode("n4", metrics={"decode-3": [answer, COUNTER % 40]})))
    proof = examine(stage.job, everything=False)
    assert {m.engine: m.grown for m in proof.moved}["decode-3"] is None


def test_metrics_are_searched_on_the_node():
    stage = running(scene())
    examine(stage.job, everything=False)
    (one, *_) = [r for r in asked(stage, "n4") if r["url"].endswith("/metrics")]
    assert one["grep"].startswith("^(vllm:prompt_tokens_by_source_total|")


@pytest.mark.parametrize("router", [None, RouterSpec(node="n1", kind="vllm-router")])
def test_without_our_router_both_phases_are_asked_on_the_engines_own_nodes(router):
    handle = {"do_remote_prefill": True, "remote_request_id": "7"}
    given = {"body": json.dumps({"choices": [{"text": "R"}], "kv_transfer_params": handle})}
    keys = [f"prefill-0,decode-{n}" for n in range(4)]
    processes = ENGINES if router is None else (*ENGINES, ROUTER)
    stage = running(
        scene(FakeNode("n1", answers=dict.fromkeys(keys, given)), processes=processes, router=router)
    )
    assert examine(stage.job, everything=False).holds
    first = [r for r in asked(stage) if r["key"] in keys]
    assert [r["key"] for r in first] == keys
    assert json.loads(first[0]["body"])["kv_transfer_params"]["do_remote_decode"] is True
    assert json.loads(first[0]["body"])["max_tokens"] == 1
    second = [r for r in asked(stage, "n3") if r["key"] == "prefill-0,decode-0"]
    assert json.loads(second[0]["body"])["kv_transfer_params"] == handle
    assert second[0]["headers"]["X-Request-Id"] == first[0]["headers"]["X-Request-Id"]
    (without,) = [r for r in asked(stage, "n3") if r["key"] == "prefill-1,decode-0"]
    assert "kv_transfer_params" not in json.loads(without["body"])


def test_a_prefill_engine_that_refuses_is_named_and_decode_not_asked():
    stage = running(scene(FakeNode("n2", answers={"prefill-1,decode-0": COLD}), processes=ENGINES))
    proof = examine(stage.job, everything=False)
    assert [(p.key, a.wrong) for p, a in proof.failed] == [
        ("prefill-1,decode-0", "did not answer: prefill-1 answered 500: handshake_setup_failed")
    ]
    assert "prefill-1,decode-0" not in [r["key"] for r in asked(stage, "n3")]


def test_a_layerwise_proxy_pairs_engines_itself_and_is_asked_alone():
    router = RouterSpec(
        node="n1", kind="vllm-ascend", path="/x/load_balance_proxy_layerwise_server_example.py"
    )
    stage = running(scene(router=router, flow="push"))
    proof = examine(stage.job, everything=False)
    assert (proof.holds, proof.pairs, proof.notes) == (True, (), (NO_PAIRS,))
    assert [r["key"] for r in asked(stage)] == ["router", "router"]


def test_engines_that_do_both_are_asked_one_by_one_and_no_kv_is_counted():
    alone = [a_process(f"serve-{n}", "n1") for n in range(3)]
    stage = running(scene(processes=(*alone, ROUTER)))
    proof = examine(stage.job, everything=False)
    assert ([p.key for p, _ in proof.pairs], proof.moved) == (["serve-0", "serve-1", "serve-2"], ())


def test_what_was_never_started_cannot_be_tested():
    stage = scene()
    with pytest.raises(DplaunchError, match=r"nothing to test: .* was not started"):
        examine(stage.job, everything=False)


def test_a_restart_of_some_proves_their_pairs_with_those_that_serve():
    stage = running(scene())
    next(p for p in stage.nodes["n2"].processes if p["name"] == "prefill-1")["healthy"] = False
    restart(stage.job, {"decode-0", "decode-1"})
    pairs = [r["key"] for r in asked(stage) if "," in r["key"]]
    assert sorted(pairs) == ["prefill-0,decode-0", "prefill-0,decode-1"]


def test_a_restart_that_nobody_on_the_other_side_can_prove_proves_itself():
    stage = running(scene())
    for node in stage.nodes.values():
        for process in node.processes:
            process["healthy"] = False
    restart(stage.job, {"decode-0", "decode-1"})
    assert [e.phase for e in stage.of(PhaseBegan)][-1] == "prove"


def test_a_restarted_engine_whose_route_is_broken_is_not_proved():
    stage = running(scene(FakeNode("n1", answers={"prefill-1,decode-2": GARBAGE})))
    with pytest.raises(DplaunchError, match="prefill-1"):
        restart(stage.job, {"prefill-1"})


def test_a_restart_of_the_router_asks_through_it():
    stage = running(scene())
    restart(stage.job, {"router"})
    assert [r["key"] for r in asked(stage)] == ["router", "router"]
    assert [e.process for e in stage.of(Proved)] == ["router"]


def test_all_pairs_are_proved_on_demand_and_waiting_proves_them_too():
    many = [a_process(f"prefill-{n}", "n1") for n in range(10)] + [
        a_process(f"decode-{n}", "n2") for n in range(10)
    ]
    stage = scene(processes=(*many, ROUTER))
    up(stage.job, UpOptions(all_pairs=True), yes)
    wait_ready(stage.job, None)
    said = [e.detail for e in stage.of(PhaseBegan) if e.phase == "prove pairs"]
    assert said == ["100 prefill × decode pairs", "64 of 100 prefill × decode pairs"]
