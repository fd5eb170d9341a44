"""Which pairs are asked, what they are called, and what failed ones have in common: no node, no clock."""

import pytest
from fakefleet import a_plan, a_process

from dplaunch.fleet import handover
from dplaunch.fleet.moved import figures, grown
from dplaunch.fleet.odd import notes, odd_one, sentence
from dplaunch.fleet.prove import said
from dplaunch.fleet.routes import chosen, counted, decode_first, routes, sample, told
from dplaunch.model.cluster import RouterSpec
from dplaunch.model.proof import Answer, Moved, Odd, Pair
from dplaunch.router import body as router_body
from dplaunch.router import pair as router_pair


def engines(prefills, decodes, per_node=2):
    return [
        a_process(f"{role}-{n}", f"{role[0]}{n // per_node}")
        for role, count in (("prefill", prefills), ("decode", decodes))
        for n in range(count)
    ]


def pair(prefill, decode, per_node=2):
    return Pair(
        (f"prefill-{prefill}", f"decode-{decode}"), (f"p{prefill // per_node}", f"d{decode // per_node}")
    )


def test_every_prefill_with_every_decode_engine():
    assert [p.key for p in routes(engines(2, 2))] == [
        "prefill-0,decode-0",
        "prefill-0,decode-1",
        "prefill-1,decode-0",
        "prefill-1,decode-1",
    ]


def test_engines_that_do_both_stand_alone_and_are_never_left_out():
    alone = [a_process(f"serve-{n}", "n1") for n in range(100)]
    assert [p.key for p in sample(alone)] == [f"serve-{n}" for n in range(100)]
    assert counted(sample(alone), 100) == "100 engines"


@pytest.mark.parametrize(
    ("prefills", "decodes", "asked"),
    [(8, 8, 64), (8, 64, 64), (64, 8, 64), (10, 10, 64), (6, 15, 64), (4, 24, 64), (2, 100, 100), (3, 5, 15)],
)
def test_a_sample_has_every_engine_and_no_pair_twice(prefills, decodes, asked):
    found = sample(engines(prefills, decodes))
    assert len(found) == len(set(found)) == asked
    assert {name for p in found for name in p.engines} == {e.name for e in engines(prefills, decodes)}
    assert found == sample(engines(prefills, decodes))


def test_of_a_part_only_its_own_pairs_are_asked():
    some = {"prefill-1", "decode-0"}
    pairs, total = chosen(engines(2, 3), everything=False, about=some)
    assert {p.key for p in pairs} == {"prefill-0,decode-0"} | {f"prefill-1,decode-{n}" for n in range(3)}
    assert total == 4
    pairs, total = chosen(engines(10, 20), everything=False, about={f"decode-{n}" for n in range(10)})
    assert total == 100
    assert {p.engines[1] for p in pairs} == {f"decode-{n}" for n in range(10)}


def test_all_are_asked_on_demand():
    some, total = chosen(engines(8, 64), everything=False)
    every, _ = chosen(engines(8, 64), everything=True)
    assert (len(some), len(every), total) == (64, 512, 512)
    assert counted(some, total) == "64 of 512 prefill × decode pairs"
    assert counted(every, total) == "512 prefill × decode pairs"


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([pair(0, 3)], "prefill-0 → decode-3"),
        ([pair(0, 2), pair(0, 3), pair(1, 2), pair(1, 3)], "prefill-[0-1] → decode-[2-3]"),
        ([pair(0, 2), pair(1, 3)], "prefill-0 → decode-2; prefill-1 → decode-3"),
        ([Pair(("serve-0",), ("n1",)), Pair(("serve-1",), ("n1",))], "serve-[0-1]"),
    ],
)
def test_pairs_in_few_words(pairs, words):
    assert told(pairs) == words


@pytest.mark.parametrize(
    ("failed", "odd"),
    [
        ([(0, 3)], None),
        ([(0, 3), (1, 3), (2, 3), (3, 3)], Odd("engine", "decode-3", "d1")),
        ([(2, d) for d in range(4)], Odd("engine", "prefill-2", "p1")),
        ([(p, d) for p in range(4) for d in (2, 3)], Odd("node", "d1", "d1")),
        ([(p, d) for p in (0, 1) for d in range(4)], Odd("node", "p0", "p0")),
        ([(0, 0), (1, 1)], None),  # no end in common
        ([(0, 3), (1, 3)], None),  # decode-3 answers others right
    ],
)
def test_the_odd_one_is_in_every_failed_pair_and_in_no_good_one(failed, odd):
    every = {(p, d) for p in range(4) for d in range(4)}
    good = [pair(*one) for one in sorted(every - set(failed))]
    assert odd_one([pair(*one) for one in failed], good) == odd


def test_two_ends_in_common_are_two_suspects():
    twice = [pair(0, 0), pair(0, 0)]
    assert odd_one(twice, []) is None


