from __future__ import annotations

import time

import pytest
from plans import a_job, a_plan, a_process

from dplaunch.model import event as ev
from dplaunch.model.plan import Plan, Ready
from dplaunch.model.progress import Step
from dplaunch.progress import apply, begin


def cluster(engines: int = 4, nodes: int = 2) -> Plan:
    router = a_process("router", "n1")
    return a_plan(router, *(a_process(f"decode-{n}", f"n{1 + n * nodes // engines}") for n in range(engines)))


def after(*events: ev.Event):
    progress = begin(cluster())
    for event in events:
        progress = apply(progress, event)
    return progress


def started(name: str, at: float = 1.0) -> ev.Started:
    return ev.Started(at=at, process=name, node="n1", pid=1)


def stage(name: str, index: int, at: float, fraction: float = 0.0) -> ev.Milestone:
    return ev.Milestone(at=at, process=name, stage=f"s{index}", index=index, count=4, fraction=fraction)


def failed(name: str, at: float) -> ev.Failed:
    return ev.Failed(at=at, process=name, node="n1", text=f"{name} exited")


def test_all_wait_at_first_and_engines_come_before_services():
    progress = begin(cluster())
    assert [role.role for role in progress.roles] == ["decode", "router"]
    assert {unit.step for unit in progress.units.values()} == {Step.WAITING}
    assert progress.elapsed == 0.0


PARENT = a_process(
    "decode@n1", "n1", endpoints=("decode-0", "decode-1", "decode-2"), role="decode", kind="engine"
)
JOB = a_job("convert-0", "n1")


def steps(progress):
    return {name: unit.step.value for name, unit in progress.units.items()}


def test_each_endpoint_of_a_parent_process_is_awaited():
    progress = begin(a_plan(PARENT, JOB))
    assert {unit.name: unit.process for unit in progress.units.values()} == {
        "decode-0": "decode@n1",
        "decode-1": "decode@n1",
        "decode-2": "decode@n1",
        "convert-0": "convert-0",
    }
    assert [(role.role, role.total) for role in progress.roles] == [("decode", 3), ("convert", 1)]


def test_what_happens_to_a_parent_process_happens_to_all_its_endpoints():
    progress = apply(begin(a_plan(PARENT, JOB)), started("decode@n1"))
    assert steps(progress) == {
        "decode-0": "starting",
        "decode-1": "starting",
        "decode-2": "starting",
        "convert-0": "waiting",
    }
    loading = apply(progress, stage("decode@n1", 2, 2.0))
    assert {unit.done for unit in loading.of("decode@n1")} == {0.5}
    one_left = apply(loading, ev.BecameReady(at=3.0, process="decode-1", seconds=1.0))
    assert [unit.step for unit in one_left.of("decode@n1")] == [Step.LOADING, Step.READY, Step.LOADING]
    assert (one_left.role("decode").ready, one_left.role("decode").slowest.name) == (1, "decode-0")
    dead = apply(one_left, failed("decode@n1", 4.0))
    assert {unit.step for unit in dead.of("decode@n1")} == {Step.FAILED}
    assert [failure.process for failure in dead.failures] == ["decode@n1"]


def test_an_endpoint_is_proved_by_itself():
    progress = begin(a_plan(PARENT))
    for name in ("decode-0", "decode-2"):
        progress = apply(progress, ev.Proved(at=5.0, process=name, seconds=0.2))
    assert (progress.role("decode").proved, progress.units["decode-1"].step) == (2, Step.WAITING)


def test_a_job_is_ready_when_it_has_ended():
    progress = begin(a_plan(JOB))
    for event in (started("convert-0"), ev.BecameReady(at=9.0, process="convert-0", seconds=8.0)):
        progress = apply(progress, event)
    assert steps(progress) == {"convert-0": "ready"}
    assert progress.role("convert").slowest is None


def test_a_process_that_a_line_makes_ready_is_one_unit_whatever_it_answers():
    headless = a_process("decode-4", "n1", endpoints=("decode-4", "decode-5"), ready=Ready("line", "joined"))
    assert set(begin(a_plan(headless)).units) == {"decode-4"}


def test_only_what_the_walk_acts_on_is_counted():
    assert set(begin(a_plan(PARENT, JOB), only={"decode@n1"}).units) == {"decode-0", "decode-1", "decode-2"}
    assert set(begin(cluster(), only={"decode-1", "decode-2"}).units) == {"decode-1", "decode-2"}


def test_a_process_goes_through_its_steps():
    history = [
        (started("decode-0", 1.0), Step.STARTING, 0.0),
        (stage("decode-0", 0, 2.0), Step.LOADING, 0.0),
        (stage("decode-0", 2, 3.0, 0.5), Step.LOADING, 0.625),
        (ev.BecameReady(at=4.0, process="decode-0", seconds=3.0), Step.READY, 1.0),
        (ev.Proved(at=5.0, process="decode-0", seconds=0.2), Step.PROVED, 1.0),
    ]
    progress = begin(cluster())
    for event, step, done in history:
        progress = apply(progress, event)
        unit = progress.units["decode-0"]
        assert (unit.step, unit.done, unit.since) == (step, done, event.at)


def test_the_old_value_stays_as_it_was():
    before = begin(cluster())
    apply(before, started("decode-0"))
    assert before.units["decode-0"].step is Step.WAITING


def test_progress_inside_a_stage_does_not_restart_its_clock():
    progress = after(started("decode-0"), stage("decode-0", 1, 5.0, 0.1), stage("decode-0", 1, 9.0, 0.6))
    unit = progress.units["decode-0"]
    assert (unit.since, unit.fraction) == (5.0, 0.6)


