import pytest
from fakefleet import FakeNode, Scene, a_plan, a_process

from dplaunch.errors import HostError, Interrupted, UsageError
from dplaunch.fleet.ask import audit_trail, execute
from dplaunch.fleet.cause import diagnose, examine, find_cause
from dplaunch.fleet.follow import Following, LogQuery
from dplaunch.fleet.observe import observe
from dplaunch.fleet.targets import find, nodes_of, widen
from dplaunch.fleet.verdict import last_proof, summarise
from dplaunch.model.observed import Observed, ObservedNode, ObservedProcess, State
from dplaunch.model.summary import Health

PLAN = a_plan(
    a_process("prefill-0", "n1"),
    *(a_process(f"decode-{n}", "n2", group=f"decode/{n // 2}") for n in range(4)),
    a_process("router", "n1"),
)


def names(processes):
    return [p.name for p in processes]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["decode-3"], ["decode-3"]),
        (["decode"], ["decode-0", "decode-1", "decode-2", "decode-3"]),
        (["decode-[1-2]"], ["decode-1", "decode-2"]),
        (["decode/1"], ["decode-2", "decode-3"]),
        (["node:n1"], ["prefill-0", "router"]),
        (["node:n1", "decode-3"], ["prefill-0", "router", "decode-3"]),
        (["router"], ["router"]),
        (["all"], names(PLAN.processes)),
    ],
)
def test_targets(words, found):
    assert sorted(names(find(words, PLAN))) == sorted(found)


@pytest.mark.parametrize(
    ("word", "hint"),
    [("decod-3", "decode-3"), ("decode-[0-9]", "decode-4"), ("node:n9", "node:n"), ("zzz", "targets: ")],
)
def test_a_target_that_means_nothing_says_what_would(word, hint):
    with pytest.raises(UsageError) as caught:
        find([word], PLAN)
    assert hint in caught.value.text + caught.value.hint


def test_a_target_inside_a_group_widens_to_it():
    assert names(widen(find(["decode-3"], PLAN), PLAN)) == ["decode-2", "decode-3"]


def test_nodes_of_targets():
    assert nodes_of("all", PLAN) == ("n1", "n2")
    assert nodes_of("node:n2", PLAN) == ("n2",)
    assert nodes_of("router", PLAN) == ("n1",)
    with pytest.raises(UsageError, match="node:n3"):
        nodes_of("node:n[1-3]", PLAN)


def test_the_line_that_a_signature_knows_is_the_cause():
    cause = find_cause(["INFO fine", "ERROR something", "RuntimeError: NPU out of memory", "EI0006 again"])
    assert cause.line == "RuntimeError: NPU out of memory"
    assert cause.hint.startswith("device memory does not suffice; look for a leftover process")
    assert cause.hint.endswith("; `dplaunch diagnose` tells more")


def test_a_process_that_was_killed_is_told_though_its_log_says_nothing():
    node = FakeNode("n2").observed("decode-0", state="exited", signal="SIGKILL").observed("decode-1")
    stage = Scene(PLAN, node)
    stage.job.fleet.open()
    found, _ = diagnose(stage.job, find(["decode"], PLAN), LogQuery())
    assert (found.first, found.failed) == (None, True)
    assert [(one.process, one.node, one.how) for one in found.mute] == [
        ("decode-0", "n2", "killed by SIGKILL")
    ]
    assert not diagnose(stage.job, find(["decode"], PLAN), LogQuery(previous=True))[0].failed


def test_a_diagnosis_knows_who_may_be_stuck():
    node = (
        FakeNode("n2")
        .observed("decode-0", healthy=False)
        .observed("decode-1")
        .observed("decode-2", healthy=None)
    )
    stage = Scene(PLAN, FakeNode("n1").observed("router", healthy=False), node)
    stage.job.fleet.open()
    found, _ = diagnose(stage.job, PLAN.processes, LogQuery())
    assert (found.waiting, found.failed) == (("decode-0",), False)
    assert diagnose(stage.job, find(["router"], PLAN), LogQuery())[0].waiting == ("router",)


def test_without_a_signature_the_last_error_line_is_the_cause():
    assert find_cause(["ERROR a", "ValueError: b", "goodbye"]).line == "ValueError: b"
    assert find_cause(["one", "two", " "]).line == "two"
    assert find_cause([]).line == ""


def test_a_consequence_is_the_cause_only_where_nothing_else_is_said():
    symptoms = ["RuntimeError: Connection closed by peer", "RuntimeError: failed. See root cause above."]
    assert find_cause(["ValueError: root", "noise", *symptoms]).line == "ValueError: root"
    assert find_cause(symptoms).line == symptoms[1]


