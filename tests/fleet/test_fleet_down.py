import pytest
from fakefleet import FakeNode, Scene, a_plan, a_process

from dplaunch.errors import LockedError
from dplaunch.fleet.down import down
from dplaunch.model.event import NodeFailed, Note, Stopped

PLAN = a_plan(a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("router", "n1"))


def running():
    return [FakeNode("n1").observed("prefill-0").observed("router"), FakeNode("n2").observed("decode-0")]


def yes(_):
    return True


def test_the_router_goes_first_then_the_engines():
    stage = Scene(PLAN, *running())
    result = down(stage.job, yes)
    assert result.clean
    assert [e.process for e in stage.of(Stopped)] == ["router", "prefill-0", "decode-0"]


def test_what_is_gone_is_forgotten_and_left_in_the_audit_trail():
    stage = Scene(PLAN, *running())
    down(stage.job, yes)
    wanted = ["lock", "observe", "stop", "stop", "forget", "audit", "unlock"]
    assert stage.nodes["n1"].verbs() == wanted


def test_down_of_nothing_is_done_and_asks_nobody():
    stage = Scene(PLAN)
    result = down(stage.job, lambda _: pytest.fail("asked"))
    assert result.clean
    assert result.verdicts == ()


def test_what_is_left_is_named_and_stays_known():
    nodes = running()
    nodes[1].stopped["decode-0"] = {
        "how": "KILL",
        "left": [{"pid": 9, "command": "stuck"}],
        "ports": [{"port": 9000, "pid": 9, "command": "stuck"}, {"port": 9001, "pid": None}],
    }
    stage = Scene(PLAN, *nodes)
    result = down(stage.job, yes)
    assert not result.clean
    left = next(v for v in result.verdicts if v.process == "decode-0").left
    assert left == (
        "pid 9 (stuck)",
        "port 9000 held by pid 9 (stuck)",
        "port 9001 held by an unknown process",
    )
    assert "forget" not in stage.nodes["n2"].verbs()


def test_a_node_that_is_off_does_not_hold_the_others():
    nodes = running()
    nodes[1].unreachable = "n2 is silent"
    stage = Scene(PLAN, *nodes)
    result = down(stage.job, yes)
    assert result.unreached == ("n2",)
    assert [e.process for e in stage.of(Stopped)] == ["router", "prefill-0"]


def test_a_node_that_breaks_while_stopping_is_named():
    nodes = running()
    nodes[1].breaks_at = "stop"
    stage = Scene(PLAN, *nodes)
    result = down(stage.job, yes)
    assert result.unreached == ("n2",)
    assert [e.node for e in stage.of(NodeFailed)] == ["n2"]


def test_no_node_at_all():
    stage = Scene(PLAN, FakeNode("n1", unreachable="off"), FakeNode("n2", unreachable="off"))
    assert down(stage.job, yes).unreached == ("n1", "n2")


def test_no_stops_nothing():
    stage = Scene(PLAN, *running())
    assert down(stage.job, lambda _: False) is None
    assert stage.of(Stopped) == []


def test_a_held_lock_is_respected():
    held = {"kind": "locked", "text": "", "lock": {"holder": "bob", "what": "up", "since": 1}}
    with pytest.raises(LockedError, match="bob"):
        down(Scene(PLAN, FakeNode("n1", errors={"lock": held})).job, yes)


def test_processes_that_left_the_file_are_stopped_too():
    nodes = running()
    nodes[1].observed("decode-7")
    stage = Scene(PLAN, *nodes)
    down(stage.job, yes)
    assert "decode-7" in [e.process for e in stage.of(Stopped)]


def test_the_first_ctrl_c_warns_and_the_second_skips_the_grace():
    nodes = running()
    nodes[0].silent = {"stop"}
    stage = Scene(PLAN, *nodes)
    presses = iter([1, 1])

    def press(_):
        if next(presses, None):
            stage.fleet.interrupt()
        else:
            nodes[0].silent = set()
            stage.clock.now += 5
        if len([a for v, a in nodes[0].asked if v == "stop"]) > 1:
            stage.clock.now += 200

    stage.fleet.on_tick = press
    down(stage.job, yes)
    stops = [asked for verb, asked in nodes[0].asked if verb == "stop"]
    assert stops[0]["grace"] is None
    assert stops[1]["grace"] == 0
    assert any("Ctrl-C" in note.text for note in stage.of(Note))
