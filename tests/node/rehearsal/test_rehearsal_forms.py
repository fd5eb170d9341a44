"""Several ranks in one process, processes without a server, vLLM's supervisor, one engine over several nodes."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from .conftest import HOST, free_ports


def local(first, rpc, *more: str):
    """The flags of two of four ranks."""
    shape = ["-dp", "4", "-dpl", "2", *(["-dpr", str(first)] if first else [])]
    return [*shape, "-dpa", HOST, "-dpp", rpc, *more]


@pytest.fixture
def internal(start, rpc_port):
    front, headless = start(*local(0, rpc_port)), start(*local(2, rpc_port, "--headless"))
    return front.ready(), headless


def children(engine):
    """Pid → title of the processes that an engine started."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == str(engine.pid):
                found[int(folder.name)] = (folder / "cmdline").read_text().rstrip(" \0")
    return found


def core(engine, rank):
    """The process that stands for the engine core of a rank."""
    return next(
        (pid for pid, title in children(engine).items() if title.endswith(f"EngineCore_DP{rank}")), None
    )


def test_one_server_answers_for_the_ranks_of_processes_without_one(internal):
    front, headless = internal
    assert front.text("hello there", 2) == "hello there"
    assert (
        "Launching 2 data parallel engine(s) in headless mode, with head node address tcp://" in headless.log
    )
    assert "init engine (profile, create kv cache, warmup model) took" in headless.log
    assert "rank 3 in world size 4 is assigned as DP rank 3" in headless.log
    assert headless.health() == 0
    assert [front.metric(f'requests_running{{engine="{rank}"') for rank in range(4)] == [0.0] * 4


def test_a_process_without_a_server_ends_in_order(internal):
    front, headless = internal
    for engine in (front, headless):
        engine.process.send_signal(signal.SIGTERM)
    assert [front.code(), headless.code()] == [0, 0]
    assert "Shutting down." in headless.log


def test_a_core_that_is_killed_takes_its_process_with_it_and_the_group_at_the_next_request(internal, until):
    front, headless = internal
    os.kill(until(lambda: core(headless, 3)), signal.SIGKILL)
    assert headless.code() == 0
    until(lambda: front.complete("hello")[0] != 200)
    assert front.code() == 0


def test_a_core_of_the_front_that_is_killed_ends_the_front(internal, until):
    front, headless = internal
    os.kill(until(lambda: core(front, 1)), signal.SIGKILL)
    front.logged("Engine core proc EngineCore_DP1 died unexpectedly, shutting down client.")
    assert front.code() == 0
    assert headless.process.poll() is None


@pytest.mark.parametrize(
    ("front", "other", "words"),
    [
        (
            ["-dph"],
            ["--headless"],
            "Remote engine 2 must not use --headless in external or hybrid dp lb mode",
        ),
        ([], ["-dph"], "Remote engine 2 must use --headless unless in external or hybrid dp lb mode"),
    ],
)
def test_forms_that_are_mixed_end_rank_0(start, rpc_port, front, other, words):
    hub = start(*local(0, rpc_port, *front))
    start(*local(2, rpc_port, *other), HANDSHAKE_S="5")
    assert hub.code() == 1
    assert words in hub.log


def test_each_node_of_hybrid_balancing_has_a_server(start, rpc_port):
    engines = [start(*local(first, rpc_port, "-dph")) for first in (0, 2)]
    for engine in engines:
        assert engine.ready().text("hello there", 2) == "hello there"
    assert engines[1].metric('requests_running{engine="3"') == 0.0


def test_one_engine_over_two_nodes_meets_at_the_master(start):
    meet = ["-tp", "2", "-pp", "2", "-n", "2", "--master-addr", HOST, "--master-port", str(free_ports())]
    head, part = start(*meet, "-r", "0"), start(*meet, "-r", "1", "--headless")
    assert head.ready().text("hello there", 2) == "hello there"
    assert "headless multiproc executor, with head node address" in part.log
    assert "rank 3 in world size 4 is assigned as DP rank 0, PP rank 1, TP rank 1" in part.logged("rank 3")
    part.process.kill()
    head.complete("hello")
    assert head.code() == 0


@pytest.fixture
def supervised(start):
    port = free_ports(4)
    shape = ["-dp", "2", "-dpl", "2", "-dpm", "-dpa", HOST, "-dpp", str(port + 3)]
    parent = start(*shape, "--data-parallel-supervisor-port", str(port + 2), port=port)
    return parent, port


def test_the_supervisor_has_a_server_for_each_rank_and_its_own(supervised, until):
    parent, port = supervised
    until(lambda: parent.health() == 200)
    own, parent.port = parent.port, port + 2
    until(lambda: parent.health() == 200)
    assert [parent.ask("GET", path)[0] for path in ("/ready", "/readyz", "/v1/models")] == [200, 200, 404]
    parent.port = own + 1
    assert parent.text("hello there", 2) == "hello there"
    assert "(ExternalLBRank1 pid=" in parent.log
    parent.process.send_signal(signal.SIGTERM)
    assert parent.code() == 0


def test_one_child_of_the_supervisor_that_ends_stops_all(supervised, until):
    parent, _ = supervised
    until(lambda: parent.health() == 200)
    os.kill(max(children(parent)), signal.SIGKILL)
    assert parent.code() == 1
    assert "Multi-port external LB child exited unexpectedly: ExternalLBRank_" in parent.log
    until(lambda: parent.health() == 0)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-dp", "2", "-dpl", "1"], "requires --data-parallel-size-local >= 2"),
        (["-dp", "3", "-dpl", "2"], "must be divisible by --data-parallel-size-local"),
        (["-dp", "2", "-dpl", "2", "-asc", "2"], "currently requires --api-server-count=1"),
    ],
)
def test_the_supervisor_refuses(start, flags, words):
    engine = start(*flags, "-dpm")
    assert engine.code() == 1
    assert words in engine.log
