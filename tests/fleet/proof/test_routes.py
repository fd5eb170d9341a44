"""Which pairs of endpoints a proof asks, and how they are written."""

import pytest
from plans import a_plan, a_process

from dplaunch.fleet.proof.routes import (
    cannot_choose,
    choose_pairs,
    chooses_by_header,
    count_pairs,
    describe_pairs,
    routes,
    sample,
)
from dplaunch.model.cluster import RouterSpec
from dplaunch.model.proof import Pair

LAYERWISE = RouterSpec(node="n1", kind="vllm-ascend", path="/x/proxy_layerwise.py")


def endpoints(prefills, decodes, per_node=2):
    processes = [
        a_process(f"{role}-{n}", f"{role[0]}{n // per_node}")
        for role, count in (("prefill", prefills), ("decode", decodes))
        for n in range(count)
    ]
    return [endpoint for process in processes for endpoint in process.endpoints]


def pair(prefill, decode, per_node=2):
    return Pair(
        (f"prefill-{prefill}", f"decode-{decode}"), (f"p{prefill // per_node}", f"d{decode // per_node}")
    )


def test_every_prefill_with_every_decode_endpoint():
    assert [p.key for p in routes(endpoints(2, 2))] == [
        "prefill-0,decode-0",
        "prefill-0,decode-1",
        "prefill-1,decode-0",
        "prefill-1,decode-1",
    ]


def test_endpoints_that_do_both_stand_alone_and_are_never_left_out():
    alone = [a_process(f"serve-{n}", "n1").endpoints[0] for n in range(100)]
    assert [p.key for p in sample(alone)] == [f"serve-{n}" for n in range(100)]
    assert count_pairs(sample(alone), 100) == "100 engines"


@pytest.mark.parametrize(
    ("prefills", "decodes", "asked"),
    [(8, 8, 64), (8, 64, 64), (64, 8, 64), (10, 10, 64), (6, 15, 64), (4, 24, 64), (2, 100, 100), (3, 5, 15)],
)
def test_a_sample_has_every_endpoint_and_no_pair_twice(prefills, decodes, asked):
    every = endpoints(prefills, decodes)
    found = sample(every)
    assert len(found) == len(set(found)) == asked
    assert {name for p in found for name in p.engines} == {e.name for e in every}
    assert found == sample(endpoints(prefills, decodes))


def test_of_a_part_only_its_own_pairs_are_asked():
    pairs, total = choose_pairs(endpoints(2, 3), everything=False, about={"prefill-1", "decode-0"})
    assert {p.key for p in pairs} == {"prefill-0,decode-0"} | {f"prefill-1,decode-{n}" for n in range(3)}
    assert total == 4
    half = {f"decode-{n}" for n in range(10)}
    pairs, total = choose_pairs(endpoints(10, 20), everything=False, about=half)
    assert total == 100
    assert {p.engines[1] for p in pairs} == half


def test_all_are_asked_on_demand():
    some, total = choose_pairs(endpoints(8, 64), everything=False)
    every, _ = choose_pairs(endpoints(8, 64), everything=True)
    assert (len(some), len(every), total) == (64, 512, 512)
    assert count_pairs(some, total).startswith("64 of 512")
    assert count_pairs(every, total).startswith("512")


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
    assert describe_pairs(pairs) == words


def test_a_foreign_proxy_that_starts_with_decode_chooses_its_pairs_itself():
    plan = a_plan(a_process("router", "n1"), router=LAYERWISE, flow="push")
    assert cannot_choose(plan)
    assert not chooses_by_header(plan)


@pytest.mark.parametrize("flow", ["alone", "pull", "push"])
def test_through_our_router_pairs_are_chosen_by_header(flow):
    plan = a_plan(a_process("router", "n1"), flow=flow)
    assert chooses_by_header(plan)
    assert not cannot_choose(plan)
