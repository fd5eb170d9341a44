"""Values → requests: what goes onto the wire for every verb of docs/guard-protocol.md."""

import json

import pytest

from dplaunch import __version__
from dplaunch.model.cluster import RuntimeSpec, SecretRef, SshSpec
from dplaunch.model.plan import (
    Api,
    Endpoint,
    File,
    LogFile,
    NodePlan,
    Plan,
    Process,
    Ready,
    Seat,
    StopStep,
)
from dplaunch.model.remote import HttpRequest, LogQuery, LogSource, Pattern
from dplaunch.model.trail import Entry, Result
from dplaunch.wire import requests
from dplaunch.wire.lines import encode

KEY = SecretRef("env", "API_KEY")
SCRIPT = File("decode/run_dp_template.sh", "exec engine\n", 0o755)


def seat(rank: int) -> Seat:
    return Seat(
        name=f"decode-{rank}", role="decode", group=0, node="n1", address="10.0.0.1", rank=rank, local_rank=rank,
        local_size=2, devices=(rank,), master="10.0.0.1",
    )  # fmt: skip


def endpoint(rank: int, **api: str) -> Endpoint:
    return Endpoint(
        name=f"decode-{rank}", role="decode", group="decode/0", node="n1", url=f"http://10.0.0.1:{9000 + rank}",
        ranks=(rank,), api=Api(**api), model="m",
    )  # fmt: skip


PARENT = Process(
    name="decode@n1",
    kind="engine",
    role="decode",
    group="decode/0",
    node="n1",
    argv=("bash", "a b"),
    env={"API_KEY": KEY, "MODE": "x"},
    ports=(9000, 9001),
    stop=(StopStep("INT", 5.0), StopStep("KILL", 1.5)),
    seats=(seat(0), seat(1)),
    endpoints=(endpoint(0), endpoint(1, health="/up", models="")),
    logs=(LogFile("worker", "log/worker-*.log"),),
    fingerprint="f1",
)
JOB = Process(
    name="convert", kind="job", role="convert", group="convert", node="n1", argv=("sh",), ready=Ready("exit")
)
NODE = NodePlan(
    name="n1", host="h1", address="10.0.0.1", ssh=SshSpec(), runtime=RuntimeSpec(), files=(SCRIPT,),
    processes=(PARENT, JOB),
)  # fmt: skip
PLAN = Plan(
    cluster="c1", revision="r1", engine="toy 1", model="/m", served_model_name="m", nodes=(NODE,), router=None, url="",
)  # fmt: skip
HTTP = HttpRequest(
    key="k",
    node="n1",
    url="http://10.0.0.1:9000/x",
    method="POST",
    body="{}",
    headers={"A": "b"},
    timeout=2.0,
    grep="z",
)
ENTRY = Entry(
    at=5.0, who="ada@desk", verb="up", result=Result.READY, revision="r1", started=2, phases={"load": 3.0}
)
SENT = {"path": SCRIPT.path, "text": SCRIPT.text, "mode": 0o755}
ASKED = [
    {"name": "decode-0", "url": "http://10.0.0.1:9000", "health": "/health", "models": "/v1/models", "model": "m"},
    {"name": "decode-1", "url": "http://10.0.0.1:9001", "health": "/up", "models": "", "model": ""},
]  # fmt: skip

TABLE = [
    (requests.observe(health=True), "observe", {"health": True, "search": False}),
    (requests.lock("ada@desk", "up"), "lock", {"holder": "ada@desk", "what": "up"}),
    (
        requests.lock_again("ada@desk", "up", 45.0),
        "relock",
        {"holder": "ada@desk", "what": "up", "patience": 45.0},
    ),
    (requests.unlock(), "unlock", {}),
    (requests.put([SCRIPT]), "put", {"files": [SENT], "plan": None}),
    (requests.put([SCRIPT], {"a": 1}), "put", {"files": [SENT], "plan": {"a": 1}}),
    (requests.put([SCRIPT], expect="5e"), "put", {"files": [{**SENT, "expect": "5e"}], "plan": None}),
    (requests.put([SCRIPT], expect=""), "put", {"files": [{**SENT, "expect": ""}], "plan": None}),
    (requests.get(iter(["a", "b"])), "get", {"paths": ["a", "b"]}),
    (requests.stop(("a", "b"), None), "stop", {"names": ["a", "b"], "grace": None, "ports": True}),
    (requests.stop(["a"], 0), "stop", {"names": ["a"], "grace": 0, "ports": True}),
    (requests.forget(), "forget", {"all": True}),
    (
        requests.watch([PARENT], [Pattern("stage 0", "load", 3)], {"A": "b"}),
        "watch",
        {
            "processes": [
                {"name": "decode@n1", "offset": 0, "endpoints": ASKED, "headers": {"A": "b"}, "line": ""}
            ],
            "patterns": [{"id": "stage 0", "regex": "load", "most": 3}],
            "interval": 0.5,
        },
    ),
    (
        requests.follow(
            [LogSource("a"), LogSource("a", "worker", 7)], LogQuery(tail=None, since=60.0, grep="x"), 1000.0
        ),
        "follow",
        {
            "streams": [
                {"process": "a", "file": "", "offset": None},
                {"process": "a", "file": "worker", "offset": 7},
            ],
            "tail": None,
            "since": 940.0,
            "grep": "x",
            "previous": False,
            "follow": False,
        },
    ),
    (requests.cancel(7), "cancel", {"target": 7}),
    (
        requests.ask([HTTP]),
        "probe",
        {
            "requests": [
                {
                    "key": "k",
                    "url": "http://10.0.0.1:9000/x",
                    "method": "POST",
                    "body": "{}",
                    "headers": {"A": "b"},
                    "timeout": 2.0,
                    "grep": "z",
                }
            ]
        },
    ),
    (requests.execute(("ls", "-l"), 3.0), "exec", {"argv": ["ls", "-l"], "timeout": 3.0}),
    (
        requests.record(ENTRY),
        "audit",
        {
            "append": {
                "at": 5.0,
                "who": "ada@desk",
                "verb": "up",
                "result": "ready",
                "revision": "r1",
                "started": 2,
                "phases": {"load": 3.0},
            }
        },
    ),
    (requests.trail(20), "audit", {"tail": 20}),
    (
        requests.listen("10.0.0.1", (1, 2), 3, 9.0),
        "listen",
        {"address": "10.0.0.1", "ports": [1, 2], "random": 3, "seconds": 9.0},
    ),
    (
        requests.connect([("k", "10.0.0.2", 80)], 3.0),
        "connect",
        {"targets": [{"key": "k", "address": "10.0.0.2", "port": 80}], "timeout": 3.0},
    ),
    (requests.survey({"commands": [], "limit": 9}), "survey", {"commands": [], "limit": 9}),
]


