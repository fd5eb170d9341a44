"""The walk of ``up`` on nodes in memory: what it does in which order, and what it leaves behind."""

from functools import partial

import pytest
from nodes import READY, SILENT, Node
from plans import a_job, a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError, HostError, LockedError, UsageError
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import preview, restart, up
from dplaunch.model.event import BecameReady, NodeFailed, PhaseEnded, Proved, Started, Stopped
from dplaunch.model.observed import State
from dplaunch.model.plan import Change
from dplaunch.model.remote import Refusal
from dplaunch.model.trail import Entry, Lock, Result
from dplaunch.reconcile import Wish

ENGINES = (a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("decode-1", "n2"))
ROUTER = a_process("router", "n1")
EVERYTHING = {"prefill-0", "decode-0", "decode-1", "router"}
DECODE_ONLY = ChangeOptions(wish=Wish(only="decode"))


def yes(*_: object):
    return True


def scene(*nodes: Node, **fields):
    return Scene(a_plan(*ENGINES, ROUTER, **fields), *nodes)


def running(**decode_0):
    """Both nodes, with everything of the plan; ``decode_0``: fields of one engine."""
    n1 = Node("n1", revision="r1").observed("prefill-0").observed("router")
    return n1, Node("n2", revision="r1").observed("decode-0", **decode_0).observed("decode-1")


def names(events):
    return [event.process for event in events]


def test_up_starts_waits_and_proves_everything():
    stage = scene()
    result = up(stage.job, ChangeOptions(), yes)
    assert (result.ready, result.changed, result.started) == (True, True, 4)
    assert names(stage.of(Started)) == ["prefill-0", "router", "decode-0", "decode-1"]
    assert set(names(stage.of(BecameReady))) == EVERYTHING
    assert names(stage.of(Proved)) == ["prefill-0", "decode-0", "decode-1", "router"]
    assert stage.phases == ["connect", "start", "load", "prove", "prove pairs", "prove router"]


def test_every_group_is_held_before_it_starts_and_admitted_only_after_its_proof():
    stage = scene()
    up(stage.job, ChangeOptions(), yes)
    assert stage.story() == [
        "put n[1-2]",
        "prefill/0 held",
        "decode/0 held",
        "start prefill-0,router,decode-[0-1]",
        "ask prefill-0 decode-0 decode-1",
        "ask prefill-0,decode-0 prefill-0,decode-1",
        "prefill/0 serving",
        "decode/0 serving",
        "ask router",
    ]


def test_the_lock_is_held_from_the_first_look_to_the_last_line_of_the_trail():
    stage = scene()
    up(stage.job, ChangeOptions(), yes)
    verbs = [call.verb for call in stage.driver.calls]
    assert verbs[:3] == ["open", "lock", "observe"]
    assert verbs[-2:] == ["record", "unlock"]
    assert stage.nodes["n1"].lock is None
    assert [node.opened for node in stage.nodes.values()] == [1, 1]


def test_a_start_leaves_the_seconds_of_its_phases():
    n2 = Node("n2", health={"decode-1": SILENT})
    stage = scene(n2)
    stage.driver.then[12.0] = partial(n2.turn, "decode-1", "decode-1", READY)
    up(stage.job, ChangeOptions(), yes)
    began, ready = stage.trail
    assert (began.result, began.started, began.phases) == (Result.BEGAN, 0, {})
    assert (ready.result, ready.started, ready.who, ready.revision) == (Result.READY, 4, "ada@desk", "r1")
    assert list(ready.phases) == ["connect", "start", "load", "prove", "prove pairs", "prove router"]
    assert ready.phases["load"] == 12.0


def test_up_again_starts_nothing_and_still_proves_and_admits():
    stage = scene(*running())
    result = up(stage.job, ChangeOptions(), yes)
    assert not result.changed
    assert stage.of(Started) == []
    assert len(stage.of(Proved)) == 4
    assert stage.states == {"prefill/0": "serving", "decode/0": "serving"}
    assert stage.calls("put") == [frozenset()]
    [entry] = stage.trail
    assert (entry.verb, entry.result) == ("up", Result.PROVED)


def test_a_preview_touches_nothing():
    stage = scene()
    decision, _ = preview(stage.job, ChangeOptions())
    assert {action.change for action in decision.actions} == {Change.START}
    assert [call.verb for call in stage.driver.calls] == ["open", "observe"]


def test_a_part_proved_again_does_not_mend_what_failed_in_the_whole():
    n1, n2 = running()
    n1.trail.append(Entry(at=4000.0, who="ada@desk", verb="up", result=Result.FAILED, reason="no"))
    stage = scene(n1, n2)
    up(stage.job, DECODE_ONLY, yes)
    assert (stage.trail[-1].result, stage.trail[-1].unproved) == (Result.PROVED, "no")
    up(stage.job, ChangeOptions(), yes)
    assert (stage.trail[-1].result, stage.trail[-1].unproved) == (Result.PROVED, "")


