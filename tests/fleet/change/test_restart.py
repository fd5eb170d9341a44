"""``restart`` goes group by group: each is drained, stopped, held, proved and admitted while the others serve."""

import pytest
from msgspec.structs import replace
from nodes import Ending, Node
from plans import a_plan, a_process
from scene import Scene, group_states

from dplaunch.errors import DplaunchError, HostError
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import restart
from dplaunch.model.event import Started, Stopped
from dplaunch.model.observed import State
from dplaunch.model.plan import StopStep
from dplaunch.model.remote import HttpReply
from dplaunch.model.trail import Entry, Result
from dplaunch.reconcile import Wish

ENGINES = (
    a_process("prefill-0", "n1", group="prefill/0"),
    a_process("decode-0", "n2", group="decode/0"),
    a_process("decode-1", "n3", group="decode/1"),
    a_process("decode-2", "n3", group="decode/2"),
)
PLAN = a_plan(*ENGINES, a_process("router", "n1"))
DECODE = ("decode-0", "decode-1", "decode-2")
WRONG = HttpReply(status=200, body='{"choices": [{"text": "!!!!!!"}]}')


def scene(*changed: Node, plan=PLAN):
    """Everything runs and serves."""
    given = {node.name: node for node in changed}
    nodes = {name: given.get(name, Node(name)) for name in ("n1", "n2", "n3")}
    for process in plan.processes:
        if process.name not in nodes[process.node].processes:
            nodes[process.node].observed(process.name, group=process.group)
    return Scene(plan, *nodes.values()).admitted()


def again(stage, *names: str, **options):
    wish = Wish(restart=frozenset(names))
    return restart(stage.job, ChangeOptions(verb="restart", wish=wish, **options))


def names(events):
    return [event.process for event in events]


def test_every_group_is_drained_and_proved_in_turn_while_the_others_serve():
    stage = scene()
    result = again(stage, "decode-0", "decode-1")
    assert (result.ready, result.started) == (True, 2)
    assert stage.story() == [
        *(
            step
            for group, engine, node in (("decode/0", "decode-0", "n2"), ("decode/1", "decode-1", "n3"))
            for step in (
                f"{group} draining",
                f"stop {engine}",
                f"put {node}",
                f"{group} held",
                f"start {engine}",
                f"ask {engine}",
                f"ask prefill-0,{engine}",
                f"{group} serving",
            )
        ),
        "ask router",
    ]
    assert stage.states["decode/2"] == "serving"


def test_an_engine_that_has_ended_is_started_as_those_that_run_are():
    stage = scene(Node("n3").observed("decode-1", group="decode/1", state=State.EXITED, exit_code=0))
    again(stage, "decode-0", "decode-1")
    assert names(stage.of(Stopped)) == ["decode-0"]
    assert names(stage.of(Started)) == ["decode-0", "decode-1"]


def test_a_group_is_proved_with_those_that_serve():
    stage = scene(Node("n2").observed("decode-0", group="decode/0", healthy=False))
    again(stage, "prefill-0")
    pairs = [one.key for one in stage.asked() if "," in one.key]
    assert pairs == ["prefill-0,decode-1", "prefill-0,decode-2"]


def test_a_restart_that_nothing_on_the_other_side_can_prove_proves_itself():
    stage = scene(Node("n1").observed("prefill-0", healthy=False).observed("router", healthy=False))
    again(stage, "decode-0")
    assert stage.phases[-1] == "prove"


def test_a_restart_of_the_router_asks_through_it_and_closes_no_group():
    stage = scene()
    again(stage, "router")
    assert [one.key for one in stage.asked() if one.method == "POST"] == ["router", "router"]
    assert set(stage.states.values()) == {"serving"}


def test_a_group_whose_proof_fails_is_not_admitted_and_the_others_are_left_alone():
    stage = scene(Node("n1", answers={"prefill-0,decode-1": WRONG}))
    with pytest.raises(DplaunchError, match="decode-1"):
        again(stage, *DECODE)
    assert names(stage.of(Started)) == ["decode-0", "decode-1"]
    assert names(stage.of(Stopped)) == ["decode-0", "decode-1", "decode-1"]
    assert stage.states == {
        "prefill/0": "serving",
        "decode/0": "serving",
        "decode/1": "held",
        "decode/2": "serving",
    }
    assert stage.trail[-1].result is Result.FAILED


def test_a_group_that_does_not_start_again_ends_the_restart():
    stage = scene(Node("n2", ends={"decode-0": Ending(code=1)}))
    with pytest.raises(DplaunchError, match="decode-0 on n2 exited"):
        again(stage, *DECODE)
    assert stage.nodes["n3"].processes["decode-1"].runs
    assert stage.states["decode/1"] == "serving"


