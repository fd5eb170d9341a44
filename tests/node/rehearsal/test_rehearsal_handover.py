"""KV goes from a prefill engine to a decode engine, once, over the producer's own port."""

import json
import signal
import socket
import threading

import pytest

from dplaunch.node.rehearsal.answers import Prompt
from dplaunch.node.rehearsal.vllm.arguments import parse
from dplaunch.node.rehearsal.vllm.flags import version
from dplaunch.node.rehearsal.vllm.knobs import Knobs
from dplaunch.node.rehearsal.vllm.kv import Consumer, Shelf
from dplaunch.node.rehearsal.vllm.kv_failure import PullError
from dplaunch.node.rehearsal.vllm.machine import Machine
from dplaunch.node.rehearsal.vllm.settings import Settings

SIZES = {"prefill": {"dp_size": 1, "tp_size": 2}, "decode": {"dp_size": 1, "tp_size": 1}}
ASK = {"do_remote_decode": True, "do_remote_prefill": False}


def kv(role: str, port: int, connector: str = "MooncakeConnectorV1", **more) -> list[str]:
    value = {
        "kv_connector": connector,
        "kv_role": role,
        "kv_port": str(port),
        "kv_connector_extra_config": SIZES,
    }
    return ["--kv-transfer-config", json.dumps({**value, **more})]


@pytest.fixture
def pair(start, free_port_block):
    """(prefill with tp 2, decode)."""
    base = free_port_block(2)
    env = {"VLLM_HOST_IP": "127.0.0.1"}
    prefill = start("-tp", "2", *kv("kv_producer", base), env=env)
    decode = start(*kv("kv_consumer", base), env=env)
    return prefill.ready(), decode.ready()


@pytest.fixture
def start_nixl(start, free_port_block):
    """``start_nixl(release, **knobs)``: (prefill, decode) with NIXL; the knobs are the decode engine's."""

    def both(release: str = "0.23.0", *flags: str, policy: str = "", **knobs: str):
        base = free_port_block(2)
        env = {"VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT": str(base)}
        producer, consumer = kv("kv_producer", 0, "NixlConnector"), {"kv_load_failure_policy": policy}
        prefill = start(*producer, *flags, env=env, VERSION=release)
        env["VLLM_NIXL_SIDE_CHANNEL_PORT"] = str(base + 1)
        more = consumer if policy else {}
        decode = start(*kv("kv_consumer", 0, "NixlConnector", **more), env=env, VERSION=release, **knobs)
        return prefill.ready(), decode.ready()

    return both


def prefilled(engine, prompt: str) -> dict:
    status, body = engine.complete(prompt, 1, kv_transfer_params=ASK)
    assert status == 200
    return body["kv_transfer_params"]


def meet(prefill, decode) -> None:
    """One hand-over that works: later ones know the way."""
    assert decode.text("hello you", 2, kv_transfer_params=prefilled(prefill, "hello you")) == "hello you"


def kill(engine) -> None:
    engine.process.kill()
    engine.code()


def test_decode_answers_from_what_it_fetched(pair, until):
    prefill, decode = pair
    params = prefilled(prefill, "the quick brown fox")
    assert params["do_remote_prefill"] is True
    assert params["remote_host"] == "127.0.0.1"
    assert params["num_prompt_blocks"] == len(params["remote_block_ids"]) == 1
    assert prefill.metric("kv_cache_usage_perc") > 0
    assert decode.text("the quick brown fox", 5, kv_transfer_params=params) == "the quick brown fox the"
    assert decode.metric('source="external_kv_transfer"') == 4
    assert decode.metric('source="local_compute"') == 0
    until(lambda: prefill.metric("kv_cache_usage_perc") == 0)
    assert f"Starting listening on path: tcp://127.0.0.1:{params['remote_port'] + 1}" in prefill.log


def test_chat_is_handed_over_too(pair):
    prefill, decode = pair
    body = {"model": "m", "messages": [{"role": "user", "content": "hello you"}], "max_completion_tokens": 1}
    params = prefill.ask("POST", "/v1/chat/completions", {**body, "kv_transfer_params": ASK})[1][
        "kv_transfer_params"
    ]
    answer = decode.ask(
        "POST", "/v1/chat/completions", {**body, "max_completion_tokens": 2, "kv_transfer_params": params}
    )
    assert answer[1]["choices"][0]["message"]["content"] == "hello you"


def test_a_mixed_up_handle_gives_a_wrong_answer(pair):
    prefill, decode = pair
    params = prefilled(prefill, "of somebody else")
    assert decode.text("my own words", 3, kv_transfer_params=params) == "of somebody else"