def test_a_host_that_is_off_stops_everything_before_it_begins():
    stage = scene(Node("n2", unreachable="n2 does not answer"))
    with pytest.raises(HostError, match="n2 does not answer"):
        up(stage.job, ChangeOptions(), yes)
    assert [call.verb for call in stage.driver.calls] == ["open"]


def test_two_hosts_that_are_off_are_both_named():
    stage = scene(Node("n1", unreachable="a"), Node("n2", unreachable="b"))
    with pytest.raises(HostError, match=r"n\[1-2\]"):
        up(stage.job, ChangeOptions(), yes)
    assert stage.of(NodeFailed) == []  # the error says it all, once


@pytest.mark.parametrize("how", [{"breaks_at": "observe"}, {"refuses": {"observe": "no memory"}}])
def test_a_node_that_is_lost_before_it_says_what_runs_stops_everything(how):
    stage = scene(Node("n2", **how))
    with pytest.raises(HostError) as caught:
        up(stage.job, ChangeOptions(), yes)
    assert caught.value.node == "n2"
    assert stage.of(Started) == []


def test_a_second_operator_learns_who_holds_the_lock():
    stage = scene(Node("n1", lock=Lock(holder="bob@b", verb="up", since=0.0)))
    with pytest.raises(LockedError, match="bob@b"):
        up(stage.job, ChangeOptions(), yes)
    assert stage.of(Started) == []


def test_no_is_respected():
    begun = []
    stage = scene(*running(fingerprint="old"))
    with pytest.raises(UsageError, match="nothing was changed"):
        up(stage.job, ChangeOptions(), lambda *_: False, begins=partial(begun.append, 1))
    assert stage.of(Started) == []
    assert stage.trail == []
    assert begun == []
    up(stage.job, ChangeOptions(), yes, begins=partial(begun.append, 1))
    assert begun == [1]


@pytest.mark.parametrize("routed", [True, False])
def test_a_role_brought_up_alone_is_proved_with_what_serves_beside_it(routed):
    n1 = Node("n1").observed("prefill-0")
    stage = scene(n1.observed("router") if routed else n1).admitted()
    up(stage.job, DECODE_ONLY, yes)
    assert set(names(stage.of(Started))) == {"decode-0", "decode-1"}
    pairs = [one.key for one in stage.asked() if "," in one.key]
    assert pairs == ["prefill-0,decode-0", "prefill-0,decode-1"] * routed
    assert ["router does not run" in note for note in stage.notes] == [True] * (not routed)
    assert stage.states["decode/0"] == "serving"


def test_a_group_that_another_change_has_closed_is_not_proved_with():
    n1, _ = running()
    stage = scene(n1, Node("n2")).admitted(prefill_0="held")
    up(stage.job, DECODE_ONLY, yes)
    assert [one.key for one in stage.asked() if "," in one.key] == []
    assert stage.states == {"prefill/0": "held", "decode/0": "serving"}


def test_a_changed_group_is_drained_stopped_held_started_proved_and_admitted():
    stage = scene(*running(fingerprint="old")).admitted()
    assert up(stage.job, ChangeOptions(), yes).changed
    assert stage.story() == [
        "decode/0 draining",
        "stop decode-[0-1]",
        "put n2",
        "decode/0 held",
        "start decode-[0-1]",
        "ask prefill-0",  # it served before: a word is enough
        "ask prefill-0 decode-0 decode-1",
        "ask prefill-0,decode-0 prefill-0,decode-1",
        "decode/0 serving",
        "ask router",
    ]


def test_a_group_that_is_no_longer_in_the_file_is_drained_before_it_stops():
    n1, n2 = running()
    n2.observed("decode-9", group="decode/9")
    listed = a_plan(*ENGINES, a_process("decode-9", "n2", group="decode/9"), ROUTER)
    stage = scene(n1, n2)
    n1.files["router/members.json"] = listed.members.text
    n1.pages["router"] = ['dprouter_member_requests{member="decode-9"} 2', ""]
    up(stage.job, ChangeOptions(), yes)
    assert "decode/9 draining" in stage.story()
    assert [(e.phase, e.seconds) for e in stage.of(PhaseEnded)][1] == ("drain", 2.5)
    assert set(stage.states) == {"prefill/0", "decode/0"}


def test_another_revision_is_sent_to_every_node_that_has_an_older_one():
    n1, n2 = running(fingerprint="old")
    n1.revision = "r0"
    stage = scene(n1, n2)
    up(stage.job, ChangeOptions(), yes)
    assert stage.calls("put") == [{"n1", "n2"}]
    assert (n1.revision, n2.revision) == ("r1", "r1")


