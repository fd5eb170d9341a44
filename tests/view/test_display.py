from __future__ import annotations

import io
import json
import shlex
from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from plans import a_job, a_plan, a_process

from dplaunch import progress as folding
from dplaunch.model import event as ev
from dplaunch.model.cluster import SecretRef
from dplaunch.model.kubernetes import Kubectl, KubernetesPlan
from dplaunch.model.plan import Plan
from dplaunch.view import up as up_view
from dplaunch.view.display import Display, draw_progress
from dplaunch.view.screen import Screen

STAGES = ("imports", "weights", "graphs")


def start(plan: Plan) -> Iterator[ev.Event]:
    yield ev.PhaseBegan(at=0.0, phase="connect", detail="8 nodes")
    yield ev.PhaseEnded(at=0.4, phase="connect", seconds=0.4)
    yield ev.PhaseBegan(at=0.5, phase="start", detail="73 processes")
    for process in plan.processes:
        yield ev.Started(at=1.0, process=process.name, node=process.node, pid=7)
    yield ev.PhaseEnded(at=1.2, phase="start", seconds=0.7)
    yield ev.PhaseBegan(at=1.2, phase="load", detail="73 processes")


def load(plan: Plan) -> Iterator[ev.Event]:
    for index, stage in enumerate(STAGES):
        for process in plan.processes:
            stuck = process.name == "decode-17" and index > 1
            if process.kind == "engine" and not stuck:
                at, fraction = 3.0 + 2 * index, 0.45 if index == 1 else 0.0
                yield ev.Milestone(
                    at=at, process=process.name, stage=stage, index=index, count=3, fraction=fraction
                )
    for process in plan.processes:
        if process.name != "decode-17":
            yield ev.BecameReady(at=9.0, process=process.name, seconds=7.8)


def failures(count: int) -> Iterator[ev.Event]:
    for number in range(17, 17 + count):
        node = f"n{5 + number // 16}"
        yield ev.Failed(
            at=20.0, process=f"decode-{number}", node=node, cause="RuntimeError: NPU out of memory",
            text=f"decode-{number} on {node} exited with code 1 before it was ready", log=f"/s/{node}/decode-{number}/log",
            hint="lower gpu-memory-utilization",
        )  # fmt: skip


def play(
    plan: Plan, *history: Iterator[ev.Event], tick: tuple[float, ...] = (), verbose: int = 0
) -> list[str]:
    """The plain lines of a history, without a terminal."""
    err = io.StringIO()
    display = Display(
        Screen(io.StringIO(), err, environ={}, verbose=verbose), folding.begin(plan), folding.apply
    )
    for events in history:
        for event in events:
            display.handle(event)
    for at in tick:
        display.tick(at)
    display.close()
    return err.getvalue().splitlines()


def test_without_a_terminal_there_are_few_lines_for_many_events(golden, big_plan):
    golden("display", "\n".join(play(big_plan, start(big_plan), load(big_plan))))


def test_long_silence_is_broken_by_where_things_stand(golden, big_plan):
    lines = play(big_plan, start(big_plan), load(big_plan), tick=(20.0, 38.9, 39.0, 50.0, 69.5))
    before = len(play(big_plan, start(big_plan), load(big_plan)))
    golden("display-silence", "\n".join(lines[before:]))


def test_many_that_fail_alike_are_one_block_and_one_line(golden, big_plan):
    golden("display-failures", "\n".join(play(big_plan, failures(16))))


def test_a_failure_without_a_known_cause_shows_the_end_of_its_log(golden, big_plan):
    failed = ev.Failed(
        at=2.0, process="decode-3", node="n5", text="killed by SIGKILL", tail=("a", "\x1b[1mb\x1b[0m")
    )
    golden("display-failure-with-its-tail", "\n".join(play(big_plan, iter([failed]))))


def test_verbose_tells_every_process(big_plan):
    lines = play(big_plan, start(big_plan), verbose=1)
    assert sum("started, pid 7" in line for line in lines) == 73


