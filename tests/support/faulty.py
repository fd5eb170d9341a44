"""A small cluster in the lab for faults: one prefill, two decode engines of one group, a router.

``vllm`` on every host is the rehearsal engine. What a fault must look like is asked here once: one error,
that names the node and what to do; and afterwards nothing runs and nobody holds the lock.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab import HOME, Lab, LabHost
from waiting import until

DPLAUNCH = str(Path(sys.executable).parent / "dplaunch")
VLLM = '#!/bin/sh\nexec python3 -I -S "$DPLAUNCH_BUNDLE" rehearsal vllm "$@"\n'
NODES = {f"n{n}": f"{{name: n{n}, host: 192.0.2.{n}}}" for n in (1, 2, 3)}
FILE = """\
cluster: faults
engine: {kind: vllm-ascend, version: "0.23.0"}
model: test/model
served_model_name: tiny
ssh: {connect_timeout: 1s}
hardware: {devices: 1}
nodes:
%(nodes)s
runtime: {python: %(python)s}
defaults:
  env: {DPLAUNCH_REHEARSAL_SPEED: 0}
roles:
  prefill: {nodes: n1}
  decode: {nodes: "n[2-3]", dp: 2}
kv_transfer: {connector: MooncakeConnectorV1}
router: {node: n1, port: 8000}
ready_timeout: 40s
"""
STATE = f"{HOME}/.local/state/dplaunch/faults"
ELSEWHERE = "/srv/elsewhere"


def cluster_file(*, more: str = "", without: str = "", **nodes: str) -> str:
    """The file; ``nodes`` replace entries of theirs, ``without`` drops the line that begins so."""
    lines = "\n".join(f"  - {entry}" for entry in {**NODES, **nodes}.values())
    text = FILE % {"nodes": lines, "python": sys.executable}
    kept = [line for line in text.splitlines() if not (without and line.startswith(without))]
    return "\n".join(kept) + "\n" + more


class Site:
    """The operator's shell in a lab of three hosts; call it with the words after ``dplaunch``."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        for host in lab.hosts.values():
            host.stub("vllm", VLLM)
        self.write()

    def write(self, **changes: str) -> None:
        """cluster.yaml anew, see ``cluster_file``."""
        self.lab.path("~/cluster.yaml").write_text(cluster_file(**changes))

    def __call__(
        self, *words: str, code: int = 0, env: dict[str, str] | None = None, cwd: str = HOME
    ) -> "subprocess.CompletedProcess[str]":
        done = self.lab.run([DPLAUNCH, *words], env=env, cwd=cwd, timeout=90)
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """The command in the background, with pipes."""
        return self.lab.start([DPLAUNCH, *words])

    def status(self) -> Any:
        """``status -o json``, whatever its exit code."""
        return json.loads(self.lab.run([DPLAUNCH, "status", "-o", "json"]).stdout)

    def fails(self, *words: str, code: int, env: dict[str, str] | None = None) -> tuple[str, str]:
        """Run it to its failure: the sentence of its one error, and the hint that ends it."""
        lines = self(*words, code=code, env=env).stderr.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1, lines
        assert lines[-1].startswith("hint: "), lines
        told = [line for line in lines if errors[0].removeprefix("error: ") in line]
        assert len(told) <= 2, told  # at most once as it happens, and once as the error
        assert not any("dplaunch check" in line for line in lines), lines
        return errors[0].removeprefix("error: "), lines[-1].removeprefix("hint: ")

    def left(self) -> list[str]:
        """What runs on the hosts and is not sshd's."""
        return [f"{h.name}: {p.command}" for h in self.lab.hosts.values() for p in h.processes()]

    def clean(self) -> None:
        """Nothing runs, nobody holds the lock."""
        try:
            until(lambda: not self.left(), 5.0)
        except AssertionError:
            raise AssertionError(f"left behind: {self.left()}") from None
        assert not self.locked()

    def mend(self) -> None:
        """Whatever a test that failed left broken: the next one begins with hosts that run nothing."""
        for host in self.lab.hosts.values():
            if not host.pid:
                host.power_on()
            host.plug()
            for process in host.processes():
                with suppress(ProcessLookupError):  # one's end may end another
                    os.kill(process.pid, 9)
        self.write()

    def locked(self) -> bool:
        """Somebody holds the lock on the first node; seen from its console."""
        host = self.lab["h1"]
        if not host.pid or not host.path(f"{STATE}/n1/lock").exists():
            return False
        return host.run(["flock", "-n", f"{STATE}/n1/lock", "true"]).returncode != 0

    def guard(self, host: LabHost) -> int:
        """The pid, as here, of the one guard on a host, once the sessions there have ended."""

        def alone() -> list[int] | None:
            found = [p.pid for p in host.processes() if "BufferedReader" in p.command]
            return found if len(found) == 1 else None

        return until(alone)[0]

    def kill(self, host: LabHost, word: str) -> None:
        """End what runs on a host with this word in its command line."""
        for process in host.processes():
            if word in process.command:
                with suppress(ProcessLookupError):  # one's end may end another
                    os.kill(process.pid, 9)
        until(lambda: not any(word in p.command for p in host.processes()))
