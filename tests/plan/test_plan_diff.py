import pytest
from msgspec.structs import replace
from plans import a_deployment, a_job, a_plan, a_process
from specs import cluster, serve

from dplaunch import plan
from dplaunch.model.cluster import RouterSpec
from dplaunch.model.observed import Observed, ObservedNode, ObservedProcess, State
from dplaunch.model.plan import Change
from dplaunch.plan.diff import diff


@pytest.fixture(scope="module")
def planned():
    spec = cluster(serve(groups=2, dp=2, tp=4, nodes=("n1", "n2")), router=RouterSpec(node="n1"))
    return plan.build(spec)


def running(planned, **states):
    """What runs when everything does, with changes by process name: a field → value map."""
    nodes: dict[str, list[ObservedProcess]] = {node.name: [] for node in planned.nodes}
    for p in planned.processes:
        found = ObservedProcess(
            name=p.name, kind=p.kind, role=p.role, group=p.group, node=p.node, state=State.RUNNING, fingerprint=p.fingerprint
        )  # fmt: skip
        changes = states.get(p.name.replace("-", "_"), {})
        if changes is not None:
            nodes[p.node].append(replace(found, **changes))
    return Observed(nodes=tuple(ObservedNode(name=name, processes=tuple(ps)) for name, ps in nodes.items()))


def told(actions):
    return {action.process: (action.change, action.reason) for action in actions}


def test_on_empty_nodes_everything_is_new(planned):
    actions = diff(planned, Observed())
    assert [action.process for action in actions] == ["serve-0", "serve-1", "router", "serve-2", "serve-3"]
    assert {(action.change, action.reason) for action in actions} == {(Change.START, "new")}
    assert actions[3].node == "n2"


def test_when_all_runs_nothing_changes(planned):
    assert {a.change for a in diff(planned, running(planned))} == {Change.KEEP}
    unguarded = running(planned, serve_0={"state": State.UNGUARDED})
    assert {a.change for a in diff(planned, unguarded)} == {Change.KEEP}


@pytest.mark.parametrize(
    ("state", "change", "reason"),
    [
        ({"state": State.EXITED}, Change.START, "died"),
        ({"state": State.EXITED, "left": (7,)}, Change.RESTART, "died"),
        ({"state": State.STOPPED}, Change.START, "was stopped"),
        ({"state": State.STOPPED, "left": (7,)}, Change.RESTART, "was stopped"),
        ({"state": State.STOPPING}, Change.RESTART, "is stopping"),
        ({"state": State.FOREIGN}, Change.START, "new"),
        ({"fingerprint": "old"}, Change.RESTART, "changed"),
        (None, Change.START, "new"),
    ],
)
def test_one_that_does_not_run_takes_its_group_along(planned, state, change, reason):
    found = told(diff(planned, running(planned, serve_1=state)))
    assert found == {
        "serve-0": (Change.RESTART, "its group restarts with serve-1"),
        "serve-1": (change, reason),
        "router": (Change.KEEP, ""),
        "serve-2": (Change.KEEP, ""),
        "serve-3": (Change.KEEP, ""),
    }


@pytest.mark.parametrize(
    ("force", "restarted"), [(False, set()), (True, {"serve-0", "serve-2", "serve-3", "router"})]
)
def test_what_another_protocol_started_is_never_acted_on(planned, force, restarted):
    other = {"state": State.INCOMPATIBLE, "fingerprint": "?"}
    found = told(diff(planned, running(planned, serve_1=other), force=force))
    assert found["serve-1"] == (Change.KEEP, "started by another version of dplaunch")
    assert {name for name, (change, _) in found.items() if change is Change.RESTART} == restarted
    beside = told(diff(planned, running(planned, serve_0={"state": State.EXITED}, serve_1=other)))
    assert beside["serve-1"][0] is Change.KEEP
    assert told(diff(replace(planned, nodes=()), running(planned, serve_1=other))).keys() == {
        "serve-0", "serve-2", "serve-3", "router"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"state": State.DONE}, (Change.KEEP, "")),
        ({"state": State.RUNNING}, (Change.KEEP, "")),
        ({"state": State.DONE, "fingerprint": "old"}, (Change.RESTART, "changed")),
        ({"state": State.EXITED, "exit_code": 1}, (Change.START, "died")),
        ({"state": State.STOPPED}, (Change.START, "was stopped")),
        (None, (Change.START, "new")),
    ],
)
def test_a_job_that_is_done_is_not_done_again(seen, expected):
    whole = a_plan(a_process("serve-0", "n1"), a_job("convert-0", "n1"))
    actions = told(diff(whole, running(whole, convert_0=seen)))
    assert actions == {"serve-0": (Change.KEEP, ""), "convert-0": expected}


