"""Start, observe, exit, restart: what a guard does for one process."""

import json
import os
import signal
import sys
from pathlib import Path


def test_hello_says_who_and_where(client):
    assert client.hello["event"] == "hello"
    assert client.hello["protocol"] == 2
    assert client.hello["root"] == str(client.root)
    assert client.hello["writable"] is True
    assert client.hello["hostname"] == os.uname().nodename


def test_started_process_outlives_its_session(clients, spec, living):
    first = clients()
    (result,) = first.start(spec("e-0", "sleep", "60", fingerprint="f1", meta={"role": "decode"}))
    assert result["ok"], result
    assert first.end() == 0
    assert living(result["pid"])
    second = clients()
    seen = second.observe("e-0")
    assert (seen["state"], seen["pid"], seen["fingerprint"]) == ("running", result["pid"], "f1")
    assert seen["meta"] == {"role": "decode"}
    (verdict,) = second.stop("e-0")
    assert (verdict["how"], verdict["left"]) == ("TERM", [])
    assert not living(result["pid"])
    assert not living(seen["guard_pid"])
    assert second.observe("e-0")["state"] == "stopped"


def test_the_process_gets_environment_secrets_and_folder(client, spec, until, bundle):
    text = (
        "import os,json,sys;print(json.dumps([dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid()]))"
    )
    client.start(spec("e-0", sys.executable, "-c", text, env={"A": "1"}, secrets={"KEY": "s3cret"}))
    log = client.root / "proc/e-0/log"
    until(lambda: client.observe("e-0")["state"] == "exited")
    env, cwd, leads = json.loads(log.read_text())
    assert (env["A"], env["KEY"], cwd, leads) == ("1", "s3cret", str(client.root), True)
    assert (env["DPLAUNCH_BUNDLE"], env["DPLAUNCH_PROCESS"]) == (str(bundle), "e-0")
    assert env["DPLAUNCH_ROOT"] == str(client.root)
    kept = [p for p in client.root.rglob("*") if p.is_file() and p != log and b"s3cret" in p.read_bytes()]
    assert kept == []


def test_missing_binary_is_refused_and_leaves_no_state(client, spec):
    (result,) = client.start(spec("e-0", "no-such-engine", "serve"))
    assert result["error"]["kind"] == "exec"
    assert "no-such-engine" in result["error"]["text"]
    assert "PATH=" in result["error"]["text"]
    assert client.observe("e-0") is None


def test_unusable_program_and_folder_are_refused(client, spec, tmp_path):
    flat = tmp_path / "flat"
    flat.write_text("no program")
    flat.chmod(0o644)
    results = client.start(
        spec("a", str(flat)), spec("b", "true", cwd="/no/such"), spec("../x", "true"), {"name": "c"}
    )
    kinds = [r["error"]["kind"] for r in results]
    assert kinds == ["exec", "exec", "request", "request"]
    assert "/no/such" in results[1]["error"]["text"]


def test_one_refusal_does_not_hinder_the_others(client, spec, living):
    results = client.start(spec("a", "sleep", "60"), spec("b", "no-such-engine"), spec("c", "sleep", "60"))
    assert [r["ok"] for r in results] == [True, False, True]
    assert living(results[0]["pid"])
    assert living(results[2]["pid"])


def test_exit_codes_and_signals_are_kept(client, spec, until):
    names = {"zero": "exit 0", "three": "exit 3", "killed": "kill -9 $$", "segv": "kill -SEGV $$"}
    client.start(*[spec(name, "sh", "-c", text) for name, text in names.items()])
    seen = {name: until(lambda name=name: (p := client.observe(name))["ended_at"] and p) for name in names}
    assert {n: (p["exit_code"], p["signal"]) for n, p in seen.items()} == {
        "zero": (0, ""),
        "three": (3, ""),
        "killed": (None, "SIGKILL"),
        "segv": (None, "SIGSEGV"),
    }
    assert {p["state"] for p in seen.values()} == {"exited"}