def test_what_came_back_under_a_name_that_serves_elsewhere_is_stopped_alone():
    n1, n2 = running()
    stage = scene(n1.observed("decode-1"), n2)
    assert up(stage.job, ChangeOptions(), yes).changed
    assert [(e.process, e.node) for e in stage.of(Stopped)] == [("decode-1", "n1")]
    assert stage.of(Started) == []


def test_what_cannot_be_stopped_is_an_error_before_anything_starts():
    n1, n2 = running(fingerprint="old")
    n2.left = {"decode-0": ("pid 9 (stuck)",)}
    stage = scene(n1, n2)
    with pytest.raises(DplaunchError, match=r"decode-0 on n2 .* pid 9"):
        up(stage.job, ChangeOptions(), yes)
    assert stage.of(Started) == []


def test_guards_of_another_protocol_are_left_alone_and_named():
    incompatible = {"state": State.INCOMPATIBLE, "problem": "was started by dplaunch 0.1"}
    stage = scene(*running(**incompatible))
    with pytest.raises(DplaunchError, match=r"decode-0 on n2 .*dplaunch 0\.1"):
        up(stage.job, ChangeOptions(), yes)
    assert [call.verb for call in stage.driver.calls] == ["open", "lock", "observe", "unlock"]


@pytest.mark.parametrize(
    "verb", [lambda job: up(job, ChangeOptions(), yes), lambda job: restart(job, ChangeOptions())]
)
def test_what_lives_although_its_state_was_lost_is_named_and_nothing_starts(verb):
    n1, n2 = running(state=State.UNKNOWN, problem="there is no state of it, but process 7 of it runs")
    n2.lost = {"decode-0"}
    stage = scene(n1, n2)
    with pytest.raises(DplaunchError, match=r"decode-0 on n2 .* process 7 of it runs"):
        verb(stage.job)
    assert stage.of(Started) == []


def test_what_must_start_after_others_starts_when_they_are_ready():
    late = a_process("router", "n1", after=("prefill-0", "decode-0", "decode-1"))
    stage = Scene(a_plan(*ENGINES, late))
    assert up(stage.job, ChangeOptions(), yes).ready
    order = [event.process for event in stage.events if isinstance(event, (Started, BecameReady))]
    assert order.index("router") > order.index("decode-1", order.index("decode-1") + 1)


def test_a_job_is_waited_for_and_what_comes_after_it_starts_when_it_is_done():
    n1 = Node("n1")
    stage = Scene(a_plan(a_job("convert", "n1"), a_process("serve-0", "n1", after=("convert",))), n1)
    stage.driver.then[30.0] = partial(n1.end, "convert")
    assert up(stage.job, ChangeOptions(), yes).ready
    assert names(stage.of(Started)) == ["convert", "serve-0"]
    assert [(e.process, e.seconds) for e in stage.of(BecameReady)] == [("convert", 30.0), ("serve-0", 0.0)]
    assert n1.processes["convert"].state is State.DONE


def test_a_job_that_fails_fails_up_and_nothing_after_it_starts():
    n1 = Node("n1")
    stage = Scene(a_plan(a_job("convert", "n1"), a_process("serve-0", "n1", after=("convert",))), n1)
    stage.driver.then[30.0] = partial(n1.end, "convert", 2)
    with pytest.raises(DplaunchError, match="convert on n1 exited with code 2"):
        up(stage.job, ChangeOptions(), yes)
    assert names(stage.of(Started)) == ["convert"]


def test_a_refused_start_is_the_error_and_the_rest_is_taken_down():
    refusal = Refusal(kind="port-taken", text="port 9000 is held by pid 4 (nginx)", hint="stop it")
    stage = scene(Node("n2", refused={"decode-0": refusal}))
    with pytest.raises(DplaunchError, match=r"decode-0 on n2 .* pid 4"):
        up(stage.job, ChangeOptions(), yes)
    assert set(names(stage.of(Stopped))) == EVERYTHING - {"decode-0"}


@pytest.mark.parametrize("call", ["put", "start"])
def test_a_node_that_is_lost_on_the_way_fails_up_and_the_rest_is_taken_down(call):
    stage = scene(Node("n2", breaks_at=call, stays_away=True))
    with pytest.raises(DplaunchError, match="the link broke"):
        up(stage.job, ChangeOptions(), yes)
    assert set(names(stage.of(Stopped))) == ({"prefill-0", "router"} if call == "start" else set())
    assert any("n2 is unreachable" in note for note in stage.notes)
    assert stage.trail[-1].result is Result.FAILED
