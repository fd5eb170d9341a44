"""Stop is a sequence with a verdict: the engine is asked, its tree is swept, nothing else is touched."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from dplaunch.node.guard import proc
from dplaunch.node.guard.stop_sequence import Stopping

DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""
FAMILY = """
import os, subprocess, sys, time
subprocess.Popen(["sleep", "61"])
subprocess.Popen(["sleep", "62"], start_new_session=True)
# a grandchild whose parent is gone: it hangs below the guard now
subprocess.Popen(["sh", "-c", "setsid sleep 63 & exit 0"]).wait()
print("up", flush=True)
time.sleep(60)
"""


def _up(client, name):
    return "up" in (client.root / "proc" / name / "log").read_text()


def _family(client, name):
    """The pids of FAMILY, once it is whole and recorded; empty before."""
    tree = [pid for pid, *_ in client.state_of(name)["tree"]]
    return (
        tree
        if _up(client, name) and len(tree) == 4 and all(Path(f"/proc/{pid}").exists() for pid in tree)
        else []
    )


def test_the_steps_are_gone_through_in_order(client, spec, script, until):
    client.start(spec("e-0", *script(DEAF), stop=(("TERM", 0.2), ("INT", 5), ("KILL", 5))))
    until(lambda: _up(client, "e-0"))
    (verdict,) = client.stop("e-0")
    assert verdict["how"] == "INT"
    assert [e["signal"] for e in client.events("stopping", name="e-0")] == ["TERM", "INT"]


def test_a_deaf_process_is_killed_and_the_verdict_says_so(client, spec, script, until):
    client.start(spec("e-0", *script(DEAF), stop=(("TERM", 0.3), ("KILL", 5))))
    until(lambda: _up(client, "e-0"))
    (verdict,) = client.stop("e-0")
    assert (verdict["how"], verdict["left"]) == ("KILL", [])
    assert verdict["seconds"] >= 0.3
    assert [e["signal"] for e in client.events("stopping", name="e-0")] == ["TERM", "KILL"]
    assert client.observe("e-0")["signal"] == "SIGKILL"


def test_the_whole_tree_is_swept(client, spec, script, until, living):
    client.start(spec("e-0", *script(FAMILY)))
    tree = until(lambda: _family(client, "e-0"))
    (verdict,) = client.stop("e-0")
    assert verdict["left"] == []
    assert not any(map(living, tree))


def test_a_killed_main_process_takes_its_tree_at_stop(client, spec, script, until, living):
    (result,) = client.start(spec("e-0", *script(FAMILY)))
    tree = until(lambda: _family(client, "e-0"))
    os.kill(result["pid"], signal.SIGKILL)
    seen = until(lambda: (p := client.observe("e-0"))["state"] == "exited" and p)
    assert seen["signal"] == "SIGKILL"
    assert sorted(seen["left"]) == sorted(set(tree) - {result["pid"]})
    (verdict,) = client.stop("e-0")
    assert (verdict["how"], verdict["left"]) == ("swept", [])
    assert not any(map(living, tree))


def test_an_unguarded_tree_is_swept_too_main_process_dead_or_not(client, spec, script, until, living):
    results = client.start(spec("e-0", *script(FAMILY)), spec("e-1", *script(FAMILY)))
    trees = [until(lambda n=n: _family(client, n)) for n in ("e-0", "e-1")]
    for name in ("e-0", "e-1"):
        os.kill(client.state_of(name)["guard"][0], signal.SIGKILL)
    os.kill(results[1]["pid"], signal.SIGKILL)
    until(lambda: not living(results[1]["pid"]))
    verdicts = client.stop("e-0", "e-1")
    assert [(v["how"], v["left"]) for v in verdicts] == [("TERM", []), ("swept", [])]
    assert not any(map(living, trees[0] + trees[1]))


def test_the_engine_inside_a_shell_is_asked_not_only_the_shell(client, spec, script, until, tmp_path):
    said = tmp_path / "said"
    text = f"""
import signal, sys, time
def bye(*_):
    time.sleep(0.3)
    open({str(said)!r}, "w").write("clean")
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
print("up", flush=True)
time.sleep(60)
"""
    argv = script(text)
    client.start(spec("e-0", "bash", "-c", f"{' '.join(argv)}; echo after"))
    until(lambda: _up(client, "e-0"))
    (verdict,) = client.stop("e-0")
    assert verdict["how"] == "TERM"
    assert said.read_text() == "clean"


def test_a_new_title_hides_nobody(client, spec, script, until, living):
    # as vLLM does it: the memory that held argv is written over, which empties /proc/PID/environ too
    text = """
