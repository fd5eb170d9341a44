"""What should run, joined with what was seen: one record per endpoint, or process without any."""

import pytest
from plans import a_job, a_plan, a_process

from dplaunch.model.observed import Observed, ObservedEndpoint, ObservedNode, ObservedProcess, State
from dplaunch.view.records import records

PARENT = a_process(
    "decode@n1", "n1", endpoints=("decode-0", "decode-1"), role="decode", kind="engine", group="decode/0"
)
JOB = a_job("convert-0", "n1")
PLAN = a_plan(a_process("router", "n1"), PARENT, JOB, a_process("prefill-0", "n2"))


def seen(process, *healthy: bool | None, **fields):
    endpoints = tuple(
        ObservedEndpoint(name=endpoint.name, healthy=answer)
        for endpoint, answer in zip(process.endpoints, healthy, strict=False)
    )
    basic = {"state": State.RUNNING, "pid": 7, "started_at": 40.0, "endpoints": endpoints}
    return ObservedProcess(
        name=process.name, kind=process.kind, role=process.role, group=process.group, node=process.node, **{**basic, **fields}
    )  # fmt: skip


def found(*processes: ObservedProcess, unreached=()):
    nodes = [
        ObservedNode(
            name=node.name, clock=100.0, processes=tuple(p for p in processes if p.node == node.name)
        )
        for node in PLAN.nodes
        if node.name not in unreached
    ]
    observed = Observed(nodes=tuple(nodes), unreached=dict.fromkeys(unreached, "no route"))
    return {record.name: record for record in records(PLAN, observed)}


def test_each_endpoint_of_a_parent_process_has_its_own_answer():
    two = found(seen(PARENT, True, False))
    first, second = two["decode-0"], two["decode-1"]
    assert {first.process, second.process} == {"decode@n1"}
    assert (first.ranks, first.url, second.ranks) == ((0,), "http://n1:9000", (1,))
    assert (first.word, first.serves, first.unusual) == ("serving", True, False)
    assert (second.word, second.serves, second.awaited) == ("not ready", False, True)
    assert (first.age, second.age) == (60.0, 60.0)


def test_an_endpoint_that_was_not_asked_runs():
    record = found(seen(PARENT))["decode-1"]
    assert (record.word, record.serves, record.healthy) == ("running", True, None)


def test_a_dead_parent_process_takes_its_endpoints_along():
    dead = found(seen(PARENT, state=State.EXITED, exit_code=1, left=(9,), ended_at=90.0))
    assert {dead[name].word for name in ("decode-0", "decode-1")} == {"exited with code 1, 1 left behind"}
    assert {
        (dead[name].serves, dead[name].unusual, dead[name].ended) for name in ("decode-0", "decode-1")
    } == {(False, True, 10.0)}


@pytest.mark.parametrize(
    ("fields", "word", "serves", "odd"),
    [
        ({"state": State.RUNNING}, "running", False, True),
        ({"state": State.DONE, "exit_code": 0}, "done", True, False),
        ({"state": State.EXITED, "exit_code": 3}, "exited with code 3", False, True),
        ({"state": State.STOPPED}, "stopped", False, True),
    ],
)
def test_a_job_serves_when_it_is_done(fields, word, serves, odd):
    record = found(seen(JOB, **fields))["convert-0"]
    assert (record.word, record.serves, record.unusual) == (word, serves, odd)
    assert record.awaited is (fields["state"] is State.RUNNING)


@pytest.mark.parametrize(
    ("state", "word"),
    [(State.INCOMPATIBLE, "incompatible"), (State.FOREIGN, "foreign (of another host or boot)")],
)
def test_what_is_not_ours_is_named_and_odd(state, word):
    record = found(seen(PARENT, state=state))["decode-0"]
    assert (record.word, record.serves, record.unusual, record.age) == (word, False, True, 0.0)
    assert record.explanation == ""


@pytest.mark.parametrize(
    ("problem", "hint", "explanation"),
    [
        (
            "decode@n1 was started by dplaunch 0.1",
            "stop it with that",
            "was started by dplaunch 0.1; stop it with that",
        ),
        ("/s/state.json cannot be read", "", "/s/state.json cannot be read"),
        ("", "", ""),
    ],
)
def test_why_a_state_cannot_be_used_is_explained_without_the_name(problem, hint, explanation):
    record = found(seen(PARENT, state=State.INCOMPATIBLE, problem=problem, hint=hint))["decode-1"]
    assert record.explanation == explanation


def test_what_is_missing_differs_from_what_is_not_known():
    seen_by_one = found(unreached=("n2",))
    assert (seen_by_one["decode-0"].state, seen_by_one["decode-0"].word) == ("missing", "missing")
    assert (seen_by_one["prefill-0"].state, seen_by_one["prefill-0"].word) == ("unknown", "unreachable")


def test_engines_come_before_services_and_what_nobody_planned_comes_last():
    stray = ObservedProcess(
        name="old-0", kind="engine", role="old", group="old/0", node="n2", state=State.RUNNING,
        endpoints=(ObservedEndpoint(name="old-0", url="http://n2:9", healthy=True),),
    )  # fmt: skip
    over = ObservedProcess(
        name="old-1", kind="engine", role="old", group="old/0", node="n2", state=State.EXITED
    )
    whole = found(stray, over)
    assert list(whole) == ["decode-0", "decode-1", "prefill-0", "router", "convert-0", "old-0"]
    assert (whole["old-0"].word, whole["old-0"].unusual, whole["old-0"].url) == (
        "serving, not in the plan",
        True,
        "http://n2:9",
    )


def test_a_name_that_moved_is_looked_for_where_the_plan_has_it():
    elsewhere = seen(a_process("prefill-0", "n1"), True)
    whole = list(records(PLAN, Observed(nodes=(ObservedNode(name="n1", clock=1.0, processes=(elsewhere,)),))))
    assert [(r.node, r.expected, r.state) for r in whole if r.name == "prefill-0"] == [
        ("n2", True, "unknown"),
        ("n1", False, "running"),
    ]