def test_a_handle_is_good_for_one_fetch(pair, until):
    prefill, decode = pair
    params = prefilled(prefill, "a b")
    assert decode.complete("a b", 1, kv_transfer_params=params)[0] == 200
    status, body = decode.complete("a b", 1, kv_transfer_params=params)
    assert (status, body["error"]["type"]) == (500, "InternalServerError")
    assert "Mooncake transfer failed" in decode.log
    until(lambda: decode.metric('finished_reason="error"') == 1)


@pytest.mark.parametrize(
    "wrong",
    [{"remote_port": 1}, {"remote_engine_id": "other"}, {"remote_request_id": "none"}, {"remote_port": None}],
)
def test_wrong_handles_fail(pair, wrong):
    prefill, decode = pair
    params = {**prefilled(prefill, "a"), **wrong}
    assert decode.complete("a", 1, kv_transfer_params=params)[0] == 500


def test_without_a_handle_decode_computes_itself(pair):
    prefill, decode = pair
    assert decode.text("a b", 2) == "a b"
    assert decode.metric('source="local_compute"') == 2
    assert prefill.complete("a b", 2)[1]["kv_transfer_params"] is None
    assert decode.complete("a b", 2, kv_transfer_params=ASK)[1]["kv_transfer_params"] is None


def test_equal_engine_ids_conflict(start, free_port_block):
    base = free_port_block()
    prefill = start(*kv("kv_producer", base, engine_id="0"), env={"VLLM_HOST_IP": "127.0.0.1"})
    decode = start(*kv("kv_consumer", base, engine_id="0"))
    params = prefilled(prefill.ready(), "a")
    assert decode.ready().complete("a", 1, kv_transfer_params=params)[0] == 500
    assert "Conflict engine id 0_dp0 with local engine id 0_dp0." in decode.log


def test_recompute_policy_computes_what_cannot_be_fetched(start, free_port_block):
    flags = kv("kv_consumer", free_port_block(), kv_load_failure_policy="recompute")
    params = {"do_remote_prefill": True, "remote_host": "127.0.0.1", "remote_port": 1}
    engine = start(*flags).ready()
    assert engine.text("a b", 2, kv_transfer_params=params) == "a b"
    assert engine.metric('source="local_compute"') == 2


def test_kv_that_is_not_pulled_is_freed(start, free_port_block):
    env = {"VLLM_HOST_IP": "127.0.0.1", "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT": "0.1"}
    engine = start(*kv("kv_producer", free_port_block()), env=env).ready()
    params = prefilled(engine, "a")
    line = engine.logged("Force freed expired request")
    assert params["remote_request_id"] in line
    assert "Request exceeded timeout threshold (0.1 seconds)" in line


def test_a_taken_side_channel_port(pair, start):
    base = prefilled(pair[0], "a")["remote_port"]
    other = start(*kv("kv_producer", base + 1), env={"VLLM_HOST_IP": "127.0.0.1"})
    assert other.code() == 1
    assert f"ZMQError: Address already in use (addr='tcp://127.0.0.1:{base + 1}')" in other.log


def test_mooncake_frees_the_kv_of_a_failed_pull_and_nixl_does_not(start, start_nixl, free_port_block, until):
    base = free_port_block()
    prefill = start(*kv("kv_producer", base), env={"VLLM_HOST_IP": "127.0.0.1"}).ready()
    decode = start(*kv("kv_consumer", base), FIRST_FETCH_FAILS="1").ready()
    assert decode.complete("a b", 2, kv_transfer_params=prefilled(prefill, "a b"))[0] == 500
    until(lambda: prefill.metric("kv_cache_usage_perc") == 0)
    prefill, decode = start_nixl(FIRST_FETCH_FAILS="1")
    assert decode.complete("a b", 2, kv_transfer_params=prefilled(prefill, "a b"))[0] == 500
    assert prefill.metric("kv_cache_usage_perc") > 0


def test_nixl_and_its_first_hand_over(start_nixl):
    prefill, decode = start_nixl(FIRST_FETCH_FAILS="1")
    assert decode.complete("a b", 2, kv_transfer_params=prefilled(prefill, "a b"))[0] == 500
    assert "NIXL transfer failure: handshake_setup_failed" in decode.log
    assert decode.text("a b", 2, kv_transfer_params=prefilled(prefill, "a b")) == "a b"


