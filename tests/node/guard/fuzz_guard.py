"""Damaged files and requests of any shape: a session answers each, harms nobody, and loses no process."""

import json
import os
import signal
import subprocess
import threading
from contextlib import suppress

import pytest

from dplaunch.wire import replies

REQUESTS = (
    {"verb": "observe", "health": True, "search": True},
    {"verb": "start", "processes": [{"name": "e-1", "argv": ["true"], "env": {"A": "1"}, "stop": [["TERM", 1]]}]},
    {"verb": "stop", "names": ["e-9"], "grace": 0, "ports": True},
    {"verb": "put", "files": [{"path": "a/b", "text": "x", "mode": 420, "expect": None}], "plan": {"revision": "r"}},
    {"verb": "get", "paths": ["plan.json", "proc/e-0/log"]},
    {"verb": "forget", "names": ["e-9"], "all": False, "logs": True},
    {"verb": "audit", "append": {"at": 1.0, "who": "a", "verb": "up"}, "tail": 5},
    {"verb": "audit", "tail": 5},
    {"verb": "lock", "holder": "a@b", "what": "up"},
    {"verb": "unlock"},
    {"verb": "cancel", "target": 3},
    {"verb": "probe", "requests": [{"key": "k", "url": "http://127.0.0.1:9/", "timeout": 0.2, "headers": {"A": "b"}}]},
    {"verb": "follow", "streams": [{"process": "e-0", "file": "", "offset": 0}], "tail": 3, "grep": "x"},
    {"verb": "exec", "argv": ["true"], "timeout": 1},
    {"verb": "survey", "commands": [{"key": "a", "argv": ["true"], "lane": "x", "timeout": 1}], "ports": [9]},
    {"verb": "connect", "targets": [{"key": "a", "address": "127.0.0.1", "port": 9}], "timeout": 0.2},
)  # fmt: skip
FILES = (
    "proc/e-0/state.json",
    "proc/e-0/state.json",
    "proc/e-0/exit.json",
    "proc/e-0/stop.json",
    "plan.json",
    "lock.json",
)
SHAPES = (b"", b"null", b"[]", b"{}", b"\x00" * 500, b"\xff\xfe{", b"[" * 100_000)


@pytest.fixture
def bystander():
    process = subprocess.Popen(["sleep", "36000"], cwd="/", env={})
    yield process
    assert process.poll() is None, "a bystander was ended"
    process.kill()
    process.wait()


def outside(root):
    """What lies beside the node folder, and what of the home a session might reach."""
    return sorted(str(path) for path in root.parents[3].rglob("*") if not path.is_relative_to(root))


def answers(client, number):
    """The reply to a request; one without a number has none of its own."""
    return [m for m in client.messages if m.get("id") in {number, None} and "event" not in m]


def test_requests_of_any_shape_are_answered_and_reach_nothing_outside(
    clients, spec, dice, rounds, bystander, until
):
    dice.pids = (bystander.pid, *dice.pids)
    client = clients()
    threading.Thread(target=client.process.stderr.read, daemon=True).start()  # as a launcher does
    client.start(spec("e-0", "sleep", "600"))
    before = outside(client.root)
    for number in range(1, rounds * 5):
        request = json.loads(json.dumps(dice.choice(REQUESTS)))
        path = dice.spoil(request)
        client.raw(json.dumps({**request, "id": number}).encode() + b"\n")
        with suppress(AssertionError):
            until(lambda n=number: answers(client, n), 20)
        assert answers(client, number), f"{request} ({path}) has no answer"
        assert client.process.poll() is None, f"{request} ({path}) ended the session"
        answer = answers(client, number)[0]
        assert answer.get("ok") or answer["error"]["text"], request
        client.messages.clear()
    assert outside(client.root) == before
    assert client.end() == 0


def test_whatever_a_state_file_holds_a_live_process_is_not_called_gone(
    clients, spec, dice, rounds, bystander, living
):
    dice.pids = (bystander.pid, *dice.pids)
    client = clients()
    for _ in range(rounds):
        (started,) = client.start(spec("e-0", "sleep", "600", stop=[["TERM", 2], ["KILL", 2]]))
        assert started["ok"], started
        state = client.state_of("e-0")
        os.kill(state["guard"][0], signal.SIGKILL)  # or it would write its state again
        name = dice.choice(FILES)
        path = client.root / name
        content = path.read_bytes() if path.exists() else json.dumps(state).encode()
        path.write_bytes(dice.choice(SHAPES) if dice.random() < 0.2 else dice.spoil_line(content))
        damage = f"{name}: {path.read_bytes()[:1000]}"
        seen = replies.read("n1", client.ask("observe", health=True, search=True), replies.observed)
        found = [one for one in seen.processes if one.name == "e-0"]
        assert any(one.alive for one in found) or not living(state["main"][0]), damage
        (verdict,) = client.stop("e-0", grace=1, rewrite=0.1)
        if living(state["main"][0]):
            assert verdict["left"] or verdict["problem"], f"{verdict} after {damage}"
            os.kill(state["main"][0], signal.SIGKILL)
        client.ask("forget", all=True)
        for left in client.root.glob("proc/e-0/*.json"):
            left.unlink()
