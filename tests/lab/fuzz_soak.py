"""Faults of machines, networks, disks and operators at random moments; after each what is said is what is."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest
from faulty import DPLAUNCH, STATE, Site
from lab import LabHost
from waiting import until

pytestmark = pytest.mark.lab

CODES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 130, -2, -9}
"""The table of exit codes, and the two signals that end a launcher here."""
MOST = 90.0
"""Seconds for any verb."""
CHANGES = (
    "up -y",
    "up -y --detach",
    "restart decode-0 -y",
    "restart prefill-0 -y",
    "restart router -y",
    "down -y --grace 2s",
)
LOOKS = ("status", "status -o json", "test", "logs -n 5", "diagnose", "audit", "check")
BYSTANDER = ("sh", "-c", "setsid -f sleep 424242 > /dev/null 2>&1")
"""What runs on every host, and is nothing to us."""


class Soak:
    """The site with what is done to it. ``said``: the story so far, for whoever reads the failure."""

    def __init__(self, site: Site, dice) -> None:
        self.site, self.dice = site, dice
        self.hosts = list(site.lab.hosts.values())
        self.said = []
        self.pending = []
        """Verbs that were started and not waited for."""
        self.faults = (
            *(self.kill, self.kill, self.pause, self.unplug, self.power_off, self.fill, self.make_read_only),
            *(self.lose_state, self.spoil_state, self.start_verb, self.start_verb, self.end_verb, self.look),
        )

    def act(self):
        """Do one thing to a host that is on; how to undo it, if it is to be undone."""
        hosts = [host for host in self.hosts if host.pid]
        fault = self.dice.choice(self.faults)
        return fault(self.dice.choice(hosts)) if hosts else None

    def note(self, *words: object):
        self.said.append(" ".join(map(str, words)))

    def kill(self, host: LabHost):
        """One process of ours: an engine, a guard, the router, or a session."""
        ours = [p for p in host.processes() if "424242" not in p.command]
        if ours:
            one = self.dice.choice(ours)
            self.note("kill -9 on", host.name, one.command[:90])
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)

    def pause(self, host: LabHost):
        ours = [p for p in host.processes() if "424242" not in p.command]
        if not ours:
            return None
        one = self.dice.choice(ours)
        self.note("stop on", host.name, one.command[:90])
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGSTOP)
        return lambda: self.resume(one.pid)

    def resume(self, pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def unplug(self, host: LabHost):
        self.note("unplug", host.name)
        host.unplug()
        return host.plug

    def power_off(self, host: LabHost):
        self.note("power off", host.name)
        host.power_off()
        return lambda: self.boot(host)

    def boot(self, host: LabHost):
        if not host.pid:
            host.power_on()
            host.run(BYSTANDER)

    def fill(self, host: LabHost):
        self.note("fill the disk of", host.name)
        host.fill()
        return lambda: host.path("~/.fill").unlink(missing_ok=True)

    def make_read_only(self, host: LabHost):
        self.note("read-only home on", host.name)
        host.run(["mount", "-o", "remount,bind,ro", "/srv/home"])
        return lambda: host.read_only(yes=False)

    def states(self, host: LabHost):
        return sorted(host.path(STATE).glob("*/proc/*/*.json")) + sorted(host.path(STATE).glob("*/*.json*"))

    def lose_state(self, host: LabHost):
        found = self.states(host)
        if found:
            path = self.dice.choice(found)
            self.note("remove", host.name, *path.parts[-3:])
            with suppress(OSError):
                path.unlink()

    def spoil_state(self, host: LabHost):
        found = self.states(host)
        if found:
            path = self.dice.choice(found)
            self.note("spoil", host.name, *path.parts[-3:])
            with suppress(OSError, ValueError):
                path.write_bytes(self.dice.spoil_line(path.read_bytes()))

    def start_verb(self, _host: LabHost):
        verb = self.dice.choice(CHANGES)
        self.note("start", verb)
        self.pending.append((verb, self.site.lab.start([DPLAUNCH, *verb.split()])))

    def end_verb(self, _host: LabHost):
        if self.pending:
            verb, process = self.dice.choice(self.pending)
            number = self.dice.choice((signal.SIGINT, signal.SIGKILL))
            self.note(number.name, "to", verb)
            process.send_signal(number)

    def look(self, _host: LabHost):
        self.verb(self.dice.choice(LOOKS))

    def verb(self, words):
        """A verb to its end, which is in order whatever happened."""
        done = self.site.lab.run([DPLAUNCH, *words.split()], timeout=MOST)
        self.note(f"{words} → {done.returncode}")
        self.judge(words, done.returncode, done.stdout + done.stderr)
        return done

    def judge(self, words, code, text):
        assert code in CODES, f"{words}: exit {code}\n{text}\n{self.story}"
        assert "Traceback (most recent" not in text, f"{words}\n{text}\n{self.story}"

    def join(self):
        """Wait for every verb that was started."""
        for words, process in self.pending:
            try:
                out, err = process.communicate(timeout=MOST)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError(f"{words} does not end\n{self.story}") from None
            self.note(f"{words} ended with {process.returncode}")
            self.judge(words, process.returncode, out + err)
        self.pending.clear()

    @property
    def story(self):
        return "\n".join(self.said)

    def ours(self):
        """What runs on the hosts and is ours."""
        return [one for one in self.site.left() if "424242" not in one]

    def compare(self):
        """What ``status`` says, with what runs."""
        seen = json.loads(self.verb("status -o json").stdout)
        if "processes" not in seen:
            return
        for one in seen["processes"]:
            host = self.site.lab[one["node"].replace("n", "h")]
            lives = one["pid"] and host.run(["test", "-d", f"/proc/{one['pid']}"]).returncode == 0
            if one["state"] in ("running", "unguarded"):
                assert lives or not one["pid"], f"{one['name']} is said to run\n{self.story}"
        if seen["state"] == "down":
            with suppress(AssertionError):  # the session that said so is still about to end
                until(lambda: not self.ours(), 5)
            assert not self.ours(), f"said to be down, but {self.ours()}\n{self.story}"
        if seen["state"] == "serving":
            done = self.verb("test")
            assert done.returncode == 0, f"said to serve\n{done.stdout}{done.stderr}\n{self.story}"

    def episode(self):
        """Some faults, some of them mended soon; then all are, and everything must come up and go down."""
        undo = []
        for _ in range(self.dice.randrange(1, 6)):
            undo.append(self.act() or (lambda: None))
            time.sleep(self.dice.choice((0, 0.1, 0.5, 2)))
            if self.dice.random() < 0.5:
                undo.pop()()
        for mend in reversed(undo):
            mend()
        self.join()
        self.compare()

    def finish(self):
        """Nothing is left after ``down``."""
        done = self.verb("down -y --grace 2s")
        with suppress(AssertionError):
            until(lambda: not self.ours(), 5)
        assert done.returncode or not self.ours(), f"down said all is gone, but {self.ours()}\n{self.story}"
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.ours()}\n{self.story}"
        assert not self.site.locked(), self.story
        for host in self.hosts:
            assert any("424242" in p.command for p in host.processes()), (
                f"{host.name}: a bystander\n{self.story}"
            )


def test_whatever_breaks_what_is_said_is_what_is(site, dice, rounds):
    soak = Soak(site, dice)
    site.mend()
    for host in soak.hosts:
        host.run(BYSTANDER)
    for number in range(max(1, rounds // 5)):
        soak.said = [f"episode {number}"]
        done = soak.verb("up -y")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{soak.story}"
        for _ in range(dice.randrange(1, 4)):
            soak.episode()
        soak.finish()
