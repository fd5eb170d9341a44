"""Changes with faults at any place: whatever happens, some things hold."""

from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st
from nodes import SILENT, Ending, Node
from plans import a_plan, a_process
from scene import Scene, group_states

from dplaunch.errors import DplaunchError
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import restart, up
from dplaunch.model.remote import HttpReply, Refusal
from dplaunch.model.trail import Result
from dplaunch.reconcile import Wish

ENGINES = (
    a_process("prefill-0", "n1"),
    a_process("decode-0", "n2", group="decode/0"),
    a_process("decode-1", "n2", group="decode/0"),
    a_process("decode-2", "n3", group="decode/1"),
)
PLAN = a_plan(*ENGINES, a_process("router", "n1"))
DECODE = ("decode-0", "decode-1", "decode-2")
NODES = ("n1", "n2", "n3")
CALLS = ("observe", "put", "read", "swap", "start", "watch", "follow", "ask", "stop", "record", "trail")
WRONG = HttpReply(status=200, body='{"choices": [{"text": ""}]}')
GROUP = {process.name: process.group for process in ENGINES}


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with an engine or a node."""

    kind: str
    where: str
    call: str = ""

    def strike(self, node: Node) -> None:
        if self.kind == "link":
            node.breaks_at = self.call
        elif self.kind == "away":
            node.breaks_at, node.stays_away = self.call, True
        elif self.kind == "refuses":
            node.refuses[self.call] = "no"
        elif self.kind == "not started":
            node.refused[self.where] = Refusal(kind="exec", text="no")
        elif self.kind == "dies":
            node.ends[self.where] = Ending(code=1)
        elif self.kind == "hangs":
            node.health[self.where] = SILENT
        elif self.kind == "stuck":
            node.left[self.where] = ("pid 9 (stuck)",)


OF_NODES = st.builds(
    Fault, st.sampled_from(("link", "away", "refuses")), st.sampled_from(NODES), st.sampled_from(CALLS)
)
OF_ENGINES = st.builds(
    Fault, st.sampled_from(("not started", "dies", "hangs", "stuck", "wrong")), st.sampled_from([*GROUP])
)
FAULTS = st.lists(OF_NODES | OF_ENGINES, max_size=3)


def scene(faults, *, running):
    nodes = {name: Node(name) for name in NODES}
    for process in PLAN.processes if running else ():
        nodes[process.node].observed(process.name, group=process.group)
    node_of = {process.name: process.node for process in PLAN.processes}
    for fault in faults:
        fault.strike(nodes[node_of.get(fault.where, fault.where)])
        if fault.kind == "wrong":
            nodes[node_of[fault.where]].answers[fault.where] = WRONG
    stage = Scene(PLAN, *nodes.values())
    return stage.admitted() if running else stage


def outcome(change, *args: object):
    """The error of a change; None where there was none. Nothing else may come out of it."""
    try:
        change(*args)
    except DplaunchError as error:
        return error
    return None


def check_what_always_holds(stage, error, faults):
    assert all(node.lock is None for node in stage.nodes.values())
    assert not any(node.streams for node in stage.nodes.values())
    wrong = {
        GROUP[fault.where] for fault in faults if fault.kind in ("wrong", "dies", "hangs", "not started")
    }
    started: set[str] = set()
    for verb, what in stage.driver.calls:
        if verb == "start":
            started |= {GROUP[name] for _, name in what if name in GROUP}
        elif verb == "swap":
            states = group_states(what.text)
            # not one of those that cannot be proved is ever open after its start
            assert {states[group] for group in started & wrong} <= {"held", "draining"}
    if error is None:
        assert set(stage.states.values()) == {"serving"}
        assert not started & wrong


@settings(deadline=None, max_examples=100)
@given(faults=FAULTS)
@example(faults=[Fault("away", "n1", "swap")])
def test_an_up_that_fails_leaves_nothing_that_it_started_where_it_can_reach(faults):
    stage = scene(faults, running=False)
    error = outcome(up, stage.job, ChangeOptions(timeout=60.0), lambda *_: True)
    check_what_always_holds(stage, error, faults)
    refuses = {fault.where for fault in faults if fault.kind == "refuses"}
    if error is not None:
        alive = {
            one.name
            for name in stage.driver.reached
            if name not in refuses
            for one in stage.nodes[name].processes.values()
            if one.runs
        }
        assert alive == set()


@settings(deadline=None, max_examples=100)
@given(faults=FAULTS, names=st.sets(st.sampled_from(DECODE), min_size=1))
def test_a_restart_that_fails_leaves_the_groups_that_are_not_its_own(faults, names):
    stage = scene(faults, running=True)
    groups = {GROUP[name] for name in names}
    chosen = frozenset(name for name in DECODE if GROUP[name] in groups)
    error = outcome(
        restart, stage.job, ChangeOptions(verb="restart", timeout=60.0, wish=Wish(restart=chosen))
    )
    check_what_always_holds(stage, error, faults)
    assert {stage.states[group] for group in {*GROUP.values()} - groups} == {"serving"}
    running = {one.name for node in stage.nodes.values() for one in node.processes.values() if one.runs}
    open_ = {group for group, state in stage.states.items() if state == "serving"}
    assert {p.name for p in ENGINES if p.group in open_} | {"router"} <= running
    touched = {name for verb, what in stage.driver.calls if verb in ("start", "stop") for _, name in what}
    if "n1" in stage.driver.reached and not stage.nodes["n1"].refuses:
        assert {stage.states[GROUP[name]] for name in running & {*GROUP} - touched} <= {"serving", "proving"}


def test_what_failed_is_in_the_trail_where_there_is_one():
    stage = scene([Fault("dies", "decode-0")], running=False)
    assert outcome(up, stage.job, ChangeOptions(timeout=60.0), lambda *_: True) is not None
    assert stage.trail[-1].result is Result.FAILED
