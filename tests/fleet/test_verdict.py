"""The verdict on a cluster: plan against observation."""

import pytest
from msgspec.structs import replace
from plans import a_job, a_plan, a_process

from dplaunch.fleet.verdict import last_proof, mark_stuck, summarise
from dplaunch.model.observed import Observed, ObservedEndpoint, ObservedNode, ObservedProcess, State
from dplaunch.model.summary import Cause, ClusterHealth
from dplaunch.model.trail import Entry, Result

PLAN = a_plan(
    a_process("prefill-0", "n1"),
    *(a_process(f"decode-{n}", "n2", group=f"decode/{n // 2}") for n in range(4)),
    a_process("router", "n1"),
)
RUNS = {process.name: (State.RUNNING, True) for process in PLAN.processes}


def seen(name, node, state, healthy=None, endpoints=None, **fields):
    found = tuple(ObservedEndpoint(name=one, healthy=healthy) for one in endpoints or (name,))
    basic = {"kind": "engine", "role": "x", "group": "g", "endpoints": found}
    return ObservedProcess(name=name, node=node, state=state, **{**basic, **fields})


def look(states, unreached=None):
    nodes = {"n1": [], "n2": []}
    for name, (state, healthy) in states.items():
        node = "n2" if name.startswith("decode") else "n1"
        nodes[node].append(seen(name, node, state, healthy))
    found = tuple(ObservedNode(name=name, processes=tuple(there)) for name, there in nodes.items())
    return Observed(nodes=found, unreached=unreached or {})


@pytest.mark.parametrize(
    ("states", "health"),
    [
        (RUNS, ClusterHealth.SERVING),
        ({}, ClusterHealth.DOWN),
        ({**RUNS, "decode-3": (State.RUNNING, False)}, ClusterHealth.STARTING),
        ({**RUNS, "decode-3": (State.EXITED, None)}, ClusterHealth.DEGRADED),
        ({k: v for k, v in RUNS.items() if k != "router"}, ClusterHealth.OUTAGE),
        ({**RUNS, "router": (State.EXITED, None)}, ClusterHealth.OUTAGE),
        ({**RUNS, "prefill-0": (State.EXITED, None)}, ClusterHealth.OUTAGE),
        ({**RUNS, "decode-1": (State.EXITED, None), "decode-3": (State.EXITED, None)}, ClusterHealth.OUTAGE),
        ({**RUNS, "decode-3": (State.UNGUARDED, True)}, ClusterHealth.SERVING),
        ({"decode-3": (State.EXITED, None)}, ClusterHealth.DOWN),
        ({**RUNS, "decode-3": (State.INCOMPATIBLE, None)}, ClusterHealth.DEGRADED),
        ({"decode-3": (State.INCOMPATIBLE, None)}, ClusterHealth.OUTAGE),
    ],
)
def test_health_in_one_word(states, health):
    assert summarise(PLAN, look(states)).state is health


@pytest.mark.parametrize(
    ("states", "health"),
    [
        ({**RUNS, "decode-3": (State.RUNNING, False)}, ClusterHealth.DEGRADED),
        ({**RUNS, "prefill-0": (State.RUNNING, False)}, ClusterHealth.OUTAGE),
    ],
)
def test_what_was_proved_and_stops_being_ready_is_not_called_starting(states, health):
    nodes = [replace(node, last=entry(), clock=4100.0) for node in look(states).nodes]
    assert summarise(PLAN, Observed(nodes=tuple(nodes))).state is health


def without(*names: str):
    return {name: state for name, state in RUNS.items() if name not in names}


@pytest.mark.parametrize(
    ("states", "unreached", "health"),
    [
        (without("decode-0", "decode-1", "decode-2", "decode-3"), "n2", ClusterHealth.DEGRADED),
        (without("prefill-0", "router"), "n1", ClusterHealth.DEGRADED),
        ({**without(*(f"decode-{n}" for n in range(4))), "router": (State.RUNNING, False)}, "n2", ClusterHealth.OUTAGE),
    ],
)  # fmt: skip
def test_a_group_on_an_unreachable_node_may_serve_unless_the_router_refuses(states, unreached, health):
    whole = look(states)
    nodes = tuple(node for node in whole.nodes if node.name != unreached)
    assert summarise(PLAN, Observed(nodes=nodes, unreached={unreached: "silent"})).state is health


