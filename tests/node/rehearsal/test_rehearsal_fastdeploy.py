"""FastDeploy's stand-in starts, serves and dies as the real one: a parent, and a server for each rank."""

import json
import os
import shutil
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from drawn import names_of
from waiting import until

from dplaunch.engines.fastdeploy.facts import METRICS
from dplaunch.engines.fastdeploy.flag_rules import listed
from dplaunch.node.guard import ask
from dplaunch.node.unpack import unpack
from dplaunch.wire.bundle import bundle as packed

PARENT = "fastdeploy.entrypoints.openai.multi_api_server"
SERVER = "fastdeploy.entrypoints.openai.api_server"
ROUTER = "fastdeploy.router.launch"
REDIS = shutil.which("redis-check-rdb")
"""The program of redis-server; Debian's package of that name would start a service."""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The bundle as a node has it."""
    folder = tmp_path_factory.mktemp("fastdeploy") / "bundle"
    unpack(packed().data, str(folder))
    return str(folder)


@pytest.fixture
def play(program, tmp_path, engine_of, monkeypatch):
    """``play(MODULE, *words, port=, **env)``: runs it in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def one(module, *words: str, port, **env):
        argv = [sys.executable, "-I", "-S", program, "rehearsal", module, *words]
        (flags := tmp_path / "flags.txt").write_text(listed(env.get("DPLAUNCH_REHEARSAL_VERSION", "2.5.0")))
        knobs = {
            "DPLAUNCH_REHEARSAL_FLAGS": str(flags),
            "DPLAUNCH_REHEARSAL_SPEED": "0",
            "DPLAUNCH_REHEARSAL_TOKEN_MS": "0",
            "CUDA_VISIBLE_DEVICES": "0,1",
        }
        own = {"DPLAUNCH_BUNDLE": program, "DPLAUNCH_REHEARSAL_BIND": "127.0.0.1", **knobs, **env}
        return engine_of(argv, {**os.environ, **own}, port)

    return one


@pytest.fixture
def servers(play, free_port_block):
    """``servers(*words)``: a parent with two servers, which are ready unless ``ready`` is false."""

    born = []

    def pair(*words: str, ready=True, **env):
        base = free_port_block(12)
        lists = [f"{first},{first + 1}" for first in range(base, base + 12, 2)]
        parent = play(
            *(PARENT, "--ports", lists[0], "--num-servers", "2", "--metrics-ports", "-1", "--args", "--model", "m"),
            *("--engine-worker-queue-port", lists[1], "--cache-queue-port", lists[2]),
            *("--pd-comm-port", lists[3], "--rdma-comm-ports", lists[4], "--data-parallel-size", "2", *words),
            port=base,
            **env,
        )  # fmt: skip
        if ready:
            parent.ready()
            until(lambda: asked(base + 1, parent) == 200)
        until(lambda: len(children(parent)) == 2)
        born.extend(children(parent))
        return parent

    yield pair
    for pid in filter(lives, born):  # a parent that is killed leaves them behind
        os.kill(pid, signal.SIGKILL)
    gone(born)


def asked(port, engine):
    """What /health of another server of the parent answers."""
    first, engine.port = engine.port, port
    try:
        return engine.health()
    finally:
        engine.port = first


def children(parent):
    return [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]


def gone(pids):
    return until(lambda: not any(lives(pid) for pid in pids))


