from functools import partial

import pytest
from fakefleet import FakeNode, Scene, a_plan, a_process

from dplaunch.errors import DplaunchError, HostError, LockedError, NotReadyError, UsageError
from dplaunch.fleet.job import missing
from dplaunch.fleet.up import UpOptions, restart, up
from dplaunch.model.event import Failed, NodeFailed, Note, PhaseEnded, Proved, Ready, Started, Stopped

ENGINES = (a_process("prefill-0", "n1"), a_process("decode-0", "n2"), a_process("decode-1", "n2"))
ROUTER = a_process("router", "n1")


def yes(_):
    return True


def scene(*nodes: FakeNode, **fields):
    return Scene(a_plan(*ENGINES, ROUTER, **fields), *nodes)


def test_up_starts_waits_and_proves_everything():
    stage = scene()
    result = up(stage.job, UpOptions(), yes)
    assert result.ready
    assert result.changed
    assert [e.process for e in stage.of(Started)] == ["prefill-0", "router", "decode-0", "decode-1"]
    assert {e.process for e in stage.of(Ready)} == {"prefill-0", "decode-0", "decode-1", "router"}
    assert [e.process for e in stage.of(Proved)] == ["prefill-0", "decode-0", "decode-1", "router"]
    assert [e.phase for e in stage.of(PhaseEnded)] == ["connect", "start", "load", "prove", "prove pairs"]


def test_one_session_per_node_does_all_of_it():
    stage = scene()
    up(stage.job, UpOptions(), yes)
    assert [node.opened for node in stage.nodes.values()] == [1, 1]
    # the probes: each engine, the pairs through the router, and the router whole and streaming
    wanted = [
        "lock",
        "observe",
        "audit",
        "put",
        "start",
        "watch",
        "cancel",
        *["probe"] * 4,
        "audit",
        "unlock",
    ]
    assert stage.nodes["n1"].verbs() == wanted


def test_a_start_leaves_the_seconds_of_its_phases():
    stage = scene()
    up(stage.job, UpOptions(), yes)
    entry = [asked["append"] for verb, asked in stage.nodes["n1"].asked if verb == "audit"][-1]
    assert (entry["outcome"], entry["started"]) == ("ready", 4)
    assert list(entry["phases"]) == ["connect", "start", "load", "prove", "prove pairs"]
    assert all(seconds > 0 for seconds in entry["phases"].values())


def test_up_again_starts_nothing_and_still_proves():
    nodes = [FakeNode("n1").observed("prefill-0").observed("router"), FakeNode("n2")]
    nodes[1].observed("decode-0").observed("decode-1")
    stage = scene(*nodes)
    result = up(stage.job, UpOptions(), yes)
    assert not result.changed
    assert stage.of(Started) == []
    assert len(stage.of(Proved)) == 4
    [entry] = stage.nodes["n1"].trail
    assert (entry["verb"], entry["outcome"]) == ("up", "proved")


def test_an_engine_that_exits_is_a_failure_with_its_cause_and_all_is_taken_down():
    tail = ["Loading weights", "ERROR EI0006: Getting socket times out", "Traceback", "bye"]
    gone = {"event": "exit", "code": 0, "signal": "", "tail": tail, "log": "/s/decode-1/log"}
    stage = scene(FakeNode("n2", watch={"decode-1": [gone]}))
    with pytest.raises(DplaunchError) as caught:
        up(stage.job, UpOptions(), yes)
    assert caught.value.text == "decode-1 on n2 exited with code 0 before it was ready"
    assert caught.value.hint.startswith("another rank did not answer while connections were set up")
    assert caught.value.hint.endswith("`dplaunch diagnose` tells more")
    assert caught.value.detail == ("ERROR EI0006: Getting socket times out", "log: n2:/s/decode-1/log")
    assert {e.process for e in stage.of(Stopped)} == {"prefill-0", "decode-0", "decode-1", "router"}
    assert stage.nodes["n1"].verbs()[-2:] == ["audit", "unlock"]


def test_the_failure_with_a_known_cause_comes_first():
    plain = {"event": "exit", "code": 1, "signal": "", "tail": ["connection reset"], "log": ""}
    known = {"event": "exit", "code": 1, "signal": "", "tail": ["EI0006 x"], "log": ""}
    stage = scene(FakeNode("n2", watch={"decode-0": [plain], "decode-1": [known]}))
    with pytest.raises(
        DplaunchError, match="decode-1 on n2 exited with code 1 before it was ready \\(and 1 more\\)"
    ):
        up(stage.job, UpOptions(), yes)