def broken(**changes):
    """A look at a cluster in which these processes differ."""
    nodes = []
    for node in look(RUNS).nodes:
        found = [replace(p, **changes.get(p.name.replace("-", "_"), {})) for p in node.processes]
        nodes.append(replace(node, clock=5000.0, processes=tuple(p for p in found if p.pid != -1)))
    return Observed(nodes=tuple(nodes))


KILLED = {"state": State.EXITED, "signal": "SIGKILL"}
MISSING = {"pid": -1}
SICK = {"endpoints": (ObservedEndpoint(name="x", healthy=False),)}


@pytest.mark.parametrize(
    ("observed", "process", "how", "ago"),
    [
        (broken(decode_1={**KILLED, "ended_at": 4900.0}, decode_3={**KILLED, "ended_at": 4800.0}), "decode-3", "killed by SIGKILL", 200.0),
        (broken(prefill_0=KILLED, decode_1={**KILLED, "ended_at": 4800.0}), "prefill-0", "killed by SIGKILL", 0.0),
        (broken(decode_1=MISSING, decode_3={"state": State.EXITED, "exit_code": 1}), "decode-3", "exited with code 1", 0.0),
        (broken(decode_1=MISSING, decode_3=SICK), "decode-1", "missing", 0.0),
        (broken(router=KILLED), "router", "killed by SIGKILL", 0.0),
        (broken(router=SICK, decode_1=KILLED), "decode-1", "killed by SIGKILL", 0.0),
        (broken(decode_1={"state": State.STOPPED}), "decode-1", "stopped", 0.0),
    ],
)  # fmt: skip
def test_the_cause_is_what_broke_first_where_nothing_serves(observed, process, how, ago):
    cause = summarise(PLAN, observed).cause
    assert (cause.process, cause.how, cause.ago) == (process, how, ago)


@pytest.mark.parametrize("state", [State.FOREIGN, State.UNKNOWN, State.INCOMPATIBLE])
def test_what_up_would_leave_alone_is_mended_as_its_node_says(state):
    cause = summarise(PLAN, broken(prefill_0={"state": state, "hint": "stop it on n9"})).cause
    assert (cause.process, cause.hint) == ("prefill-0", "stop it on n9")


def test_where_all_that_was_seen_is_well_the_cause_is_the_unreachable_node():
    [n1, _] = look(RUNS).nodes
    summary = summarise(PLAN, Observed(nodes=(n1,), unreached={"n2": "silent"}))
    assert (summary.cause.node, summary.cause.process) == ("n2", "")


def test_a_cluster_that_serves_has_no_cause_and_groups_that_are_out_are_named():
    assert summarise(PLAN, look(RUNS)).cause is None
    summary = summarise(PLAN, broken(decode_3=KILLED))
    assert summary.out == ("decode/1",)
    assert [(r.role, r.groups, r.groups_ready) for r in summary.roles] == [
        ("prefill", 1, 1),
        ("decode", 2, 1),
    ]


def test_a_node_that_did_not_answer_is_never_down_but_unknown():
    assert summarise(PLAN, look({}, {"n2": "silent"})).state is ClusterHealth.UNKNOWN
    assert summarise(PLAN, look(RUNS, {"n2": "silent"})).state is ClusterHealth.SERVING
    assert summarise(PLAN, Observed(unreached={"n1": "a", "n2": "b"})).state is ClusterHealth.UNKNOWN


def test_the_summary_counts_endpoints_by_role():
    states = {**RUNS, "decode-3": (State.EXITED, None), "decode-9": (State.RUNNING, True)}
    del states["decode-0"]
    summary = summarise(PLAN, look(states))
    assert [(r.role, r.engines, r.engines_ready) for r in summary.roles] == [
        ("prefill", 1, 1),
        ("decode", 4, 2),
    ]
    assert summary.router_ok is True


def test_a_parent_of_many_endpoints_is_counted_by_them():
    names = ("decode-0", "decode-1")
    parent = a_process("decode@n2", "n2", kind="engine", role="decode", group="decode/0", endpoints=names)
    plan = a_plan(parent)
    half = tuple(ObservedEndpoint(name=name, healthy=name == "decode-0") for name in names)
    one = replace(seen("decode@n2", "n2", State.RUNNING), endpoints=half)
    summary = summarise(plan, Observed(nodes=(ObservedNode(name="n2", processes=(one,)),)))
    assert [(r.engines, r.engines_ready) for r in summary.roles] == [(2, 1)]
    assert summary.state is ClusterHealth.STARTING


