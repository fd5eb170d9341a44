"""A process that can hand over is not stopped: its new run takes over while it serves."""

import pytest
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import restart, up
from dplaunch.model.observed import ObservedEndpoint, State
from dplaunch.model.remote import Refusal
from dplaunch.reconcile import Wish

ENGINE = a_process("serve-0", "n1", group="serve/0")
PLAN = a_plan(ENGINE, a_process("router", "n2", hands_over=True, ports=(9000,), fingerprint="new"))
ROUTER = ("n2", "router")
URL = "http://n2:9000"


def scene(node=None, plan=PLAN, **router):
    """All of it serves; ``router``: how it differs from one that can hand over."""
    node = node or Node("n2")
    basic = {"hands_over": True, "ports": (9000,), "endpoints": (ObservedEndpoint(name="router", url=URL),)}
    node.observed("router", **{**basic, **router})
    return Scene(plan, Node("n1").observed("serve-0", group="serve/0"), node).admitted()


def again(stage, **options):
    return restart(
        stage.job, ChangeOptions(verb="restart", wish=Wish(restart=frozenset(["router"])), **options)
    )


def test_it_is_started_beside_the_one_that_serves_and_proved():
    stage = scene()
    assert again(stage).started == 1
    assert stage.story()[:2] == ["put n2", "start router"]
    assert stage.calls("stop") == []
    assert stage.calls("beside") == [{ROUTER: 30.0}]
    assert any("without a gap" in note and "30 s" in note for note in stage.notes)


def test_the_one_before_gets_the_time_that_is_asked_for():
    stage = scene()
    again(stage, drain_timeout=0.0)
    assert stage.calls("beside") == [{ROUTER: 0.0}]


def test_up_hands_over_what_changed_and_keeps_the_rest():
    stage = scene(fingerprint="old")
    up(stage.job, ChangeOptions(), lambda *_: True)
    assert (stage.calls("stop"), stage.calls("start")) == ([], [(ROUTER,)])


@pytest.mark.parametrize(
    "differs",
    [
        {"hands_over": False},
        {"state": State.UNGUARDED},
        {"ports": (9001,)},
        {"endpoints": (ObservedEndpoint(name="router", url="http://n2:9001"),)},
    ],
)
def test_one_that_cannot_or_is_elsewhere_is_stopped_first(differs):
    stage = scene(**differs)
    again(stage)
    assert stage.story()[0] == "stop router"
    assert stage.calls("beside") == []


def test_one_that_does_not_serve_is_stopped_first():
    stage = scene(healthy=False)
    with pytest.raises(DplaunchError, match="router"):
        again(stage, timeout=1.0)
    assert stage.story()[0] == "stop router"
    assert stage.calls("beside") == []


def test_a_plan_whose_router_hands_nothing_over_stops_it_first():
    plan = a_plan(ENGINE, a_process("router", "n2", ports=(9000,)))
    stage = scene(plan=plan)
    again(stage)
    assert stage.story()[0] == "stop router"


def test_one_that_does_not_take_over_fails_the_restart_and_leaves_the_other_running():
    node = Node("n2", refused={"router": Refusal(kind="handover", text="router: it ended with code 1")})
    stage = scene(node)
    with pytest.raises(DplaunchError, match="ended with code 1"):
        again(stage)
    assert stage.calls("stop") == []
    assert stage.nodes["n2"].processes["router"].runs