def said(name, *lines: str):
    """The log of a process as its node tells it."""
    end = sum(len(line) + 1 for line in lines)
    return {name: [{"event": "log", "name": name, "offset": 0, "end": end, "lines": list(lines)}]}


def test_the_failure_that_the_others_follow_from_comes_first():
    late = "ERROR 04-25 10:01:30 [x.py:1] RuntimeError: Connection closed by peer"
    early = "ERROR 04-25 10:01:17 [x.py:1] RuntimeError: NPU out of memory"
    exits = {
        name: [{"event": "exit", "code": 1, "signal": "", "tail": [line], "log": ""}]
        for name, line in {"decode-0": late, "decode-1": early}.items()
    }
    stage = scene(FakeNode("n2", watch=exits))
    with pytest.raises(DplaunchError, match=r"decode-1 on n2 exited .* \(and 1 more\)") as caught:
        up(stage.job, UpOptions(), yes)
    assert caught.value.detail[0] == early
    assert caught.value.hint.startswith("device memory does not suffice")


def test_what_another_log_said_first_is_the_cause_though_its_engine_still_runs():
    late = "ERROR 04-25 10:01:30 [x.py:1] EI0006: Getting socket times out"
    early = "ERROR 04-25 10:01:17 [x.py:1] EI0008 The HCCL versions are inconsistent"
    gone = {"event": "exit", "code": 1, "signal": "", "tail": [late], "log": ""}
    logs = said("decode-0", late) | said("decode-1", "INFO fine", early)
    stage = scene(FakeNode("n2", watch={"decode-0": [gone], "decode-1": []}, logs=logs))
    with pytest.raises(DplaunchError, match="decode-0 on n2 exited with code 1") as caught:
        up(stage.job, UpOptions(), yes)
    assert caught.value.detail[0] == f"decode-1 on n2: {early}"
    assert caught.value.hint.startswith("HCCL or CANN versions differ")
    assert f"earlier, decode-1 on n2: {early}" in [note.text for note in stage.of(Note)]


def test_where_all_only_wait_the_silent_one_is_named():
    late = "ERROR 04-25 10:01:30 [x.py:1] EI0006: Getting socket times out"
    gone = {"event": "exit", "code": 1, "signal": "", "tail": [late], "log": ""}
    logs = said("decode-0", late) | said("decode-1", "INFO fine")
    stage = scene(FakeNode("n2", watch={"decode-0": [gone], "decode-1": []}, logs=logs))
    with pytest.raises(DplaunchError) as caught:
        up(stage.job, UpOptions(), yes)
    assert "no error stands in the log of decode-1: look there first" in caught.value.hint


def test_time_up_tells_what_the_logs_say():
    line = "ERROR 04-25 10:01:17 [x.py:1] EI0008 The HCCL versions are inconsistent"
    logs = said("decode-1", line)
    stage = scene(FakeNode("n2", watch={"decode-1": []}, logs=logs))
    with pytest.raises(NotReadyError, match=r"decode-1 on n2 \(no start-up line yet\)") as caught:
        up(stage.job, UpOptions(timeout=60.0), yes)
    assert caught.value.detail == (f"decode-1 on n2: {line}",)
    assert caught.value.hint.startswith("HCCL or CANN versions differ")


def test_keep_leaves_what_runs():
    gone = {"event": "exit", "code": None, "signal": "SIGKILL", "tail": [], "log": ""}
    stage = scene(FakeNode("n2", watch={"decode-1": [gone]}))
    with pytest.raises(DplaunchError, match="was killed by SIGKILL"):
        up(stage.job, UpOptions(keep=True), yes)
    assert stage.of(Stopped) == []
    assert any("--keep" in note.text for note in stage.of(Note))
    outcomes = [entry["outcome"] for entry in stage.nodes["n1"].trail]
    assert outcomes == ["began", "failed: decode-1 on n2 was killed by SIGKILL before it was ready"]