@pytest.mark.parametrize("met", [True, False])
def test_a_prefill_engine_that_died_before_the_pull_fails_the_request(start_nixl, met):
    prefill, decode = start_nixl()
    if met:
        meet(prefill, decode)
    params = prefilled(prefill, "a b c")
    kill(prefill)
    status, body = decode.complete("a b c", 2, kv_transfer_params=params)
    assert (status, body["error"]["message"]) == (500, "Internal server error")
    kind = "transfer_failed" if met else "handshake_failed"
    assert f"NIXL transfer failure: {kind} | Context: {{'failure_type': '{kind}'" in decode.log
    assert (
        "Failing 1 request(s) due to KV load failure (failure_policy=fail, 3 tokens affected)" in decode.log
    )
    assert decode.text("still here", 2) == "still here"


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_stream_that_cannot_pull_has_status_200_and_an_error_as_its_event(start_nixl, path):
    prefill, decode = start_nixl()
    params = prefilled(prefill, "a")
    kill(prefill)
    stream = decode.stream("a", 2, path=path, kv_transfer_params=params)
    *before, error = stream.rest()
    assert stream.status == 200
    assert json.loads(error)["error"]["code"] == 500
    assert len(before) == (1 if "chat" in path else 0)


@pytest.mark.parametrize(("release", "policy"), [("0.16.0", ""), ("0.23.0", "recompute")])
def test_with_recompute_the_decode_engine_computes_what_it_cannot_pull(start_nixl, release, policy):
    prefill, decode = start_nixl(release, policy=policy)
    params = prefilled(prefill, "a b")
    kill(prefill)
    assert decode.text("a b", 2, kv_transfer_params=params) == "a b"
    assert decode.metric('source="local_compute"') == 2
    assert "Recovered from KV load failure: 1 request(s) rescheduled (2 tokens affected)." in decode.log


def test_mooncake_before_0_20_2_answers_from_what_lies_in_its_blocks(start, free_port_block):
    base = free_port_block()
    prefill = start(*kv("kv_producer", base), env={"VLLM_HOST_IP": "127.0.0.1"}, VERSION="0.18.0").ready()
    decode = start(*kv("kv_consumer", base), VERSION="0.18.0").ready()
    params = prefilled(prefill, "a b")
    kill(prefill)
    status, body = decode.complete("a b", 2, kv_transfer_params=params)
    assert status == 200
    assert body["choices"][0]["text"] != "a b"
    why = "Failed to receive data after 3 retries: Resource temporarily unavailable"
    assert f"Failed to transfer KV cache for request {params['remote_request_id']}: {why}" in decode.log


def test_nixl_before_0_12_takes_the_decode_engine_along(start_nixl):
    prefill, decode = start_nixl("0.11.0")
    meet(prefill, decode)
    params = prefilled(prefill, "a b")
    kill(prefill)
    status, body = decode.complete("a b", 2, kv_transfer_params=params)
    assert status == 500
    assert "EngineCore encountered an issue" in body["error"]["message"]
    assert decode.code() == 0
    assert "EngineCore encountered a fatal error." in decode.log


def test_a_pull_from_a_silent_engine_waits_for_ever(start_nixl, until):
    prefill, decode = start_nixl()
    meet(prefill, decode)
    params = prefilled(prefill, "a b")
    prefill.process.send_signal(signal.SIGSTOP)
    body = {"model": "m", "prompt": "a b", "kv_transfer_params": params}
    with pytest.raises(TimeoutError):
        decode.ask("POST", "/v1/completions", body, timeout=0.8)
    until(lambda: decode.metric("num_requests_waiting") == 0)  # the client has left
    prefill.process.send_signal(signal.SIGCONT)
    assert decode.text("a b", 2, kv_transfer_params=params) == "a b"


def test_a_slow_pull_holds_the_kv_until_it_is_done(start_nixl, until):
    prefill, decode = start_nixl(SLOW_PULL="1")
    params, answers = prefilled(prefill, "a b"), []
    thread = threading.Thread(target=lambda: answers.append(decode.text("a b", 2, kv_transfer_params=params)))
    thread.start()
    until(lambda: decode.metric("num_requests_waiting") == 1)
    assert decode.metric("num_requests_running") == 0
    assert prefill.metric("kv_cache_usage_perc") > 0
    thread.join(5)
    assert answers == ["a b"]
    until(lambda: prefill.metric("kv_cache_usage_perc") == 0)


def test_a_prefill_engine_that_dies_during_the_pull_fails_the_request(start_nixl, until):
    prefill, decode = start_nixl(SLOW_PULL="30")
    params, answers = prefilled(prefill, "a b"), []
    thread = threading.Thread(
        target=lambda: answers.append(decode.complete("a b", 2, kv_transfer_params=params))
    )
    thread.start()
    until(lambda: decode.metric("num_requests_waiting") == 1)
    kill(prefill)
    thread.join(5)
    assert answers[0][0] == 500
    assert "NIXL transfer failure: " in decode.log