def lives(pid):
    """Not ended; what nobody has waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_each_server_answers_and_writes_logs_of_its_own(servers, tmp_path):
    parent = servers()
    assert parent.text("one two", tokens=2) == "one two"
    assert parent.metric("fastdeploy:num_requests_running") == 0
    page = parent.ask("GET", "/metrics")[1]
    assert {name for name in names_of(METRICS) if f"# TYPE {name} " not in page} == set()
    assert parent.metric("fastdeploy:time_to_first_token_seconds_count") == 1
    until(lambda: parent.log.count("Application startup complete") == 2)
    assert (tmp_path / "log" / "log_0" / "workerlog.0").is_file()
    assert (tmp_path / "log" / "log_1").is_dir()


def test_sigint_ends_all_servers_and_sigterm_only_the_parent(servers):
    polite = servers()
    pids = children(polite)
    polite.process.send_signal(signal.SIGINT)
    assert polite.code() == 0
    gone(pids)

    rude = servers()
    pids = children(rude)
    rude.process.send_signal(signal.SIGTERM)
    assert rude.code() == -signal.SIGTERM
    assert rude.health() == 200
    os.kill(pids[0], signal.SIGKILL)
    gone(pids)


def test_the_first_servers_death_takes_the_others_along_and_the_parent_stays(servers):
    parent = servers()
    first, second = children(parent)
    os.kill(first, signal.SIGKILL)
    gone([second])
    assert parent.process.poll() is None


def test_a_port_in_use_is_raised_by_newer_versions_and_passed_over_by_older_ones(play, free_port_block):
    port = free_port_block(4)
    words = ("--ports", f"{port},{port + 1}", "--metrics-ports", f"{port + 2},{port + 3}", "--args")
    queue = ("--engine-worker-queue-port", f"{port + 2},{port + 3}")
    with socket.create_server(("127.0.0.1", port + 1)):
        new = play(PARENT, *words, *queue, port=port)
        assert new.code() == 1
        assert f"Port {port + 1} is already in use" in new.log
        old = play(PARENT, *words, *queue, port=port, DPLAUNCH_REHEARSAL_VERSION="2.3.0")
        until(lambda: Path("log/multi_api_server.log").read_text().endswith(f"check port {port + 1}\n"))
        assert (old.process.poll(), children(old)) == (None, [])


def test_a_list_of_another_length_ends_it(play, free_port_block):
    port = free_port_block(2)
    words = (
        "--ports",
        f"{port},{port + 1}",
        "--num-servers",
        "3",
        "--args",
        "--engine-worker-queue-port",
        "1",
    )
    ended = play(PARENT, *words, port=port)
    assert ended.code() == 1
    assert "Number of ports must match num-servers" in ended.log


def test_prefill_hands_a_prompt_over_to_the_decode_engine_that_the_router_chose(
    servers, play, free_port_block
):
    port = free_port_block()
    router = play(ROUTER, "--host", "127.0.0.1", "--port", str(port), "--splitwise", port=port)
    until(lambda: router.health() == 200)
    at = ("--router", f"127.0.0.1:{port}")
    prefill, decode = (servers("--splitwise-role", role, *at, ready=False) for role in ("prefill", "decode"))
    until(lambda: router.ask("GET", "/registered_number")[1] == {"mixed": 0, "prefill": 2, "decode": 2})
    assert router.text("three four", tokens=2) == "three four"
    assert prefill.complete("alone")[0] == 500
    assert "POST /v1/completions" in decode.log


def test_a_role_without_a_router_ends_its_servers(servers):
    parent = servers("--splitwise-role", "prefill", ready=False)
    assert "please provide --router argument" in parent.logged("ValueError")


def test_an_unknown_flag_ends_a_server(servers):
    parent = servers("--no-such-flag", "1", ready=False)
    assert "unrecognized arguments: --no-such-flag" in parent.logged("error:")


@pytest.fixture
def redis(engine_of, free_port_block):
    """A real Redis."""
    if REDIS is None:
        pytest.skip("redis-tools is not installed")
    port = free_port_block()
    argv = ["-c", f"exec -a redis-server {REDIS} --port {port} --bind 127.0.0.1 --save ''"]
    server = engine_of(["bash", *argv], dict(os.environ), port)
    server.logged("Ready to accept connections")
    return server


@pytest.fixture
def scheduled(play, free_port_block):
    """``scheduled(redis_port, role)``: one server with two ranks whose scheduler is on Redis."""

    def one(redis_port, *words: str, **env):
        base = free_port_block(9)
        lists = [f"{first},{first + 1}" for first in range(base + 1, base + 9, 2)]
        return play(
            *(SERVER, "--model", "m", "--port", str(base), "--data-parallel-size", "2"),
            *("--engine-worker-queue-port", lists[0], "--cache-queue-port", lists[1]),
            *("--pd-comm-port", lists[2], "--rdma-comm-ports", lists[3]),
            *("--scheduler-name", "splitwise", "--scheduler-host", "127.0.0.1"),
            *("--scheduler-port", str(redis_port), "--scheduler-topic", "t", *words),
            port=base,
            **env,
        )

    return one


def reported(redis):
    """Who has reported: (role, rank), sorted."""
    request = {"url": f"redis://127.0.0.1:{redis.port}", "body": '[["HGETALL", "t.cluster"]]'}
    [pairs] = json.loads(ask.ask_all([request])[0]["body"])
    return sorted(
        (json.loads(text)["role"], name[-1]) for name, text in zip(pairs[::2], pairs[1::2], strict=True)
    )


def test_ranks_meet_in_a_real_redis_whichever_server_is_asked(scheduled, redis, tmp_path):
    prefill = scheduled(redis.port, "--splitwise-role", "prefill").ready()
    until(lambda: reported(redis) == [("prefill", "0"), ("prefill", "1")])
    with ThreadPoolExecutor() as early:
        waits = early.submit(prefill.text, "one two", tokens=2)
        log = tmp_path / "log" / "scheduler.log"
        until(lambda: "No Schedule Nodes: mixed:0, prefill:2, decode:0" in log.read_text())
        decode = scheduled(
            redis.port, "--splitwise-role", "decode", DPLAUNCH_REHEARSAL_UNREGISTERED="1"
        ).ready()
        assert waits.result() == "one two"
    assert prefill.text("one two", tokens=2) == decode.text("one two", tokens=2) == "one two"
    assert ("decode", "1") not in reported(redis)


def test_without_redis_a_server_ends_and_names_its_address(scheduled, free_port_block):
    port = free_port_block()
    ended = scheduled(port)
    assert ended.code() == 1
    assert f"connecting to 127.0.0.1:{port}" in ended.log
