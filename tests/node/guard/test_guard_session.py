"""The session: every request answered, lock, silence, verbs without processes."""

import ast
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import dplaunch.node

SOURCES = sorted((Path(dplaunch.node.__file__).parent / "guard").glob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_sources_are_python_3_8(path):
    ast.parse(path.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"nonsense", "request"),
        (b"[]", "request"),
        (b"{}", "request"),
        (b"\xff\xfe", "request"),
        (b'{"id": 5, "verb": "dance"}', "verb"),
        (b'{"verb": ["x"]}', "request"),
        (b'{"verb": "observe", "id": [1]}', "request"),
        (b'{"id": 5, "verb": "start", "processes": 7}', "guard"),
        (b'{"id": 5, "verb": "start", "processes": [{"argv": ["true"]}]}', None),
        (b'{"id": 5, "verb": "follow", "streams": [{"process": "a/b"}]}', "request"),
        (b'{"id": 5, "verb": "follow", "streams": [{"process": "a"}], "grep": "("}', "request"),
        (b'{"id": 5, "verb": "watch", "patterns": [{"id": 1, "regex": "("}]}', "request"),
        (b'{"id": 5, "verb": "exec", "argv": []}', "request"),
        (b'{"id": 5, "verb": "exec", "argv": ["no-such-program"]}', "exec"),
        (b'{"id": 5, "verb": "put", "files": [{"path": "../x", "text": ""}]}', "request"),
        (b'{"id": 5, "verb": "put", "files": [{"path": "/etc/../x", "text": ""}]}', "request"),
    ],
)
def test_every_line_gets_one_answer_and_the_session_goes_on(client, until, line, kind):
    client.raw(line + b"\n")
    answer = until(lambda: next((m for m in client.messages if "ok" in m), None))
    assert answer.get("error", {}).get("kind") == kind
    assert answer["id"] == (5 if b'"id": 5' in line else None)
    client.next = 10
    assert client.ask("observe")["ok"]


def test_requests_may_come_in_pieces_and_many_at_once(client, until):
    client.raw(b'{"id": 1, "ver')
    client.raw(b'b": "observe"}\n{"verb": "beat"}\n\n{"id": 2, "verb": "observe"}\n')
    until(lambda: {m.get("id") for m in client.messages if m.get("ok")} == {1, 2})


def test_the_lock_has_one_holder_and_ends_with_its_session(clients, until):
    first, second = clients(), clients()
    assert first.ask("lock", holder="anna@laptop", what="up")["ok"]
    assert first.ask("lock", holder="anna@laptop", what="up")["ok"]
    refused = second.ask("lock", holder="bert", what="down")
    assert refused["error"]["kind"] == "locked"
    assert refused["error"]["lock"]["holder"] == "anna@laptop"
    assert "anna@laptop is running up" in refused["error"]["text"]
    assert second.ask("observe")["lock"]["what"] == "up"
    first.end()
    assert second.ask("observe")["lock"] == {}
    assert second.ask("lock", holder="bert", what="down")["ok"]
    assert second.ask("unlock")["ok"]
    assert clients().ask("lock", holder="anna", what="up")["ok"]


def test_a_lock_is_taken_again_when_the_session_that_is_gone_lets_go(clients):
    first, second = clients(), clients()
    assert first.ask("lock", holder="anna", what="up")["ok"]
    refused = second.ask("relock", holder="anna", what="up", patience=0)
    assert refused["error"]["lock"]["holder"] == "anna"
    number = second.send("relock", holder="anna", what="up", patience=20)
    first.end()
    assert second.reply(number)["ok"]
    assert clients().ask("lock", holder="bert", what="down")["error"]["kind"] == "locked"


def test_a_guard_does_not_keep_its_sessions_lock(clients, spec):
    first = clients()
    first.ask("lock", holder="anna", what="up")
    first.start(spec("e-0", "sleep", "60"))
    first.process.kill()
    first.process.wait()
    second = clients()
    assert second.ask("observe")["lock"] == {}
    assert second.ask("lock", holder="bert", what="down")["ok"]


def test_silence_ends_the_session_not_the_process(clients, spec, streams, living, until):
    client = clients(silence=0.8, beat=0.1)
    (result,) = client.start(spec("e-0", "sleep", "60"))
    client.ask("lock", holder="anna", what="up")
    client.send("follow", streams=streams("e-0"), follow=True)
    for beats in range(10):
        client.raw(b'{"verb": "beat"}\n')
        until(lambda beats=beats: len(client.events("beat")) > beats)
    assert client.process.poll() is None
    assert client.process.wait(5) == 0
    assert client.events("beat")
    assert living(result["pid"])
    assert clients().ask("lock", holder="bert", what="up")["ok"]


@pytest.mark.parametrize("closed", [True, False], ids=["stdout closed", "stdout never read"])
def test_a_launcher_that_stops_reading_ends_the_session(bundle, client, spec, streams, tmp_path, closed):
    client.start(spec("e-0", "sh", "-c", "yes | head -c 4000000; sleep 60"))
    header = {
        "cluster": "c",
        "node": "n1",
        "state": str(tmp_path / "state"),
        "silence": 20 if closed else 0.5,
    }
    request = {"id": 9, "verb": "follow", "streams": streams("e-0"), "follow": True}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(bundle), "guard"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as session:
        session.stdin.write(f"{json.dumps(header)}\n".encode())
        session.stdin.flush()
        assert b"hello" in session.stdout.readline()
        if closed:
            session.stdout.close()
        session.stdin.write(f"{json.dumps(request)}\n".encode())
        session.stdin.flush()
        assert session.wait(5) == 0


