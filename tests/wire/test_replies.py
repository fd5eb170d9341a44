"""Replies → values, for every verb; a reply of another form is the error of its node."""

import pytest

from dplaunch.errors import HostError
from dplaunch.model.observed import ObservedEndpoint, ObservedNode, ObservedProcess, State
from dplaunch.model.remote import (
    Claim,
    Connected,
    ExecResult,
    FileSeen,
    Hello,
    HttpReply,
    Listening,
    Refusal,
    StartResult,
    StopVerdict,
    SurveyReply,
)
from dplaunch.model.trail import Entry, Lock, Result
from dplaunch.wire import replies

ENTRY = {"at": 5.0, "who": "ada@desk", "verb": "up", "result": "ready", "started": 2, "phases": {"load": 3.0}}
ENGINE = {
    "name": "decode@n1", "state": "running", "pid": 7, "started_at": 3.0, "fingerprint": "f1", "log": "/s/log",
    "ports": [9000, 9001], "restarts": 1, "left": [], "exit_code": None, "signal": None,
    "endpoints": [
        {"name": "decode-0", "url": "http://a:9000", "healthy": True},
        {"name": "decode-1", "url": "http://a:9001", "healthy": None},
    ],
    "meta": {"kind": "engine", "role": "decode", "group": "decode/0", "ranks": [0, 1]},
}  # fmt: skip
SEEN = ObservedProcess(
    name="decode@n1", kind="engine", role="decode", group="decode/0", node="n1", state=State.RUNNING, pid=7,
    started_at=3.0, fingerprint="f1", log="/s/log", ports=(9000, 9001), restarts=1,
    endpoints=(
        ObservedEndpoint(name="decode-0", url="http://a:9000", healthy=True),
        ObservedEndpoint(name="decode-1", url="http://a:9001"),
    ),
)  # fmt: skip
OBSERVED = {
    "ok": True, "revision": "r1", "hostname": "h1", "clock": 9.0, "audit": ENTRY, "processes": [ENGINE],
    "lock": {"holder": "ada@desk", "what": "up", "since": 8.0, "pid": 3},
}  # fmt: skip
RAN = {"key": "k", "code": 0, "out": "x", "err": "", "problem": "", "seconds": 0.1}
PORT = {"port": 9000, "pid": 3, "user": "eve", "command": "nginx"}
STRANGER = {"pid": 8, "user": "", "command": "vllm", "pids": (8, 9)}
SURVEYED = {
    "ok": True, "results": [RAN], "taken": [PORT], "ours": [7], "strangers": [STRANGER],
    "saved": {"a": 1}, "seconds": 0.5,
    "claims": [{"cluster": "b", "process": "x", "address": "10.0.0.1", "ports": [9000], "devices": [4]}],
}  # fmt: skip

