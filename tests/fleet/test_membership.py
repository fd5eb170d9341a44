"""The router's members file: what an edit changes, and that two changes at once never undo each other."""

import json
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodes import Node
from plans import a_plan, a_process
from scene import Scene, group_states
from turns import Turns

from dplaunch.errors import DplaunchError
from dplaunch.fleet.membership import (
    TRIES,
    align,
    read_endpoints,
    read_report,
    read_states,
    release,
    set_state,
)
from dplaunch.model.cluster import RouterSpec
from dplaunch.model.remote import HttpReply
from dplaunch.model.summary import RouterReport

GROUPS = ("decode/0", "decode/1", "decode/2")
ENGINES = tuple(a_process(f"decode-{n}", "n2", group=group) for n, group in enumerate(GROUPS))
ROUTER = a_process("router", "n1")
PLAN = a_plan(*ENGINES, ROUTER)
FILE = "router/members.json"
STATES = ("held", "proving", "serving", "draining")


def launcher(plan=PLAN, *nodes: Node):
    """A launcher that has reached the nodes; several share them."""
    scene = Scene(plan, *nodes)
    scene.driver.open()
    return scene


def members(scene):
    return json.loads(scene.nodes["n1"].files[FILE])["members"]


def test_an_edit_changes_the_state_of_these_groups_and_nothing_else():
    one = launcher().admitted(decode_1="held")
    before = members(one)
    assert set_state(one.job, {"decode/0"}, "draining")
    assert one.states == {"decode/0": "draining", "decode/1": "held", "decode/2": "serving"}
    assert [{**m, "state": ""} for m in members(one)] == [{**m, "state": ""} for m in before]


def test_without_a_file_there_is_nothing_to_edit():
    one = launcher()
    assert set_state(one.job, {"decode/0"}, "draining") is False
    assert one.states == read_states(one.job) == {}


def test_another_router_keeps_its_own_list():
    other = launcher(a_plan(*ENGINES, ROUTER, router=RouterSpec(node="n1", kind="vllm-router")))
    assert set_state(other.job, {"decode/0"}, "draining") is False
    assert align(other.job, {"decode/0"}, "held") is False
    release(other.job, {"decode/0"})
    assert other.nodes["n1"].files == {}


def router_reports(*states: str, status=200):
    """The router's node; its router answers /members with these states, one for each engine."""
    members = [{"group": group, "state": state} for group, state in zip(GROUPS, states, strict=True)]
    reply = HttpReply(status=status, body=json.dumps({"members": members}))
    return Node("n1", http=lambda request: reply if request.url.endswith("/members") else None)


@pytest.mark.parametrize(
    ("node", "closed"),
    [
        (router_reports("held", "serving", "serving"), ("decode/0",)),
        (router_reports("held", "proving", "serving"), ("decode/0", "decode/1")),
        (router_reports("held", "serving", "serving", status=500), ("decode/0", "decode/1")),
    ],
)
def test_whether_a_group_left_to_the_router_is_open_is_the_routers_word(node, closed):
    one = launcher(PLAN, node).admitted(decode_0="held", decode_1="proving")
    assert read_report(one.job).closed == closed


def test_a_router_that_does_not_respond_leaves_what_its_file_says():
    one = launcher().admitted(decode_0="held", decode_1="draining")
    assert read_report(one.job) == RouterReport(closed=("decode/0", "decode/1"))


def test_an_engine_that_is_stuck_comes_with_its_reason_and_its_group_is_not_called_closed():
    members = [
        {"name": "decode-0", "group": "decode/0", "state": "proving", "stuck": "nothing moves"},
        {"name": "decode-1", "group": "decode/0", "state": "proving", "stuck": ""},
        {"name": "decode-2", "group": "decode/1", "state": "proving", "stuck": ""},
    ]
    reply = HttpReply(status=200, body=json.dumps({"members": members, "skipped_prefill": 3}))
    one = launcher(PLAN, Node("n1", http=lambda _: reply)).admitted()
    assert read_report(one.job) == RouterReport(
        closed=("decode/1",), stuck={"decode-0": "nothing moves"}, skipped_prefill=3
    )


def test_one_engine_that_is_not_proved_closes_its_group():
    pair = tuple(a_process(f"decode-{n}", "n2", group="decode/0") for n in range(2))
    members = [{"group": "decode/0", "state": state} for state in ("proving", "serving")]
    reply = HttpReply(status=200, body=json.dumps({"members": members}))
    one = launcher(a_plan(*pair, ROUTER), Node("n1", http=lambda _: reply)).admitted(decode_0="proving")
    assert read_report(one.job).closed == ("decode/0",)


def test_a_first_start_writes_the_file_with_every_group_held():
    one = launcher()
    assert align(one.job, {"decode/0"}, "proving")
    assert one.states == {"decode/0": "proving", "decode/1": "held", "decode/2": "held"}
    assert json.loads(one.nodes["n1"].files[FILE])["revision"] == "r1"


def test_a_new_plan_keeps_the_states_of_others_and_holds_what_is_new():
    n1 = Node("n1")
    launcher(PLAN, n1).admitted(decode_1="draining")
    longer = a_plan(*ENGINES, a_process("decode-3", "n2", group="decode/3"), ROUTER, revision="r2")
    later = launcher(longer, n1)
    align(later.job, {"decode/0"}, "held")
    assert later.states == {
        "decode/0": "held",
        "decode/1": "draining",
        "decode/2": "serving",
        "decode/3": "held",
    }
    assert json.loads(n1.files[FILE])["revision"] == "r2"