def test_a_job_that_is_done_needs_nothing_more():
    plan = a_plan(a_job("convert", "n1"), a_process("serve-0", "n1"))
    done = seen("convert", "n1", State.DONE, endpoints=(), kind="job")
    serving = seen("serve-0", "n1", State.RUNNING, healthy=True)
    observed = Observed(nodes=(ObservedNode(name="n1", processes=(done, serving)),))
    assert summarise(plan, observed).state is ClusterHealth.SERVING
    failed = seen("convert", "n1", State.EXITED, kind="job")
    observed = Observed(nodes=(ObservedNode(name="n1", processes=(failed, serving)),))
    assert summarise(plan, observed).state is ClusterHealth.DEGRADED


@pytest.mark.parametrize(
    ("states", "held", "health"),
    [
        (RUNS, ("decode/0",), ClusterHealth.SERVING),
        (RUNS, ("decode/0", "decode/1"), ClusterHealth.CLOSED),
        (RUNS, ("prefill/0",), ClusterHealth.CLOSED),
        ({**RUNS, "decode-3": (State.EXITED, None)}, ("prefill/0",), ClusterHealth.OUTAGE),
    ],
)
def test_a_cluster_serves_only_where_each_role_has_an_open_group(states, held, health):
    assert summarise(PLAN, look(states), held).state is health


@pytest.mark.parametrize(
    ("names", "health"),
    [(("decode-1",), ClusterHealth.DEGRADED), (("decode-1", "decode-2"), ClusterHealth.OUTAGE)],
)
def test_an_engine_that_is_stuck_does_not_serve_and_is_the_cause(names, health):
    marked = mark_stuck(look(RUNS), dict.fromkeys(names, "nothing moves"))
    summary = summarise(PLAN, marked)
    assert (summary.state, summary.cause) == (
        health,
        Cause(process="decode-1", node="n2", how="stuck", mend="restart"),
    )
    assert mark_stuck(look(RUNS), {}) == look(RUNS)


def test_groups_that_the_router_keeps_closed_are_named():
    summary = summarise(PLAN, look(RUNS), held=("decode/1", "decode/9"))
    assert summary.held == ("decode/1",)


def test_nodes_with_another_revision_are_named():
    nodes = tuple(
        ObservedNode(name=f"n{n}", revision=revision) for n, revision in enumerate(("r1", "r0", ""))
    )
    assert summarise(PLAN, Observed(nodes=nodes)).stale == ("n1",)


def test_what_stopped_on_a_node_it_left_hides_nothing_on_its_new_one():
    plan = a_plan(a_process("e-0", "n1"), a_process("router", "n1"), a_process("e-1", "n2"))
    here = [seen(name, "n1", State.RUNNING, healthy=True) for name in ("e-0", "router")]
    there = [seen("router", "n2", State.STOPPED), seen("e-1", "n2", State.RUNNING, healthy=True)]
    nodes = (ObservedNode(name="n1", processes=tuple(here)), ObservedNode(name="n2", processes=tuple(there)))
    summary = summarise(plan, Observed(nodes=nodes))
    assert (summary.state, summary.router_ok) == (ClusterHealth.SERVING, True)


def entry(result=Result.READY, **fields):
    return Entry(**{"at": 4000.0, "who": "ada@desk", "verb": "up", "result": result, **fields})


@pytest.mark.parametrize(
    ("trails", "proof"),
    [
        ([None, None], None),
        ([entry(), None], (True, "up", 1000.0, "")),
        ([entry(Result.PROVED, verb="test"), None], (True, "test", 1000.0, "")),
        ([entry(Result.BEGAN), None], None),
        ([entry(Result.STOPPED, verb="down"), None], None),
        ([entry(Result.DETACHED), None], None),
        ([entry(), entry(Result.FAILED, at=4500.0, reason="no")], (False, "up", 500.0, "no")),
        ([entry(unproved="no", verb="restart"), None], (False, "restart", 1000.0, "no")),
    ],
)
def test_the_last_proof_is_the_last_line_of_all_trails(trails, proof):
    nodes = tuple(ObservedNode(name=f"n{i}", clock=5000.0, last=last) for i, last in enumerate(trails))
    found = last_proof(Observed(nodes=nodes))
    assert (found and (found.passed, found.verb, found.age, found.reason)) == proof
