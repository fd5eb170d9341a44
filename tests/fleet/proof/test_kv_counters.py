"""Whether KV moved: counters of what came from elsewhere, read from pages of metrics."""

import pytest
from nodes import Node
from plans import API, a_plan, a_process
from scene import Scene

from dplaunch.fleet.job import connect_all
from dplaunch.fleet.proof.kv_counters import LOOK_EVERY, SETTLE_FOR, figures, growth, tally, watch_growth
from dplaunch.model.remote import HttpReply

TOKENS, BYTES = API.fetched
PAGE = """\
toy:fetched{engine="0",from="here"} 5.0
toy:fetched{engine="0",from="elsewhere"} 740.0
toy:fetched{engine="1",from="elsewhere"} 1e2
toy:fetched_other{from="elsewhere"} 7
toy:bytes_fetched{engine="0"} 655360.0
"""
DECODE = a_process("decode-0", "n1")


def counted(*pages: str | HttpReply):
    """By how much the counter of one engine has grown, from page to page."""
    stage = Scene(a_plan(DECODE), Node("n1", pages={"decode-0": list(pages)}))
    connect_all(stage.job)
    before = tally(stage.job, DECODE.endpoints)
    [one] = watch_growth(stage.job, DECODE.endpoints, before)
    return one, stage


def test_the_counters_are_found_on_a_page_of_metrics():
    assert figures(PAGE, API.fetched) == {TOKENS: 840.0, BYTES: 655360.0}
    assert figures("rubbish\ntoy:bytes_fetched{\ntoy:bytes_fetched x", API.fetched) == {BYTES: 0.0}
    assert figures('toy:fetched{from="here"} 3', API.fetched) == {TOKENS: 0.0}
    assert figures(PAGE, ()) == {}


@pytest.mark.parametrize(
    ("before", "after", "by"),
    [
        ({}, {}, None),
        ({BYTES: 1.0}, {BYTES: 9.0}, 8.0),
        ({}, {BYTES: 9.0}, 9.0),
        ({TOKENS: 4.0}, {TOKENS: 4.0, BYTES: 9.0}, 0.0),
    ],
)
def test_the_best_counter_that_is_there_is_believed(before, after, by):
    assert growth(before, after, API.fetched) == by


def test_a_counter_that_grows_late_is_waited_for():
    one, stage = counted(f"{TOKENS} 40", f"{TOKENS} 40", f"{TOKENS} 41")
    assert (one.grown, one.wrong) == (1.0, False)
    assert stage.driver.clock() == 1000.0 + LOOK_EVERY


def test_a_counter_that_stands_still_is_a_fault():
    one, stage = counted(f"{TOKENS} 40", f"{TOKENS} 40\n{BYTES}{{}} 9")
    assert (one.grown, one.wrong) == (0.0, True)
    assert stage.driver.clock() == 1000.0 + SETTLE_FOR


@pytest.mark.parametrize("first", [HttpReply(status=503), HttpReply(error="timed out")])
def test_what_was_not_counted_before_is_no_proof_that_something_came(first):
    one, _ = counted(first, f"{TOKENS} 40")
    assert (one.grown, one.wrong) == (None, False)


def test_only_lines_of_the_counters_travel():
    _, stage = counted(f"{TOKENS} 40", f"{TOKENS} 41")
    question = stage.asked()[0]
    assert question.url == "http://n1:9000/metrics"
    assert question.grep == "^(toy:fetched|toy:bytes_fetched)[{ ]"


def test_an_engine_that_counts_nothing_is_not_asked():
    plain = a_process("router", "n1")
    stage = Scene(a_plan(plain))
    connect_all(stage.job)
    assert tally(stage.job, plain.endpoints) == {}
    assert stage.asked() == []
