from __future__ import annotations

from dataclasses import replace

import pytest

from dplaunch.model.observed import ObservedProcess, State
from dplaunch.model.summary import Health, LastProof, RoleSummary, Summary
from dplaunch.view import status as status_view

GOOD = Summary(
    state=Health.SERVING,
    roles=(
        RoleSummary(role="prefill", groups=4, groups_ready=4, engines=8, engines_ready=8),
        RoleSummary(role="decode", groups=1, groups_ready=1, engines=64, engines_ready=64),
    ),
    router_ok=True,
    proof=LastProof(holds=True, verb="up", who="ada@desk", age=90.0),
)
BAD = replace(GOOD, state=Health.DEGRADED, unreached=("n8",))

ODD = {
    "decode-17": {"state": State.EXITED, "exit_code": 1, "ended_at": 1_011_500.0, "healthy": None},
    "decode-40": {"state": State.UNGUARDED},
    "prefill-0": {"state": State.EXITED, "signal": "SIGKILL", "left": (77, 78), "ended_at": 1_011_000.0},
}
STRAY = ObservedProcess(
    name="prefill-9", kind="engine", role="prefill", group="prefill/4", node="n4", state=State.RUNNING, pid=9,
    healthy=True, started_at=1_011_400.0,
)  # fmt: skip


@pytest.fixture
def troubled(big_plan, observe):
    unreached = {"n8": "connection refused by 192.0.0.8 port 22"}
    return observe(big_plan, ODD, unreached=unreached, gone=("decode-3", "decode-4"), extra=(STRAY,))


def test_a_healthy_cluster_is_a_sentence_and_three_rows(draw, big_plan, observe):
    assert (
        draw(status_view.drawn(big_plan, observe(big_plan), GOOD), 80)
        == """\
deepseek-r1: serving — 72 of 72 engines ready, router ok, http://192.0.0.1:8000

ROLE     NODES   GROUPS  READY  STATE    UP
prefill  n[1-4]  0-3     8/8    serving  3 h 12 min
decode   n[5-8]  0       64/64  serving  3 h 12 min
router   n1      -       1/1    serving  3 h 12 min"""
    )


def test_what_answers_health_but_was_not_proved_is_not_called_good(draw, big_plan, observe):
    failed = LastProof(
        holds=False, verb="up", who="ada@desk", age=90.0, said="decode-2 on n5 answered nonsense"
    )
    lines = draw(
        status_view.drawn(big_plan, observe(big_plan), replace(GOOD, proof=failed)), 200
    ).splitlines()
    assert lines[0].startswith("deepseek-r1: serving, not proved — 72 of 72 engines ready")
    assert lines[1] == (
        "up by ada@desk failed 1 min 30 s ago: decode-2 on n5 answered nonsense; `dplaunch test` asks again"
    )
    lines = draw(status_view.drawn(big_plan, observe(big_plan), replace(GOOD, proof=None)), 200).splitlines()
    assert lines[1] == "/health answers everywhere, but no completion was asked for yet: `dplaunch test` does"
    assert status_view.to_json(big_plan, observe(big_plan), replace(GOOD, proof=failed))["proof"] == {
        "holds": False,
        "verb": "up",
        "who": "ada@desk",
        "age": 90.0,
        "reason": "decode-2 on n5 answered nonsense",
    }


def test_the_odd_ones_come_first_and_in_words(draw, big_plan, troubled):
    assert (
        draw(status_view.drawn(big_plan, troubled, BAD), 80)
        == """\
deepseek-r1: degraded — 72 of 72 engines ready, router ok, http://192.0.0.1:8000
not reached n8: connection refused by 192.0.0.8 port 22
prefill-0 on n1: killed by SIGKILL, 2 left behind (pids 77-78; 8 min 40 s ago),
log n1:/srv/.local/state/dplaunch/deepseek-r1/n1/proc/prefill-0/log
decode-17 on n6: exited with code 1 (20 s ago), log
n6:/srv/.local/state/dplaunch/deepseek-r1/n6/proc/decode-17/log
decode-40 on n7: serving, unguarded
prefill-9 on n4: serving, not in the plan
decode-[3-4] on n5: missing

ROLE    NODES  GROUPS READY STATE                                     UP
prefill n1     0      1/2   1 killed by SIGKILL, 2 left behind; 1     3 h 12 min
                            serving
prefill n4     3-4    3/3   1 serving, not in the plan; 2 serving     2 min 00 s
decode  n5     0      14/16 2 missing; 14 serving                     3 h 12 min
decode  n6     0      15/16 1 exited with code 1; 15 serving          3 h 12 min
decode  n7     0      16/16 1 serving, unguarded; 15 serving          3 h 12 min
decode  n8     0      0/16  not reached                               -
prefill n[2-3] 1-2    4/4   serving                                   3 h 12 min
router  n1     -      1/1   serving                                   3 h 12 min"""
    )


