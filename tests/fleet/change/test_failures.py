"""Processes that fail while a cluster starts: which of them is the error, with which cause, and what remains."""

from functools import partial

import pytest
from nodes import LOADING, OTHER_MODEL, SILENT, Ending, Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError, NotReadyError
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import up
from dplaunch.model.event import Failed, Note, Stopped
from dplaunch.model.remote import HttpReply
from dplaunch.model.trail import Result

ENGINES = (a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("decode-1", "n2"))
ROUTER = a_process("router", "n1")
CODE_1 = Ending(code=1)
PEER = "RuntimeError: Connection closed by peer"
TIMES_OUT = "ERROR 04-25 10:01:30 [x.py:1] EI0006: Getting socket times out"
VERSIONS = "ERROR 04-25 10:01:17 [x.py:1] EI0008 The HCCL versions are inconsistent"


def scene(*nodes: Node):
    return Scene(a_plan(*ENGINES, ROUTER), *nodes)


def failure(stage, kind=DplaunchError, **options):
    """The error of an ``up`` that fails."""
    with pytest.raises(kind) as caught:
        up(stage.job, ChangeOptions(**options), lambda *_: True)
    return caught.value


def n2(**logs):
    """Each of these engines logs its lines and ends with code 1."""
    by_name = {name.replace("_", "-"): lines for name, lines in logs.items()}
    return Node("n2", logs=by_name, ends=dict.fromkeys(by_name, CODE_1))


def names(events):
    return [event.process for event in events]


def test_an_engine_that_exits_is_a_failure_with_its_cause_and_the_rest_is_taken_down():
    tail = ["Loading weights", "ERROR EI0006: Getting socket times out", "Traceback", "bye"]
    stage = scene(Node("n2", logs={"decode-1": tail}, ends={"decode-1": Ending(0)}))
    error = failure(stage)
    assert error.text.startswith("decode-1 on n2 exited with code 0 before it was ready")
    assert error.hint.startswith("another rank did not respond")
    assert error.detail == (tail[1], "log: n2:/state/decode-1/log")
    assert set(names(stage.of(Stopped))) == {"prefill-0", "decode-0", "router"}
    assert stage.trail[-1].result is Result.FAILED
    assert stage.states == {"prefill/0": "held", "decode/0": "held"}  # nothing is admitted


def test_the_event_of_a_failure_carries_the_end_of_its_log_for_the_screen():
    stage = scene(n2(decode_1=[f"line {n}" for n in range(40)]))
    failure(stage)
    [failed] = stage.of(Failed)
    assert (len(failed.tail), failed.tail[-1]) == (12, "line 39")


def test_an_end_without_a_code_is_described_without_one():
    stage = scene(Node("n2", ends={"decode-0": Ending(None)}))
    assert failure(stage).text == "decode-0 on n2 exited before it was ready"


def test_the_failure_with_a_known_cause_comes_first():
    error = failure(scene(n2(decode_0=["connection reset"], decode_1=["EI0006 x"])))
    assert error.text.startswith("decode-1 on n2")
    assert error.text.endswith("(and 1 more)")


def test_the_failure_that_the_others_follow_from_comes_first():
    late = f"ERROR 04-25 10:01:30 [x.py:1] {PEER}"
    early = "ERROR 04-25 10:01:17 [x.py:1] RuntimeError: NPU out of memory"
    error = failure(scene(n2(decode_0=[late], decode_1=[early])))
    assert error.text.startswith("decode-1 on n2")
    assert error.detail[0] == early
    assert error.hint.startswith("the device has too little memory")


def test_of_two_that_fail_the_one_that_does_not_point_elsewhere_is_the_error():
    root = ["ValueError: root", "RuntimeError: Failed. See root cause above"]
    stage = scene(n2(decode_0=[PEER], decode_1=root))
    error = failure(stage)
    assert error.text.startswith("decode-1 on n2")
    assert error.detail[0] == "ValueError: root"
    assert "load" not in stage.phases  # what failed has not ended well


def test_an_earlier_error_of_another_log_is_the_cause_though_its_engine_still_runs():
    node = Node("n2", logs={"decode-0": [TIMES_OUT], "decode-1": ["INFO fine", VERSIONS]})
    node.ends["decode-0"] = CODE_1
    node.health["decode-1"] = SILENT
    stage = scene(node)
    error = failure(stage)
    assert error.text.startswith("decode-0 on n2 exited with code 1")
    assert error.detail[0] == f"decode-1 on n2: {VERSIONS}"
    assert error.hint.startswith("HCCL or CANN versions differ")
    assert any(VERSIONS in note for note in stage.notes)


def test_where_all_only_wait_the_silent_one_is_named():
    node = Node("n2", logs={"decode-0": [TIMES_OUT], "decode-1": ["INFO fine"]}, health={"decode-1": SILENT})
    node.ends["decode-0"] = CODE_1
    assert "log of decode-1 shows no error: look there first" in failure(scene(node)).hint


def test_what_was_killed_comes_before_those_that_follow():
    node = n2(decode_0=["EI0006: Getting socket times out"])
    node.logs["decode-1"] = ["Loading"]
    node.ends["decode-1"] = Ending(None, "SIGKILL")
    error = failure(scene(node))
    assert error.text.startswith("decode-1 on n2 was killed by SIGKILL")
    assert "dmesg" in error.hint


