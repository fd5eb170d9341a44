"""A process takes over from the one of its name: nothing is changed until it does, and both are guarded then."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

SERVICE = """
trap 'echo leaves $$; left=1' USR1
trap 'echo ends $$; exit 0' TERM
{begin}
while [ ! -e "{gate}" -o -z "$left" ]; do sleep 0.05; done
echo finished $$
"""
TAKES_OVER = 'echo begins $$; [ -z "$DPLAUNCH_TAKES_OVER" ] || touch "$DPLAUNCH_TAKES_OVER"'
LISTENS = """
import socket, sys, time
one = socket.create_server(("127.0.0.1", int(sys.argv[1])), reuse_port=True)
while True: time.sleep(60)
"""


class Service:
    """A service that finishes what it has when a file, the gate, is there."""

    def __init__(self, client, spec, until, folder) -> None:
        self.client, self.spec, self.until = client, spec, until
        self.gate = folder / "gate"
        self.first = self.start()
        assert self.first["ok"], self.first
        until(lambda: "begins" in self.log)
        self.guard = self.seen["guard_pid"]

    def start(self, begin=TAKES_OVER, **more):
        script = SERVICE.format(begin=begin, gate=self.gate)
        return self.client.start(self.spec("router", "bash", "-c", script, restarts=True, **more))[0]

    @property
    def seen(self):
        return self.client.observe("router")

    @property
    def log(self):
        return (self.client.root / "proc/router/log").read_text()

    def says(self, *lines: str):
        self.until(lambda: set(lines) <= set(self.log.splitlines()))

    def lives(self, pid):
        return any(one[0] == pid for one in self.client.state_of("router")["tree"])


@pytest.fixture
def service(client, spec, until, tmp_path):
    return Service(client, spec, until, tmp_path)


def test_the_old_one_finishes_what_it_has_and_the_new_one_is_guarded(service, until):
    old = service.first["pid"]
    new = service.start(takes_over=60)
    assert new["ok"], new
    seen = service.seen
    assert (seen["state"], seen["pid"], seen["restarts"]) == ("running", new["pid"], 0)
    until(lambda: not Path(f"/proc/{service.guard}").exists())
    service.says(f"leaves {old}")
    assert service.lives(old)
    service.gate.touch()
    service.says(f"finished {old}")
    until(lambda: not service.lives(old))
    assert service.seen["pid"] == new["pid"]
    assert not list((service.client.root / "proc/router").glob("took-over"))


def test_one_that_ends_before_leaves_everything_as_it_was(service):
    new = service.start(begin="exit 3", takes_over=60)
    assert (new["ok"], new["error"]["kind"]) == (False, "handover")
    assert "code 3" in new["error"]["text"]
    seen = service.seen
    assert (seen["pid"], seen["guard_pid"], seen["state"]) == (service.first["pid"], service.guard, "running")
    assert "leaves" not in service.log


def test_one_that_does_not_come_up_in_time_is_killed(service, until):
    new = service.start(begin="echo slow $$", takes_over=60, limits={"comes_up": 0.5})
    assert (new["ok"], new["error"]["kind"]) == (False, "handover")
    pid = next(line.split()[1] for line in service.log.splitlines() if line.startswith("slow"))
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert service.seen["pid"] == service.first["pid"]


def test_what_does_not_finish_in_time_is_asked_to_end(service, until):
    old = service.first["pid"]
    assert service.start(takes_over=0.3)["ok"]
    service.says(f"leaves {old}", f"ends {old}")
    until(lambda: not service.lives(old))


def test_a_stop_ends_both_politely(service):
    old, new = service.first["pid"], service.start(takes_over=60)["pid"]
    service.says(f"leaves {old}")
    (verdict,) = service.client.stop("router")
    assert (verdict["how"], verdict["left"]) == ("TERM", [])
    service.says(f"ends {old}", f"ends {new}")


def test_a_new_one_that_dies_is_started_again_while_the_old_one_finishes(service, until):
    old, new = service.first["pid"], service.start(takes_over=60, limits={"backoff": 0.1})["pid"]
    os.kill(new, signal.SIGKILL)
    until(lambda: service.seen["restarts"] == 1 and service.seen["pid"])
    assert service.lives(old)
    service.gate.touch()
    until(lambda: not service.lives(old))


def test_a_third_one_takes_over_while_the_first_still_finishes(service, until):
    first, second = service.first["pid"], service.start(takes_over=60)["pid"]
    third = service.start(takes_over=60)["pid"]
    service.says(f"leaves {first}", f"leaves {second}")
    assert [service.lives(pid) for pid in (first, second, third)] == [True] * 3
    service.gate.touch()
    until(lambda: not (service.lives(first) or service.lives(second)))
    assert service.seen["pid"] == third


def test_there_has_to_be_something_to_take_over_from(client, spec):
    (refused,) = client.start(spec("router", "sleep", "60", takes_over=60))
    assert refused["error"]["kind"] == "handover"


def test_it_shares_the_ports_of_the_old_one_and_no_others(client, spec, until):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        argv = [sys.executable, "-c", LISTENS, str(port)]
        place = {"address": "127.0.0.1", "ports": [port]}
        assert client.start(spec("router", *argv, **place))[0]["ok"]
        until(lambda: connects(port))
        follows = ["bash", "-c", 'touch "$DPLAUNCH_TAKES_OVER"; sleep 60']
        taken = {**place, "ports": [port, stranger.getsockname()[1]]}
        (refused,) = client.start(spec("router", *follows, **taken, takes_over=1))
        assert (refused["error"]["kind"], refused["error"]["pid"]) == ("port-taken", os.getpid())
        assert client.start(spec("router", *follows, **place, takes_over=1))[0]["ok"]


def connects(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
