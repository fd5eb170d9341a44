"""Out of service before a stop: how long what runs is waited for, and who counts it."""

import pytest
from msgspec.structs import replace
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.counters import total
from dplaunch.fleet.change.drain import drain
from dplaunch.fleet.job import connect_all
from dplaunch.model.cluster import RouterSpec
from dplaunch.model.event import Draining
from dplaunch.model.plan import Api
from dplaunch.model.remote import HttpReply
from dplaunch.router import members, metrics
from dplaunch.router.state import State

ENGINES = (a_process("prefill-0", "n1"), a_process("decode-0", "n2"))
ROUTER = a_process("router", "n1")
SILENT = HttpReply(error="timed out")
OURS = 'dprouter_member_requests{member="%s"} %d'
IDLE = OURS % ("decode-0", 0)
BUSY = OURS % ("decode-0", 3)


def scene(pages, **drain_timeout):
    """``pages``: endpoint → what its /metrics hold, one look after the other."""
    times = drain_timeout or {"decode": 30.0, "prefill": 50.0}
    plan = a_plan(*ENGINES, ROUTER, drain_timeout=times)
    stage = Scene(plan, *(Node(node, pages={n: list(p) for n, p in pages.items()}) for node in ("n1", "n2")))
    connect_all(stage.job)
    return stage.admitted()


def took(stage, groups=("decode/0",), timeout=None, *, routed=True):
    """Seconds that a drain takes."""
    began = stage.driver.clock()
    drain(stage.job, groups, timeout, routed=routed)
    return stage.driver.clock() - began


@pytest.mark.parametrize(
    ("pages", "seconds"),
    [
        ([IDLE], 2.0),
        ([OURS % ("decode-1", 6)], 2.0),
        ([BUSY, IDLE], 2.5),
        ([IDLE, BUSY, IDLE], 3.0),  # the other workers' counts come late
        ([SILENT, IDLE], 2.5),
    ],
)
def test_a_group_is_drained_when_nothing_has_run_on_it_for_a_while(pages, seconds):
    stage = scene({"router": pages})
    assert took(stage) == seconds
    assert stage.notes == []
    assert stage.states == {"prefill/0": "serving", "decode/0": "draining"}


def test_what_does_not_finish_in_time_is_counted_and_named():
    stage = scene({"router": [BUSY]})
    assert took(stage) == 30.0
    [note] = stage.notes
    assert "3 requests on decode-0" in note
    assert "30 s" in note


def test_what_is_waited_for_is_reported_whenever_it_changes():
    stage = scene({"router": [BUSY, BUSY, OURS % ("decode-0", 1), IDLE]})
    took(stage)
    assert [event.requests for event in stage.of(Draining)] == [{"decode-0": 3}, {"decode-0": 1}, {}]


def test_a_router_that_stays_silent_is_named():
    stage = scene({"router": [SILENT]})
    assert took(stage) == 30.0
    assert ["the router" in note for note in stage.notes] == [True]


def test_a_router_that_does_not_run_is_not_waited_for_but_clients_of_the_engines_are():
    page = 'toy:running{engine="0"} 2.0'
    assert took(scene({"router": [SILENT]}), routed=False) == 2.0
    stage = scene({"router": [SILENT], "decode-0": [page]})
    assert took(stage, routed=False) == 30.0
    assert "2 requests on decode-0" in stage.notes[0]


def test_each_role_has_its_own_time_and_the_longest_of_several_counts():
    busy = {"router": [BUSY + "\n" + OURS % ("prefill-0", 1)]}
    assert took(scene(busy), ("prefill/0",)) == 50.0
    assert took(scene(busy), ("prefill/0", "decode/0")) == 50.0


def test_a_group_of_a_role_that_is_not_planned_any_more_has_the_longest_time():
    stage = Scene(
        a_plan(ENGINES[0], ROUTER, drain_timeout={"prefill": 7.0}), Node("n1", pages={"router": BUSY})
    )
    stage.nodes["n1"].files[stage.job.plan.members.path] = a_plan(*ENGINES, ROUTER).members.text
    connect_all(stage.job)
    assert took(stage) == 7.0


def test_a_time_that_was_asked_for_counts_instead():
    stage = scene({"router": [BUSY]})
    assert took(stage, timeout=4.0) == 4.0
    assert took(stage, timeout=0.0) == 0.0
    assert len(stage.notes) == 2


def test_requests_of_clients_that_do_not_come_through_the_router_are_waited_for():
    page = 'toy:running{engine="0"} 2.0\ntoy:waiting{engine="0"} 1.0\n'
    rest = page.replace("2.0", "0.0").replace("1.0", "0.0")
    assert took(scene({"router": [IDLE], "decode-0": [page, page, rest]})) == 3.0
    stage = scene({"router": [IDLE], "decode-0": [page]})
    took(stage)
    assert "3 requests on decode-0" in stage.notes[0]


def test_a_request_that_both_count_is_one():
    stage = scene({"router": [BUSY], "decode-0": ['toy:running{engine="0"} 2.0']})
    took(stage)
    assert "3 requests on decode-0" in stage.notes[0]


def test_an_engine_that_does_not_answer_is_counted_by_the_router_alone():
    assert took(scene({"router": [IDLE], "decode-0": [SILENT]})) == 2.0


def test_an_engine_without_gauges_is_not_asked():
    engine = replace(ENGINES[1], endpoints=(replace(ENGINES[1].endpoints[0], api=Api()),))
    stage = Scene(a_plan(ENGINES[0], engine, ROUTER)).admitted()
    connect_all(stage.job)
    assert took(stage) == 2.0
    assert {one.key for one in stage.asked()} == {"router"}


@pytest.mark.parametrize("kind", ["vllm-router", "none"])
def test_without_a_router_of_ours_nothing_is_drained(kind):
    router = (ROUTER,) if kind != "none" else ()
    plan = a_plan(*ENGINES, *router, router=RouterSpec(node="n1", kind=kind) if router else None)
    stage = Scene(plan)
    connect_all(stage.job)
    assert took(stage) == 0.0
    assert stage.phases == ["connect"]


def test_before_the_first_start_there_is_nothing_to_drain():
    stage = Scene(a_plan(*ENGINES, ROUTER))
    connect_all(stage.job)
    assert took(stage) == 0.0


def test_the_router_s_page_is_the_one_that_our_router_writes():
    engines = [a_process(f"serve-{n}", "n2", group=f"serve/{n}") for n in (0, 1, 10)]
    own, other = State(), {}
    own.apply(members.parse(a_plan(*engines, ROUTER).members.text))
    for name, (here, there) in {"serve-0": (1, 2), "serve-1": (0, 4), "serve-10": (7, 0)}.items():
        member = own.members[name]
        member.requests = here
        labels = {"member": member.entry.name, "role": member.entry.role, "group": member.entry.group}
        other[metrics.series("dprouter_member_requests", **labels)] = there
    page = metrics.text(metrics.added([metrics.shared(metrics.Metrics(), own), other]))
    assert [total(page, f'dprouter_member_requests{{member="serve-{n}"}}') for n in (0, 1, 10)] == [3, 4, 7]
