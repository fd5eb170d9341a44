from __future__ import annotations

import pytest
from msgspec.structs import replace
from plans import a_job, a_plan, a_process

from dplaunch.fleet.verdict import mark_stuck, summarise
from dplaunch.model.observed import ObservedEndpoint, ObservedProcess, State
from dplaunch.model.summary import Cause, ClusterHealth, LastProof, Lookups, RoleSummary, Summary
from dplaunch.view import status as status_view

GOOD = Summary(
    state=ClusterHealth.SERVING,
    roles=(
        RoleSummary(role="prefill", groups=4, groups_ready=4, engines=8, engines_ready=8),
        RoleSummary(role="decode", groups=1, groups_ready=1, engines=64, engines_ready=64),
    ),
    router_ok=True,
    proof=LastProof(passed=True, verb="up", who="ada@desk", age=90.0),
)
BAD = replace(GOOD, state=ClusterHealth.DEGRADED, unreached=("n8",))
KILLED = Cause(process="decode-17", node="n6", how="killed by SIGKILL", ago=12.0)

ODD = {
    "decode-17": {"state": State.EXITED, "exit_code": 1, "ended_at": 1_011_500.0, "healthy": None},
    "decode-40": {"state": State.UNGUARDED},
    "prefill-0": {"state": State.EXITED, "signal": "SIGKILL", "left": (77, 78), "ended_at": 1_011_000.0},
}
STRAY = ObservedProcess(
    name="prefill-9", kind="engine", role="prefill", group="prefill/4", node="n4", state=State.RUNNING, pid=9,
    endpoints=(ObservedEndpoint(name="prefill-9", healthy=True),), started_at=1_011_400.0,
)  # fmt: skip


@pytest.fixture
def troubled(big_plan, observe):
    unreached = {"n8": "connection refused by 192.0.0.8 port 22"}
    return observe(big_plan, ODD, unreached=unreached, gone=("decode-3", "decode-4"), extra=(STRAY,))


def test_a_healthy_cluster_is_a_sentence_and_three_rows(draw, golden, big_plan, observe):
    golden("status-serving", draw(status_view.render(big_plan, observe(big_plan), GOOD), 80))


FAILED = LastProof(
    passed=False, verb="up", who="ada@desk", age=90.0, reason="decode-2 on n5 answered nonsense"
)


@pytest.mark.parametrize(
    ("name", "proof"),
    [
        ("status-proof-failed", FAILED),
        ("status-proved-in-part", replace(FAILED, verb="restart", earlier=True)),
        ("status-without-a-proof", None),
    ],
)
def test_what_answers_health_but_was_not_proved_is_not_called_good(
    draw, golden, big_plan, observe, name, proof
):
    golden(name, draw(status_view.render(big_plan, observe(big_plan), replace(GOOD, proof=proof)), 200))


def test_a_failed_proof_stands_in_the_json(golden, big_plan, observe):
    value = status_view.to_json(big_plan, observe(big_plan), replace(GOOD, proof=FAILED))
    golden("status-proof-failed", value["proof"])


def test_the_odd_ones_come_first_and_in_words(draw, golden, big_plan, troubled):
    golden("status-degraded", draw(status_view.render(big_plan, troubled, BAD), 80))


def roles(prefill: int, decode: int) -> tuple[RoleSummary, ...]:
    """Four prefill groups and two of decode, of which so many serve."""
    return (
        RoleSummary(role="prefill", groups=4, groups_ready=prefill, engines=8, engines_ready=8),
        RoleSummary(role="decode", groups=2, groups_ready=decode, engines=64, engines_ready=63),
    )


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("headline-killed", replace(GOOD, state=ClusterHealth.OUTAGE, roles=roles(4, 0), cause=KILLED)),
        ("headline-two-roles", replace(GOOD, state=ClusterHealth.OUTAGE, roles=roles(0, 0), cause=KILLED)),
        ("headline-router", replace(GOOD, state=ClusterHealth.OUTAGE, cause=replace(KILLED, process="router", ago=0.0))),
        ("headline-one-of-two", replace(GOOD, state=ClusterHealth.DEGRADED, roles=roles(4, 1), cause=KILLED)),
        ("headline-two-roles-in-part", replace(GOOD, state=ClusterHealth.DEGRADED, roles=roles(3, 1), cause=KILLED)),
        ("headline-missing", replace(GOOD, state=ClusterHealth.DEGRADED, roles=roles(4, 1), cause=Cause(process="decode-3", node="n5", how="missing"))),
        ("headline-hangs", replace(GOOD, state=ClusterHealth.OUTAGE, roles=roles(4, 0), cause=Cause(process="decode-3", node="n5", how="running, but not ready", mend="restart"))),
        ("headline-unreachable", replace(GOOD, state=ClusterHealth.DEGRADED, roles=roles(4, 1), cause=Cause(node="n8"))),
    ],
)  # fmt: skip
def test_the_first_line_says_what_serves_why_and_what_to_run(golden, big_plan, name, summary):
    golden(name, status_view.headline(big_plan, summary).plain)


