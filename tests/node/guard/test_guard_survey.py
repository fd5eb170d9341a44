import os
import signal
import socket
import sys
import threading

import pytest
from waiting import until

from dplaunch.node.guard import reach

HOST = "127.0.0.1"


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


@pytest.fixture
def survey(client):
    def ask(*commands: dict, **fields):
        reply = client.ask("survey", commands=list(commands), **fields)
        assert reply["ok"], reply
        return reply, {result["key"]: result for result in reply["results"]}

    return ask


def test_what_commands_print_and_how_they_end(survey):
    reply, results = survey(
        {"key": "good", "argv": ["sh", "-c", "echo out; echo err >&2"]},
        {"key": "bad", "argv": ["sh", "-c", "exit 3"]},
        {"key": "binary", "argv": ["printf", "\\377\\000x"]},
    )
    assert (results["good"]["code"], results["good"]["out"], results["good"]["err"]) == (0, "out\n", "err\n")
    assert (results["bad"]["code"], results["bad"]["problem"]) == (3, "")
    assert results["binary"]["out"] == "\ufffd\x00x"
    assert 0 < results["good"]["seconds"] <= reply["seconds"]


def test_a_tool_that_is_not_there_is_said_to_be_missing(survey):
    _, results = survey(
        {"key": "itself", "argv": ["no-such-tool-anywhere", "-x"]},
        {"key": "in a shell", "argv": ["sh", "-c", "exec no-such-tool-anywhere"]},
    )
    assert {result["problem"] for result in results.values()} == {"not found"}


def test_a_command_that_hangs_is_ended_with_its_children_and_delays_no_other_lane(survey):
    hang = {"key": "hang", "argv": ["sh", "-c", "sleep 60 & sleep 60"], "timeout": 0.5, "lane": "npu"}
    reply, results = survey(
        hang, {"key": "after", "argv": ["true"], "lane": "npu"}, {"key": "beside", "argv": ["true"]}
    )
    assert (results["hang"]["code"], results["hang"]["problem"]) == (None, "timed out after 0.5 s")
    assert [result["key"] for result in reply["results"]] == ["beside", "hang", "after"]
    assert reply["seconds"] < 10


UNDYING = """
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.prctl(0x59616D61, ctypes.c_ulong(2**64 - 1), 0, 0, 0)  # PR_SET_PTRACER: any
command = os.getpid()
if os.fork() == 0:
    os.setsid()
    traced = libc.ptrace(0x4206, command, 0, 0)  # PTRACE_SEIZE
    open(OUT, "w").write(f"{os.getpid()} {traced}")
    time.sleep(60)
time.sleep(60)
"""
"""A command whose end nobody learns while its tracer sleeps, SIGKILL or not; the tracer keeps its output open."""


@pytest.fixture
def undying(tmp_path):
    """argv of a command that cannot be killed; its tracer is ended after the test, and it with that."""
    out = tmp_path / "tracer"
    yield python(f"OUT = {str(out)!r}{UNDYING}")
    tracer, traced = out.read_text().split()
    os.kill(int(tracer), signal.SIGKILL)
    assert traced == "0", "ptrace is not allowed here"


def test_a_tool_that_cannot_be_killed_costs_only_itself(survey, undying):
    sick = {"key": "sick", "argv": undying, "timeout": 2, "lane": "npu"}
    reply, results = survey(sick, {"key": "after", "argv": ["true"], "lane": "npu"})
    assert results["sick"]["problem"] == "timed out after 2 s, could not be killed"
    assert results["after"]["code"] == 0
    assert reply["seconds"] < 10


def test_exec_of_what_cannot_be_killed_is_answered(client, undying):
    error = client.ask("exec", argv=undying, timeout=2)["error"]
    assert error["kind"] == "unkillable"
    assert error["text"].endswith("did not end within 2 s and could not be killed")


def test_what_never_comes_back_is_bounded_by_the_time_of_all(survey, tmp_path):
    os.mkfifo(tmp_path / "hangs")  # as a file on a mount whose server is gone: opening it waits for ever
    hang = {"key": "hang", "path": str(tmp_path / "hangs"), "lane": "sick"}
    behind = {"key": "behind", "argv": ["true"], "lane": "sick"}
    reply, results = survey(hang, behind, {"key": "beside", "argv": ["true"]}, limit=0.2)
    assert results["hang"]["problem"] == "did not end, could not be killed"
    assert results["behind"]["problem"] == "not run: the survey's time was up"
    assert results["beside"]["code"] == 0
    assert reply["seconds"] < 10


def test_output_that_a_daemon_of_the_command_keeps_open_is_not_waited_for(survey, until, tmp_path):
    path = tmp_path / "pid"
    daemon = f"echo said; setsid sh -c 'echo $$ > {path}; exec sleep 60' &"
    _, results = survey({"key": "d", "argv": ["sh", "-c", daemon]})
    os.kill(int(until(lambda: path.exists() and path.read_text())), signal.SIGKILL)
    assert (results["d"]["code"], results["d"]["out"]) == (0, "said\n")
    assert results["d"]["seconds"] < 4


@pytest.mark.parametrize("verb", ["survey", "exec"])
def test_what_a_session_runs_ends_with_it(client, until, living, tmp_path, verb):
    path = tmp_path / "pid"
    argv = ["sh", "-c", f"echo $$ > {path}; exec sleep 60"]
    lane = [{"key": str(n), "argv": argv, "lane": "one"} for n in range(2)]
    client.send(verb, argv=argv, commands=lane)
    pid = int(until(lambda: path.exists() and path.read_text()))
    assert client.end() == 0
    assert not living(pid)


