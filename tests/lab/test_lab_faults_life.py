"""What happens while it runs: operators who collide or vanish, guards killed, cables pulled, power cut."""

import json
import os
import re
import signal

import pytest
from faulty import ELSEWHERE, STATE
from waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("nothing_is_left")]

HANGS = "overrides: {decode-1: {env: {DPLAUNCH_REHEARSAL_NEVER_READY: 1}}}\n"
STUBBORN = (
    "overrides: {decode-1: {env: {DPLAUNCH_REHEARSAL_IGNORE_TERM: 1, DPLAUNCH_REHEARSAL_ORPHANS: 2}}}\n"
)


def pids(seen):
    return {p["name"]: p["pid"] for p in seen["processes"]}


def test_a_second_operator_then_a_killed_launcher_then_up_again(site):
    site.write(more=HANGS)
    first = site.start("up")
    until(lambda: len([p for p in site.left() if "vllm serve" in p]) == 3)
    for verb in (["up"], ["down", "-y"], ["restart", "decode", "-y"]):
        error, hint = site.fails(*verb, code=6)
        assert error.startswith("root@operator is running `dplaunch up` on this cluster (for ")
        assert "lock on n1" in error
        assert "`dplaunch lock`" in hint
    assert "held by root@operator: `dplaunch up`" in site("lock").stdout
    before = pids(site.status())
    first.kill()
    first.communicate()
    until(lambda: not site.locked())
    assert pids(site.status()) == before  # nobody waits for a launcher
    site.write()  # as if it had not been told to hang: its group is started again, the others keep running
    site("up", "-y")
    seen = site.status()
    assert seen["state"] == "serving"
    assert pids(seen)["prefill-0"] == before["prefill-0"]
    assert pids(seen)["decode-1"] != before["decode-1"]
    site("down", "-y")


def test_ctrl_c_detaches_up(site):
    site.write(more=HANGS)
    up = site.start("up")
    until(lambda: len([p for p in site.left() if "vllm serve" in p]) == 3)
    up.send_signal(signal.SIGINT)
    _, err = up.communicate(timeout=10)
    assert up.returncode == 130
    lines = err.splitlines()
    assert (
        "error: Detached from faults. The cluster keeps running; the router proves and opens each group."
        in lines
    )
    assert "`dplaunch status`" in lines[-1]
    assert "`dplaunch down`" in lines[-1]
    assert site.status()["state"] == "starting"
    site("down", "-y")


def test_ctrl_c_does_not_wait_for_a_silent_host(site):
    site.write(n3="{name: n3, host: 192.0.2.3, ssh: {connect_timeout: 60s}}")
    site.lab["h3"].unplug()
    up = site.start("up")
    assert "connect" in up.stderr.readline()
    up.send_signal(signal.SIGINT)
    _, err = up.communicate(timeout=10)
    assert up.returncode == 130
    assert "error: interrupted; nothing was started\n" in err
    site.lab["h3"].plug()


def test_down_kills_what_ignores_it_sooner_after_two_ctrl_c_and_sweeps_what_left_its_session(site):
    site.write(more=STUBBORN)
    site("up", "-q")
    assert sum("sleep 3600" in p for p in site.left()) == 2
    down = site.start("down", "-y", "-v")
    until(lambda: not any("dprouter" in p for p in site.left()))  # then the engines' turn has come
    down.send_signal(signal.SIGINT)
    told = next(line for line in down.stderr if "Ctrl-C" in line)
    assert "skip the grace" in told
    down.send_signal(signal.SIGINT)
    out, _ = down.communicate(timeout=15)
    assert down.returncode == 0
    assert re.search(r"decode: 2 stopped \(.*KILL", out)


def test_a_killed_guard_is_told_and_its_engine_goes_on_and_is_found_by_down(site):
    site.write(more=STUBBORN)
    site("up", "-q")
    before = pids(site.status())
    os.kill(site.guard(site.lab["h3"]), signal.SIGKILL)
    shown = until(lambda: (said := site("status").stdout) and "unguarded" in said and said)
    assert "decode-1 on n3: serving, unguarded" in shown
    assert not json.loads(site("up", "-o", "json").stdout)["changed"]
    assert pids(site.status()) == before
    out = site("down", "-y", "--grace", "0.5s").stdout
    assert "4 processes stopped; nothing is left" in out


