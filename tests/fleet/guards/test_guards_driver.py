"""The driver over guard sessions: what it makes of links that break, nodes that stay silent, and odd replies."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from plans import a_plan, a_process
from rawsessions import FINE, RawFleet, RawNode

from dplaunch.errors import DplaunchError, HostError, LockedError
from dplaunch.model.cluster import SecretRef
from dplaunch.model.plan import File
from dplaunch.model.remote import FileSeen, HttpRequest, LogQuery, LogSource
from dplaunch.model.trail import Entry, Result

PLAN = a_plan(a_process("serve-0", "n1"), a_process("serve-1", "n2"), a_process("serve-2", "n2"))
PLACES = [("n1", "serve-0"), ("n2", "serve-1"), ("n2", "serve-2")]
NODES = ("n1", "n2")
FULL = {"ok": False, "error": {"kind": "full", "text": "no space left", "hint": "free some"}}
ENTRY = Entry(at=1.0, who="ada@desk", verb="up", result=Result.READY)
LINE = {"at": 1.0, "who": "ada@desk", "verb": "up", "result": "ready"}
SURVEYED = {**FINE, "results": [], "taken": [], "claims": [], "ours": [], "strangers": [], "seconds": 1.0}
FILE = File("router/members.json", "{}")


def fleet(*nodes: RawNode, **how: Any) -> RawFleet:
    made = RawFleet(PLAN, *nodes, **how)
    made.driver.open()
    return made


def observed(*names: str):
    processes = [{"name": name, "state": "running", "meta": {"kind": "engine"}} for name in names]
    return {**FINE, "processes": processes, "clock": 5000.0, "revision": "r1"}


def stopped(name, **fields):
    return {"event": "stopped", "name": name, "how": "TERM", "seconds": 0.2, **fields}


def verdicts(driver, **fields):
    found = []
    driver.stop(PLACES, 5.0, found.append, **{"patient": True, **fields})
    return {one.process: one for one in found}


SURVEYS = {node: {"commands": []} for node in NODES}


def survey(driver):
    return driver.survey(SURVEYS, 30.0, lambda *_: None)


def listening(driver):
    with driver.listening(dict.fromkeys(NODES, ("127.0.0.1", [9000])), 1, 30.0) as opened:
        return opened


def ask(driver):
    return driver.ask([HttpRequest(key=node, node=node, url="http://x") for node in NODES])


def started(driver):
    return {one.process: one for one in driver.start(PLAN, PLACES, {})}


CALLS: dict[str, tuple[str, Callable, dict]] = {
    # call → verb, whom the call then knows of, and a good reply of n2
    "observe": ("observe", lambda d: [node.name for node in d.observe().nodes], observed("serve-1")),
    "ask": ("probe", lambda d: list(ask(d)), {**FINE, "results": [{"key": "n2", "status": 200}]}),
    "trail": ("audit", lambda d: ["n2" for _ in d.trail(5)], {**FINE, "lines": [LINE]}),
    "survey": ("survey", lambda d: list(survey(d)), SURVEYED),
    "connect": (
        "connect",
        lambda d: [one.key for one in d.connect({n: [("n2", "a", 1)] for n in NODES}, 3.0, 30.0)],
        {**FINE, "results": [{"key": "n2", "ok": True}]},
    ),
    "execute": (
        "exec",
        lambda d: [one.node for one in d.execute(NODES, ["true"], 1.0) if one.code == 0],
        {**FINE, "code": 0, "out": "", "err": ""},
    ),
    "start": (
        "start",
        lambda d: [one.node for one in started(d).values() if one.pid][:1],
        {**FINE, "results": [{"name": name, "ok": True, "pid": 7} for name in ("serve-1", "serve-2")]},
    ),
    "listening": (
        "listen",
        lambda d: list(listening(d)),
        {"event": "listening", "random": [4], "refused": []},
    ),
}


WRONG = [(call, wrong) for call in CALLS for wrong in ("shape", "silence", "link")]
WRONG.remove(("listening", "silence"))  # see below: it may have opened its ports all the same


@pytest.mark.parametrize(("call", "wrong"), WRONG)
def test_a_node_that_does_not_answer_rightly_is_lost_and_no_other_one(call, wrong):
    verb, answered, good = CALLS[call]
    strange = {"event": "listening"} if call == "listening" else {**FINE, "results": [{}], "processes": [3]}
    if call in ("execute", "trail"):
        strange = FINE
    n1 = RawNode("n1", **{verb: [] if wrong == "silence" else [strange]})
    n1.breaks_at = verb if wrong == "link" else ""
    made = fleet(n1, RawNode("n2", **{verb: [good]}))
    assert answered(made.driver) == ["n2"]
    assert list(made.driver.unreached) == ["n1"]


@pytest.mark.parametrize("call", ["observe", "ask", "trail", "survey", "connect"])
def test_a_node_that_refuses_says_why_and_is_asked_again_later(call):
    verb, answered, good = CALLS[call]
    made = fleet(RawNode("n1", **{verb: [FULL]}), RawNode("n2", **{verb: [good]}))
    assert answered(made.driver) == ["n2"]
    assert "no space left" in made.driver.unreached["n1"].text
    made.driver.open()
    assert (made.nodes["n1"].opened, dict(made.driver.unreached)) == (1, {})


def test_why_a_node_is_unreachable_comes_with_what_helps():
    n1 = RawNode("n1")
    n1.unreachable = "n1 is off"
    seen = fleet(n1, RawNode("n2", observe=[observed()])).driver.observe()
    assert seen.unreached == {"n1": "n1 is off; plug it in"}


@pytest.mark.parametrize("wrong", ["refused", "link", "gone"])
def test_files_that_cannot_be_written_are_errors_of_their_nodes(wrong):
    n1 = RawNode("n1", put=[FULL]) if wrong == "refused" else RawNode("n1")
    n1.breaks_at = "put" if wrong == "link" else ""
    n1.unreachable = "off" if wrong == "gone" else ""
    made = fleet(n1)
    failed = (
        made.driver.put(PLAN, set(NODES))
        if wrong != "refused"
        else made.driver.write({"n1": FILE, "n2": FILE})
    )
    assert list(failed) == ["n1"]
    assert isinstance(failed["n1"], HostError) is (wrong != "refused")


def test_a_swap_that_came_too_late_is_no_error_and_any_other_refusal_is():
    seen = FileSeen(path=FILE.path, text="[]", sha="abc")
    changed = {"ok": False, "error": {"kind": "changed", "text": "it changed"}}
    made = fleet(RawNode("n1", put=[changed]))
    assert made.driver.swap("n1", FILE, seen) is False
    made.nodes["n1"].replies["put"] = [FULL]
    with pytest.raises(DplaunchError, match="no space left"):
        made.driver.swap("n1", FILE, seen)
    made.nodes["n1"].replies["put"] = [FINE]
    assert made.driver.swap("n1", FILE, seen) is True
    assert [fields["files"][0]["expect"] for fields in made.nodes["n1"].fields("put")] == ["abc"] * 3


LIES = (None, [], {}, "\x1b[2J", -1, 1.5, 10**30, float("nan"), float("inf"), True, [[1]], {"a": {}})


def lies(value: Any) -> Iterator[Any]:
    """The same reply, each time with something else in one place."""
    yield from LIES
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        for lie in lies(inner):
            changed = copy.copy(value)
            changed[key] = lie
            yield changed


@pytest.mark.parametrize("call", CALLS)
def test_whatever_a_node_replies_costs_that_node_only(call):
    verb, answered, good = CALLS[call]
    for lie in lies(good):
        if isinstance(lie, dict):
            made = fleet(
                RawNode("n1", **{verb: [{**lie, "event": "stopped"}, lie, FINE]}),
                RawNode("n2", **{verb: [good]}),
            )
            made.driver.on_interrupt = lambda: True
            assert "n2" in answered(made.driver)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("key", ["name", "how", "seconds", "left", "ports", "problem", "hint"])
def test_whatever_a_verdict_holds_the_others_are_heard(key, lie):
    n1 = RawNode("n1", stop=[stopped("serve-0", **{key: lie}) if key != "name" else stopped(lie), FINE])
    n2 = RawNode("n2", stop=[stopped("serve-1"), stopped("serve-2"), FINE])
    found = verdicts(fleet(n1, n2).driver)
    assert {"serve-1", "serve-2"} <= found.keys()


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("event", ["line", "health", "exit", "log", "gap", "restarted"])
def test_whatever_an_event_holds_costs_its_node_only(event, lie):
    wrong = [{"event": event, "name": lie, "id": 1}, {"event": event, "name": "serve-0", "id": lie}]
    nodes = [RawNode("n1"), RawNode("n2")]
    made = fleet(*nodes)
    for message in [*wrong, {"event": lie}, {"id": lie}, {"id": lie, "ok": lie, "error": lie}]:
        nodes[0].session.say(**message)
    made.driver.listen(lambda _: None, until=lambda: False, deadline=made.now + 30.0)
    assert "n2" in made.driver.reached


@pytest.mark.parametrize("reply", [FULL, FINE, {**FINE, "files": [{"path": "x"}]}])
def test_a_file_that_cannot_be_read_is_an_error(reply):
    with pytest.raises(DplaunchError, match="n1"):
        fleet(RawNode("n1", get=[reply])).driver.read("n1", "x")


def test_processes_of_a_lost_node_are_refused_starts():
    n2 = RawNode("n2")
    n2.breaks_at = "start"
    n1 = RawNode("n1", start=[{**FINE, "results": [{"name": "serve-0", "ok": True, "pid": 7}]}])
    found = started(fleet(n1, n2).driver)
    assert found["serve-0"].refusal is None
    assert {found[name].refusal.kind for name in ("serve-1", "serve-2")} == {"unreachable"}
    assert found["serve-1"].refusal.text == "the link broke"


def test_a_start_that_a_node_refuses_as_a_whole_refuses_each_process():
    n1 = RawNode("n1", start=[{**FINE, "results": []}])
    found = started(fleet(n1, RawNode("n2", start=[FULL])).driver)
    assert {found[name].refusal.kind for name in ("serve-1", "serve-2")} == {"full"}


def test_secrets_travel_with_the_start_of_the_process_that_needs_them():
    ref = SecretRef("env", "K")
    plan = a_plan(a_process("serve-0", "n1", env={"KEY": ref}))
    made = RawFleet(plan, RawNode("n1", start=[{**FINE, "results": []}]))
    made.driver.open()
    made.driver.start(plan, [("n1", "serve-0")], {ref: "sesame"})
    [spec] = made.nodes["n1"].fields("start")[0]["processes"]
    assert (spec["env"], spec["secrets"]) == ({}, {"KEY": "sesame"})


def test_every_verdict_is_given_as_it_comes_and_a_lost_node_gives_none():
    n2 = RawNode("n2", stop=[stopped("serve-1"), stopped("serve-1", how="KILL"), FINE])
    n1 = RawNode("n1")
    n1.breaks_at = "stop"
    made = fleet(n1, n2)
    found = verdicts(made.driver)
    assert {name: one.how for name, one in found.items()} == {"serve-1": "TERM", "serve-2": ""}
    assert found["serve-2"].left, "its node replied without a verdict on it"
    assert list(made.driver.unreached) == ["n1"]


def test_a_verdict_of_a_wrong_shape_loses_its_node_alone():
    n1 = RawNode("n1", stop=[{"event": "stopped", "name": "serve-0", "left": [7]}, FINE])
    made = fleet(n1, RawNode("n2", stop=[stopped("serve-1"), stopped("serve-2"), FINE]))
    assert set(verdicts(made.driver)) == {"serve-1", "serve-2"}
    assert list(made.driver.unreached) == ["n1"]


def test_what_is_left_is_told_as_sentences():
    left = {
        "left": [{"pid": 9, "command": "stuck"}],
        "ports": [{"port": 9000, "pid": 9, "command": "stuck"}, {"port": 1}],
    }
    made = fleet(RawNode("n1", stop=[stopped("serve-0", **left), FINE]))
    assert verdicts(made.driver)["serve-0"].left == (
        "pid 9 (stuck)",
        "port 9000 held by pid 9 (stuck)",
        "port 1 held by an unknown process",
    )


def test_where_a_node_refuses_to_stop_anything_its_processes_are_left():
    n2 = RawNode("n2", stop=[stopped("serve-1"), stopped("serve-2"), FINE])
    found = verdicts(fleet(RawNode("n1", stop=[FULL]), n2).driver)
    assert {name: one.left for name, one in found.items()} == {
        "serve-0": ("no space left",),
        "serve-1": (),
        "serve-2": (),
    }


@pytest.mark.parametrize(("patient", "grace"), [(True, None), (False, 5.0)])
def test_a_grace_overrides_the_planned_one_only_where_it_was_asked_for(patient, grace):
    made = fleet()
    verdicts(made.driver, patient=patient)
    assert made.nodes["n2"].fields("stop")[0] == {
        "names": ["serve-1", "serve-2"],
        "grace": grace,
        "ports": True,
    }


def test_in_a_hurry_the_grace_of_a_stop_under_way_is_skipped():
    n1 = RawNode("n1", stop=[])
    made = fleet(n1, step=1.0)

    def hurry():
        n1.replies["stop"] = [stopped("serve-0", how="KILL")]
        made.driver.hurry([("n1", "serve-0")])
        n1.session.say(id=1, **FINE)

    made.on_tick = hurry
    assert verdicts(made.driver)["serve-0"].how == "KILL"
    assert [fields["grace"] for fields in n1.fields("stop")] == [None, 0]


def test_a_line_of_the_trail_that_this_version_does_not_know_is_left_out():
    made = fleet(
        RawNode("n1", audit=[{**FINE, "lines": [{"at": 2}, LINE, 3]}]),
        RawNode("n2", audit=[{**FINE, "lines": []}]),
    )
    assert made.driver.trail(5) == (ENTRY,)


def test_the_trail_of_all_nodes_is_one_and_ends_with_the_newest():
    lines = {
        node: [{**LINE, "at": at, "verb": node} for at in times]
        for node, times in {"n1": (1, 4), "n2": (2, 3)}.items()
    }
    made = fleet(*(RawNode(node, audit=[{**FINE, "lines": found}]) for node, found in lines.items()))
    assert [entry.at for entry in made.driver.trail(3)] == [2, 3, 4]


def test_a_line_is_written_on_the_node_that_keeps_the_lock_and_its_loss_is_no_error():
    made = fleet()
    made.driver.record(ENTRY)
    assert [len(node.fields("audit")) for node in made.nodes.values()] == [1, 0]
    assert made.nodes["n1"].fields("audit") == [{"append": LINE}]
    made.nodes["n1"].breaks_at = "audit"
    made.driver.record(ENTRY)
    made.nodes["n2"].breaks_at = "audit"
    made.driver.record(ENTRY)
    made.driver.record(ENTRY)


def test_how_far_clocks_are_apart_is_known_from_the_first_lines():
    nodes = [RawNode(f"n{n}") for n in (1, 2)]
    for node, heard in zip(nodes, (4999.0, 4900.0), strict=True):
        node.heard = heard
    assert fleet(*nodes).driver.ahead() == {"n1": 0.0, "n2": 99.0}


def test_a_second_operator_learns_who_holds_the_lock():
    held = {"kind": "locked", "text": "locked", "lock": {"holder": "bob@b", "what": "up", "since": 0}}
    made = fleet(RawNode("n1", lock=[{"ok": False, "error": held}]))
    with (
        pytest.raises(LockedError, match="bob@b is running `dplaunch up`"),
        made.driver.locked("ada@desk", "down"),
    ):
        raise AssertionError("it is not ours")
    assert made.nodes["n1"].verbs == ["lock"]


def test_every_node_that_is_reached_is_locked_the_first_one_first():
    nodes = [RawNode("n1"), RawNode("n2")]
    with fleet(*nodes).driver.locked("ada@desk", "up"):
        assert [node.verbs for node in nodes] == [["lock"], ["lock"]]
    assert [node.verbs for node in nodes] == [["lock", "unlock"], ["lock", "unlock"]]
    nodes[0].unreachable = "n1 is off"
    with fleet(*nodes).driver.locked("ada@desk", "down"):
        assert nodes[1].verbs[2:] == ["lock"]


def test_who_reaches_other_nodes_first_learns_who_holds_the_lock_and_keeps_none():
    held = {"kind": "locked", "text": "locked", "lock": {"holder": "bob@b", "what": "up", "since": 0}}
    nodes = [RawNode("n1"), RawNode("n2", lock=[{"ok": False, "error": held}])]
    made = fleet(*nodes)
    with pytest.raises(LockedError, match="bob@b"), made.driver.locked("ada@desk", "down"):
        raise AssertionError("it is not ours")
    assert [node.verbs for node in nodes] == [["lock", "unlock"], ["lock"]]


def test_the_full_disk_of_another_node_does_not_prevent_a_lock():
    nodes = [RawNode("n1"), RawNode("n2", lock=[FULL])]
    with fleet(*nodes).driver.locked("ada@desk", "down"):
        assert nodes[1].verbs == ["lock"]


@pytest.mark.parametrize("wrong", [[FULL], [{"ok": 7}], []], ids=["full", "odd", "silent"])
def test_a_first_node_that_cannot_be_locked_leaves_the_lock_to_the_next(wrong):
    nodes = [RawNode("n1", lock=wrong), RawNode("n2")]
    with fleet(*nodes).driver.locked("ada@desk", "down"):
        assert nodes[1].verbs == ["lock"]
    assert nodes[1].verbs == ["lock", "unlock"]


def test_a_lock_that_cannot_be_written_anywhere_is_an_error():
    nodes = [RawNode("n1", lock=[FULL]), RawNode("n2", lock=[FULL])]
    with pytest.raises(DplaunchError, match=r"n1: .*no space left"), fleet(*nodes).driver.locked("a", "up"):
        raise AssertionError("it is not ours")


def test_where_no_node_is_reached_there_is_no_lock():
    nodes = [RawNode("n1"), RawNode("n2")]
    for node in nodes:
        node.unreachable = f"{node.name} is off"
    with pytest.raises(HostError, match="n1 is off"), fleet(*nodes).driver.locked("a", "up"):
        raise AssertionError("it is not ours")


def broken_under_the_lock(relock):
    n1 = RawNode("n1", relock=[relock], observe=[observed()])
    made = fleet(n1)
    with made.driver.locked("ada@desk", "up"):
        n1.session.end("the link broke")
        made.driver.pause(0.0)
        made.driver.pause(0.1)
        made.driver.open()
        made.driver.observe()
    return n1


def test_the_lock_is_taken_again_first_of_all_when_its_node_is_back():
    assert broken_under_the_lock(FINE).verbs == ["lock", "relock", "observe", "unlock"]


def test_a_lock_that_another_took_meanwhile_is_an_error():
    held = {"kind": "locked", "text": "", "lock": {"holder": "eve@desk", "what": "down", "since": 0.0}}
    with pytest.raises(LockedError, match=r"the link to n1 broke.* eve@desk"):
        broken_under_the_lock({"ok": False, "error": held})


def test_signals_are_values_and_what_makes_no_sense_loses_its_node_alone():
    n1, n2 = RawNode("n1", watch=[]), RawNode("n2", watch=[])
    made = fleet(n1, n2)
    streams = [made.driver.watch(node, [], [], {}) for node in NODES]
    health = {
        "event": "health",
        "name": "serve-1",
        "endpoint": "serve-1",
        "ok": True,
        "models": True,
        "status": 200,
    }
    n1.session.say(id=1, event="health", name="serve-0")
    n2.session.say(id=1, event="stopping", name="serve-1")  # means nothing to a walk
    n2.session.say(id=1, **health)
    seen = []
    made.driver.listen(seen.append, until=lambda: bool(seen), deadline=1100.0)
    assert [(one.stream, one.endpoint, one.ok) for one in seen] == [(streams[1], "serve-1", True)]
    assert list(made.driver.unreached) == ["n1"]


def test_a_stream_on_a_node_that_is_lost_is_none():
    n1 = RawNode("n1")
    n1.unreachable = "off"
    driver = fleet(n1).driver
    assert driver.watch("n1", [], [], {}) is None
    assert driver.follow("n1", [LogSource("serve-0")], LogQuery(since=5.0)) is None


def test_since_counts_by_the_node_s_own_clock():
    made = fleet(RawNode("n1", follow=[]))
    made.driver.follow("n1", [LogSource("serve-0", offset=8)], LogQuery(since=60.0, tail=None))
    [fields] = made.nodes["n1"].fields("follow")
    assert fields["since"] == 4940.0
    assert fields["streams"] == [{"process": "serve-0", "file": "", "offset": 8}]


def test_a_stream_that_is_cancelled_is_named_by_its_request():
    made = fleet(RawNode("n1", watch=[]))
    stream = made.driver.watch("n1", [], [], {})
    made.driver.cancel(stream)
    assert made.nodes["n1"].fields("cancel") == [{"target": stream.number}]


def test_a_survey_tells_how_far_it_has_come():
    done = [{"event": "surveyed", "done": n, "count": 2} for n in (1, 2)]
    seen = []
    made = fleet(
        RawNode("n1", survey=[*done, SURVEYED]), RawNode("n2", survey=[{"event": "surveyed"}, SURVEYED])
    )
    found = made.driver.survey(SURVEYS, 30.0, lambda *step: seen.append(step))
    assert seen == [("n1", 1, 2), ("n1", 2, 2)]
    assert list(found) == ["n1"]
    assert list(made.driver.unreached) == ["n2"]


def test_a_survey_beside_the_walk_is_given_when_it_is_there():
    n2 = RawNode("n2", survey=[FULL])
    made = fleet(RawNode("n1", survey=[SURVEYED]), n2)
    seen = []
    made.driver.survey_aside(SURVEYS, lambda node, reply: seen.append((node, reply is not None)))
    assert seen == []
    made.driver.pause(0.0)
    made.driver.listen(lambda _: None, until=lambda: len(seen) == 2, deadline=1100.0)
    assert seen == [("n1", True), ("n2", False)]


def test_a_survey_beside_the_walk_of_a_wrong_shape_loses_its_node_alone():
    made = fleet(RawNode("n1", survey=[FINE]), RawNode("n2", survey=[SURVEYED]))
    seen = []
    made.driver.survey_aside(SURVEYS, lambda node, _: seen.append(node))
    made.driver.listen(lambda _: None, until=lambda: "n2" in seen, deadline=1100.0)
    assert seen == ["n2"]
    assert list(made.driver.unreached) == ["n1"]


def test_ports_that_others_try_are_closed_again_and_why_none_was_opened_is_kept():
    n1 = RawNode(
        "n1",
        listen=[
            {
                "event": "listening",
                "random": [40001],
                "refused": [{"port": 9000, "error": "denied", "held": False}],
            }
        ],
    )
    made = fleet(n1, RawNode("n2", listen=[FULL]))
    opened = listening(made.driver)
    assert (opened["n1"].random, opened["n1"].closed) == ((40001,), {9000: "denied"})
    assert "no space left" in opened["n2"].text
    assert n1.verbs[-1] == "cancel"


def test_ports_that_are_not_opened_in_time_are_an_error_of_their_node():
    opened = listening(fleet(RawNode("n1", listen=[])).driver)
    assert "10 s" in opened["n1"].text


def test_a_command_that_does_not_run_is_a_problem_of_its_node():
    n2 = RawNode("n2")
    n2.unreachable = "n2 is off"
    results = fleet(RawNode("n1", exec=[FULL]), n2).driver.execute(NODES, ["true"], 1.0)
    assert [(one.node, one.code, one.problem) for one in results] == [
        ("n1", None, "no space left"),
        ("n2", None, "n2 is off"),
    ]
