"""A data-parallel group: it meets, waits, refuses, and dies as real ones were seen to do."""

import contextlib
import signal
import socket

import pytest


@pytest.fixture
def pair(start_group):
    return [engine.ready() for engine in start_group(2)]


def test_no_rank_is_ready_before_all_have_joined_in_any_order(start, seat_flags, rpc_port, until):
    late = {rank: start(*seat_flags(3, rank, rpc_port)) for rank in (2, 0)}
    late[0].logged("Waiting for init message from front-end.")
    late[2].logged("Waiting for init message from front-end.")
    assert [late[0].health(), late[2].health()] == [0, 0]
    assert "Initializing a V1 LLM engine" not in late[0].log + late[2].log
    engines = [start(*seat_flags(3, 1, rpc_port)), late[0], late[2]]
    for engine in engines:
        engine.ready()
        assert engine.text("hello there", 2) == "hello there"
    assert "Started DP Coordinator process" in late[0].log
    assert "All engine subscriptions received by DP coordinator" in late[0].log
    assert "rank 2 in world size 3 is assigned as DP rank 2" in late[2].log
    until(lambda: engines[2].metric('running{engine="2"') == 0)


def test_no_rank_is_ready_before_all_have_loaded(start, seat_flags, rpc_port):
    first = start(*seat_flags(2, 0, rpc_port))
    start(*seat_flags(2, 1, rpc_port), HANG="memory").logged("Loading model weights took")
    first.logged("init engine (profile, create kv cache, warmup model) took")
    assert first.health() == 0


def test_without_rank_0_a_member_gives_up(start, seat_flags, rpc_port):
    engine = start(*seat_flags(2, 1, rpc_port), HANDSHAKE_S="0.2")
    assert engine.code() == 1
    assert "RuntimeError: Did not receive response from front-end process within 0.2 seconds" in engine.log


@pytest.mark.parametrize("size", [2, 3])
def test_a_rank_that_does_not_belong_ends_rank_0(start, seat_flags, rpc_port, size):
    """The same rank twice in a group of three, or rank 2 of three in a group of two."""
    stranger = 1 if size == 3 else 2
    start(*seat_flags(3, stranger, rpc_port), HANDSHAKE_S="30")
    hub = start(*seat_flags(size, 0, rpc_port))
    if size == 3:
        start(*seat_flags(3, stranger, rpc_port), HANDSHAKE_S="30")
    assert hub.code() == 1
    assert f"RuntimeError: Message from engine with unexpected data parallel rank: {stranger}" in hub.log


def test_differing_settings_end_rank_0_and_the_differing_rank_reports_that_it_is_ready(
    start, seat_flags, rpc_port
):
    hub = start(*seat_flags(2, 0, rpc_port), "--enable-expert-parallel")
    other = start(*seat_flags(2, 1, rpc_port)).ready()
    assert hub.code() == 1
    assert "Configuration mismatch detected for engine 1" in hub.log
    assert "Application startup complete." in other.log
    assert other.complete("a")[0] == 500
    assert other.code() == 0


def listens(port: str) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", int(port))):
        return True
    return False


def test_strangers_at_the_rendezvous_port_do_no_harm(start, seat_flags, rpc_port, until):
    hub = start(*seat_flags(2, 0, rpc_port))
    until(lambda: listens(rpc_port))  # the line about the init message comes before
    for noise in (b"", b"GET / HTTP/1.1\r\n\r\n", b"1\n", b'{"kind": "pong"}\n'):
        with socket.create_connection(("127.0.0.1", int(rpc_port))) as stranger:
            stranger.sendall(noise)
    start(*seat_flags(2, 1, rpc_port))
    assert hub.ready().text("well", 1) == "well"


def test_the_same_rendezvous_port_twice(start, seat_flags, rpc_port):
    start(*seat_flags(2, 0, rpc_port)).logged("Waiting for init message")
    second = start(*seat_flags(2, 0, rpc_port))
    assert second.code() == 1
    assert f"ZMQError: Address already in use (addr='tcp://127.0.0.1:{rpc_port}')" in second.log


def test_a_master_address_of_another_host(start):
    engine = start("-dp", "2", "-dpn", "0", "-dpa", "192.0.2.1", "-dpp", "13395")
    assert engine.code() == 1
    assert "ZMQError: Cannot assign requested address" in engine.log


@pytest.mark.parametrize("dead", [0, 1])
def test_an_idle_member_stays_healthy_until_its_next_request(pair, until, dead):
    pair[dead].process.kill()
    survivor = pair[1 - dead]
    pair[dead].code()
    assert survivor.health() == 200
    status, body = survivor.complete("a")
    assert status == 500
    assert "EngineCore encountered an issue" in body["error"]["message"]
    assert survivor.health() in (503, 0)
    assert survivor.code() == 0
    assert "Connection closed by peer" in survivor.log


def test_a_busy_member_notices_at_once(start_group, until):
    engines = [engine.ready() for engine in start_group(2, TOKEN_MS="5")]
    stream = engines[1].stream("a", 100000)
    engines[0].process.kill()
    until(lambda: engines[1].health() == 503)
    assert "EngineCore encountered an issue" in stream.rest()[-1]


def test_members_notice_each_others_death(start_group, until):
    engines = [engine.ready() for engine in start_group(3, DEAD_GROUP_HEALTH="503")]
    engines[2].process.kill()
    until(lambda: [engine.health() for engine in engines[:2]] == [503, 503])


def test_a_member_that_dies_while_loading_takes_the_others_along(start, seat_flags, rpc_port):
    hub = start(*seat_flags(2, 0, rpc_port))
    member = start(*seat_flags(2, 1, rpc_port), HANG="memory")
    hub.logged("init engine")
    member.logged("Loading model weights took")
    member.process.kill()
    assert hub.code() == 1
    assert "Connection closed by peer" in hub.log


def test_no_rank_computes_while_a_member_does_not_answer(start_group, until):
    engines = [engine.ready() for engine in start_group(3)]
    engines[2].process.send_signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        engines[1].ask("POST", "/v1/completions", {"model": "m", "prompt": "a"}, timeout=0.4)
    assert engines[1].health() == 200
    engines[2].process.send_signal(signal.SIGCONT)
    assert engines[1].text("now again", 2) == "now again"


def test_contract_a_meets_by_environment_and_serves_each_on_its_own(start, rpc_port):
    def rank(number: int, **knobs: str):
        dp = {
            "VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED": "1",
            "VLLM_DP_SIZE": "2",
            "VLLM_DP_MASTER_IP": "127.0.0.1",
        }
        dp |= {
            "VLLM_DP_MASTER_PORT": rpc_port,
            "VLLM_DP_RANK": str(number),
            "VLLM_DP_RANK_LOCAL": str(number),
        }
        return start("-tp", "2", env={**dp, "ASCEND_RT_VISIBLE_DEVICES": "0,1,2,3"}, VERSION="0.9.1", **knobs)

    first = rank(0)
    slow = rank(1, HANG="memory")
    slow.logged("Loading model weights took")
    first.ready()
    assert slow.health() == 0
    assert "(APIServer pid=" not in first.log
    assert "assigned as DP rank 1, PP rank 0, TP rank 1" in slow.log


def test_one_server_may_hold_all_ranks(start):
    assert start("--data-parallel-size", "4").ready().text("x", 1) == "x"