def test_a_session_ends_though_a_lane_of_its_survey_never_does(client, until, tmp_path):
    os.mkfifo(tmp_path / "hangs")
    tick = {"key": "tick", "argv": ["touch", str(tmp_path / "begun")], "lane": "sick"}
    client.send("survey", commands=[tick, {"key": "hang", "path": str(tmp_path / "hangs"), "lane": "sick"}])
    until((tmp_path / "begun").exists)
    assert client.end() == 0


def test_when_the_time_of_all_is_up_the_rest_is_not_run(survey):
    lane = [{"key": str(n), "argv": ["sleep", "60"], "lane": "a"} for n in range(3)]
    _, results = survey(*lane, limit=0.5)
    assert results["0"]["problem"].startswith("timed out after 0.")
    assert {results["1"]["problem"], results["2"]["problem"]} == {"not run: the survey's time was up"}


def test_a_tool_that_hangs_again_and_again_is_given_up(survey):
    lane = [{"key": str(n), "argv": ["sleep", "60"], "timeout": 0.1, "lane": "sick"} for n in range(5)]
    _, results = survey(*lane)
    problems = [results[str(n)]["problem"] for n in range(5)]
    assert problems[:3] == ["timed out after 0.1 s"] * 3
    assert set(problems[3:]) == {"not run: the 3 calls before it did not end"}


def test_a_lane_runs_one_at_a_time(survey, tmp_path):
    take = f"mkdir {tmp_path}/held && rmdir {tmp_path}/held"
    lane = [{"key": str(n), "argv": ["sh", "-c", take], "lane": "tool"} for n in range(8)]
    _, results = survey(*lane)
    assert {result["code"] for result in results.values()} == {0}


def test_a_busy_tool_is_asked_again(survey, tmp_path):
    busy = f"test -e {tmp_path}/seen && echo fine || {{ touch {tmp_path}/seen; echo tool is busy; }}"
    _, results = survey({"key": "b", "argv": ["sh", "-c", busy], "again": "is busy"})
    assert (results["b"]["out"], results["b"]["problem"]) == ("fine\n", "")


def test_a_file_is_read_without_a_process(survey, tmp_path):
    file = tmp_path / "facts"
    file.write_bytes(b"one\xff\n" * 100_000)
    _, results = survey({"key": "there", "path": str(file)}, {"key": "not", "path": f"{file}s"})
    assert (results["there"]["code"], results["there"]["out"][:5]) == (0, "one\ufffd\n")
    assert len(results["there"]["out"]) == 65536
    assert (results["not"]["code"], results["not"]["problem"]) == (None, "not found")


def test_a_flood_is_cut(survey):
    _, results = survey({"key": "f", "argv": python("print('x' * 1000000)")})
    assert len(results["f"]["out"]) == 65536


def test_who_holds_a_port_is_told(survey):
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        reply, _ = survey(address=HOST, ports=[port])
    assert [holder["port"] for holder in reply["taken"]] == [port]
    assert "pytest" in reply["taken"][0]["command"] or "python" in reply["taken"][0]["command"]


def test_our_own_processes_are_known(client, spec):
    client.start(spec("a", "sleep", "60"))
    [process] = client.ask("observe")["processes"]
    ours = client.ask("survey", commands=[])["ours"]
    assert {process["pid"], process["guard_pid"]} <= set(ours)


def test_real_listeners_are_reached_and_closed_ports_are_not(client):
    with socket.create_server((HOST, 0)) as held:
        busy = held.getsockname()[1]
        number = client.send("listen", address=HOST, ports=[busy], random=2, seconds=30)
        [event] = until(lambda: client.events("listening"))
        assert event["refused"] == [{"port": busy, "error": "Address already in use", "held": True}]
        assert len(event["random"]) == 2
        targets = [{"key": str(p), "address": HOST, "port": p} for p in (busy, *event["random"])]
        results = client.ask("connect", targets=targets)["results"]
        assert [result["ok"] for result in results] == [True] * 3
    client.ask("cancel", target=number)
    assert client.reply(number)["accepted"] == 2
    closed = client.ask("connect", targets=targets)["results"]
    assert {(result["ok"], result["error"]) for result in closed} == {(False, "connection refused")}


class Watched(dict):
    """A target that is tried when many are, and notes how many threads there are then."""

    many = threading.Barrier(reach.AT_ONCE, timeout=20)
    seen = 0

    def get(self, key, default=None):
        if key == "port":
            self.many.wait()
            Watched.seen = max(Watched.seen, threading.active_count())
        return super().get(key, default)


def test_many_targets_take_few_threads():
    before = threading.active_count()
    targets = [Watched(key=str(n), address=HOST, port=1) for n in range(4 * reach.AT_ONCE)]
    results = reach.connect({"targets": targets})["results"]
    assert {result["key"] for result in results} == {str(n) for n in range(len(targets))}
    assert Watched.seen <= before + reach.AT_ONCE


def test_a_silent_peer_is_given_up_in_time(client):
    with socket.socket() as full:  # a backlog that is full drops what comes, as a firewall does
        full.bind((HOST, 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        target = {"key": "x", "address": HOST, "port": full.getsockname()[1]}
        [result] = client.ask("connect", targets=[target], timeout=0.3)["results"]
        for filler in fillers:
            filler.close()
    assert (result["ok"], result["error"]) == (False, "no answer within 0.3 s")