def test_a_session_killed_in_the_middle_of_a_start_leaves_what_is_consistent(clients, spec, until):
    first = clients()
    first.send("start", processes=[spec(f"e-{n}", "sleep", "60") for n in range(16)])
    until((first.root / "proc/e-1/state.json").exists, 5, 0.0005)
    first.process.kill()
    first.process.wait()
    second = clients()
    until(lambda: all(p["pid"] for p in second.ask("observe")["processes"]))
    seen = second.ask("observe")["processes"]
    assert {p["state"] for p in seen} == {"running"}
    results = second.start(*[spec(f"e-{n}", "sleep", "60") for n in range(16)])
    assert {r["name"] for r in results if not r["ok"]} == {p["name"] for p in seen}
    assert {p["state"] for p in second.ask("observe")["processes"]} == {"running"}


def test_put_writes_files_and_plan(client):
    files = [
        {"path": "decode/run_dp_template.sh", "text": "echo 'ü'\n", "mode": 0o755},
        {"path": "members.json", "text": "{}", "mode": 0o600},
    ]
    assert client.ask("put", files=files, plan={"revision": "g1"})["ok"]
    script = client.root / "decode/run_dp_template.sh"
    assert script.read_text() == "echo 'ü'\n"
    assert script.stat().st_mode & 0o777 == 0o755
    assert (client.root / "members.json").stat().st_mode & 0o777 == 0o600
    assert client.root.stat().st_mode & 0o777 == 0o700
    assert client.ask("observe")["revision"] == "g1"
    assert not list(client.root.rglob("*.tmp"))


def test_audit_keeps_the_last_lines(client):
    for n in range(3):
        client.ask("audit", append={"verb": "up", "n": n})
    with (client.root / "audit.jsonl").open("a") as file:
        file.write("broken\n")
    assert [line["n"] for line in client.ask("audit", tail=3)["lines"]] == [1, 2]


def test_exec_gives_code_and_both_streams(client, until, living):
    reply = client.ask("exec", argv=["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=5)
    assert (reply["code"], reply["out"], reply["err"]) == (3, "out\n", "err\n")
    big = client.ask("exec", argv=["sh", "-c", "yes | head -c 3000000"], timeout=5)
    assert len(big["out"]) == 1 << 20
    late = client.ask("exec", argv=["sh", "-c", "sleep 60 & echo $! > pid; wait"], timeout=0.3)
    assert late["error"]["kind"] == "timeout"


def test_forget_removes_stopped_state_and_keeps_the_log(client, spec, until):
    client.ask("put", files=[], plan={"revision": "g1"})
    client.start(spec("e-0", "echo", "hello"), spec("e-1", "sleep", "60"))
    until(lambda: client.observe("e-0")["ended_at"])
    assert client.ask("forget", names=["e-1"])["error"]["kind"] == "running"
    assert client.ask("forget", names=["e-0"])["ok"]
    assert client.observe("e-0") is None
    assert (client.root / "proc/e-0/log.prev").read_text() == "hello\n"
    client.stop("e-1")
    assert client.ask("forget", all=True, logs=True)["ok"]
    assert client.ask("observe")["processes"] == []
    assert client.ask("observe")["revision"] == ""
    assert not (client.root / "proc/e-1").exists()


def test_bundle_runs_nothing_else(bundle):
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(bundle), "x"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "usage:" in done.stderr) == (2, True)


def test_state_home_follows_the_environment(bundle, tmp_path):
    header = json.dumps({"cluster": "c", "node": "n1", "state": None}) + "\n"
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path)}
    for drop, root in ((), "xdg/dplaunch/c/n1"), (("XDG_STATE_HOME",), ".local/state/dplaunch/c/n1"):
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(bundle), "guard"],
            input=header,
            capture_output=True,
            check=True,
            text=True,
            env={k: v for k, v in env.items() if k not in drop},
        )
        assert json.loads(done.stdout.splitlines()[0])["root"] == str(tmp_path / root)
        assert not (tmp_path / root).exists(), "looking leaves nothing behind"


def test_a_launcher_that_resets_the_line_ends_what_exec_runs(bundle, tmp_path, until, living):
    """sshd gives a command one socket: closed with something unread, reading from it is an error."""
    ours, theirs = socket.socketpair()
    argv = [sys.executable, "-I", "-S", str(bundle), "guard"]
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL) as session:
        theirs.close()
        path = tmp_path / "pid"
        command = ["sh", "-c", f"echo $$ > {path}.new; mv {path}.new {path}; exec sleep 60"]
        for line in (
            {"cluster": "c", "node": "n1", "state": str(tmp_path)},
            {"id": 1, "verb": "exec", "argv": command, "timeout": 60},
        ):
            ours.sendall(json.dumps(line).encode() + b"\n")
        pid = int(until(lambda: path.exists() and path.read_text()))
        ours.close()
        session.wait(20)
    assert not living(pid)