def test_members_of_a_group_that_is_out_are_not_called_serving(draw, golden, big_plan, observe):
    killed = {"decode-17": {"state": State.EXITED, "signal": "SIGKILL", "healthy": None}}
    outage = replace(GOOD, state=ClusterHealth.OUTAGE, roles=roles(4, 0), cause=KILLED, out=("decode/0",))
    golden("status-outage", draw(status_view.render(big_plan, observe(big_plan, killed), outage), 100))
    value = status_view.to_json(big_plan, observe(big_plan, killed), outage)
    assert value["outage"] is True
    assert value["cause"]["remedy"] == "run `dplaunch up`"
    assert [p["group_out"] for p in value["processes"] if p["name"] in ("prefill-0", "decode-0")] == [
        False,
        True,
    ]


def test_verbose_is_a_row_per_process_the_odd_ones_first(draw, golden, big_plan, troubled):
    golden("status-verbose", draw(status_view.render(big_plan, troubled, BAD, verbose=1), 120))


def test_nodes_that_fail_for_one_reason_are_one_line(draw, golden, big_plan, observe):
    observed = observe(big_plan, unreached={f"n{n}": "timed out after 10 s" for n in (2, 3, 4)})
    golden("status-unreachable", draw(status_view.render(big_plan, observed, BAD)))


def test_loading_is_no_oddity(draw, golden, big_plan, observe):
    loading = {p.name: {"healthy": False, "started_at": 1_011_450.0} for p in big_plan.processes}
    starting = replace(GOOD, state=ClusterHealth.STARTING)
    golden("status-starting", draw(status_view.render(big_plan, observe(big_plan, loading), starting), 100))


def test_what_is_down_is_one_sentence(draw, golden, big_plan, observe):
    nothing = observe(big_plan, gone=tuple(p.name for p in big_plan.processes))
    golden(
        "status-down", draw(status_view.render(big_plan, nothing, replace(GOOD, state=ClusterHealth.DOWN)))
    )


def test_what_died_altogether_says_how(draw, golden, big_plan, observe):
    dead = {p.name: {"state": State.EXITED, "exit_code": 137, "healthy": None} for p in big_plan.processes}
    down = replace(GOOD, state=ClusterHealth.DOWN)
    golden("status-all-exited", draw(status_view.render(big_plan, observe(big_plan, dead), down)))


STATES = {
    "decode-0": {"state": State.FOREIGN},
    "decode-16": {"state": State.STOPPING},
    "decode-17": {"state": State.STOPPED},
    "decode-32": {"state": State.EXITED, "exit_code": 0},
    "decode-33": {"state": State.EXITED, "exit_code": None},
    "decode-48": {"state": State.UNGUARDED, "healthy": False},
}


def test_states_in_words(draw, golden, big_plan, observe):
    golden("status-states", draw(status_view.render(big_plan, observe(big_plan, STATES), BAD), 100))


PARENTS = a_plan(
    a_process("router", "n1"),
    *(
        a_process(f"decode@{node}", node, endpoints=[f"decode-{n}" for n in ranks], role="decode", kind="engine", group="decode/0")
        for node, ranks in (("n1", range(3)), ("n2", range(3, 6)))
    ),
    a_job("convert-0", "n3"),
    a_job("convert-1", "n3"),
)  # fmt: skip
ENDPOINTS = {
    "decode@n1": {"healthy": {"decode-0": True, "decode-1": False, "decode-2": True}, "pid": 70},
    "decode@n2": {"state": State.EXITED, "exit_code": 1, "healthy": None, "ended_at": 1_011_500.0},
    "convert-0": {"state": State.DONE, "exit_code": 0, "ended_at": 1_011_000.0},
}
OPENING = Summary(
    state=ClusterHealth.DEGRADED,
    roles=(RoleSummary(role="decode", groups=1, groups_ready=0, engines=6, engines_ready=2),),
    router_ok=False,
)


def test_endpoints_of_a_parent_process_and_jobs_have_a_row_each(draw, golden, observe):
    observed = observe(PARENTS, ENDPOINTS)
    golden("status-endpoints", draw(status_view.render(PARENTS, observed, OPENING), 100))
    golden("status-endpoints-verbose", draw(status_view.render(PARENTS, observed, OPENING, verbose=1), 100))
    golden("status-endpoints", status_view.to_json(PARENTS, observed, OPENING))