def test_a_group_that_moved_to_another_address_is_held_until_it_is_proved():
    n1 = Node("n1")
    launcher(PLAN, n1).admitted()
    moved = a_plan(ENGINES[0], ENGINES[1], a_process("decode-2", "n3", group="decode/2"), ROUTER)
    later = launcher(moved, n1)
    align(later.job, (), "held")
    assert later.states == {"decode/0": "serving", "decode/1": "serving", "decode/2": "held"}


def test_a_group_that_left_the_plan_is_no_member_any_more():
    n1 = Node("n1")
    launcher(PLAN, n1).admitted()
    later = launcher(a_plan(*ENGINES[:2], ROUTER), n1)
    align(later.job, (), "held")
    assert set(later.states) == {"decode/0", "decode/1"}


def test_what_is_closed_is_left_to_the_router_and_what_serves_stays_open():
    one = launcher().admitted(decode_0="held", decode_1="draining")
    release(one.job, GROUPS)
    assert one.states == {"decode/0": "proving", "decode/1": "proving", "decode/2": "serving"}


def test_endpoints_are_known_as_the_router_knows_them():
    one = launcher().admitted()
    [endpoint] = read_endpoints(one.job, {"decode/1", "decode/9"})
    planned = ENGINES[1].endpoints[0]
    assert (endpoint.name, endpoint.url, endpoint.node) == ("decode-1", planned.url, "n1")
    assert (endpoint.api.running, endpoint.api.waiting) == (planned.api.running, planned.api.waiting)


def test_a_router_s_node_that_is_lost_is_an_error_of_an_edit_and_no_state_of_a_look():
    one = launcher().admitted()
    one.driver.lose("n1")
    assert read_states(one.job) == {}
    with pytest.raises(DplaunchError, match="the link broke"):
        set_state(one.job, {"decode/0"}, "held")


def test_a_change_between_look_and_write_is_not_undone():
    n1 = Node("n1")
    one, other = launcher(PLAN, n1).admitted(), launcher(PLAN, n1)
    one.driver.before["swap"] = partial(set_state, other.job, {"decode/1"}, "draining")
    assert set_state(one.job, {"decode/0"}, "held")
    assert one.states == {"decode/0": "held", "decode/1": "draining", "decode/2": "serving"}
    assert len(one.calls("swap")) == 2


def test_a_file_that_appears_between_look_and_write_is_not_replaced():
    n1 = Node("n1")
    one, other = launcher(PLAN, n1), launcher(PLAN, n1)
    one.driver.before["swap"] = partial(align, other.job, {"decode/1"}, "serving")
    align(one.job, {"decode/0"}, "held")
    assert one.states == {"decode/0": "held", "decode/1": "serving", "decode/2": "held"}


def test_a_file_that_never_rests_is_an_error():
    n1 = Node("n1")
    one = launcher(PLAN, n1).admitted()
    looks = iter(range(1000))

    def disturb():
        n1.files[FILE] += " " * (1 + next(looks) % 2)
        one.driver.before["swap"] = disturb

    disturb()
    with pytest.raises(DplaunchError, match=rf"{FILE} on n1 .* {TRIES} tries"):
        set_state(one.job, {"decode/0"}, "held")


EDITS = st.lists(
    st.tuples(st.sampled_from(("set", "align")), st.sampled_from(STATES)), min_size=1, max_size=4
)


@settings(deadline=None)
@given(edits=st.tuples(EDITS, EDITS, EDITS), order=st.lists(st.integers(0, 2), max_size=40))
def test_changes_of_different_groups_at_once_all_happen_whatever_their_order(edits, order):
    n1 = Node("n1")
    launchers = [launcher(PLAN, n1) for _ in GROUPS]
    launchers[0].admitted()
    written = [group_states(n1.files[FILE])]

    def work(number):
        for kind, state in edits[number]:
            change = set_state if kind == "set" else align
            assert change(launchers[number].job, {GROUPS[number]}, state)
            written.append(group_states(n1.files[FILE]))

    turns = Turns([partial(work, number) for number in range(len(GROUPS))])
    for number, one in enumerate(launchers):
        stop_at_every_call(one.driver, partial(turns.wait, number))
    turns.take(order)
    assert written[-1] == {group: edits[n][-1][1] for n, group in enumerate(GROUPS)}
    # nobody's change shows a state of another group that its own launcher never asked for
    for n, group in enumerate(GROUPS):
        seen = [states[group] for states in written]
        assert is_a_walk_through(seen, ["serving", *(state for _, state in edits[n])])


def stop_at_every_call(driver, wait):
    """Before each look and each write it is another launcher's turn."""

    def stop(verb):
        driver.before[verb] = partial(stop, verb)
        wait()

    for verb in ("read", "swap"):
        driver.before[verb] = partial(stop, verb)


def is_a_walk_through(seen, steps):
    """Every state seen is the one before, or the next that was asked for: none comes back."""
    place = 0
    for state in seen:
        while place < len(steps) and steps[place] != state:
            place += 1
    return place < len(steps)