PORT = {"port": 9000, "pid": 3, "user": "eve", "command": "nginx"}
STRANGER = {"pid": 8, "user": "", "command": "vllm", "pids": (8, 9)}
READ = [
    (
        replies.hello,
        {
            "event": "hello",
            "hostname": "h1",
            "clock": 9,
            "python": "3.11.2",
            "writable": False,
            "problem": "full",
        },
        Hello(hostname="h1", clock=9.0, python="3.11.2", writable=False, problem="full"),
    ),
    (replies.hello, {}, Hello(python="?")),
    (
        replies.observed,
        OBSERVED,
        ObservedNode(
            name="n1",
            revision="r1",
            hostname="h1",
            clock=9.0,
            processes=(SEEN,),
            lock=Lock(holder="ada@desk", verb="up", since=8.0),
            last=Entry(
                at=5.0, who="ada@desk", verb="up", result=Result.READY, started=2, phases={"load": 3.0}
            ),
        ),
    ),
    (
        replies.observed,
        {"revision": None, "clock": None, "lock": None, "audit": None, "processes": []},
        ObservedNode(name="n1"),
    ),
    (
        replies.started,
        {
            "results": [
                {"name": "a", "ok": True, "pid": 7},
                {
                    "name": "b",
                    "ok": False,
                    "error": {"kind": "exec", "text": "not found", "hint": "install it"},
                },
            ]
        },
        (
            StartResult(node="n1", process="a", pid=7),
            StartResult(
                node="n1",
                process="b",
                refusal=Refusal(kind="exec", text="not found", hint="install it"),
            ),
        ),
    ),
    (
        replies.verdict,
        {"name": "a", "how": "TERM", "seconds": 2, "left": [], "ports": None},
        StopVerdict(node="n1", process="a", how="TERM", seconds=2.0),
    ),
    (
        replies.verdict,
        {
            "name": "a",
            "left": [{"pid": 7, "command": "python3"}],
            "problem": "state of another host",
            "ports": [{"port": 9000, "pid": 7, "command": "python3"}, {"port": 9001}],
        },
        StopVerdict(
            node="n1",
            process="a",
            left=(
                "pid 7 (python3)",
                "state of another host",
                "port 9000 held by pid 7 (python3)",
                "port 9001 held by an unknown process",
            ),
        ),
    ),
    (
        replies.answers,
        {
            "results": [
                {"key": "a", "status": 200, "body": "x", "seconds": 0.1, "error": ""},
                {"key": "b", "status": None, "body": None, "error": "refused"},
            ]
        },
        {"a": HttpReply(status=200, body="x", seconds=0.1), "b": HttpReply(error="refused")},
    ),
    (
        replies.files,
        {"files": [{"path": "a", "text": "x", "sha": "5e"}, {"path": "b", "text": None, "sha": ""}]},
        (FileSeen(path="a", text="x", sha="5e"), FileSeen(path="b")),
    ),
    (replies.executed, {"code": -9, "out": "x", "err": "y"}, ExecResult(node="n1", code=-9, out="x", err="y")),
    (
        replies.entries,
        {"lines": [ENTRY, {"at": 6.0, "verb": "up", "outcome": "ready"}, "odd", {"result": ["odd"]}]},
        (Entry(at=5.0, who="ada@desk", verb="up", result=Result.READY, started=2, phases={"load": 3.0}),),
    ),
    (
        replies.surveyed,
        SURVEYED,
        SurveyReply(
            results=(("k", {name: RAN[name] for name in ("code", "out", "err", "problem", "seconds")}),),
            taken=(PORT,),
            claims=(Claim(cluster="b", process="x", ports=(9000,), devices=(4,)),),
            ours=frozenset({7}),
            strangers=(STRANGER,),
            saved={"a": 1},
            seconds=0.5,
        ),
    ),
    (
        replies.listening,
        {
            "random": [40001],
            "refused": [
                {"port": 1, "error": "in use", "held": True},
                {"port": 2, "error": "no such address", "held": False},
            ],
        },
        Listening(random=(40001,), closed={2: "no such address"}),
    ),
    (
        replies.connected,
        {"results": [{"key": "a", "ok": True, "error": None}, {"key": "b", "ok": False, "error": "refused"}]},
        (Connected(key="a"), Connected(key="b", error="refused")),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("parse", "reply", "value"), READ)
def test_a_reply_becomes_its_value(parse, reply, value):
    assert replies.read("n1", reply, parse) == value


WRONG = [
    (replies.hello, {"clock": "now"}),
    (replies.observed, {}),
    (replies.observed, {"processes": None}),
    (replies.observed, {"processes": ["decode-0"]}),
    (replies.observed, {"processes": [{"name": "a"}]}),
    (replies.observed, {"processes": [{"state": "running"}]}),
    (replies.observed, {"processes": [{**ENGINE, "state": "dreaming"}]}),
    (replies.observed, {"processes": [{**ENGINE, "pid": "seven"}]}),
    (replies.observed, {"processes": [{**ENGINE, "left": ["x"]}]}),
    (replies.observed, {"processes": [{**ENGINE, "endpoints": [{"url": "http://a"}]}]}),
    (replies.observed, {"processes": [{**ENGINE, "endpoints": [None]}]}),
    (replies.started, {}),
    (replies.started, {"results": [{"ok": True}]}),
    (replies.started, {"results": [7]}),
    (replies.verdict, {"left": []}),
    (replies.verdict, {"name": "a", "left": [7]}),
    (replies.verdict, {"name": "a", "left": [{"pid": 7}]}),
    (replies.verdict, {"name": "a", "ports": [{"pid": 7}]}),
    (replies.answers, {"results": [{"key": "a"}]}),
    (replies.answers, {"results": {"a": 200}}),
    (replies.files, {"files": None}),
    (replies.files, {"files": [{"path": "a", "text": "x"}]}),
    (replies.executed, {"code": 0, "out": ""}),
    (replies.entries, {"ok": True}),
    (replies.entries, {"lines": 7}),
    *((replies.surveyed, {k: v for k, v in SURVEYED.items() if k != name}) for name in ("results", "taken", "claims", "ours", "strangers", "seconds")),
    (replies.surveyed, {**SURVEYED, "results": [{"key": "k"}]}),
    (replies.listening, {"random": []}),
    (replies.listening, {"random": [], "refused": [{"port": "x", "error": "", "held": False}]}),
    (replies.connected, {"results": [{"ok": True}]}),
]  # fmt: skip


@pytest.mark.parametrize(("parse", "reply"), WRONG)
def test_a_reply_of_another_form_is_an_error_that_names_the_node(parse, reply):
    with pytest.raises(HostError) as caught:
        replies.read("n1", reply, parse)
    assert caught.value.node == "n1"
    assert caught.value.text.startswith("n1 replied in a form that this dplaunch cannot read (")
    assert "report it" in caught.value.hint


@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_every_state_of_a_process_is_known(state):
    reply = {"processes": [{"name": "a", "state": state.value}]}
    (process,) = replies.observed("n1", reply).processes
    assert (process.state, process.kind, process.group) == (state, "service", "a")


def test_a_process_of_another_protocol_is_there_with_its_problem():
    told = {"problem": "a was started by dplaunch 0.1", "hint": "stop it with that version"}
    entry = {"name": "a", "state": "incompatible", "protocol": 1, **told}
    (process,) = replies.observed("n1", {"processes": [entry]}).processes
    assert {"problem": process.problem, "hint": process.hint} == told
    assert (process.alive, process.runs) == (True, False)
    left = replies.verdict("n1", {"name": "a", "how": "left alone", **told}).left
    assert left == ("a was started by dplaunch 0.1; stop it with that version",)


def test_what_can_hand_over_is_known_by_what_we_gave_its_guard():
    given = {**ENGINE, "meta": {**ENGINE["meta"], "hands_over": True}}
    found = replies.observed("n1", {"processes": [given, ENGINE]}).processes
    assert [process.hands_over for process in found] == [True, False]


@pytest.mark.parametrize("meta", [None, "odd", []])
def test_what_a_guard_keeps_for_us_may_be_missing(meta):
    (process,) = replies.observed("n1", {"processes": [{**ENGINE, "meta": meta}]}).processes
    assert (process.kind, process.role, process.group) == ("service", "", "decode@n1")


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        ({"ok": True}, None),
        (
            {"ok": False, "error": {"kind": "full", "text": "the disk is full", "hint": None}},
            Refusal(kind="full", text="the disk is full"),
        ),
        ({"ok": False, "error": "odd"}, Refusal(kind="", text="the guard refused the request")),
        ({}, Refusal(kind="", text="the guard refused the request")),
    ],
)
def test_a_refusal_is_a_value(reply, refusal):
    assert replies.refusal(reply) == refusal


@pytest.mark.parametrize(
    ("error", "holder"),
    [
        (
            {"kind": "locked", "lock": {"holder": "bo@ops", "what": "down", "since": 3.0}},
            Lock(holder="bo@ops", verb="down", since=3.0),
        ),
        ({"kind": "locked", "lock": {"pid": 7}}, Lock(holder="somebody", verb="?", since=0.0)),
        ({"kind": "locked"}, None),
        ("odd", None),
    ],
)
def test_who_holds_the_lock_is_read_from_the_refusal(error, holder):
    assert replies.holder({"ok": False, "error": error}) == holder


@pytest.mark.parametrize(
    "line", [None, 7, "up", {}, {"result": "fine"}, {"result": None}, {"result": ["ready"]}, {"result": {}}]
)
def test_a_line_of_the_trail_that_is_not_ours_is_left_out(line):
    assert replies.entry(line) is None


def test_a_line_of_the_trail_may_lack_all_but_its_result():
    found = replies.entry({"result": "failed", "at": "now", "phases": "odd", "started": None})
    assert found == Entry(at=0.0, who="?", verb="?", result=Result.FAILED)
