"""A wave carried out: an outcome for each group, whatever happens to the others."""

import pytest
from nodes import Ending, Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError, LockedError
from dplaunch.fleet.change.carry import Carrying
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.model.observed import State
from dplaunch.model.remote import HttpReply, Refusal
from dplaunch.model.step import Ended
from dplaunch.reconcile import Wish, decide

ENGINES = (
    a_process("prefill-0", "n1"),
    a_process("decode-0", "n2", group="decode/0"),
    a_process("decode-1", "n2", group="decode/0"),
    a_process("decode-2", "n3", group="decode/1"),
)
PLAN = a_plan(*ENGINES, a_process("router", "n1"))
DONE, FAILED, SKIPPED = Ended.DONE, Ended.FAILED, Ended.SKIPPED


def carried(stage, **options):
    """Group → how it came out of the first wave of an ``up``, and why."""
    stage.driver.open()
    observed = stage.driver.observe(health=True)
    wave = decide(PLAN, observed, Wish()).waves[0]
    begun = []
    outcomes = Carrying(stage.job, wave, ChangeOptions(**options), observed).carry(lambda: begun.append(1))
    return {one.group: one.ended for one in outcomes}, {one.group: one.error for one in outcomes}, begun


def test_all_groups_are_done():
    ended, errors, begun = carried(Scene(PLAN))
    assert ended == dict.fromkeys(("prefill/0", "router", "decode/0", "decode/1"), DONE)
    assert set(errors.values()) == {None}
    assert begun == [1]


def test_a_group_that_fails_is_failed_and_the_others_came_no_further():
    ended, errors, begun = carried(Scene(PLAN, Node("n2", ends={"decode-1": Ending(code=3)})))
    assert ended == {"prefill/0": SKIPPED, "router": SKIPPED, "decode/0": FAILED, "decode/1": SKIPPED}
    assert "decode-1 on n2 exited with code 3" in errors["decode/0"].text
    assert begun == [1]


def test_every_group_of_which_a_process_fails_is_failed():
    ends = {"decode-0": Ending(code=3), "decode-1": Ending(code=3)}
    ended, _, _ = carried(Scene(PLAN, Node("n2", ends=ends), Node("n3", ends={"decode-2": Ending(code=3)})))
    assert [group for group, how in ended.items() if how is FAILED] == ["decode/0", "decode/1"]


def test_a_refused_start_fails_its_group_before_anything_is_awaited():
    stage = Scene(PLAN, Node("n3", refused={"decode-2": Refusal(kind="exec", text="no such program")}))
    ended, errors, begun = carried(stage)
    assert [group for group, how in ended.items() if how is FAILED] == ["decode/1"]
    assert "no such program" in errors["decode/1"].text
    assert begun == []
    assert stage.calls("watch") == []


def test_a_proof_that_fails_fails_the_wave_and_admits_nothing():
    wrong = HttpReply(status=200, body='{"choices": [{"text": ""}]}')
    stage = Scene(PLAN, Node("n1", answers={"prefill-0,decode-2": wrong}))
    ended, errors, _ = carried(stage)
    assert set(ended.values()) == {FAILED}
    assert "decode-2" in errors["decode/1"].text
    assert set(stage.states.values()) == {"held"}


def test_a_node_that_cannot_write_fails_the_wave():
    stage = Scene(PLAN, Node("n3", refuses={"put": "the disk is full"}))
    ended, errors, _ = carried(stage)
    assert set(ended.values()) == {FAILED}
    assert "the disk is full" in errors["prefill/0"].text
    assert stage.calls("start") == []


def test_detached_groups_are_done_when_they_have_started():
    stage = Scene(PLAN)
    ended, _, begun = carried(stage, detach=True)
    assert (set(ended.values()), begun) == ({DONE}, [1])
    assert set(stage.states.values()) == {"proving"}


def test_a_wave_that_broke_off_is_carried_out_again():
    n3 = Node("n3", refused={"decode-2": Refusal(kind="exec", text="no such program")})
    stage = Scene(PLAN, n3)
    carried(stage)
    n3.refused.clear()
    ended, _, _ = carried(stage)
    assert set(ended.values()) == {DONE}
    assert all(one.state is State.RUNNING for node in stage.nodes.values() for one in node.processes.values())
    assert set(stage.states.values()) == {"serving"}


def test_a_lock_that_was_lost_is_no_outcome():
    stage = Scene(PLAN)

    def lost():
        raise LockedError("eve@desk is running")

    stage.driver.before["start"] = lost
    with pytest.raises(LockedError):
        carried(stage)


def test_the_first_failure_is_the_error_of_the_verb():
    stage = Scene(PLAN, Node("n2", ends={"decode-1": Ending(code=3)}))
    _, errors, _ = carried(stage)
    assert len({id(error) for error in errors.values()}) == 1
    assert isinstance(errors["decode/0"], DplaunchError)
