"""A launcher that leaves early, by --detach or Ctrl-C: the router proves what was started, then opens it."""

from functools import partial

import pytest
from nodes import SILENT, Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError, HostError, Interrupted, LockedError, UsageError
from dplaunch.fleet.change.down import down
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import restart, up
from dplaunch.model.event import Started, Stopped
from dplaunch.model.trail import Result
from dplaunch.reconcile import Wish

ENGINES = (
    a_process("prefill-0", "n1"),
    a_process("decode-0", "n2", group="decode/0"),
    a_process("decode-1", "n2", group="decode/1"),
)
ROUTER = a_process("router", "n1")
DECODE = ChangeOptions(verb="restart", wish=Wish(restart=frozenset({"decode-0", "decode-1"})))


def yes(*_: object):
    return True


def scene(*nodes: Node):
    return Scene(a_plan(*ENGINES, ROUTER), *nodes)


def running():
    n1 = Node("n1").observed("prefill-0").observed("router")
    n2 = Node("n2").observed("decode-0", group="decode/0").observed("decode-1", group="decode/1")
    return scene(n1, n2).admitted()


def test_detach_returns_before_anything_is_ready_and_leaves_the_proof_to_the_router():
    stage = scene(Node("n2", health={"decode-0": SILENT}))
    result = up(stage.job, ChangeOptions(detach=True), yes)
    assert not result.ready
    assert stage.calls("watch") == stage.calls("ask") == []
    assert set(stage.states.values()) == {"proving"}
    assert [step.split()[-1] for step in stage.story()[-4:]] == [
        "prefill-0,router,decode-[0-1]",
        *["proving"] * 3,
    ]
    assert [entry.result for entry in stage.trail] == [Result.BEGAN, Result.DETACHED]


def test_detach_leaves_groups_that_are_kept_and_closed_to_the_router_too():
    stage = running().admitted(decode_0="held")
    up(stage.job, ChangeOptions(detach=True), yes)
    assert stage.states == {"prefill/0": "serving", "decode/0": "proving", "decode/1": "serving"}


def test_a_detached_start_that_is_refused_is_taken_down():
    stage = scene(Node("n2", breaks_at="start"))
    with pytest.raises(DplaunchError):
        up(stage.job, ChangeOptions(detach=True), yes)
    assert {event.process for event in stage.of(Stopped)} == {"prefill-0", "router"}


def test_detach_refuses_what_must_start_after_others_are_ready():
    stage = Scene(a_plan(*ENGINES, a_process("router", "n1", after=("decode-0",))))
    with pytest.raises(UsageError, match="--detach"):
        up(stage.job, ChangeOptions(detach=True), yes)
    assert stage.driver.calls == []


def test_ctrl_c_while_engines_load_leaves_them_running_and_the_proof_to_the_router():
    stage = scene(Node("n2", health={"decode-0": SILENT}))
    stage.driver.then[30.0] = stage.driver.interrupt
    with pytest.raises(Interrupted):
        up(stage.job, ChangeOptions(), yes)
    assert stage.of(Stopped) == []
    assert set(stage.states.values()) == {"proving"}
    assert stage.trail[-1].result is Result.INTERRUPTED


def test_ctrl_c_during_a_restart_closes_no_group_that_serves():
    stage = running()
    stage.nodes["n2"].health["decode-0"] = SILENT
    stage.driver.then[30.0] = stage.driver.interrupt
    with pytest.raises(Interrupted):
        restart(stage.job, DECODE)
    assert stage.states == {"prefill/0": "serving", "decode/0": "proving", "decode/1": "serving"}


def test_ctrl_c_during_a_drain_gives_the_group_back_to_the_router():
    stage = running()
    stage.nodes["n1"].pages["router"] = 'dprouter_member_requests{member="decode-0"} 3'
    stage.driver.then[30.0] = stage.driver.interrupt
    with pytest.raises(Interrupted):
        restart(stage.job, DECODE)
    assert stage.of(Stopped) == []
    assert stage.states["decode/0"] == "proving"


def test_ctrl_c_where_no_node_is_left_ends_all_the_same():
    stage = scene(Node("n1", stays_away=True, health={"router": SILENT}), Node("n2", stays_away=True))
    stage.driver.then[10.0] = partial(lose, stage, "n1", "n2")
    stage.driver.then[20.0] = stage.driver.interrupt
    with pytest.raises(Interrupted):
        up(stage.job, ChangeOptions(), yes)


def test_ctrl_c_where_the_router_s_node_is_lost_ends_as_an_interruption():
    stage = scene(Node("n1", stays_away=True), Node("n2", health={"decode-0": SILENT}))
    stage.driver.then[10.0] = partial(lose, stage, "n1")
    stage.driver.then[11.0] = stage.driver.interrupt
    with pytest.raises(Interrupted):
        up(stage.job, ChangeOptions(), yes)


@pytest.mark.parametrize("walk", [lambda job, ask: up(job, ChangeOptions(), ask), down])
def test_ctrl_c_at_a_question_is_heard_at_once(walk):
    stage = running()

    def press(*_: object):
        stage.driver.interrupt()
        raise AssertionError("the question continued")

    with pytest.raises(Interrupted):
        walk(stage.job, press)


def test_who_lost_the_lock_leaves_everything_as_it_is():
    stage = scene(Node("n2", health={"decode-0": SILENT}))

    def lost():
        raise LockedError("the link to n1 broke, and eve@desk is running")

    stage.driver.then[10.0] = lost
    with pytest.raises(LockedError):
        up(stage.job, ChangeOptions(), yes)
    assert stage.of(Stopped) == []
    assert len(stage.of(Started)) == 4
    assert [entry.result for entry in stage.trail] == [Result.BEGAN]


def lose(stage, *nodes: str):
    for node in nodes:
        stage.driver.lose(node)


def test_a_node_that_stays_away_ends_up_with_its_reason():
    stage = scene(Node("n2", stays_away=True, health={"decode-0": SILENT}))
    stage.driver.then[10.0] = partial(lose, stage, "n2")
    with pytest.raises(HostError, match="n2"):
        up(stage.job, ChangeOptions(), yes)
    assert {event.process for event in stage.of(Stopped)} == {"prefill-0", "router"}