def test_verbose_is_a_row_per_process_the_odd_ones_first(draw, big_plan, troubled):
    lines = draw(status_view.drawn(big_plan, troubled, BAD, verbose=1), 120).split("\n")
    head = next(n for n, line in enumerate(lines) if line.startswith("NAME"))
    assert lines[head].split() == ["NAME", "NODE", "RANK", "PID", "PORT", "STATE", "UP", "RESTARTS"]
    assert lines[head + 1].startswith("prefill-0  n1    0     40")
    assert lines[head + 2].split() == ["decode-3", "n5", "3", "-", "9003", "missing", "-", "-"]
    assert len(lines[head + 1 : lines.index("", head)]) == 74
    assert lines[-1] == "log on each node  /srv/.local/state/dplaunch/deepseek-r1/NODE/proc/NAME/log"


def test_nodes_that_fail_for_one_reason_are_one_line(draw, big_plan, observe):
    observed = observe(big_plan, unreached={f"n{n}": "timed out after 10 s" for n in (2, 3, 4)})
    assert "not reached n[2-4]: timed out after 10 s" in draw(status_view.drawn(big_plan, observed, BAD))


def test_loading_is_no_oddity(draw, big_plan, observe):
    loading = {p.name: {"healthy": False, "started_at": 1_011_450.0} for p in big_plan.processes}
    drawn = draw(
        status_view.drawn(big_plan, observe(big_plan, loading), replace(GOOD, state=Health.STARTING)), 100
    )
    assert drawn.split("\n")[1:] == [
        "",
        "ROLE     NODES   GROUPS  READY  STATE      UP",
        "prefill  n[1-4]  0-3     0/8    not ready  1 min 10 s",
        "decode   n[5-8]  0       0/64   not ready  1 min 10 s",
        "router   n1      -       0/1    not ready  1 min 10 s",
    ]


def test_what_is_down_is_one_sentence(draw, big_plan, observe):
    nothing = observe(big_plan, gone=tuple(p.name for p in big_plan.processes))
    down = replace(GOOD, state=Health.DOWN)
    assert draw(status_view.drawn(big_plan, nothing, down)) == "deepseek-r1: down — nothing of it runs"


def test_what_died_altogether_says_how(draw, big_plan, observe):
    dead = {p.name: {"state": State.EXITED, "exit_code": 137, "healthy": None} for p in big_plan.processes}
    lines = draw(
        status_view.drawn(big_plan, observe(big_plan, dead), replace(GOOD, state=Health.DOWN))
    ).split("\n")
    assert "decode-[0-63] on n[5-8]: exited with code 137" in lines


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"state": State.FOREIGN}, "foreign (of another host or boot)"),
        ({"state": State.STOPPING}, "stopping"),
        ({"state": State.STOPPED}, "stopped"),
        ({"state": State.EXITED, "exit_code": 0}, "exited with code 0"),
        ({"state": State.EXITED, "exit_code": None}, "exited"),
        ({"state": State.UNGUARDED, "healthy": False}, "not ready, unguarded"),
    ],
)
def test_states_in_words(draw, big_plan, observe, changes, word):
    drawn = draw(status_view.drawn(big_plan, observe(big_plan, {"decode-5": changes}), BAD), 100)
    assert f"decode-5 on n5: {word}" in drawn


def test_a_node_with_another_plan_is_named(draw, big_plan, observe):
    drawn = draw(status_view.drawn(big_plan, observe(big_plan), replace(GOOD, stale=("n2", "n3"))), 100)
    assert (
        "changed n[2-3]: run another plan than this file's; `dplaunch up --dry-run` shows what differs"
        in drawn
    )


def test_the_router_is_named_when_it_does_not_answer(big_plan):
    said = status_view.headline(big_plan, replace(GOOD, state=Health.STARTING, router_ok=False)).plain
    assert "router not ready" in said
    assert "router" not in status_view.headline(big_plan, replace(GOOD, router_ok=None)).plain


def test_the_json_schema_is_stable(big_plan, troubled):
    value = status_view.to_json(big_plan, troubled, BAD)
    assert list(value) == [
        "cluster",
        "revision",
        "state",
        "endpoint",
        "model",
        "nodes",
        "processes",
        "router",
        "proof",
    ]
    assert (value["state"], value["revision"], value["model"]) == ("degraded", "3f9a2c81", "deepseek_r1")
    assert value["nodes"][0] == {"name": "n1", "reached": True, "reason": None, "hostname": "host-n1"}
    assert value["nodes"][7]["reason"] == "connection refused by 192.0.0.8 port 22"
    by_name = {process["name"]: process for process in value["processes"]}
    assert list(by_name["decode-17"]) == [
        "name", "kind", "role", "group", "node", "state", "planned", "pid", "healthy", "started_at", "exit_code",
        "signal", "restarts", "log", "url",
    ]  # fmt: skip
    assert (by_name["decode-17"]["state"], by_name["decode-17"]["exit_code"]) == ("exited", 1)
    assert by_name["prefill-0"]["signal"] == "SIGKILL"
    assert (by_name["decode-3"]["state"], by_name["decode-63"]["state"]) == ("missing", "unknown")
    assert (by_name["prefill-9"]["planned"], by_name["prefill-1"]["planned"]) == (False, True)
    assert value["router"]["url"] == "http://192.0.0.1:8000"