def test_what_another_protocol_started_says_what_stops_it(draw, golden, observe):
    def started_by(version: str, name: str) -> dict[str, object]:
        hint = f"stop it with that version: pipx run --spec 'dplaunch=={version}' dplaunch down"
        problem = f"{name} was started by dplaunch {version} (guard protocol 1, this version has 2)"
        return {"state": State.INCOMPATIBLE, "problem": problem, "hint": hint, "healthy": None}

    changes = {
        name: started_by("0.2.0" if name == "router" else "0.1.9", name)
        for name in ("router", "decode@n2", "convert-0", "convert-1")
    }
    golden("status-incompatible", draw(status_view.render(PARENTS, observe(PARENTS, changes), OPENING), 200))


@pytest.mark.parametrize(
    ("name", "held"),
    [("status-held", ("decode/0",)), ("status-held-several", ("decode/0", "decode/1", "prefill/0"))],
)
def test_groups_that_clients_do_not_reach_are_named(draw, golden, big_plan, observe, name, held):
    summary = replace(GOOD, held=held)
    golden(name, draw(status_view.render(big_plan, observe(big_plan), summary), 100))
    assert status_view.to_json(big_plan, observe(big_plan), summary)["held"] == list(held)


def test_a_cluster_that_is_closed_says_what_its_proof_found(draw, golden, big_plan, observe):
    closed = replace(GOOD, state=ClusterHealth.CLOSED, held=("decode/0",), proof=FAILED)
    golden("status-closed", draw(status_view.render(big_plan, observe(big_plan), closed), 200))


@pytest.mark.parametrize("state", [ClusterHealth.DOWN, ClusterHealth.STARTING])
def test_what_does_not_answer_yet_is_not_called_held(draw, big_plan, observe, state):
    nothing = observe(big_plan, gone=tuple(p.name for p in big_plan.processes))
    summary = replace(GOOD, state=state, held=("decode/0",))
    assert "held" not in draw(status_view.render(big_plan, nothing, summary))


def test_a_node_with_another_plan_is_named(draw, golden, big_plan, observe):
    stale = replace(GOOD, stale=("n2", "n3"))
    golden("status-another-plan", draw(status_view.render(big_plan, observe(big_plan), stale), 100))


def test_the_router_is_named_when_it_does_not_answer(golden, big_plan):
    starting = replace(GOOD, state=ClusterHealth.STARTING, router_ok=False)
    golden("status-router-silent", status_view.headline(big_plan, starting).plain)
    assert "router" not in status_view.headline(big_plan, replace(GOOD, router_ok=None)).plain


def test_the_json_schema_is_stable(golden, big_plan, troubled):
    value = status_view.to_json(big_plan, troubled, BAD)
    assert len(value["processes"]) == 74
    some = ("prefill-0", "prefill-1", "prefill-9", "decode-3", "decode-17", "decode-63", "router")
    golden("status", {**value, "processes": [p for p in value["processes"] if p["name"] in some]})


def test_an_engine_that_is_stuck_is_named_with_what_the_router_saw(draw, golden, big_plan, observe):
    observed = mark_stuck(observe(big_plan), {"decode-7": "/health is good, but nothing moved for 7 s"})
    summary = replace(summarise(big_plan, observed), proof=GOOD.proof)
    golden("status-stuck", draw(status_view.render(big_plan, observed, summary), 160))
    found = status_view.to_json(big_plan, observed, summary)["processes"]
    assert [p["name"] for p in found if p["stuck"]] == ["decode-7"]


def test_what_engines_found_in_a_store_is_counted(draw, golden, big_plan, observe):
    summary = replace(GOOD, lookups=Lookups(asked=80_000, found=32_000))
    golden("status-lookups", draw(status_view.render(big_plan, observe(big_plan), summary), 100))


def test_what_skipped_prefill_is_counted(draw, golden, big_plan, observe):
    summary = replace(GOOD, skipped_prefill=12)
    golden("status-skipped-prefill", draw(status_view.render(big_plan, observe(big_plan), summary), 100))


def test_nodes_that_are_unreachable_for_like_reasons_are_one_line(big_plan, observe, draw):
    reasons = {f"n{n}": f"n{n} (192.0.0.{n}) refused the connection; `ping 192.0.0.{n}`" for n in range(2, 8)}
    observed = observe(big_plan, unreached={**reasons, "n8": "n8 has no python3"})
    lines = [
        line
        for line in draw(status_view.render(big_plan, observed, BAD), 200).split("\n")
        if "unreachable:" in line
    ]
    assert lines == [
        "unreachable: n[2-7] (192.0.0.[2-7]) refused the connection; `ping 192.0.0.[2-7]`",
        "unreachable: n8 has no python3",
    ]
