"""The documented 4P4D cluster over SSH: eight machines, their own processes, addresses and homes.

``vllm`` is on every machine's PATH, and is the rehearsal engine: everything else is what production runs.
"""

import json
import re
import sys
import time
from pathlib import Path

import pytest
from lab import Lab

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
DPLAUNCH = str(Path(sys.executable).parent / "dplaunch")
VLLM = '#!/bin/sh\nexec python3 -I -S "$DPLAUNCH_BUNDLE" rehearsal vllm "$@"\n'
ENGINES = 72


def production_file() -> str:
    """The shipped file with the lab's addresses; nothing else is changed but what a lab has not: CANN."""
    text = (ROOT / "clusters" / "deepseek-r1-a3-4p4d.yaml").read_text()
    text = text.replace("192.0.0.", "192.0.2.")
    text = re.sub(r"(?m)^  setup:.*$", "  setup: []", text)
    return re.sub(r"(?m)^  python:.*$", f"  python: {sys.executable}", text)


@pytest.fixture(scope="module")
def lab():
    with Lab(8) as lab:
        for number in range(1, 9):
            lab[f"h{number}"].stub("vllm", VLLM)
        lab.path("~/cluster.yaml").write_text(production_file())
        yield lab


def dplaunch(lab, *words: str, code=0, timeout=180):
    done = lab.run([DPLAUNCH, *words], timeout=timeout, env={"DPLAUNCH_REHEARSAL_SPEED": "0"})
    assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def left(lab):
    return [p for number in range(1, 9) for p in lab[f"h{number}"].processes()]


def status(lab):
    return json.loads(lab.run([DPLAUNCH, "status", "-o", "json"], timeout=60).stdout)


def test_up_status_logs_again_down(lab, until):
    up = dplaunch(lab, "up", "cluster.yaml", "-o", "json")
    assert json.loads(up.stdout)["ready"]
    seen = status(lab)
    assert seen["state"] == "serving"
    assert len(seen["processes"]) == ENGINES + 1
    logs = dplaunch(lab, "logs", "decode-[0-1]", "-n", "0").stdout
    assert "Application startup complete" in logs
    again = json.loads(dplaunch(lab, "up", "-o", "json").stdout)
    assert not again["changed"]
    assert {p["pid"] for p in status(lab)["processes"]} == {p["pid"] for p in seen["processes"]}
    follow = lab.start([DPLAUNCH, "logs", "router", "-f", "-n", "1"])
    assert follow.stdout.readline()
    follow.send_signal(2)
    assert follow.wait(10) == 130
    dplaunch(lab, "down", "-y")
    until(lambda: not left(lab))
    assert lab.run([DPLAUNCH, "status", "cluster.yaml"], timeout=60).returncode == 1


def test_detached_it_becomes_ready_with_no_launcher_running(lab, until):
    start = time.monotonic()
    dplaunch(lab, "up", "cluster.yaml", "--detach")
    until(lambda: status(lab)["state"] == "serving", 60 - (time.monotonic() - start), 0.5)
    dplaunch(lab, "status", "--wait", "ready")
    dplaunch(lab, "down", "-y")
    until(lambda: not left(lab))