def test_followed_logs_survive_a_pulled_cable_with_nothing_lost_and_nothing_twice(site):
    site("up", "-q")
    host = site.lab["h3"]
    log = host.path(f"{STATE}/n3/proc/decode-1/log")
    follow = site.start("logs", "decode-1", "-f", "-n", "0")
    seen = [follow.stdout.readline() for _ in range(5)]
    host.unplug()
    host.run(["sh", "-c", "kill -9 $(pgrep -f 'sshd[:-]' | grep -vx 1)"])  # that host forgets the connection
    size = log.stat().st_size
    ask = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9000/v1/models')"
    host.run(["python3", "-c", ask])
    until(lambda: log.stat().st_size > size)  # it keeps writing
    host.plug()
    while len("".join(seen)) <= size:
        seen.append(follow.stdout.readline())
    follow.send_signal(signal.SIGINT)
    rest, err = follow.communicate(timeout=10)
    assert follow.returncode == 130
    followed = "".join(seen) + rest
    assert log.read_text().startswith(followed)
    assert "n3 is back" in err
    site("down", "-y")


def test_a_power_cut_is_told_and_up_brings_the_group_back(site):
    site("up", "-q")
    before = pids(site.status())
    host = site.lab["h3"]
    host.power_off()
    seen = site("status", code=3).stdout
    assert "faults: degraded — 0 of 1 decode group serving (n3 is unreachable)" in seen
    assert "unreachable: n3" in seen
    host.power_on()
    seen = site("status", code=7).stdout
    assert "decode-1 on n3: ended when the machine rebooted" in seen
    refused = site("up", code=2).stderr
    assert "its group restarts with decode-1" in refused
    site("up", "-y")
    after = pids(site.status())
    assert after["prefill-0"] == before["prefill-0"]
    assert after["decode-0"] != before["decode-0"]
    site("down", "-y")


def test_down_with_a_host_off_stops_the_others_and_is_finished_later(site):
    site("up", "-q")
    site.lab["h3"].unplug()
    out = site("down", "-y", code=3).stdout
    assert "unreachable n3: " in out
    assert "`dplaunch down` again" in out
    assert "INCOMPLETE: 3 of 4 processes stopped; 1 may still run on n3" in out
    until(lambda: {p.partition(":")[0] for p in site.left()} == {"h3"})  # sessions end after their launcher
    site.lab["h3"].plug()
    assert "1 process stopped; nothing is left" in site("down", "-y").stdout
    assert "down — nothing runs" in site("status", code=1).stdout
    assert "nothing runs" in site("down").stdout


def test_another_machine_needs_the_file_alone(site):
    site("up", "-q")
    lab = site.lab
    lab.run(
        ["sh", "-c", f"mkdir -p {ELSEWHERE}; cp -r ~/.ssh {ELSEWHERE}; cp cluster.yaml {ELSEWHERE}/its.yaml"]
    )
    there = {"HOME": ELSEWHERE, "XDG_STATE_HOME": f"{ELSEWHERE}/state"}

    def elsewhere(*words: str, code: int = 0):
        return site(*words, code=code, env=there, cwd=ELSEWHERE)

    assert "no cluster file" in elsewhere("status", code=2).stderr
    assert "serving" in elsewhere("status", "its.yaml").stdout
    assert "startup complete" in elsewhere("logs", "--file", "its.yaml", "decode-1", "-n", "0").stdout
    # here it is the current cluster: no file is needed, nor any in this folder
    assert "serving" in site("status", cwd="/").stdout
    assert "startup complete" in site("logs", "decode-1", "-n", "0", cwd="/").stdout
    assert "h2" in site("exec", "decode-0", "--", "cat", "/proc/sys/kernel/hostname", cwd="/").stdout
    elsewhere("down", "its.yaml", "-y")
    site.clean()
    assert "down — nothing" in site("status", cwd="/", code=1).stdout
    site("down", "-y", cwd="/")
    assert "no cluster is current" in site("status", cwd="/", code=2).stderr