def test_a_part_proved_anew_does_not_mend_what_failed_in_the_whole():
    failed = {"at": 4000.0, "who": "ada@desk", "verb": "up", "outcome": "failed: no"}
    nodes = [FakeNode("n1", trail=[failed]).observed("prefill-0").observed("router"), FakeNode("n2")]
    nodes[1].observed("decode-0").observed("decode-1")
    stage = scene(*nodes)
    restart(stage.job, {"decode-0", "decode-1"})
    assert [e.get("unproved") for e in stage.nodes["n1"].trail if e["outcome"] == "ready"] == ["no"]
    up(stage.job, UpOptions(), yes)
    last = stage.nodes["n1"].trail[-1]
    assert (last["outcome"], "unproved" in last) == ("proved", False)


def test_a_refused_start_names_who_holds_the_port_and_takes_the_rest_down():
    refusal = {"kind": "port-taken", "text": "port 9000 on n2 is held by pid 4 (nginx)", "hint": "stop it"}
    stage = scene(FakeNode("n2", refuse={"decode-0": refusal}))
    with pytest.raises(DplaunchError, match="port 9000 on n2 is held by pid 4"):
        up(stage.job, UpOptions(), yes)
    assert {e.process for e in stage.of(Stopped)} == {"prefill-0", "decode-1", "router"}


def test_a_host_that_is_off_stops_everything_before_it_begins():
    stage = scene(FakeNode("n2", unreachable="n2 does not answer"))
    with pytest.raises(HostError, match="n2 does not answer"):
        up(stage.job, UpOptions(), yes)
    assert stage.nodes["n1"].asked == []


def test_two_hosts_that_are_off_are_both_named():
    stage = scene(FakeNode("n1", unreachable="a"), FakeNode("n2", unreachable="b"))
    with pytest.raises(HostError, match=r"2 of 2 nodes were not reached: n\[1-2\]"):
        up(stage.job, UpOptions(), yes)
    assert stage.of(NodeFailed) == []  # the error says it all, once


def test_of_many_that_are_off_the_first_few_say_why():
    off = {f"n{n}": HostError(f"n{n}", f"n{n} is off", hint=f"look at n{n}") for n in range(1, 65)}
    error = missing(a_plan(*(a_process(f"e-{n}", f"n{n}") for n in range(1, 65))), off)
    assert error.text == "64 of 64 nodes were not reached: n[1-64]"
    assert error.detail[0] == "n1 is off"
    assert error.detail[-1] == "… and 56 more"
    assert error.hint == "look at n1"


def test_a_second_operator_is_told_who_holds_the_lock():
    held = {"kind": "locked", "text": "locked", "lock": {"holder": "bob@b", "what": "up", "since": 0}}
    stage = scene(FakeNode("n1", errors={"lock": held}))
    with pytest.raises(LockedError, match="bob@b is running `dplaunch up`"):
        up(stage.job, UpOptions(), yes)
    assert stage.of(Started) == []


def test_time_up_names_what_hangs_and_takes_it_down():
    loading = {"event": "line", "pattern": "stage:0"}
    waiting = {"event": "health", "ok": False, "models": False, "status": 503}
    silent = FakeNode("n2", watch={"decode-0": [loading], "decode-1": []})
    stage = scene(FakeNode("n1", watch={"router": [waiting]}), silent)
    with pytest.raises(NotReadyError) as caught:
        up(stage.job, UpOptions(timeout=60.0), yes)
    assert caught.value.text == (
        "not ready after 60 s: decode-1 on n2 (no start-up line yet); decode-0 on n2 (last at `load`); "
        "router on n1 (/health answers 503)"
    )
    assert caught.value.hint == "dplaunch logs decode-1 -n 50"
    assert len(stage.of(Stopped)) == 4


def test_a_model_that_is_not_served_is_told_from_one_that_loads():
    other = {"event": "health", "ok": True, "models": False, "status": 200}
    stage = scene(FakeNode("n2", watch={"decode-1": [other]}))
    with pytest.raises(
        NotReadyError, match=r"decode-1 on n2 \(serves, but /v1/models does not name the model\)"
    ):
        up(stage.job, UpOptions(timeout=60.0), yes)