@pytest.mark.parametrize("echo", [stage("decode-0", 0, 9.0), stage("decode-0", 2, 9.0, 0.2)])
def test_lines_read_again_by_a_second_watcher_change_nothing(echo):
    progress = after(started("decode-0"), stage("decode-0", 2, 5.0, 0.7))
    assert apply(progress, echo).units == progress.units


def test_a_late_stage_does_not_undo_ready_and_a_late_ready_not_a_failure():
    ready = after(ev.BecameReady(at=4.0, process="decode-0", seconds=3.0), stage("decode-0", 1, 5.0))
    assert ready.units["decode-0"].step is Step.READY
    dead = after(failed("decode-0", 4.0), ev.BecameReady(at=4.1, process="decode-0", seconds=3.0))
    assert dead.units["decode-0"].step is Step.FAILED


def test_a_new_start_begins_anew():
    progress = after(failed("decode-0", 4.0), ev.Stopped(at=5.0, process="decode-0", node="n1", seconds=1.0))
    assert progress.units["decode-0"].step is Step.FAILED  # sweeping up does not hide the failure
    progress = apply(progress, started("decode-0", 6.0))
    assert (progress.units["decode-0"].step, progress.units["decode-0"].done) == (Step.STARTING, 0.0)


def test_the_slowest_is_the_lowest_stage_then_the_longest_there():
    progress = after(
        started("decode-0"), started("decode-1"), started("decode-2"), started("decode-3"),
        stage("decode-0", 2, 3.0), stage("decode-1", 1, 9.0), stage("decode-2", 1, 7.0), stage("decode-3", 1, 8.0),
    )  # fmt: skip
    slowest = progress.role("decode").slowest
    assert slowest is not None
    assert slowest.name == "decode-2"


def test_a_process_without_any_stage_is_slower_than_all_with_one():
    progress = after(started("decode-0"), started("decode-1"), stage("decode-0", 0, 3.0))
    slowest = progress.role("decode").slowest
    assert slowest is not None
    assert slowest.name in ("decode-2", "decode-3")  # not even started


def test_a_role_in_figures():
    progress = after(
        started("decode-0"), started("decode-1"), started("decode-2"),
        ev.BecameReady(at=4.0, process="decode-0", seconds=3.0), ev.Proved(at=5.0, process="decode-0", seconds=0.2),
        ev.BecameReady(at=4.0, process="decode-1", seconds=3.0), failed("decode-2", 6.0),
    )  # fmt: skip
    role = progress.role("decode")
    assert (role.total, role.started, role.ready, role.proved, role.failed) == (4, 3, 2, 1, 1)
    assert role.fraction == pytest.approx(0.5)
    assert [failure.process for failure in progress.failures] == ["decode-2"]


def test_nobody_is_slowest_when_all_serve():
    events = [ev.BecameReady(at=4.0, process=f"decode-{n}", seconds=3.0) for n in range(4)]
    assert after(*events).role("decode").slowest is None


def test_phases_and_time_come_from_the_events():
    progress = after(ev.PhaseBegan(at=10.0, phase="connect", detail="2 nodes"),
                     ev.PhaseEnded(at=10.5, phase="connect", seconds=0.5),
                     ev.PhaseBegan(at=10.5, phase="load"), ev.Note(at=17.0, text="x"))  # fmt: skip
    assert progress.phase is not None
    assert progress.phase.name == "load"
    assert [(phase.name, phase.seconds, phase.detail) for phase in progress.phases] == [
        ("connect", 0.5, "2 nodes"), ("load", None, ""),
    ]  # fmt: skip
    assert progress.elapsed == 7.0


def test_a_phase_that_failed_is_not_under_way_after_the_next_one():
    progress = after(ev.PhaseBegan(at=1.0, phase="load"), ev.PhaseBegan(at=5.0, phase="take down"),
                     ev.PhaseEnded(at=6.0, phase="take down", seconds=1.0))  # fmt: skip
    assert progress.phase is None


def test_events_about_strangers_only_move_the_time():
    progress = after(started("decode-99", 3.0), ev.Stopped(at=5.0, process="gone-1", node="n9", seconds=0.1))
    assert progress.units == begin(cluster()).units
    assert progress.at == 5.0


def test_lost_nodes_are_kept():
    lost = ev.NodeFailed(at=2.0, node="n2", text="no route to host")
    assert after(lost).lost == (lost,)


def test_ten_thousand_events_of_a_thousand_processes_fold_in_a_second():
    progress = begin(cluster(engines=1024, nodes=64))
    events = [stage(f"decode-{n}", index, float(index)) for index in range(10) for n in range(1024)]
    before = time.process_time()
    for event in events:
        progress = apply(progress, event)
    assert len(progress.roles) == 2
    assert time.process_time() - before < 1.0


def test_requests_are_waited_for_in_their_phase_only():
    begun = ev.PhaseBegan(at=1.0, phase="drain")
    said = [ev.Draining(at=2.0, requests={"a-0": 3}), ev.Draining(at=3.0, requests={"a-0": 1})]
    assert after(begun, *said).draining == {"a-0": 1}
    assert after(begun, *said, ev.PhaseBegan(at=4.0, phase="stop")).draining == {}


def test_how_far_a_survey_is_counts_in_its_phase_only():
    begun = ev.PhaseBegan(at=1.0, phase="probe")
    said = [ev.Surveyed(at=2.0, node="n1", done=3, count=9), ev.Surveyed(at=3.0, node="n1", done=5, count=9)]
    assert after(begun, *said).surveyed == {"n1": (5, 9)}
    assert after(begun, *said, ev.PhaseBegan(at=4.0, phase="connect nodes")).surveyed == {}