def test_a_client_that_leaves_during_the_pull_frees_the_kv(start_nixl, until):
    prefill, decode = start_nixl(SLOW_PULL="30")
    body = {"model": "m", "prompt": "a", "kv_transfer_params": prefilled(prefill, "a")}
    with pytest.raises(TimeoutError):
        decode.ask("POST", "/v1/completions", body, timeout=0.5)
    until(lambda: prefill.metric("kv_cache_usage_perc") == 0)
    assert decode.metric("num_requests_waiting") == 0


@pytest.mark.parametrize(("release", "waits"), [("0.21.0", False), ("0.23.0", True)])
def test_from_0_22_on_a_shutdown_timeout_waits_for_the_pull(start_nixl, release, waits):
    prefill, decode = start_nixl(release, "--shutdown-timeout", "30")
    meet(prefill, decode)
    params = prefilled(prefill, "a b")
    prefill.process.terminate()
    prefill.logged("mode=drain timeout=30s" if waits else "Shutdown initiated (timeout=30)")
    if not waits:
        prefill.code()
    status, _ = decode.complete("a b", 2, kv_transfer_params=params)
    assert status == (200 if waits else 500)
    assert prefill.code() == 0


def test_without_a_shutdown_timeout_kv_that_waits_is_lost(start_nixl):
    prefill, decode = start_nixl()
    params = prefilled(prefill, "a b")
    prefill.process.terminate()
    assert prefill.code() == 0
    assert decode.complete("a b", 2, kv_transfer_params=params)[0] == 500


def test_before_0_22_an_idle_engine_notices_a_pull_at_its_next_request(start_nixl, until):
    prefill, decode = start_nixl("0.21.0")
    meet(prefill, decode)
    assert prefill.metric("kv_cache_usage_perc") > 0

    def noticed():  # the word that KV was pulled may come after a request
        prefill.text("next", 1)
        return prefill.metric("kv_cache_usage_perc") == 0

    until(noticed)


def transfer(role: str, release: str, **env: str):
    """NIXL's settings in one engine, with a lease of no time."""
    env["VLLM_HOST_IP"] = "127.0.0.1"
    flags = kv(role, 0, "NixlConnector", kv_connector_extra_config={"kv_lease_duration": 0})
    arguments = parse(["m", *flags], version(release))
    return Settings(arguments, Knobs(env, 0), Machine(env, version(release)), release).transfer


def test_a_connection_that_ends_after_the_engines_have_met_is_a_failed_transfer():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def begin_to_send():
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b'{"kind": "kv", "words": ["a"], "tokens": 1}\n')

        thread = threading.Thread(target=begin_to_send)
        thread.start()
        consumer = Consumer(
            transfer("kv_consumer", "0.23.0"), Knobs({"DPLAUNCH_REHEARSAL_SLOW_PULL": "30"}, 0)
        )
        params = {"remote_host": "127.0.0.1", "remote_port": server.getsockname()[1]}
        with pytest.raises(PullError) as caught:
            consumer.pull(params, lambda: None)
        thread.join(5)
    assert caught.value.stage == "transfer"


@pytest.mark.parametrize("release", ["0.18.0", "0.23.0"])
def test_kv_expires_in_time_and_a_lease_only_while_it_is_not_pulled(release):
    expired: list[str] = []
    shelf = Shelf(transfer("kv_producer", release, VLLM_NIXL_ABORT_REQUEST_TIMEOUT="0"), expired.append)
    shelf.hold("idle", Prompt(["a"], 1))
    shelf.hold("pulled", Prompt(["a"], 1))
    assert shelf.get("pulled") is not None
    shelf.free_expired()
    assert expired == (["idle"] if release == "0.23.0" else ["idle", "pulled"])
    shelf.leave("pulled")
    shelf.free_expired()
    assert "pulled" in expired


@pytest.mark.parametrize(
    ("named", "bad"), [("127.0.0.1:{port}", True), ("127.0.0.1", True), ("127.0.0.1:1", False)]
)
def test_garbage_comes_from_the_side_channel_that_is_named(start, free_port_block, named, bad):
    base = free_port_block(1)
    prefill = start(*kv("kv_producer", base), env={"VLLM_HOST_IP": "127.0.0.1"})
    decode = start(*kv("kv_consumer", base), BAD_KV_FROM=named.format(port=base))
    params = prefilled(prefill.ready(), "a b c")
    status, body = decode.ready().complete("a b c", 3, kv_transfer_params=params)
    assert status == 200
    assert (body["choices"][0]["text"] != "a b c") is bad
    assert decode.text("a b c", 3) == "a b c"
    assert decode.metric('source="external_kv_transfer"') == 3
