"""FastDeploy over SSH with a real Redis: its ranks report there, from start to end, and what is wrong is named.

``fastdeploy`` on both machines is the rehearsal's package; ``redis-server`` is Redis itself.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from lab import HOME, Lab
from waiting import until

from dplaunch.engines.fastdeploy import standin

pytestmark = pytest.mark.lab

VERSION = "2.3.0"
DPLAUNCH = str(Path(sys.executable).parent / "dplaunch")
REDIS = f'#!/bin/bash\nexec -a redis-server {shutil.which("redis-check-rdb")} "$@"\n'
"""The program of redis-server by the name that Debian's redis-tools gives it."""
FILE = """\
cluster: fd
engine: {kind: fastdeploy, version: "%(version)s"}
model: m
served_model_name: m
ssh: {connect_timeout: 1s}
hardware: {devices: 2, family: gpu}
nodes:
  - {name: n1, host: 192.0.2.1, env: {DPLAUNCH_REHEARSAL_BIND: 192.0.2.1}}
  - {name: n2, host: 192.0.2.2, env: {DPLAUNCH_REHEARSAL_BIND: 192.0.2.2}}
runtime: {python: %(python)s, setup: [export PYTHONPATH=%(lib)s]}
defaults:
  env:
    DPLAUNCH_REHEARSAL_SPEED: 0
    DPLAUNCH_REHEARSAL_VERSION: %(version)s
    DPLAUNCH_REHEARSAL_FLAGS: %(lib)s/fastdeploy/flags.txt
    %(nics)s
roles: %(roles)s
redis: %(redis)s
router: {node: n1, port: 8000}
ready_timeout: 40s
"""
SPLIT = "{prefill: {nodes: n1, dp: 2, ep: 2}, decode: {nodes: n2, dp: 2, ep: 2%s}}"
ALL = "{serve: {nodes: 'n[1-2]', groups: 2, dp: 2, ep: 2}}"
NICS = "KVCACHE_RDMA_NICS: mlx5_0"


@pytest.fixture(scope="module")
def hosts():
    with Lab(2) as lab:
        for host in lab.hosts.values():
            host.stub("redis-server", REDIS)
            for path, text in standin.programs(VERSION).items():
                file = host.path(f"{HOME}/lib/{path}")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        yield lab


@pytest.fixture
def cluster(hosts):
    """``cluster(roles)`` writes its file; afterwards nothing may run."""

    def write(roles=SPLIT % "", redis="{node: n1}", nics=NICS):
        values = {"roles": roles, "redis": redis, "nics": nics, "version": VERSION}
        text = FILE % {**values, "python": sys.executable, "lib": f"{HOME}/lib"}
        hosts.path("~/cluster.yaml").write_text(text)
        return hosts

    yield write
    until(lambda: not [p.command for host in hosts.hosts.values() for p in host.processes()])


def dplaunch(lab, *words: str, code=0):
    done = lab.run([DPLAUNCH, *words], timeout=90)
    assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def answers(host, address, port):
    dial = f"import socket; socket.create_connection(('{address}', {port}))"
    return host.run(["python3", "-c", dial]).returncode == 0


def end(host):
    """End what was started by hand there."""
    for process in host.processes():
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("roles", "last"), [(ALL, "serve-2"), (SPLIT % "", "decode-0")], ids=["one role", "split"]
)
def test_ranks_meet_in_redis_from_up_to_down(cluster, roles, last):
    lab = cluster(roles)
    dplaunch(lab, "up", "cluster.yaml")
    seen = json.loads(dplaunch(lab, "status", "-o", "json"))
    assert seen["state"] == "serving"
    assert seen["registered"] == "Redis at 192.0.2.1:6379: 4 of 4 ranks have reported"
    logs = dplaunch(lab, "logs", last, "-n", "0")
    assert "Redis version is 7." in logs
    assert "worker 0 is launched" in logs
    assert "nothing is left" in dplaunch(lab, "down", "-y")


def test_a_rank_that_does_not_report_to_a_redis_that_exists_is_named(cluster):
    lab = cluster(
        SPLIT % ", env: {DPLAUNCH_REHEARSAL_UNREGISTERED: 1}", redis="{url: 'redis://192.0.2.1:6379'}"
    )
    words = "--port 6379 --bind 192.0.2.1 --protected-mode no --save ''"
    lab["h1"].run(["sh", "-c", f"setsid ~/bin/redis-server {words} > /dev/null 2>&1 &"])
    until(lambda: answers(lab["h1"], "192.0.2.1", 6379))
    dplaunch(lab, "up", "cluster.yaml", "--detach")
    lacks = "Redis at 192.0.2.1:6379: 3 of 4 ranks have reported; decode@n2 on n2 lacks rank 1"
    until(lambda: lacks in lab.run([DPLAUNCH, "status"]).stdout, 20.0)
    dplaunch(lab, "down", "-y")
    end(lab["h1"])


def test_a_wrong_address_of_redis_is_named(cluster):
    lab = cluster(ALL, redis="{url: 'redis://192.0.2.1:6390'}")
    assert "Redis at 192.0.2.1:6390 cannot be reached from" in dplaunch(lab, "up", "cluster.yaml", code=1)


def test_ports_that_are_taken_are_named_before_anything_starts(cluster):
    lab = cluster(ALL)
    lab["h1"].run(["sh", "-c", "setsid python3 -m http.server 6379 > /dev/null 2>&1 &"])
    lab["h2"].run(["sh", "-c", "setsid python3 -m http.server 25601 > /dev/null 2>&1 &"])
    until(lambda: answers(lab["h1"], "127.0.0.1", 6379) and answers(lab["h2"], "127.0.0.1", 25601))
    text = dplaunch(lab, "up", "cluster.yaml", code=1)
    assert "n1: port 6379 of redis is taken by pid" in text
    assert "n2: port 25601 of serve" in text
    assert "nothing was started" in text
    end(lab["h1"])
    end(lab["h2"])
