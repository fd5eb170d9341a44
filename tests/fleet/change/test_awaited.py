"""How far processes have come that are waited for: a fold over signals, without a node or a clock."""

import pytest
from plans import a_job, a_plan, a_process

from dplaunch.fleet.change.awaited import SUSPECTS, Awaited, patterns
from dplaunch.model.event import BecameReady, Failed, Milestone
from dplaunch.model.plan import Process, Ready, Stage
from dplaunch.model.remote import HealthSeen, LineSeen, ProcessExited, Signal, Stream
from dplaunch.wire.requests import READY_LINE

STREAM = Stream("n1", 1)
STAGES = (Stage("load", r"shards: +(?P<percent>[0-9]+)%"), Stage("serve", "Started"))


def awaited(*processes: Process):
    return Awaited(a_plan(*processes, stages=STAGES), processes, began=100.0)


def health(process, endpoint="", *, ok=True, named=True, status=200, node="n1"):
    fields = {"ok": ok, "named": named, "status": status}
    return HealthSeen(stream=Stream(node, 1), process=process, endpoint=endpoint or process, **fields)


def line(process, pattern, **groups):
    return LineSeen(stream=STREAM, process=process, pattern=pattern, text="a line", groups=groups)


def exits(process, code=0, **fields):
    return ProcessExited(stream=STREAM, process=process, code=code, **fields)


def taken(fold, *signals: Signal, now=107.0):
    return [event for signal in signals for event in fold.take(signal, now)]


def waiting(fold):
    return [process.name for process in fold.waiting]


def test_an_engine_is_ready_when_it_is_healthy_and_names_its_model():
    fold = awaited(a_process("decode-0", "n1"))
    assert taken(fold, health("decode-0", ok=False, named=False, status=503)) == []
    assert taken(fold, health("decode-0", named=False)) == []
    assert waiting(fold) == ["decode-0"]
    [event] = taken(fold, health("decode-0"))
    assert (event.process, event.seconds) == ("decode-0", 7.0)
    assert waiting(fold) == []
    assert taken(fold, health("decode-0")) == []  # once


def test_a_process_with_several_endpoints_is_ready_when_all_are():
    parent = a_process(
        "decode@n1", "n1", role="decode", group="decode/0", kind="engine", endpoints=("decode-0", "decode-1")
    )
    fold = awaited(parent)
    assert [event.process for event in taken(fold, health("decode@n1", "decode-1"))] == ["decode-1"]
    assert waiting(fold) == ["decode@n1"]
    assert [event.process for event in taken(fold, health("decode@n1", "decode-0"))] == ["decode-0"]
    assert waiting(fold) == []


def test_a_process_without_http_is_ready_when_its_line_was_seen():
    headless = a_process("decode-1", "n1", endpoints=(), ready=Ready("line", "joined"))
    fold = awaited(headless)
    assert taken(fold, line("decode-1", SUSPECTS)) == []
    assert [type(event) for event in taken(fold, line("decode-1", READY_LINE))] == [BecameReady]
    assert waiting(fold) == []


def test_a_job_is_ready_when_it_is_done():
    fold = awaited(a_job("convert", "n1"))
    assert waiting(fold) == ["convert"]
    assert [type(event) for event in taken(fold, exits("convert", done=True))] == [BecameReady]
    assert waiting(fold) == []
    assert fold.failed == []


@pytest.mark.parametrize(
    ("process", "exited", "word"),
    [
        (a_process("decode-0", "n1"), exits("decode-0", 0), "code 0 before it was ready"),
        (a_process("decode-0", "n1"), exits("decode-0", 0, done=True), "code 0 before it was ready"),
        (a_process("decode-0", "n1"), exits("decode-0", None, signal="SIGKILL"), "killed by SIGKILL"),
        (a_job("convert", "n1"), exits("convert", 2), "code 2 before it was ready"),
    ],
)
def test_any_other_end_is_a_failure(process, exited, word):
    fold = awaited(process)
    [event] = taken(fold, exited)
    assert isinstance(event, Failed)
    assert word in event.text
    assert fold.failed == [event]
    assert waiting(fold) == []


def test_a_service_that_was_ready_has_not_failed_when_its_guard_starts_it_again():
    fold = awaited(a_process("router", "n1"), a_process("decode-0", "n1"))
    taken(fold, health("router"))
    assert taken(fold, exits("router", 1, again=True)) == []


def test_a_service_that_never_was_ready_has_failed_although_its_guard_tries_again():
    fold = awaited(a_process("router", "n1"))
    [event] = taken(fold, exits("router", 127, again=True))
    assert "before it was ready" in event.text


def test_the_end_of_a_process_that_was_ready_is_a_failure_too():
    fold = awaited(a_process("decode-0", "n1"), a_process("decode-1", "n1"))
    taken(fold, health("decode-0"))
    [event] = taken(fold, exits("decode-0", 1))
    assert "while others" in event.text


def test_signals_of_others_are_none_of_its_business():
    fold = awaited(a_process("decode-0", "n1"))
    assert taken(fold, health("decode-9"), line("decode-9", "stage:0"), exits("decode-9")) == []


def test_stages_are_milestones_with_their_progress():
    fold = awaited(a_process("decode-0", "n1"))
    [event] = taken(fold, line("decode-0", "stage:0", percent="40"))
    assert isinstance(event, Milestone)
    assert (event.stage, event.index, event.count, event.fraction) == ("load", 0, 2, 0.4)


def test_what_came_least_far_is_named_first():
    several = [a_process(f"decode-{n}", f"n{n}") for n in range(4)]
    fold = awaited(*several, a_process("router", "n0"), a_job("convert", "n5"))
    taken(fold, line("decode-1", "stage:1"), line("decode-1", "stage:0"))  # stages do not go back
    taken(
        fold,
        health("decode-2", named=False, node="n2"),
        health("decode-3", ok=False, named=False, status=503, node="n3"),
    )
    assert fold.slowest() == "decode-0"
    where = dict(text.split(" (", 1) for text in fold.describe())
    assert {name: why.rstrip(")") for name, why in where.items()} == {
        "decode-0 on n0": "no start-up line yet",
        "decode-1 on n1": "last at `serve`",
        "decode-2 on n2": "is healthy, but /v1/models does not list the model",
        "decode-3 on n3": "/health responds 503",
        "router on n0": "no response yet",
        "convert on n5": "has not ended",
    }


def test_a_watch_looks_for_stages_and_for_lines_that_a_failure_may_write():
    found = patterns(STAGES)
    assert [pattern.id for pattern in found] == ["stage:0", "stage:1", SUSPECTS]
    assert [pattern.most is None for pattern in found] == [True, True, False]


@pytest.mark.parametrize("pattern", ["stage:9", "stage:-1", "stage:", "stage:x", "else"])
def test_a_stage_that_was_not_asked_for_is_ignored(pattern):
    assert taken(awaited(a_process("decode-0", "n1")), line("decode-0", pattern)) == []


@pytest.mark.parametrize("percent", ["", "x", "nan", "-5", "1e9", None])
def test_progress_that_is_no_percentage_counts_as_none(percent):
    (event,) = taken(awaited(a_process("decode-0", "n1")), line("decode-0", "stage:0", percent=percent))
    assert event.fraction == 0.0


def test_what_a_node_says_of_anothers_process_is_ignored():
    fold = awaited(a_process("decode-0", "n2"))
    assert taken(fold, exits("decode-0", 1), health("decode-0"), line("decode-0", "stage:0")) == []
    assert waiting(fold) == ["decode-0"]