AT_ONCE = (
    ev.NodeFailed(at=1.0, node="n3", text="no route to host"),
    ev.NodeFailed(at=1.0, node="n3", text="n3 refused the login"),
    ev.Note(at=1.0, text="--keep: what runs goes on"),
    ev.Stopped(at=1.0, process="decode-3", node="n5", seconds=9.0, left=("pid 8 (python3)",)),
)


def test_what_is_printed_at_once(golden, big_plan):
    golden("display-at-once", "\n".join(line for event in AT_ONCE for line in play(big_plan, iter([event]))))


def test_stopping_is_counted_per_role(golden, big_plan):
    stopped = (
        ev.Stopped(at=3.0, process=p.name, node=p.node, seconds=3.0, how="TERM") for p in big_plan.processes
    )
    golden("display-stopped", "\n".join(play(big_plan, stopped)))


def at(plan: Plan, *history: Iterator[ev.Event]):
    progress = folding.begin(plan)
    for events in history:
        for event in events:
            progress = folding.apply(progress, event)
    return progress


@pytest.mark.parametrize(("width", "failed"), [(80, 0), (200, 3)])
def test_the_picture_fits_the_terminal(draw, golden, big_plan, width, failed):
    progress = at(big_plan, start(big_plan), load(big_plan), failures(failed))
    golden(f"picture-{width}", draw(draw_progress(progress, 66.0), width))


def test_a_picture_never_wraps(draw, make_plan):
    plan = make_plan("a-node-with-a-name-of-more-than-sixty-characters-{}.cluster.example.com".format)
    progress = at(plan, start(plan), load(plan))
    assert max(map(len, draw(draw_progress(progress, 66.0), 80).split("\n"))) <= 80


def test_while_stopping_the_bars_count_what_is_gone(draw, golden, big_plan):
    events = [ev.PhaseBegan(at=0.0, phase="stop", detail="73 processes")]
    events += [
        ev.Stopped(at=1.0, process=f"decode-{n}", node="n5", seconds=1.0, how="TERM") for n in range(32)
    ]  # type: ignore[misc]
    golden("picture-stopping", draw(draw_progress(at(big_plan, iter(events)), 2.0), 80))


def test_on_a_terminal_the_picture_is_drawn_ten_times_a_second_at_most_and_taken_away(big_plan, terminal):
    err = terminal()
    screen = Screen(terminal(), err, environ={"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"})
    display = Display(screen, folding.begin(big_plan), folding.apply)
    for events in (start(big_plan), load(big_plan), failures(2)):
        for event in events:
            display.handle(event)
    pictures = err.getvalue().count("  router   ")
    display.close()
    assert 3 <= pictures <= 20  # of 370 events, seven of which are worth a line above it
    assert "decode-17 on n6 exited with code 1" in err.getvalue()
    last = err.getvalue().rsplit("\x1b[2K", 1)[1]
    assert ("decode-18\n" in last, "━" in last) == (True, False)


def test_a_question_takes_the_picture_away_first(big_plan, terminal):
    err = terminal()
    screen = Screen(terminal(), err, environ={"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"})
    display = Display(screen, folding.begin(big_plan), folding.apply)
    display.handle(ev.PhaseBegan(at=0.0, phase="connect"))
    screen.ask("Continue?", io.StringIO("y\n"))
    assert "Continue?" in err.getvalue().rsplit("\x1b[2K", 1)[1]
    asked = len(err.getvalue())
    display.handle(ev.PhaseBegan(at=1.0, phase="start"))
    assert "  router   " in err.getvalue()[asked:]
    display.close()


def test_up_ends_with_a_request_to_paste_and_the_next_commands(draw, golden, big_plan):
    golden("up", draw(up_view.render_done(big_plan, 112.0), 80))


def test_a_second_up_says_that_nothing_was_to_do(draw, golden, big_plan):
    golden("up-unchanged", draw(up_view.render_done(big_plan, 1.0, changed=False)).split("\n")[0])


