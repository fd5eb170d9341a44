"""The stand-in for MindIE's daemon: what it reads, what it answers, how it dies."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from drawn import names_of
from waiting import until

from dplaunch.engines.mindie.service import METRICS

START = "import sys; sys.path.insert(0, {!r}); import rehearsal; sys.exit(rehearsal.main(sys.argv[1:]))"
PID = os.getpid()
ADDRESSES = tuple(f"127.{100 + PID % 100}.{PID // 100 % 250}.{100 + number}" for number in range(2))


@pytest.fixture
def daemon(bundle, tmp_path):
    """``daemon(node, **env)``: a daemon on a node of two, with the files of this test's folder."""
    started = []

    def start(node=0, **env):
        path = tmp_path / f"config-{node}.json"
        if not path.exists():
            path.write_text(json.dumps(configuration(ADDRESSES[node])))
            path.chmod(0o640)
        own = {"MIES_CONFIG_JSON_PATH": str(path), "RANK_TABLE_FILE": str(table(tmp_path))}
        own |= {"MIES_CONTAINER_IP": ADDRESSES[node], "DPLAUNCH_REHEARSAL_SPEED": "0", **env}
        argv = [sys.executable, "-I", "-S", "-c", START.format(str(bundle)), "mindie_llm_server"]
        log = (tmp_path / f"log-{node}").open("w+")
        process = subprocess.Popen(argv, env=own, stdout=log, stderr=log)
        started.append(process)
        return process, tmp_path / f"log-{node}"

    yield start
    for process in started:
        process.kill()
        process.wait()


def configuration(address):
    model = {"modelName": "m", "worldSize": 1}
    deploy = {"maxSeqLen": 100, "maxInputTokenLen": 50, "ModelConfig": [model]}
    backend = {
        "npuDeviceIds": [[0]],
        "modelInstanceNumber": 1,
        "multiNodesInferEnabled": True,
        "multiNodesInferPort": 20000 + PID % 9000,
        "ModelDeployConfig": deploy,
        "ScheduleConfig": {"maxPrefillTokens": 60},
    }
    return {"ServerConfig": {"ipAddress": address, "port": 30000 + PID % 1000}, "BackendConfig": backend}


def table(folder):
    path = folder / "ranktable.json"
    servers = [
        {
            "server_id": address,
            "container_ip": address,
            "device": [{"device_id": "0", "device_ip": f"198.18.0.{rank + 1}", "rank_id": str(rank)}],
        }
        for rank, address in enumerate(ADDRESSES)
    ]
    path.write_text(json.dumps({"server_list": servers}))
    path.chmod(0o640)
    return path


def ask(method, path, body=None):
    client = http.client.HTTPConnection(ADDRESSES[0], 30000 + PID % 1000, timeout=5)
    client.request(method, path, body and json.dumps(body))
    answer = client.getresponse()
    return answer.status, answer.read().decode()


def has_started(log):
    return until(lambda: "Daemon start success!" in log.read_text())


def test_both_daemons_start_and_the_masters_alone_serves(daemon, tmp_path):
    (one, first), (_, second) = (
        daemon(0),
        daemon(1, MINDIE_LOG_PATH=str(tmp_path / "own"), MINDIE_LOG_TO_FILE="1"),
    )
    has_started(first)
    has_started(second)
    assert "slave instance need not init" in second.read_text()
    assert [path.parent.name for path in (tmp_path / "own").rglob("*.log")] == ["debug"]
    assert ask("GET", "/health")[0] == 200
    status, text = ask("POST", "/v1/completions", {"model": "m", "prompt": "Rome or Paris", "max_tokens": 3})
    assert (status, json.loads(text)["choices"][0]["text"]) == (200, "Rome or Paris")
    assert ask("POST", "/v1/completions", {"model": "x", "prompt": "a"})[0] == 404
    page = ask("GET", "/metrics")[1]
    assert 'request_received_total{model_name="m"} 1' in page
    assert 'time_to_first_token_seconds_count{model_name="m"} 1' in page
    assert {name for name in names_of(METRICS) if f"# TYPE {name} " not in page} == set()
    one.send_signal(signal.SIGTERM)
    assert one.wait(10) == -signal.SIGABRT
    assert "All subprocesses exited gracefully." in first.read_text()


def test_a_daemon_that_dies_ends_the_others(daemon):
    (one, first), (two, second) = daemon(0), daemon(1)
    has_started(first)
    has_started(second)
    two.kill()
    assert one.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"RANK_TABLE_FILE": ""}, "Ranktable file is not exist"),
        ({"MIES_CONTAINER_IP": "198.18.9.9"}, "Failed to parse the json data of ranktable"),
        ({"MIES_CONFIG_JSON_PATH": "/nowhere/config.json"}, "Get config path failed"),
    ],
)
def test_what_it_cannot_read_it_dies_of(daemon, env, word):
    process, log = daemon(0, **env)
    assert (process.wait(10), word in log.read_text()) == (-signal.SIGKILL, True)


def test_a_configuration_that_others_may_read_is_refused(daemon, tmp_path):
    path = tmp_path / "config-0.json"
    path.write_text(json.dumps(configuration(ADDRESSES[0])))
    path.chmod(0o644)
    process, log = daemon(0)
    assert process.wait(10) == -signal.SIGKILL
    assert "Check_path: config.json failed" in log.read_text()


def test_a_taken_port_is_named(daemon):
    with socket.socket() as taken:
        taken.bind((ADDRESSES[0], 30000 + PID % 1000))
        taken.listen()
        (process, log), _ = daemon(0), daemon(1)
        assert process.wait(10) == -signal.SIGKILL
    assert "Socket bind failed" in log.read_text()