def test_a_group_that_cannot_be_drained_keeps_running_and_serving():
    stage = scene(Node("n1", breaks_at="read"))
    with pytest.raises(DplaunchError):
        again(stage, "decode-0")
    assert stage.of(Stopped) == []
    assert stage.states["decode/0"] == "serving"


def test_a_group_that_is_drained_and_not_stopped_is_opened_again_by_the_router():
    stage = scene(Node("n2", refuses={"stop": "no memory"}))
    with pytest.raises(DplaunchError, match="decode-0 on n2"):
        again(stage, *DECODE)
    assert stage.nodes["n2"].processes["decode-0"].runs
    assert stage.states["decode/0"] == "proving"


def test_an_engine_without_requests_that_does_not_end_is_not_waited_for_as_one_that_has_some():
    steps = (StopStep("TERM", 600.0),)
    plan = replace(PLAN, nodes=tuple(patient(node, steps) for node in PLAN.nodes))
    stage = scene(Node("n2", slow={"decode-0"}), plan=plan)
    began = stage.driver.clock()
    again(stage, "decode-0")
    assert stage.driver.clock() - began < 60.0


def patient(node, steps):
    return replace(node, processes=tuple(replace(process, stop=steps) for process in node.processes))


def test_a_group_that_another_change_has_closed_stays_closed_all_the_time():
    stage = scene().admitted(decode_1="draining", decode_2="held")
    again(stage, "decode-0")
    seen = [group_states(file.text) for file in stage.calls("swap")]
    assert {(states["decode/1"], states["decode/2"]) for states in seen} == {("draining", "held")}
    assert stage.states["decode/0"] == "serving"


def test_what_failed_in_the_whole_is_not_mended_by_a_restart():
    n1 = Node("n1")
    n1.trail.append(Entry(at=4000.0, who="ada@desk", verb="up", result=Result.FAILED, reason="no"))
    stage = scene(n1)
    again(stage, "decode-0")
    assert (stage.trail[-1].result, stage.trail[-1].unproved) == (Result.READY, "no")


def test_a_node_that_is_lost_before_it_says_what_runs_stops_everything():
    stage = scene(Node("n3", breaks_at="observe"))
    with pytest.raises(HostError):
        again(stage, "decode-0")
    assert stage.of(Stopped) == []


def test_incompatible_guards_are_left_alone():
    strange = {"state": State.INCOMPATIBLE, "problem": "was started by dplaunch 0.1"}
    stage = scene(Node("n2").observed("decode-0", group="decode/0", **strange))
    with pytest.raises(DplaunchError, match="dplaunch 0"):
        again(stage, "decode-1")
    assert stage.of(Stopped) == []


TWO_AND_TWO = a_plan(
    a_process("prefill-0", "n1", group="prefill/0"),
    *(a_process(f"decode-{n}", "n2" if n < 2 else "n3", group=f"decode/{n // 2}") for n in range(4)),
    a_process("router", "n1"),
)


def test_no_pair_is_asked_of_a_group_that_is_out():
    stage = scene(Node("n3").observed("decode-2", group="decode/1", healthy=False), plan=TWO_AND_TWO)
    again(stage, "prefill-0")
    pairs = [one.key for one in stage.asked() if "," in one.key]
    assert pairs == ["prefill-0,decode-0", "prefill-0,decode-1"]


SILENT = HttpReply(error="timed out")


@pytest.mark.parametrize("alone", [SILENT, None])
def test_what_was_restarted_keeps_running_where_the_other_side_fails(alone):
    n1 = Node("n1", answers={"prefill-0,decode-1": WRONG})
    n3 = Node("n3", answers={"decode-1": alone} if alone else {})
    stage = scene(n1, n3)
    result = again(stage, "prefill-0")
    assert result.ready
    assert names(stage.of(Stopped)) == ["prefill-0"]
    assert stage.states["prefill/0"] == "serving"
    assert [note for note in stage.notes if "decode-1" in note]


def test_where_the_only_partner_no_longer_answers_the_restart_is_not_undone():
    plan = a_plan(ENGINES[0], ENGINES[1], a_process("router", "n1"))
    n1, n2 = Node("n1", answers={"prefill-0,decode-0": WRONG}), Node("n2", answers={"decode-0": SILENT})
    stage = scene(n1, n2, plan=plan)
    again(stage, "prefill-0")
    assert names(stage.of(Stopped)) == ["prefill-0"]
    partner = next(one for one in stage.asked("n2") if one.key == "decode-0" and one.method == "POST")
    assert partner.timeout <= 10.0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"members": 5}', '{"members": [{}]}', "[" * 100_000])
def test_a_damaged_members_file_is_written_again(text):
    stage = scene()
    stage.nodes["n1"].files["router/members.json"] = text
    again(stage, "decode-0")
    assert stage.states["decode/0"] == "serving"