def test_a_job_that_is_done_is_done_again_only_by_force():
    whole = a_plan(a_job("convert-0", "n1"))
    done = running(whole, convert_0={"state": State.DONE})
    assert told(diff(whole, done, force=True)) == {"convert-0": (Change.RESTART, "forced")}
    assert diff(replace(whole, nodes=()), done) == ()


def deployed(**states):
    """A job that deploys, what stands for its pods, and what runs of that."""
    processes = (a_job("deploy", "n1"), a_process("decode-0", "n1"), a_process("router", "n1"))
    planned = a_plan(*processes, deployment=a_deployment())
    return planned, running(planned, **{"deploy": {"state": State.DONE}, **states})


def test_what_stands_for_pods_restarts_with_the_job_that_deploys_them():
    actions = told(diff(*deployed(deploy={"state": State.EXITED})))
    assert actions["deploy"] == (Change.START, "died")
    assert {actions[name][0] for name in ("decode-0", "router")} == {Change.RESTART}


def test_what_stood_for_pods_and_died_starts_alone():
    actions = told(diff(*deployed(decode_0={"state": State.EXITED})))
    assert {name: change for name, (change, _) in actions.items()} == {
        "deploy": Change.KEEP,
        "decode-0": Change.START,
        "router": Change.KEEP,
    }


def test_every_action_names_its_group(planned):
    observed = running(planned)
    observed = replace(
        observed, nodes=(*observed.nodes, ObservedNode(name="n9", processes=(stray(node="n9"),)))
    )
    groups = {a.process: a.group for a in diff(planned, observed)}
    assert (groups["serve-2"], groups["router"], groups["old-1"]) == ("serve/1", "router", "old/0")


def test_a_dead_router_takes_nobody_along(planned):
    found = told(diff(planned, running(planned, router={"state": State.EXITED})))
    assert found["router"] == (Change.START, "died")
    actions = diff(planned, running(planned, serve_3=None))
    assert [(a.process, a.node) for a in actions if a.change is not Change.KEEP] == [
        ("serve-2", "n2"),
        ("serve-3", "n2"),
    ]
    assert {found[f"serve-{n}"] for n in range(4)} == {(Change.KEEP, "")}


def test_force_restarts_what_would_stay(planned):
    found = told(diff(planned, running(planned, serve_0={"state": State.EXITED}), force=True))
    assert found["serve-0"] == (Change.START, "died")
    assert found["serve-1"] == (Change.RESTART, "forced")
    assert found["router"] == (Change.RESTART, "forced")


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ("serve", ["serve-0", "serve-1", "serve-2", "serve-3"]),
        ("router", ["router"]),
        ("serve/1", ["serve-2", "serve-3"]),
        ("serve-3", ["serve-2", "serve-3"]),
        ("decode", []),
    ],
)
def test_only_looks_at_whole_groups(planned, only, names):
    assert [a.process for a in diff(planned, Observed(), only=only)] == names


def stray(name="old-1", node="n2", **changes):
    given = {"kind": "engine", "role": "old", "group": "old/0", "state": State.RUNNING, **changes}
    return ObservedProcess(name=name, node=node, **given)


def test_what_is_not_in_the_file_stops_first(planned):
    observed = running(planned)
    second = replace(observed.nodes[1], processes=(*observed.nodes[1].processes, stray(), stray("serve-0")))
    observed = replace(observed, nodes=(observed.nodes[0], second))
    actions = diff(planned, observed)
    assert [(a.change, a.process, a.node, a.reason) for a in actions[:2]] == [
        (Change.STOP, "old-1", "n2", "not in the file"),
        (Change.STOP, "serve-0", "n2", "not in the file"),
    ]
    assert {a.change for a in actions[2:]} == {Change.KEEP}
    assert told(diff(planned, observed, only="router")) == {"router": (Change.KEEP, "")}


@pytest.mark.parametrize(
    ("changes", "stops"),
    [({"state": State.EXITED}, 0), ({"state": State.EXITED, "left": (3,)}, 1), ({"state": State.FOREIGN}, 0), ({"state": State.UNGUARDED}, 1)],
)  # fmt: skip
def test_only_what_lives_is_stopped(planned, changes, stops):
    observed = Observed(nodes=(ObservedNode(name="n9", processes=(stray(node="n9", **changes),)),))
    assert sum(a.change is Change.STOP for a in diff(planned, observed)) == stops


def test_nothing_is_decided_about_nodes_that_were_not_reached(planned):
    observed = replace(running(planned), unreached={"n2": "no route"})
    observed = replace(observed, nodes=observed.nodes[:1])
    assert list(told(diff(planned, observed))) == ["serve-0", "serve-1", "router"]


def test_an_empty_plan_stops_everything(planned):
    empty = replace(planned, nodes=())
    actions = diff(empty, running(planned))
    assert [a.process for a in actions] == ["serve-0", "serve-1", "router", "serve-2", "serve-3"]
    assert {a.change for a in actions} == {Change.STOP}
