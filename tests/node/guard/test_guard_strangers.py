import getpass
import os
import re
import signal
import subprocess

import pytest

from dplaunch import engines
from dplaunch.node.guard.strangers import looks_like_one

TITLES = engines.titles()
PATTERNS = [re.compile(title) for title in TITLES]

ENGINE = """#!/bin/bash
(exec -a VLLM::EngineCore_DP0 sleep 60) &
wait
"""


@pytest.mark.parametrize(
    "line",
    [
        "vllm serve /weights --port 7100",
        "/opt/python/bin/python3.11 /opt/python/bin/vllm serve /weights",
        "python3 -u -X dev -m vllm.entrypoints.openai.api_server --model /weights",
        "VLLM::Worker_DP1_TP14_EP30",
        "EngineCore_0",
        "python launch_online_dp.py --dp-size 16",
        "bash -x examples/launch_online_dp.py",
        "python3 examples/load_balance_proxy_server_example.py --port 8000",
        "python3 load_balance_proxy_layerwise_server_example.py",
        "vllm-router --prefill http://n1:7100",
        "./bin/mindieservice_daemon",
        "mindie_llm_server",
    ],
)
def test_what_runs_an_engine_or_a_router_looks_like_one(line):
    assert looks_like_one(line.split(" "), PATTERNS)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "python3",
        "vllm",
        "vllm bench serve --model /weights",
        "vllm serve --help",
        "less vllm serve.log",
        "grep -r vllm.entrypoints .",
        "vim load_balance_proxy_server_example.py",
        "tail -f /var/log/VLLM::EngineCore.log",
        "bash -c vllm serve /weights",
        "python3 -I -S state/dplaunch/lib/1f rehearsal vllm serve /weights",
        "python3 -m pytest tests/vllm",
    ],
)
def test_what_only_speaks_of_one_does_not(line):
    assert not looks_like_one(line.split(" "), PATTERNS)


@pytest.fixture
def vllm(tmp_path):
    path = tmp_path / "vllm"
    path.write_text(ENGINE)
    path.chmod(0o755)
    return [str(path), "serve", "/weights"]


def strangers(client):
    return {one["pid"]: one for one in client.ask("survey", titles=TITLES)["strangers"]}


def test_an_engine_that_somebody_started_by_hand_is_told_with_its_tree(client, vllm, until):
    engine = subprocess.Popen(vllm, start_new_session=True)
    try:
        found = until(lambda: (one := strangers(client).get(engine.pid)) and len(one["pids"]) > 1 and one)
        assert client.ask("survey")["strangers"] == []
    finally:
        os.killpg(engine.pid, signal.SIGKILL)
        engine.wait()
    assert found["command"] == f"/bin/bash {' '.join(vllm)}"
    assert found["user"] == getpass.getuser()
    until(lambda: not set(found["pids"]) & set(strangers(client)))


def test_what_a_guard_started_is_no_stranger(clients, spec, vllm, until):
    ours, others = clients(), clients(node="n2")
    pids = [client.start(spec("e", *vllm))[0]["pid"] for client in (ours, others)]
    for pid in pids:
        until(lambda pid=pid: subprocess.run(["pgrep", "-s", str(pid), "sleep"], check=False).returncode == 0)
    told = {pid for one in strangers(ours).values() for pid in one["pids"]}
    assert not told & set(pids)


def test_what_outlived_its_guard_is_no_stranger_to_its_own_node(client, spec, vllm, living, until):
    (result,) = client.start(spec("e", *vllm))
    state = until(lambda: (one := client.state_of("e")) and len(one["tree"]) > 1 and one)
    guard = state["guard"][0]
    os.kill(guard, signal.SIGKILL)
    until(lambda: not living(guard))
    assert living(result["pid"])
    assert result["pid"] not in strangers(client)
    assert client.stop("e")[0]["left"] == []
