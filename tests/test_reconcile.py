"""A plan, what runs, and a wish → what to do, and in which order."""

import pytest
from plans import a_plan, a_process

from dplaunch.model.observed import Observed, ObservedNode, ObservedProcess, State
from dplaunch.model.plan import Change
from dplaunch.model.step import StepKind
from dplaunch.reconcile import Wish, decide

PLAN = a_plan(
    a_process("router", "n1", after=("prefill-0", "decode-0", "decode-1")),
    a_process("prefill-0", "n1"),
    a_process("decode-0", "n2"),
    a_process("decode-1", "n3"),
)


def all_but(*names: str) -> Observed:
    found = [
        ObservedProcess(
            name=p.name, kind=p.kind, role=p.role, group=p.group, node=p.node, state=State.RUNNING,
            fingerprint=p.fingerprint,
        )
        for p in PLAN.processes
        if p.name not in names
    ]  # fmt: skip
    return Observed(
        nodes=tuple(
            ObservedNode(name=node.name, processes=tuple(p for p in found if p.node == node.name))
            for node in PLAN.nodes
        )
    )


def changes(decision):
    return {action.process: action.change for action in decision.actions}


def test_of_nothing_all_is_started_in_waves():
    decision = decide(PLAN, Observed(), Wish())
    assert set(changes(decision).values()) == {Change.START}
    assert [wave.groups for wave in decision.waves] == [("prefill/0", "decode/0"), ("router",)]
    assert decision.changes


def test_where_all_runs_it_is_proved_again_and_nothing_changes():
    decision = decide(PLAN, all_but(), Wish())
    assert not decision.changes
    kinds = {step.kind for wave in decision.waves for step in wave.steps}
    assert kinds == {StepKind.AWAIT, StepKind.PROVE, StepKind.ADMIT}


def test_a_group_that_lost_a_process_restarts_and_the_others_stay():
    decision = decide(PLAN, all_but("decode-1"), Wish())
    assert changes(decision) == {
        "router": Change.KEEP,
        "prefill-0": Change.KEEP,
        "decode-0": Change.RESTART,
        "decode-1": Change.START,
    }


@pytest.mark.parametrize(
    ("wish", "whole"),
    [
        (Wish(), True),
        (Wish(force=True), True),
        (Wish(only="decode"), False),
        (Wish(restart=frozenset({"decode-0"})), False),
    ],
)
def test_a_wish_is_whole_where_nothing_is_left_alone(wish, whole):
    assert wish.whole is whole


def test_a_wish_for_one_role_leaves_the_others_out():
    decision = decide(PLAN, Observed(), Wish(only="decode"))
    assert changes(decision) == {"decode-0": Change.START, "decode-1": Change.START}
    assert [wave.groups for wave in decision.waves] == [("decode/0",)]


def test_force_restarts_what_would_be_kept():
    decision = decide(PLAN, all_but("router"), Wish(force=True))
    assert changes(decision)["router"] is Change.START
    assert {changes(decision)[name] for name in ("prefill-0", "decode-0", "decode-1")} == {Change.RESTART}
    assert {a.reason for a in decision.actions if a.change is Change.RESTART} == {"forced"}


def test_a_wish_to_restart_goes_group_by_group_whatever_runs():
    wish = Wish(restart=frozenset({"prefill-0", "decode-0", "decode-1"}))
    for observed in (Observed(), all_but(), all_but("decode-1")):
        decision = decide(PLAN, observed, wish)
        assert [(a.process, a.change, a.reason) for a in decision.actions] == [
            ("prefill-0", Change.RESTART, "asked for"),
            ("decode-0", Change.RESTART, "asked for"),
            ("decode-1", Change.RESTART, "asked for"),
        ]
        assert [wave.groups for wave in decision.waves] == [("prefill/0",), ("decode/0",)]


def test_a_wish_to_restart_nothing_changes_nothing():
    decision = decide(PLAN, all_but(), Wish(restart=frozenset()))
    assert (decision.actions, decision.waves, decision.changes) == ((), (), False)