def test_a_harmless_word_is_no_error_line():
    assert find_cause(["Found ulimit of 20000 with errors possible", "done"]).line == "done"


def look(states, unreached=None, *, router=True):
    nodes = {"n1": [], "n2": []}
    for name, (state, healthy) in states.items():
        place = "n2" if name.startswith("decode") else "n1"
        fields = {"name": name, "kind": "engine", "role": "x", "group": "g", "node": place}
        nodes[place].append(ObservedProcess(**fields, state=state, healthy=healthy))
    return Observed(
        nodes=tuple(ObservedNode(name=name, processes=tuple(there)) for name, there in nodes.items()),
        unreached=unreached or {},
    )


ALL = {p.name: (State.RUNNING, True) for p in PLAN.processes}


@pytest.mark.parametrize(
    ("states", "health"),
    [
        (ALL, Health.SERVING),
        ({}, Health.DOWN),
        ({**ALL, "decode-3": (State.RUNNING, False)}, Health.STARTING),
        ({**ALL, "decode-3": (State.EXITED, None)}, Health.DEGRADED),
        ({k: v for k, v in ALL.items() if k != "router"}, Health.DEGRADED),
        ({**ALL, "decode-3": (State.UNGUARDED, True)}, Health.SERVING),
        ({"decode-3": (State.EXITED, None)}, Health.DOWN),
    ],
)
def test_health_in_one_word(states, health):
    assert summarise(PLAN, look(states)).state is health


def test_a_node_that_did_not_answer_is_never_down_but_unknown():
    assert summarise(PLAN, look({}, {"n2": "silent"})).state is Health.UNKNOWN
    assert summarise(PLAN, look(ALL, {"n2": "silent"})).state is Health.SERVING
    assert summarise(PLAN, Observed(unreached={"n1": "a", "n2": "b"})).state is Health.UNKNOWN


ENTRY = {"at": 4000.0, "who": "ada@desk", "verb": "up", "outcome": "ready"}


@pytest.mark.parametrize(
    ("trails", "proof"),
    [
        ([{}, {}], None),
        ([ENTRY, {}], (True, "up", 1000.0, "")),
        ([{**ENTRY, "outcome": "proved", "verb": "test"}, {}], (True, "test", 1000.0, "")),
        ([{**ENTRY, "outcome": "began"}, {}], None),
        ([{**ENTRY, "outcome": "clean", "verb": "down"}, {}], None),
        ([ENTRY, {**ENTRY, "at": 4500.0, "outcome": "failed: no"}], (False, "up", 500.0, "no")),
        ([{**ENTRY, "unproved": "no", "verb": "restart"}, {}], (False, "restart", 1000.0, "no")),
        ([{"at": "x", "outcome": 3}, {}], None),
    ],
)
def test_the_last_proof_is_the_trails_last_word(trails, proof):
    nodes = tuple(ObservedNode(name=f"n{i}", clock=5000.0, audit=entry) for i, entry in enumerate(trails))
    found = last_proof(Observed(nodes=nodes))
    assert (found and (found.holds, found.verb, found.age, found.said)) == proof


def test_the_summary_counts_groups_and_names_the_odd_ones():
    states = {**ALL, "decode-3": (State.EXITED, None), "decode-9": (State.RUNNING, True)}
    del states["decode-0"]
    summary = summarise(PLAN, look(states))
    assert [(r.role, r.groups, r.groups_ready, r.engines, r.engines_ready) for r in summary.roles] == [
        ("prefill", 1, 1, 1, 1),
        ("decode", 2, 0, 4, 2),
    ]
    assert summary.failing == ("decode-3",)
    assert summary.missing == ("decode-0",)
    assert summary.leftover == ("decode-9",)
    assert summary.router_ok is True


def test_observe_keeps_why_a_node_did_not_answer():
    stage = Scene(PLAN, FakeNode("n1", silent={"observe"}), FakeNode("n2").observed("decode-0"))
    stage.fleet.open()
    observed = observe(stage.job, health=True)
    assert names(observed.processes) == ["decode-0"]
    assert observed.unreached == {"n1": "n1 did not answer within 15 s; dplaunch exec node:n1 -- uptime"}


def log(offset: int, *lines: str):
    end = offset + sum(len(line) + 1 for line in lines)
    return {"event": "log", "name": "decode-0", "offset": offset, "end": end, "lines": list(lines)}