def test_the_odd_one_is_told_with_the_address_whose_nic_to_look_at():
    plan = a_plan(a_process("decode-3", "n5"))
    assert sentence(Odd("engine", "decode-3", "n5"), plan) == (
        "decode-3 on n5 is in every failed pair and in no good one: see its log, and the NIC of n5"
    )
    assert sentence(Odd("node", "n5", "n5"), plan).startswith("an engine on n5 is in every failed pair")


def test_a_proxy_that_starts_with_decode_is_known():
    plan = a_plan(
        a_process("router", "n1"),
        router=RouterSpec(node="n1", kind="vllm-ascend", path="/x/proxy_layerwise.py"),
        flow="push",
    )
    assert decode_first(plan)
    assert not decode_first(a_plan(a_process("router", "n1")))


def test_cold_pairs_are_one_note():
    answers = {pair(0, d): Answer(text="Rome", first="answered 500: x") for d in range(2)}
    answers[pair(0, 2)] = Answer(wrong="answered 500: y", first="answered 500: x")
    assert notes(answers, []) == (
        "the first request failed and the second was answered right: prefill-0 → decode-[0-1] (answered 500: x)",
    )


def test_a_believable_answer_that_differs_is_a_note_and_the_majority_is_right():
    answers = {pair(0, d): Answer(text="Rome") for d in range(3)} | {pair(0, 3): Answer(text="Roma")}
    (note,) = notes(answers, [])
    assert note.startswith("prefill-0 → decode-3 answered 'Roma', 3 pairs 'Rome': believable, but look twice")


def test_what_no_engine_counts_is_not_provable_and_no_failure():
    moved = [Moved("decode-0", "n1", None), Moved("decode-1", "n1", None), Moved("decode-2", "n1", 9.0)]
    (note,) = notes({}, moved)
    assert note == "that KV moved is not provable on this engine: decode-[0-1] has no counter of it"
    assert not any(one.wrong for one in moved)


SOURCES = """\
vllm:prompt_tokens_by_source_total{engine="0",source="local_compute"} 5.0
vllm:prompt_tokens_by_source_total{engine="0",source="external_kv_transfer"} 740.0
vllm:prompt_tokens_by_source_total{engine="1",source="external_kv_transfer"} 1e2
vllm:prompt_tokens_by_source_total_other{source="external_kv_transfer"} 7
vllm:nixl_bytes_transferred_sum{engine="0"} 655360.0
"""


def test_the_counters_are_found_in_a_page_of_metrics():
    assert figures(SOURCES) == {
        "vllm:prompt_tokens_by_source_total": 840.0,
        "vllm:nixl_bytes_transferred_sum": 655360.0,
    }
    assert figures("rubbish\nvllm:nixl_bytes_transferred_sum{\nvllm:nixl_bytes_transferred_sum x") == {
        "vllm:nixl_bytes_transferred_sum": 0.0
    }
    assert figures('vllm:prompt_tokens_by_source_total{source="local_compute"} 3') == {
        "vllm:prompt_tokens_by_source_total": 0.0
    }


@pytest.mark.parametrize(
    ("before", "after", "by"),
    [
        ({}, {}, None),
        ({"vllm:other": 1.0}, {"vllm:other": 2.0}, None),
        ({"vllm:nixl_bytes_transferred_sum": 1.0}, {"vllm:nixl_bytes_transferred_sum": 9.0}, 8.0),
        ({}, {"vllm:nixl_bytes_transferred_sum": 9.0}, 9.0),
        (
            {"vllm:prompt_tokens_by_source_total": 4.0},
            {"vllm:prompt_tokens_by_source_total": 4.0, "vllm:nixl_bytes_transferred_sum": 9.0},
            0.0,
        ),
    ],
)  # fmt: skip
def test_the_engines_own_account_is_believed_before_the_connectors(before, after, by):
    assert grown(before, after) == by


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            'data: {"choices":[{"text":"Ro"}]}\n\ndata: {"choices":[{"text":"me"}]}\n\ndata: [DONE]\n\n',
            "Rome",
        ),
        ('data: {"choices":[{"text":"Ro"}]}\n\n', ""),
        ('data: {"choices":[]}\n\ndata: [DONE]\n\n', ""),
        ('data: {"error":"dead"}\n\ndata: [DONE]\n\n', ""),
        ("data:", ""),
    ],
)
def test_a_stream_is_read_to_its_end_mark(body, text):
    assert said({"body": body}) == text


def test_a_proof_asks_as_the_router_does():
    # the router runs apart, and may not share code
    assert (handover.HANDLE, handover.ASK_FOR_HANDLE) == (router_body.HANDLE, router_body.ASK_FOR_HANDLE)
    assert handover.HEADER == router_pair.HEADER