def test_a_link_that_breaks_while_loading_is_reached_again():
    stage = scene(FakeNode("n2", breaks_at="watch"))
    assert up(stage.job, UpOptions(), yes).ready
    assert stage.nodes["n2"].opened == 2
    assert any("n2 is back" in note.text for note in stage.of(Note))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"status": 500, "body": "EngineDeadError"}, "answered 500: EngineDeadError"),
        ({"status": 503, "body": '{"error": {"message": "no engine"}}'}, "answered 503: no engine"),
        ({"status": 503, "body": '{"error": "no engine"}'}, 'answered 503: {"error": "no engine"}'),
        ({"body": '{"choices": [{"text": "  "}]}'}, "answered 200 with empty text"),
        ({"body": "not json"}, "answered 200 with empty text"),
        ({"body": '{"choices": [{"text": "!!!!!!"}]}'}, "answered 200 with garbage: '!!!!!!'"),
        ({"body": '{"choices": [{"text": "a\\ufffdb"}]}'}, "answered 200 with unprintable text"),
        ({"error": "timed out"}, "did not answer: timed out"),
    ],
)
def test_a_wrong_answer_is_not_ready(answer, said):
    stage = scene(FakeNode("n2", answers={"decode-1": answer}))
    with pytest.raises(DplaunchError) as caught:
        up(stage.job, UpOptions(), yes)
    assert said in caught.value.text
    assert len(stage.of(Stopped)) == 4


def test_a_router_that_fails_once_is_asked_again_and_fails_the_second_time():
    stage = scene(FakeNode("n1", answers={"router": {"status": 502, "body": "cold"}}))
    with pytest.raises(DplaunchError, match=r"router on n1 answered 502: cold \(and 1 more\)"):
        up(stage.job, UpOptions(), yes)


def test_detach_returns_before_anything_is_ready():
    stage = scene()
    result = up(stage.job, UpOptions(detach=True), yes)
    assert not result.ready
    assert "watch" not in stage.nodes["n1"].verbs()


def test_detach_refuses_a_router_that_must_start_last():
    stage = Scene(a_plan(*ENGINES, a_process("router", "n1", after=tuple(e.name for e in ENGINES))))
    with pytest.raises(UsageError, match="--detach cannot"):
        up(stage.job, UpOptions(detach=True), yes)


def test_a_router_that_must_start_last_starts_after_the_engines_are_ready():
    stage = Scene(a_plan(*ENGINES, a_process("router", "n1", after=tuple(e.name for e in ENGINES))))
    assert up(stage.job, UpOptions(), yes).ready
    order = [e.process for e in stage.events if isinstance(e, (Started, Ready))]
    assert order.index("router") > order.index("decode-1", order.index("decode-1") + 1)


def test_no_is_respected():
    nodes = [FakeNode("n1").observed("prefill-0", fingerprint="old").observed("router")]
    stage = scene(*nodes)
    with pytest.raises(UsageError, match="nothing was changed"):
        up(stage.job, UpOptions(), lambda _: False)
    assert stage.of(Started) == []


@pytest.mark.parametrize("routed", [True, False])
def test_a_role_brought_up_alone_is_proved_with_what_serves_beside_it(routed):
    n1 = FakeNode("n1").observed("prefill-0")
    stage = scene(n1.observed("router") if routed else n1)
    up(stage.job, UpOptions(only="decode"), yes)
    assert {e.process for e in stage.of(Started)} == {"decode-0", "decode-1"}
    keys = [r["key"] for verb, asked in n1.asked if verb == "probe" for r in asked["requests"]]
    assert len([key for key in keys if "decode-1" in key]) == routed
    assert [note.text.split(":")[0] for note in stage.of(Note)] == ["the router does not run"] * (not routed)


def test_a_changed_group_is_drained_stopped_and_started():
    nodes = [FakeNode("n1").observed("prefill-0").observed("router"), FakeNode("n2")]
    nodes[1].observed("decode-0", fingerprint="old").observed("decode-1")
    stage = scene(*nodes)
    result = up(stage.job, UpOptions(), yes)
    assert result.changed
    assert [e.process for e in stage.of(Stopped)] == ["decode-0", "decode-1"]
    assert [e.process for e in stage.of(Started)] == ["decode-0", "decode-1"]
    first_put = next(asked for verb, asked in stage.nodes["n1"].asked if verb == "put")
    assert '"draining"' in first_put["files"][0]["text"]


def test_restart_takes_the_named_ones_whatever_their_state():
    nodes = [FakeNode("n1").observed("prefill-0").observed("router"), FakeNode("n2")]
    nodes[1].observed("decode-0").observed("decode-1", state="exited", exit_code=0)
    stage = scene(*nodes)
    restart(stage.job, {"decode-0", "decode-1"})
    assert [e.process for e in stage.of(Stopped)] == ["decode-0"]
    assert [e.process for e in stage.of(Started)] == ["decode-0", "decode-1"]