@pytest.mark.parametrize(("host", "name"), [("localhost", "up-pods"), ("control", "up-pods-control")])
def test_the_end_of_up_in_pods_has_the_command_that_brings_the_endpoint_here(
    big_plan, draw, golden, host, name
):
    kubectl = Kubectl(namespace="inference")
    pods = KubernetesPlan(kubectl=kubectl, host=host, image="e:1", resource="npu", devices={}, manifests=())
    plan = replace(big_plan, kubernetes=pods, url="http://c-router-0.c.inference.svc:8000")
    golden(name, "\n".join(draw(up_view.render_done(plan, 112.0), 80).split("\n")[:7]))


@pytest.mark.parametrize(
    ("key", "header"),
    [
        (SecretRef("env", "MY_KEY"), '-H "Authorization: Bearer ${MY_KEY}"'),
        (SecretRef("file", "/etc/my key"), "-H \"Authorization: Bearer $(cat '/etc/my key')\""),
    ],
)
def test_the_request_names_the_key_and_never_holds_it(big_plan, key, header):
    assert f"  {header} \\\n" in up_view.curl(replace(big_plan, api_key=key))


def test_a_model_name_with_a_quote_survives_the_shell(big_plan):
    words = shlex.split(up_view.curl(replace(big_plan, served_model_name='it\'s "R1" $(id)')))
    assert json.loads(words[-1])["model"] == 'it\'s "R1" $(id)'


def test_detached_says_what_is_not_known_yet(draw, golden, big_plan):
    golden("up-detached", draw(up_view.render_detached(big_plan, 73, 2.0), 100))
    golden("up-detached-unchanged", draw(up_view.render_detached(big_plan, 0, 2.0), 100))


def test_up_and_restart_in_short(golden, big_plan):
    golden("restart", up_view.render_restarted(a_plan(), ["decode-0", "decode-1"], 9.0).plain)
    value = up_view.to_json(big_plan, at(big_plan, start(big_plan)), ready=True, changed=True)
    assert value["phases"][0] == {"phase": "connect", "seconds": 0.4}
    assert value["processes"]["decode-0"] == "starting"


def test_up_as_json(golden):
    plan = a_plan(a_process("router", "n1"), PARENT, a_job("convert-0", "n1"))
    value = up_view.to_json(plan, at(plan, start(plan)), ready=True, changed=True)
    golden("up", value)


PARENT = a_process(
    "decode@n1", "n1", endpoints=("decode-0", "decode-1", "decode-2"), role="decode", kind="engine"
)


def test_what_is_counted_are_endpoints(draw, golden):
    plan = a_plan(a_process("router", "n1"), PARENT)
    loading = [ev.Milestone(at=3.0, process="decode@n1", stage="weights", index=0, count=3, fraction=0.5)]
    ready = [
        ev.BecameReady(at=8.0, process="decode-1", seconds=7.0),
        ev.BecameReady(at=9.0, process="router", seconds=8.0),
    ]
    rest = [ev.BecameReady(at=10.0, process=name, seconds=9.0) for name in ("decode-0", "decode-2")]
    lines = play(plan, start(plan), iter(loading), iter(ready), iter(rest))
    golden("display-endpoints", "\n".join(lines[-5:]))
    half = at(plan, start(plan), iter(loading), iter(ready))
    golden("picture-endpoints", draw(draw_progress(half, 20.0), 80))


def test_a_drain_says_what_it_waits_for(golden, big_plan):
    def drain() -> Iterator[ev.Event]:
        yield ev.PhaseBegan(at=0.0, phase="drain", detail="32 engines")
        yield ev.Draining(at=1.0, requests={"decode-0": 2, "decode-1": 1})

    golden("display-drain", play(big_plan, drain(), tick=(40.0,))[-1])


def test_a_long_survey_names_the_node_that_came_least_far(golden, big_plan):
    def survey() -> Iterator[ev.Event]:
        yield ev.PhaseBegan(at=0.0, phase="probe", detail="8 nodes")
        yield ev.Surveyed(at=1.0, node="n1", done=150, count=160)
        yield ev.Surveyed(at=1.1, node="n3", done=12, count=160)

    golden("display-survey", play(big_plan, survey(), tick=(40.0,))[-1])
