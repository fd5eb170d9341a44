"""The lab is what it says it is: machines of their own, faults that look like faults, nothing left."""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from lab import OPERATOR_ADDRESS, Lab

pytestmark = pytest.mark.lab

SSH = ("ssh", "-o", "BatchMode=yes")
IMPATIENT = (*SSH, "-o", "ConnectTimeout=1")
HOSTS = [f"h{n}" for n in range(1, 9)]


@pytest.fixture(scope="module")
def lab():
    with Lab(8) as lab:
        yield lab


def ssh(lab: Lab, host: str, command: str) -> str:
    done = lab.run([*SSH, host, command])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_sixteen_hosts_are_built_at_once():
    with Lab(16) as lab:
        assert ssh(lab, "h16", "cat /proc/sys/kernel/hostname") == "h16"


def test_each_host_is_a_machine_of_its_own(lab):
    ask = "cat /proc/sys/kernel/hostname /proc/sys/kernel/random/boot_id; readlink /proc/self/ns/{pid,net,mnt,uts}"
    answers = [ssh(lab, host, ask).splitlines() for host in HOSTS]
    assert [answer[0] for answer in answers] == HOSTS
    columns = list(zip(*answers, strict=True))
    assert [len(set(column)) for column in columns] == [8] * 6  # names, boots and spaces: no two alike


def test_a_host_sees_its_own_processes_only(lab):
    assert ssh(lab, "h1", "tr '\\0' ' ' < /proc/1/cmdline").startswith("sshd: /usr/sbin/sshd -D")
    assert not Path(f"/proc/{os.getpid()}").samefile(lab["h1"].path("/proc/1"))
    assert len(ssh(lab, "h1", "ls -d /proc/[0-9]*").split()) < 8


def test_a_host_writes_to_its_own_home_tmp_and_shm_and_nowhere_else(lab):
    for place in ("~", "/tmp", "/dev/shm"):
        ssh(lab, "h1", f"echo mine > {place}/mark")
        assert lab["h1"].path(f"{place}/mark").read_text() == "mine\n"
        assert not lab["h2"].path(f"{place}/mark").exists()
        assert not lab.path(f"{place}/mark").exists()
    assert "Read-only file system" in lab.run([*SSH, "h1", "touch /usr/mark"]).stderr


def test_hosts_reach_each_other_and_the_operator_and_nothing_beyond(lab):
    dial = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
    assert lab["h1"].run(["python3", "-c", dial, "192.0.2.2", "22"]).returncode == 0
    assert "refused" in lab["h1"].run(["python3", "-c", dial, OPERATOR_ADDRESS, "9"]).stderr
    assert "unreachable" in lab["h1"].run(["python3", "-c", dial, "203.0.113.1", "22"]).stderr


def test_unknown_keys_and_logins_are_refused(lab):
    strict = lab.run(
        [*SSH, "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes", "h1", "true"]
    )
    assert "Host key verification failed" in strict.stderr
    assert (
        "Permission denied"
        in lab.run([*SSH, "-o", "IdentitiesOnly=yes", "-i", "/dev/null", "h1", "true"]).stderr
    )


def test_a_stub_is_found_before_everything_else(lab):
    lab["h3"].stub("npu-smi", "#!/bin/sh\necho stub of $(cat /proc/sys/kernel/hostname): $1\n")
    assert ssh(lab, "h3", "npu-smi info") == "stub of h3: info"


def test_unplugged_a_host_is_silent_and_plugged_it_goes_on(lab):
    talk = lab.start([*SSH, "h4", "cat"])
    assert talk.stdin
    assert talk.stdout
    talk.stdin.write("before\n")
    talk.stdin.flush()
    assert talk.stdout.readline() == "before\n"
    lab["h4"].unplug()
    assert re.search("timed out|No route", lab.run([*IMPATIENT, "h4", "true"]).stderr)
    lab["h4"].plug()
    assert talk.communicate("after\n", timeout=10)[0] == "after\n"
    assert talk.returncode == 0


def test_power_off_ends_everything_in_silence_and_power_on_keeps_the_disk(lab, until):
    host = lab["h5"]
    boot = ssh(
        lab,
        "h5",
        "cat /proc/sys/kernel/random/boot_id; echo kept > ~/file; setsid sleep 99 > /dev/null 2>&1 &",
    )
    sleep = until(lambda: next((one for one in host.processes() if one.command == "sleep 99"), None))
    host.power_off()
    assert host.processes() == []
    assert not Path(f"/proc/{sleep.pid}").exists()
    assert re.search("timed out|No route", lab.run([*IMPATIENT, "h5", "true"]).stderr)
    host.power_on()
    again, kept = ssh(lab, "h5", "cat /proc/sys/kernel/random/boot_id ~/file").splitlines()
    assert kept == "kept"
    assert again != boot


def test_a_full_and_a_read_only_home(lab):
    host = lab["h6"]
    host.fill()
    assert "No space left on device" in lab.run([*SSH, "h6", "echo more > ~/file"]).stderr
    host.free()
    ssh(lab, "h6", "echo more > ~/file")
    host.read_only()
    assert "Read-only file system" in lab.run([*SSH, "h6", "echo more > ~/file"]).stderr
    host.read_only(False)
    ssh(lab, "h6", "echo more > ~/file")


def test_a_started_command_gets_its_signals(lab, until):
    shell = lab.start(["sh", "-c", "trap 'echo got it; exit 3' INT; echo ready; while read -r _; do :; done"])
    assert shell.stdout
    assert shell.stdout.readline() == "ready\n"
    shell.send_signal(2)
    assert shell.stdout.readline() == "got it\n"
    assert shell.communicate(timeout=10)
    assert shell.returncode == 3


def trace() -> tuple[str, str, list[str]]:
    """What a lab could leave on the machine: mounts, links, named network spaces."""
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
    names = Path("/run/netns")
    return (
        Path("/proc/self/mountinfo").read_text(),
        str(sorted(link["ifname"] for link in links)),
        sorted(path.name for path in names.iterdir()) if names.exists() else [],
    )


def test_two_labs_stand_side_by_side_and_leave_nothing(until):
    before = trace()
    with Lab(2) as one, Lab(2) as other:
        ssh(one, "h1", "echo one > ~/name; setsid nohup sleep 99 > /dev/null 2>&1 &")
        ssh(other, "h1", "echo other > ~/name")
        assert one["h1"].path("~/name").read_text() == "one\n"
        spaces = [
            str(Path(f"/proc/{pid}/ns/net").readlink())
            for pid in (one.pid, one["h1"].pid, one["h2"].pid, other.pid)
        ]
        assert alive_in(spaces)
    assert not alive_in(spaces)
    assert trace() == before


def test_an_operators_process_left_behind_is_a_failure_and_ended():
    lab = Lab(1)
    with pytest.raises(AssertionError, match="sleep 98"), lab:
        left = lab.start(["sleep", "98"])
    assert left.wait(5) == -9


def test_the_lab_dies_with_whoever_built_it(until):
    """Killed, a test run cleans up nothing: the kernel does."""
    code = "import os; from lab import Lab; lab = Lab(1).__enter__(); print(lab.pid, lab['h1'].pid); os.kill(os.getpid(), 9)"
    support = Path(__file__).parent.parent / "support"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(support)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    until(lambda: not any(Path(f"/proc/{pid}/ns/net").exists() for pid in done.stdout.split()))


def alive_in(spaces: list[str]) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and str((entry / "ns/net").readlink()) in spaces:
                found.append(entry.name)
    return found