@pytest.mark.parametrize(("request_", "verb", "fields"), TABLE)
def test_a_request_has_its_verb_and_fields(request_, verb, fields):
    found, sent = request_
    assert (found, json.loads(encode(sent))) == (verb, fields)


def started(process: Process):
    verb, fields = requests.start(NODE, [process], {KEY: "hunter2"})
    assert verb == "start"
    (spec,) = json.loads(encode(fields))["processes"]
    return spec


def test_a_start_holds_all_that_a_guard_needs_to_know_of_a_process():
    assert started(PARENT) == {
        "name": "decode@n1",
        "version": __version__,
        "argv": ["bash", "a b"],
        "env": {"MODE": "x"},
        "secrets": {"API_KEY": "hunter2"},
        "ports": [9000, 9001],
        "stop": [["INT", 5.0], ["KILL", 1.5]],
        "restarts": False,
        "fingerprint": "f1",
        "address": "10.0.0.1",
        "endpoints": ASKED,
        "ready": {"kind": "http", "pattern": ""},
        "logs": [{"name": "worker", "path": "log/worker-*.log"}],
        "meta": {
            "kind": "engine",
            "role": "decode",
            "group": "decode/0",
            "hands_over": False,
            "ranks": [0, 1],
            "devices": [0, 1],
        },
    }


def test_a_job_has_no_endpoints_and_is_ready_when_it_has_ended():
    spec = started(JOB)
    assert (spec["endpoints"], spec["ready"], spec["logs"]) == ([], {"kind": "exit", "pattern": ""}, [])
    meta = {"kind": "job", "role": "convert", "group": "convert", "hands_over": False}
    assert spec["meta"] == {**meta, "ranks": [], "devices": []}


def test_a_process_that_a_line_makes_ready_is_watched_for_it():
    process = Process(
        name="store",
        kind="service",
        role="store",
        group="store",
        node="n1",
        argv=("s",),
        ready=Ready("line", "up$"),
    )
    assert started(process)["ready"] == {"kind": "line", "pattern": "up$"}
    _, fields = requests.watch([process], [], {})
    assert [watched["line"] for watched in fields["processes"]] == ["up$"]


def test_secrets_stand_where_they_are_never_written():
    spec = started(PARENT)
    assert "hunter2" not in json.dumps({**spec, "secrets": {}})
    assert "hunter2" not in repr(HttpRequest(key="", node="", url="", headers={"Authorization": "hunter2"}))


def test_a_nodes_part_of_the_plan_names_what_runs_and_holds_no_text():
    part = json.loads(encode(requests.plan_part(PLAN, NODE)))
    assert (part["revision"], part["cluster"], part["node"]) == ("r1", "c1", "n1")
    assert part["processes"][0] == {
        "name": "decode@n1", "role": "decode", "group": "decode/0", "argv": ["bash", "a b"], "fingerprint": "f1"
    }  # fmt: skip
    assert SCRIPT.text not in json.dumps(part)


def test_what_takes_over_has_the_seconds_for_the_one_before_it_and_nothing_else_has():
    beside = {(PARENT.node, PARENT.name): 240.0}
    _, fields = requests.start(NODE, (PARENT, JOB), {KEY: "k"}, beside)
    assert [spec.get("takes_over") for spec in fields["processes"]] == [240.0, None]


def test_a_rehearsal_holds_no_devices():
    _, fields = requests.start(NODE, (PARENT,), {KEY: "k"}, pinned=False)
    assert fields["processes"][0]["meta"]["devices"] == []