def test_the_same_name_twice_is_refused(client, spec):
    client.start(spec("e-0", "sleep", "60"))
    (result,) = client.start(spec("e-0", "sleep", "60"))
    assert result["error"]["kind"] == "running"


def test_a_port_that_is_taken_says_by_whom(client, spec, script, until):
    text = "import socket,time;s=socket.socket();s.bind(('127.0.0.7',0));s.listen();print(s.getsockname()[1],flush=True);time.sleep(60)"
    (holder,) = client.start(spec("holder", *script(text)))
    port = int(until(lambda: (client.root / "proc/holder/log").read_text().strip()))
    (result,) = client.start(spec("e-0", "sleep", "60", ports=[port], address="127.0.0.7"))
    assert result["error"]["kind"] == "port-taken"
    assert f"pid {holder['pid']}" in result["error"]["text"]
    assert str(port) in result["error"]["text"]
    (elsewhere,) = client.start(spec("e-1", "sleep", "60", ports=[port], address="127.0.0.8"))
    assert elsewhere["ok"]


def test_a_service_is_started_again_with_backoff(client, spec, tmp_path, until):
    marker = tmp_path / "once"
    text = f"[ -e {marker} ] && exec sleep 60; touch {marker}; exit 7"
    client.start(spec("router", "sh", "-c", text, restarts=True, limits={"backoff": 0.1}))
    seen = until(lambda: (p := client.observe("router"))["restarts"] == 1 and p["pid"] and p)
    assert seen["state"] == "running"
    assert "code 7" in (client.root / "proc/router/log").read_text()
    (verdict,) = client.stop("router")
    assert verdict["how"] == "TERM"


def test_a_service_between_two_runs_can_be_stopped(client, spec, until):
    client.start(spec("router", "false", restarts=True))
    until(lambda: client.state_of("router")["phase"] == "waiting")
    assert client.observe("router")["state"] == "running"
    client.stop("router")
    assert client.observe("router")["state"] == "stopped"


def test_children_that_outlive_the_main_process_are_left(client, spec, living, until):
    client.start(spec("e-0", "sh", "-c", "setsid sleep 60 & sleep 0.2; exit 4"))
    seen = until(lambda: (p := client.observe("e-0"))["state"] == "exited" and p)
    assert seen["exit_code"] == 4
    (left,) = seen["left"]
    (refused,) = client.start(spec("e-0", "true"))
    assert refused["error"]["kind"] == "running"
    (verdict,) = client.stop("e-0", grace=0)
    assert (verdict["how"], verdict["left"]) == ("swept", [])
    assert not living(left)


def test_a_killed_guard_leaves_its_engine_serving(client, spec, living, until):
    (result,) = client.start(spec("e-0", "sh", "-c", "setsid sleep 61 & setsid sleep 62 & wait"))
    until(lambda: len(client.state_of("e-0")["tree"]) == 3)
    seen = client.observe("e-0")
    os.kill(seen["guard_pid"], signal.SIGKILL)
    seen = until(lambda: (p := client.observe("e-0"))["state"] == "unguarded" and p)
    assert living(result["pid"])
    tree = [pid for pid, *_ in client.state_of("e-0")["tree"]]
    (verdict,) = client.stop("e-0")
    assert verdict["left"] == []
    assert not any(map(living, tree))
    assert client.observe("e-0")["state"] == "stopped"