def test_failed_event_carries_the_tail_for_the_screen():
    gone = {"event": "exit", "code": 3, "signal": "", "tail": [f"line {n}" for n in range(40)], "log": "/l"}
    stage = scene(FakeNode("n2", watch={"decode-1": [gone]}))
    with pytest.raises(DplaunchError):
        up(stage.job, UpOptions(), yes)
    failed = stage.of(Failed)[0]
    assert failed.tail[-1] == "line 39"
    assert len(failed.tail) == 12


def test_what_came_back_under_a_name_that_serves_elsewhere_is_stopped_alone():
    nodes = [FakeNode("n1").observed("prefill-0").observed("router").observed("decode-1"), FakeNode("n2")]
    nodes[1].observed("decode-0").observed("decode-1")
    stage = scene(*nodes)
    assert up(stage.job, UpOptions(), yes).changed
    assert [(e.process, e.node) for e in stage.of(Stopped)] == [("decode-1", "n1")]
    assert stage.of(Started) == []
    assert "put" in stage.nodes["n1"].verbs()  # the router learns of it


def test_an_engine_that_was_ready_and_dies_while_others_load_fails_at_once():
    ready = {"event": "health", "ok": True, "models": True}
    gone = {"event": "exit", "code": 0, "signal": "", "tail": ["EI0006"], "log": ""}
    stage = scene(FakeNode("n2", watch={"decode-0": [ready, gone], "decode-1": []}))
    with pytest.raises(
        DplaunchError, match="decode-0 on n2 exited with code 0 while others were still starting"
    ):
        up(stage.job, UpOptions(), yes)
    assert len(stage.of(Stopped)) == 4


def test_of_two_that_fail_the_one_that_does_not_point_elsewhere_is_the_error():
    peer = {"event": "exit", "code": 1, "signal": "", "tail": ["RuntimeError: Connection closed by peer"]}
    root = {**peer, "tail": ["ValueError: root", "RuntimeError: Failed. See root cause above"]}
    stage = scene(FakeNode("n2", watch={"decode-0": [peer], "decode-1": [root]}))
    with pytest.raises(DplaunchError) as caught:
        up(stage.job, UpOptions(), yes)
    assert caught.value.text == "decode-1 on n2 exited with code 1 before it was ready (and 1 more)"
    assert caught.value.detail == ("ValueError: root",)
    assert "load" not in [e.phase for e in stage.of(PhaseEnded)]  # what failed is not called done


def test_who_was_killed_comes_before_those_that_follow():
    killed = {"event": "exit", "code": None, "signal": "SIGKILL", "tail": ["Loading"], "log": "/l"}
    plain = {"event": "exit", "code": 1, "signal": "", "tail": ["EI0006 x"], "log": "/l"}
    logs = said("decode-0", "ERROR 04-25 10:01:17 [x.py:1] EI0006: Getting socket times out")
    stage = scene(FakeNode("n2", watch={"decode-0": [plain], "decode-1": [killed]}, logs=logs))
    with pytest.raises(
        DplaunchError, match=r"decode-1 on n2 was killed by SIGKILL before it was ready \(and 1"
    ) as e:
        up(stage.job, UpOptions(), yes)
    assert e.value.hint.startswith(
        "no error is in its log; `dplaunch logs decode-1 -n 50`, and `dmesg` on n2"
    )


def test_an_engine_that_dies_while_it_is_proved_is_the_failure():
    node = FakeNode("n2", answers={"decode-1": {"status": 0, "error": "connection refused"}})
    stage = scene(node)
    first = node.reply

    def reply(verb, asked):
        if verb == "probe":
            node.processes[-1].update(state="exited", exit_code=1, log="/l")
        return first(verb, asked)

    node.reply = reply
    with pytest.raises(DplaunchError, match="decode-1 on n2 exited with code 1 after it was ready"):
        up(stage.job, UpOptions(), yes)


def test_a_start_that_is_refused_begins_nothing():
    begun = []
    begins = partial(begun.append, 1)
    with pytest.raises(UsageError):
        up(
            scene(FakeNode("n1").observed("prefill-0", fingerprint="old")).job,
            UpOptions(),
            lambda _: False,
            begins,
        )
    assert begun == []
    up(scene().job, UpOptions(), yes, begins)
    assert begun == [1]
