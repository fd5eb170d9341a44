"""Actions → waves: which steps, of which groups, in which order."""

import pytest
from msgspec.structs import replace
from plans import a_job, a_plan, a_process

from dplaunch.model.observed import Observed, ObservedNode, ObservedProcess, State
from dplaunch.model.plan import Action, Change, Process
from dplaunch.model.step import StepKind, Wave
from dplaunch.plan.diff import diff
from dplaunch.plan.waves import waves

PREFILL = (a_process("prefill-0", "n1"), a_process("prefill-1", "n1", group="prefill/1"))
DECODE = (a_process("decode-0", "n2"), a_process("decode-1", "n3"))
PLAN = a_plan(a_process("router", "n1"), *PREFILL, *DECODE)


def actions(change: Change, *processes: Process) -> tuple[Action, ...]:
    return tuple(Action(change, p.name, p.node, "", p.group) for p in processes)


def drawn(found: tuple[Wave, ...]) -> list[dict[str, list[str]]]:
    """Per wave: group → its steps, each with the processes it acts on."""
    return [
        {
            group: [
                f"{step.kind.value} {','.join(name for _, name in step.places)}"
                for step in wave.steps
                if step.group == group
            ]
            for group in wave.groups
        }
        for wave in found
    ]


def steps(change, process=DECODE[0]):
    (wave,) = waves(actions(change, process), a_plan(process))
    return [step.kind.value for step in wave.steps]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change.START, "hold put start await prove admit"),
        (Change.STOP, "drain stop"),
        (Change.RESTART, "drain stop hold put start await prove admit"),
        (Change.KEEP, "await prove admit"),
    ],
)
def test_each_change_has_its_steps_in_their_order(change, expected):
    assert steps(change) == expected.split()


def test_the_order_of_the_steps_is_that_of_their_kinds():
    assert steps(Change.RESTART) == [kind.value for kind in StepKind]


def test_nothing_to_do_has_no_wave():
    assert waves((), PLAN) == ()


def test_groups_without_order_between_them_change_in_one_wave():
    (found,) = drawn(waves(actions(Change.START, *PLAN.processes), PLAN))
    assert list(found) == ["router", "prefill/0", "prefill/1", "decode/0"]
    assert found["decode/0"] == [
        f"{kind} decode-0,decode-1" for kind in ("hold", "put", "start", "await", "prove", "admit")
    ]


def test_a_group_whose_processes_change_differently_has_each_in_its_steps_only():
    mixed = (*actions(Change.RESTART, DECODE[0]), *actions(Change.START, DECODE[1]))
    (found,) = drawn(waves(mixed, PLAN))
    assert found == {
        "decode/0": [
            "drain decode-0",
            "stop decode-0",
            "hold decode-0,decode-1",
            "put decode-0,decode-1",
            "start decode-0,decode-1",
            "await decode-0,decode-1",
            "prove decode-0,decode-1",
            "admit decode-0,decode-1",
        ]
    }


def test_a_wave_knows_its_groups_steps_and_places():
    (wave,) = waves((*actions(Change.KEEP, PREFILL[0]), *actions(Change.STOP, *DECODE)), PLAN)
    assert wave.groups == ("prefill/0", "decode/0")
    assert [step.group for step in wave.of(StepKind.STOP)] == ["decode/0"]
    assert wave.places(StepKind.STOP) == {("n2", "decode-0"), ("n3", "decode-1")}
    assert wave.places(StepKind.PUT) == frozenset()


STORE = a_process("store", "n1")
FIRST = a_job("convert-0", "n1")
ENGINES = (a_process("serve-0", "n1", after=("store", "convert-0")), a_process("serve-1", "n2"))
PROXY = a_process("router", "n1", after=("serve-0", "serve-1"))
AFTER = a_plan(PROXY, *ENGINES, FIRST, STORE)


def test_what_must_start_after_others_is_in_a_later_wave():
    found = waves(actions(Change.START, *AFTER.processes), AFTER)
    assert [wave.groups for wave in found] == [("convert/0", "store"), ("serve/0",), ("router",)]


def test_a_group_waits_for_the_farthest_of_those_it_comes_after():
    both = replace(PROXY, after=("store", "serve-0"))
    plan = a_plan(both, *ENGINES, FIRST, STORE)
    assert waves(actions(Change.START, *plan.processes), plan)[-1].groups == ("router",)


def test_an_order_inside_a_group_makes_no_wave():
    second = replace(ENGINES[1], after=("serve-0",))
    plan = a_plan(ENGINES[0], second, FIRST, STORE)
    assert [wave.groups for wave in waves(actions(Change.START, *plan.processes), plan)] == [
        ("convert/0", "store"),
        ("serve/0",),
    ]


def test_what_nobody_acts_on_is_not_waited_for():
    (wave,) = waves(actions(Change.START, PROXY), AFTER)
    assert wave.groups == ("router",)
    beside = (*actions(Change.START, PROXY), *actions(Change.RESTART, STORE))
    assert [wave.groups for wave in waves(beside, AFTER)] == [("router", "store")]


def test_what_is_kept_is_still_awaited_before_what_comes_after_it():
    found = waves((*actions(Change.KEEP, *ENGINES), *actions(Change.START, PROXY)), AFTER)
    assert drawn(found)[0] == {
        "serve/0": ["await serve-0,serve-1", "prove serve-0,serve-1", "admit serve-0,serve-1"]
    }
    assert found[1].groups == ("router",)


def test_group_by_group_is_a_wave_for_each_in_the_order_of_the_actions():
    found = waves(actions(Change.RESTART, *DECODE, *PREFILL), PLAN, group_by_group=True)
    assert [wave.groups for wave in found] == [("decode/0",), ("prefill/0",), ("prefill/1",)]
    assert all([step.kind for step in wave.steps] == list(StepKind) for wave in found)


def observed(*processes: Process) -> Observed:
    nodes = dict.fromkeys(p.node for p in processes)
    return Observed(
        nodes=tuple(
            ObservedNode(
                name=node,
                processes=tuple(
                    ObservedProcess(
                        name=p.name, kind=p.kind, role=p.role, group=p.group, node=p.node, state=State.RUNNING
                    )
                    for p in processes
                    if p.node == node
                ),
            )
            for node in nodes
        )
    )


def test_a_group_that_moved_is_drained_and_stopped_where_it_was_and_started_where_it_is():
    moved = a_plan(a_process("router", "n1"), a_process("decode-0", "n4"), a_process("decode-1", "n5"))
    found = waves(diff(moved, observed(a_process("router", "n1"), *DECODE)), moved)
    (wave,) = found
    assert (
        wave.places(StepKind.DRAIN) == wave.places(StepKind.STOP) == {("n2", "decode-0"), ("n3", "decode-1")}
    )
    assert wave.places(StepKind.START) == {("n4", "decode-0"), ("n5", "decode-1")}
    (steps_of_decode,) = [[s.kind for s in w.steps if s.group == "decode/0"] for w in found]
    assert steps_of_decode == list(StepKind)


def test_what_is_left_of_a_group_that_is_gone_is_a_group_of_its_wave():
    gone = a_process("old-0", "n9")
    (wave,) = waves(diff(PLAN, observed(gone)), PLAN)
    assert wave.groups[0] == "old/0"
    assert [step.kind for step in wave.steps if step.group == "old/0"] == [StepKind.DRAIN, StepKind.STOP]