def test_state_of_another_host_or_boot_is_never_acted_on(client, spec, living, until):
    (result,) = client.start(spec("e-0", "sleep", "60"))
    path = client.root / "proc/e-0/state.json"
    state = json.loads(path.read_text())
    os.kill(state["guard"][0], signal.SIGSTOP)  # or it would write its state again
    foreign = json.dumps({**state, "host": "elsewhere", "boot": "another"})
    path.write_text(foreign)
    assert client.observe("e-0")["state"] == "foreign"
    assert client.start(spec("e-0", "true"))[0]["error"]["kind"] == "foreign"
    (verdict,) = client.stop("e-0")
    assert "elsewhere" in verdict["problem"]
    assert client.ask("forget", all=True)["error"]["kind"] == "foreign"
    assert path.read_text() == foreign
    path.write_text(json.dumps({**state, "boot": "before"}))  # and its guard lives: in another container
    assert client.observe("e-0")["state"] == "foreign"
    (verdict,) = client.stop("e-0")
    assert "in another container" in verdict["problem"]
    assert living(result["pid"])
    os.kill(state["guard"][0], signal.SIGKILL)  # now nobody can tell it from a process of an earlier boot
    seen = until(lambda: (p := client.observe("e-0"))["state"] == "exited" and p)
    assert (seen["how"], seen["left"]) == ("rebooted", [])
    client.stop("e-0")  # by its environment it is ours all the same
    assert not living(result["pid"])


def test_a_renamed_host_is_the_same_machine(client, spec, living):
    (result,) = client.start(spec("e-0", "sleep", "60", limits={"look": 60}))
    path = client.root / "proc/e-0/state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": "as-it-was-called-before"}))
    assert client.observe("e-0")["state"] == "running"
    (verdict,) = client.stop("e-0")
    assert (verdict["how"], verdict["left"], verdict["problem"]) == ("TERM", [], "")
    assert not living(result["pid"])


def test_sixteen_starts_cost_little_cpu(client, spec):
    before = os.times()
    results = client.start(*[spec(f"e-{n}", "sleep", "60") for n in range(16)])
    assert all(r["ok"] for r in results)
    client.stop(*[f"e-{n}" for n in range(16)], grace=0)
    assert client.end() == 0
    spent = os.times().children_user + os.times().children_system
    spent -= before.children_user + before.children_system
    assert spent < 1.5, "start and stop of 16 processes: CPU seconds of the session"


def test_the_process_gets_three_descriptors_and_no_signal_mask(client, spec, until):
    text = """
import os, signal
print([os.readlink(f"/proc/self/fd/{fd}") for fd in sorted(map(int, os.listdir("/proc/self/fd")))[:-1]])
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), os.getppid())
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("SigIgn")])
"""
    client.start(spec("e-0", sys.executable, "-I", "-S", "-c", text))
    until(lambda: client.observe("e-0")["ended_at"])
    log = client.root / "proc/e-0/log"
    links, signals, ignored = log.read_text().splitlines()
    assert eval(links) == ["/dev/null", str(log), str(log)]
    assert signals == f"set() {client.observe('e-0')['guard_pid']}"
    numbers = {n for n in range(1, 32) if int(eval(ignored)[0], 16) >> (n - 1) & 1}
    assert numbers == {signal.SIGPIPE, signal.SIGXFSZ}, "Python itself ignores these"


def signals_of(pid, field):
    """The numbers in a signal mask of ``/proc/PID/status``."""
    text = Path(f"/proc/{pid}/status").read_text()
    mask = int(text.split(f"{field}:")[1].split()[0], 16)
    return {n for n in range(1, 32) if mask >> (n - 1) & 1}


def test_a_guard_ignores_the_end_of_its_session_which_keeps_its_own_signals(client, spec):
    session = client.process.pid
    before = [signals_of(session, field) for field in ("SigBlk", "SigIgn", "SigCgt")]
    client.start(spec("e-0", "sleep", "60"), spec("e-1", "no-such-program"))
    guard = client.observe("e-0")["guard_pid"]
    assert signals_of(guard, "SigIgn") == {signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ}
    assert [signals_of(session, field) for field in ("SigBlk", "SigIgn", "SigCgt")] == before


def test_two_sessions_that_start_the_same_name_start_it_once(clients, spec):
    pair = clients(), clients()
    for _ in range(5):
        numbers = [one.send("start", processes=[spec("e-0", "sleep", "60")]) for one in pair]
        results = [one.reply(number)["results"][0] for one, number in zip(pair, numbers, strict=True)]
        assert sorted(r["ok"] for r in results) == [False, True]
        assert {r["error"]["kind"] for r in results if not r["ok"]} == {"running"}
        pair[0].stop("e-0", grace=0)