def test_keep_leaves_what_runs():
    stage = scene(Node("n2", ends={"decode-1": Ending(None, "SIGKILL")}))
    failure(stage, keep=True)
    assert stage.of(Stopped) == []
    assert any("--keep" in note for note in stage.notes)
    assert [entry.result for entry in stage.trail] == [Result.BEGAN, Result.FAILED]
    assert "SIGKILL" in stage.trail[-1].reason
    assert stage.states == {"prefill/0": "held", "decode/0": "held"}


def test_time_up_names_what_hangs_and_takes_it_down():
    node = Node("n2", logs={"decode-0": ["Loading"]}, health={"decode-0": SILENT, "decode-1": SILENT})
    stage = scene(Node("n1", health={"router": LOADING}), node)
    error = failure(stage, NotReadyError, timeout=60.0)
    assert error.text == (
        "not ready after 60 s: decode-1 on n2 (no start-up line yet); decode-0 on n2 (last at `load`); "
        "router on n1 (/health responds 503)"
    )
    assert "decode-1" in error.hint
    assert len(stage.of(Stopped)) == 4


def test_time_up_comes_with_the_error_that_a_log_shows():
    node = Node("n2", logs={"decode-1": [VERSIONS]}, health={"decode-1": SILENT})
    error = failure(scene(node), NotReadyError, timeout=60.0)
    assert "decode-1 on n2" in error.text
    assert error.detail == (f"decode-1 on n2: {VERSIONS}",)
    assert error.hint.startswith("HCCL or CANN versions differ")


def test_a_model_that_is_not_served_differs_from_one_that_loads():
    error = failure(scene(Node("n2", health={"decode-1": OTHER_MODEL})), NotReadyError, timeout=60.0)
    assert "/v1/models does not list the model" in error.text


def test_an_engine_that_was_ready_and_dies_while_others_load_fails_at_once():
    node = Node("n2", health={"decode-1": SILENT})
    stage = scene(node)
    stage.driver.then[20.0] = partial(node.end, "decode-0", 0)
    error = failure(stage, timeout=600.0)
    assert error.text.startswith("decode-0 on n2 exited with code 0 while others")
    assert stage.driver.clock() < 1060.0


def test_an_engine_that_dies_while_it_is_proved_is_the_failure():
    node = Node("n2")

    def dies(request):
        if node.processes["decode-1"].runs:
            node.end("decode-1", 1)
        return HttpReply(error="connection refused") if request.key == "decode-1" else None

    node.http = dies
    stage = scene(node)
    assert failure(stage).text == "decode-1 on n2 exited with code 1 after it was ready"
    assert stage.states["decode/0"] == "held"


def test_an_engine_that_answers_500_before_it_ends_is_explained_by_its_log():
    lines = ["ERROR 11-30 09:38:37 [x.py:1] TypeError: apply() missing an argument", "EngineDeadError: above"]
    died = HttpReply(status=500, body="EngineCore encountered an issue. See stack trace (above)")
    stage = scene(Node("n2", answers={"decode-1": died}, logs={"decode-1": lines}))
    error = failure(stage)
    assert "decode-1 on n2 answered 500" in error.text
    assert error.detail == (f"decode-1 on n2: {lines[0]}",)
    assert stage.of(Note)[-1].text == f"error in the log of decode-1 on n2: {lines[0]}"


def test_a_wrong_answer_is_not_explained_by_the_log_of_another_group():
    n1 = Node("n1", logs={"prefill-0": ["ERROR 11-30 09:38:37 [x.py:1] TypeError: missing"]})
    stage = scene(n1, Node("n2", answers={"decode-1": HttpReply(status=500, body="no")}))
    assert failure(stage).detail == ()


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (HttpReply(status=500, body="EngineDeadError"), "answered 500: EngineDeadError"),
        (HttpReply(status=503, body='{"error": {"message": "no engine"}}'), "answered 503: no engine"),
        (HttpReply(status=503, body='{"error": "no engine"}'), 'answered 503: {"error": "no engine"}'),
        (HttpReply(status=200, body='{"choices": [{"text": "  "}]}'), "empty text"),
        (HttpReply(status=200, body="not json"), "empty text"),
        (HttpReply(status=200, body='{"choices": [{"text": "!!!!!!"}]}'), "garbage: '!!!!!!'"),
        (HttpReply(status=200, body='{"choices": [{"text": "a\\ufffdb"}]}'), "unprintable"),
        (HttpReply(error="timed out"), "did not answer: timed out"),
    ],
)
def test_a_wrong_answer_is_not_ready_and_nothing_is_admitted(answer, found):
    stage = scene(Node("n2", answers={"decode-1": answer}))
    assert found in failure(stage).text
    assert len(stage.of(Stopped)) == 4
    assert "serving" not in " ".join(stage.story())


def test_a_router_that_fails_twice_is_a_failure():
    stage = scene(Node("n1", answers={"router": HttpReply(status=502, body="cold")}))
    assert failure(stage).text.startswith("router on n1 answered 502: cold")
    assert [one.key for one in stage.asked()].count("router") == 4