import ctypes, time
ctypes.CDLL(None).prctl(15, b"VLLM::EngineCor", 0, 0, 0)
fields = open("/proc/self/stat").read().rpartition(")")[2].split()
start, end = int(fields[45]), int(fields[48])
ctypes.memmove(start, b"VLLM::EngineCore" + b"\\0" * (end - start - 17), end - start - 1)
print("up", flush=True)
time.sleep(60)
"""
    (result,) = client.start(spec("e-0", *script(text)))
    until(lambda: _up(client, "e-0"))
    assert client.observe("e-0")["state"] == "running"
    (verdict,) = client.stop("e-0")
    assert (verdict["how"], living(result["pid"])) == ("TERM", False)


def test_a_second_stop_with_grace_zero_ends_the_wait(client, spec, script, until):
    client.start(spec("e-0", *script(DEAF), stop=(("TERM", 60), ("KILL", 5))))
    until(lambda: _up(client, "e-0"))
    first = client.send("stop", names=["e-0"])
    until(lambda: client.events("stopping", name="e-0"))
    (verdict,) = client.stop("e-0", grace=0)
    assert verdict["how"] == "KILL"
    assert client.reply(first)["results"][0]["how"] == "KILL"
    assert verdict["seconds"] < 30, "not the 60 s of its grace"


def test_two_stops_at_once_have_the_grace_of_the_one_that_skips_it(client, spec, script, until):
    names = [f"e-{n}" for n in range(4)]
    client.start(*(spec(name, *script(DEAF), stop=(("TERM", 60), ("KILL", 5))) for name in names))
    until(lambda: all(_up(client, name) for name in names))
    first = client.send("stop", names=names)
    until(lambda: all(client.observe(name)["state"] == "stopping" for name in names))
    assert {one["how"] for one in client.stop(*names, grace=0)} == {"KILL"}
    assert {one["how"] for one in client.reply(first)["results"]} == {"KILL"}


def test_a_hung_guard_does_not_save_its_engine(client, spec, living):
    (result,) = client.start(spec("e-0", "sleep", "60", stop=(("TERM", 0.1), ("KILL", 0.1))))
    guard = client.state_of("e-0")["guard"][0]
    os.kill(guard, signal.SIGSTOP)
    number = client.send("stop", names=["e-0"], grace=0, patience=0.5)
    (verdict,) = client.reply(number)["results"]
    assert verdict["left"] == []
    assert not living(result["pid"])
    assert not living(guard)


def test_down_of_what_is_not_there(client):
    (verdict,) = client.stop("e-9")
    assert (verdict["how"], verdict["left"], verdict["ports"]) == ("was not running", [], [])


def test_a_port_that_stays_taken_is_in_the_verdict(client, spec, script, until):
    text = "import socket,time;s=socket.socket();s.bind(('127.0.0.9',0));s.listen();print(s.getsockname()[1],flush=True);time.sleep(60)"
    (holder,) = client.start(spec("holder", *script(text)))
    port = int(until(lambda: (client.root / "proc/holder/log").read_text().strip()))
    client.start(spec("e-0", "sleep", "60", address="127.0.0.9"))
    path = client.root / "proc/e-0/state.json"
    path.write_text(json.dumps({**client.state_of("e-0"), "ports": [port]}))
    (verdict,) = client.stop("e-0", ports=True, ports_free=0.1)
    assert [(p["port"], p["pid"]) for p in verdict["ports"]] == [(port, holder["pid"])]
    assert sys.executable.rpartition("/")[2] in verdict["ports"][0]["command"]


def test_a_stop_goes_on_when_its_session_ends(clients, spec, script, until, living):
    first = clients()
    (result,) = first.start(spec("e-0", *script(DEAF), stop=(("TERM", 0.5), ("KILL", 5))))
    until(lambda: _up(first, "e-0"))
    first.send("stop", names=["e-0"])
    until(lambda: first.events("stopping"))
    first.process.kill()
    first.process.wait()
    until(lambda: not living(result["pid"]))
    second = clients()
    until(lambda: second.observe("e-0")["state"] == "stopped")


def test_term_to_the_guard_alone_stops_its_process(client, spec, living, until):
    (result,) = client.start(spec("e-0", "sleep", "60"))
    os.kill(client.state_of("e-0")["guard"][0], signal.SIGTERM)
    until(lambda: client.observe("e-0")["state"] == "stopped")
    assert not living(result["pid"])


def test_a_process_that_is_no_shell_is_stopped_without_a_look_at_all_others():
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as sleep:
        looks = []

        def family():
            looks.append(sleep.poll())
            return []

        def wait(seconds):
            with contextlib.suppress(subprocess.TimeoutExpired):
                sleep.wait(seconds)

        started = proc.read(sleep.pid).start
        verdict = Stopping((sleep.pid, started), family, wait).run([["TERM", 5], ["KILL", 5]])
        assert (verdict["how"], verdict["left"]) == ("TERM", [])
        assert looks == [-signal.SIGTERM]  # once, when it had gone