def test_logs_resume_from_their_offsets_and_show_nothing_twice():
    node = FakeNode("n2", logs={"decode-0": [log(0, "one"), log(4, "two")]}, silent={"follow"})
    stage = Scene(PLAN, node)
    stage.fleet.open(["n2"])
    seen = []
    following = Following(stage.job, [("decode-0", "n2")], LogQuery(follow=True), seen.append)
    ticks = iter(range(5))

    def tick(_):
        turn = next(ticks)
        stage.clock.now += 5
        if turn == 0:
            node.logs = {"decode-0": [log(4, "two"), log(8, "three")]}
            stage.fleet._lose("n2", HostError("n2", "unplugged"))
        if turn > 1:
            stage.fleet.interrupt()

    stage.fleet.on_tick = tick
    with pytest.raises(Interrupted):
        following.run()
    assert [line for chunk in seen for line in chunk.lines] == ["one", "two", "three"]
    assert node.opened == 2
    follows = [asked["offsets"] for verb, asked in node.asked if verb == "follow"]
    assert follows == [{}, {"decode-0": 8}]


def test_logs_without_follow_end_by_themselves():
    stage = Scene(PLAN, FakeNode("n2", logs={"decode-0": [log(0, "one")]}))
    stage.fleet.open(["n2"])
    seen = []
    Following(stage.job, [("decode-0", "n2")], LogQuery(), seen.append).run()
    assert [chunk.lines for chunk in seen] == [("one",)]


def test_exec_gathers_answers_and_why_there_is_none():
    stage = Scene(PLAN, FakeNode("n2", unreachable="n2 is off"))
    stage.fleet.open()
    results = execute(stage.job, ("n1", "n2"), ["true"], 1.0)
    assert [(r.node, r.code, r.out, r.problem) for r in results] == [
        ("n1", 0, "n1 says hello\n", ""),
        ("n2", None, "", "n2 is off"),
    ]


def test_the_audit_trail_of_all_nodes_is_one():
    stage = Scene(PLAN)
    stage.fleet.open()
    assert audit_trail(stage.job, 5) == ()


def test_ctrl_c_is_heard_while_hosts_are_silent_and_each_press_counts_once():
    stage = Scene(a_plan(a_process("e-0", "n1")))
    stage.fleet.interrupt()  # before the first host is asked
    with pytest.raises(Interrupted):
        stage.fleet.open()
    stage.fleet.open()
    presses = []
    stage.fleet.on_interrupt = lambda: presses.append(1) is None
    stage.fleet.interrupt()
    stage.fleet.interrupt()
    stage.fleet.listen(lambda *_: None, until=lambda: len(presses) == 2, deadline=stage.fleet.clock() + 60)
    assert len(presses) == 2


def test_what_stopped_on_a_node_it_left_hides_nothing_on_its_new_one():
    plan = a_plan(a_process("e-0", "n1"), a_process("router", "n1"), a_process("e-1", "n2"))
    here = {"kind": "engine", "role": "e", "group": "e/0", "state": State.RUNNING, "healthy": True}
    running = [ObservedProcess(name=n, node="n1", **here) for n in ("e-0", "router")]
    old = ObservedProcess(name="router", node="n2", **{**here, "state": State.STOPPED, "healthy": None})
    other = ObservedProcess(name="e-1", node="n2", **here)
    seen = Observed(
        nodes=(
            ObservedNode(name="n1", processes=tuple(running)), ObservedNode(name="n2", processes=(old, other))
        )
    )  # fmt: skip
    summary = summarise(plan, seen)
    assert summary.state is Health.SERVING
    assert (summary.failing, summary.leftover, summary.router_ok) == ((), (), True)


def test_the_first_failure_is_found_although_the_clocks_of_nodes_differ():
    engines = [a_process(f"serve-{i}", f"n{i + 1}") for i in range(3)]
    late = "ERROR 2026-11-27 10:01:00.000 [worker.py:1] RuntimeError: NPU out of memory."
    early = "ERROR 2026-11-27 10:00:00.000 [core.py:1] No available memory for the cache blocks"
    nodes = [
        FakeNode("n1", clock_ahead=100.0, logs={"serve-0": [{**LOG, "name": "serve-0", "lines": [late]}]}),
        FakeNode("n2", logs={"serve-1": [{**LOG, "name": "serve-1", "lines": [early]}]}),
    ]
    scene = Scene(a_plan(*engines), *nodes)
    scene.fleet.open()
    found, _ = examine(scene.job, engines, LogQuery())
    assert found.first.process == "serve-0"


LOG = {"event": "log", "offset": 0, "end": 80}
